"""Be the command line: parse, call the HTTP API, show what it answers. `--help` and client commands load no server."""
