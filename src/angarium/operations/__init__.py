"""Do what a person or program may ask for: the same operations behind every API and command."""
