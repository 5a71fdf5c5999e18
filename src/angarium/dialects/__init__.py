"""Speak each wire format: one pure module per format, and the registry that lists them."""
