"""Run the core: read the log, keep the lanes, have deliveries sent, and settle what became of them."""
