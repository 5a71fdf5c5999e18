"""Give a process a network of its own, with one link to its database and another to its receivers.

The first can be pulled: packets are lost in both directions and nobody is told, while the receivers stay in reach.
"""

from __future__ import annotations

import os
import subprocess

from tests.stories.serving import Server

# Addresses for measurements (RFC 2544), which nobody else uses.
DATABASE_HOST, _DATABASE_FAR = "198.18.77.1", "198.18.77.2"
HOOKS_HOST, _HOOKS_FAR = "198.18.77.5", "198.18.77.6"
ALLOWED = f"{HOOKS_HOST}/32:1024-65535"
_NAME = f"angarium-{os.getpid()}"
_LINKS = {"angdb": (DATABASE_HOST, _DATABASE_FAR), "anghk": (HOOKS_HOST, _HOOKS_FAR)}


def can_be_made() -> bool:
    """Say whether this process may make networks."""
    if os.geteuid():
        return False
    if subprocess.run(["/bin/ip", "netns", "add", _NAME], capture_output=True, check=False).returncode:
        return False
    _ip("netns", "delete", _NAME)
    return True


class Namespace:
    """A network with two links to this one."""

    def open(self) -> None:
        """Make it."""
        _ip("netns", "add", _NAME)
        for link, (near, far) in _LINKS.items():
            _ip("link", "add", link, "type", "veth", "peer", "name", f"{link}-far", "netns", _NAME)
            _ip("address", "add", f"{near}/30", "dev", link)
            _ip("link", "set", link, "up")
            _ip("-n", _NAME, "address", "add", f"{far}/30", "dev", f"{link}-far")
            _ip("-n", _NAME, "link", "set", f"{link}-far", "up")
        _ip("-n", _NAME, "link", "set", "lo", "up")

    def cut(self) -> None:
        """Pull the link to the database."""
        _ip("link", "set", "angdb", "down")

    def mend(self) -> None:
        """Put it back."""
        _ip("link", "set", "angdb", "up")

    def close(self) -> None:
        """Take it away, the links with it."""
        _ip("netns", "delete", _NAME)


class FarServer(Server):
    """A server that runs there. It is ready when it says so, for nobody here reaches it."""

    _before = ("/bin/ip", "netns", "exec", _NAME)

    def _is_ready(self) -> bool:
        assert self.is_running, f"the server ended: {self.told()}"
        return "server.started" in self.told()


def _ip(*words: str) -> None:
    done = subprocess.run(["/bin/ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
