"""Be the edge: parse HTTP requests, call an operation, answer. Nothing here decides."""
