"""Send requests to receivers: resolve, check the address, connect to that very address, post, cap what is read."""
