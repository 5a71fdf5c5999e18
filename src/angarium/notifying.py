"""Tell whoever started the server, such as systemd, how it does: over the socket that `NOTIFY_SOCKET` names.

The protocol is that of sd_notify(3): one datagram with a line for each thing told. Without the variable nobody asked,
and nothing is told. Whether somebody listens changes nothing for the server.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

READY: Final = "READY=1"
"""The server answers. Units of `Type=notify` that come after this one start now."""
STOPPING: Final = "STOPPING=1"
"""The server was asked to end, and does."""

_TAKES_S: Final = 1.0


def notify(*told: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell these lines; return whether somebody took them."""
    name = environment.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as teller:
        teller.settimeout(_TAKES_S)  # The queue of whoever listens may be full.
        try:
            teller.sendto("\n".join(told).encode(), _address(name))
        except OSError:
            return False
    return True


def _address(name: str) -> str:
    """Return a socket's address: `@` begins a name in the abstract name space, in which the kernel writes a zero."""
    return f"\0{name[1:]}" if name.startswith("@") else name
