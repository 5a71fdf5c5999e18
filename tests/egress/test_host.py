"""Know what this machine has."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path

from angarium.egress.host import OwnAddresses, find_ca_file


def test_the_machine_s_addresses_are_its_own() -> None:
    own = OwnAddresses()
    assert ip_address("127.0.0.1") in own
    assert ip_address("192.0.2.250") not in own
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", 9))  # Sends nothing.
        assert ip_address(s.getsockname()[0]) in own


def test_there_are_authorities_to_trust() -> None:
    path = find_ca_file()
    assert path is not None
    assert "BEGIN CERTIFICATE" in Path(path).read_text(encoding="utf-8", errors="replace")
