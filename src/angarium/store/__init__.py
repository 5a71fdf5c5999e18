"""Keep the log, the registry and what was delivered. One contract, several stores, one conformance suite."""
