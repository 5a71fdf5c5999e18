"""Serve the native HTTP API, everything under `/v1` but the hot publish route."""
