"""Send requests to receivers: resolve, check the address, connect to that very address, post, cap what is read."""

from angarium.egress.contract import Sender
from angarium.egress.sender import CurlSender

__all__ = ["CurlSender", "Sender"]
