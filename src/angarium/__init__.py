"""Push what happened to everyone who subscribed: durable, signed, retried, in the format that each receiver speaks."""

__version__ = "0.1.0"
