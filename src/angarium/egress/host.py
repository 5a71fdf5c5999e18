"""Know what this machine has: its own addresses, and the certificate authorities that it trusts."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from angarium.core.addressing import IpAddress

_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD
)
_REFRESH_S = 10.0

# Linux, rtnetlink(7): how to ask for all addresses, and how they are told.
_RTM_GETADDR, _NLM_F_REQUEST_DUMP, _NLMSG_ERROR, _NLMSG_DONE, _IFA_ADDRESS, _IFA_LOCAL = 22, 0x301, 2, 3, 1, 2
_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBi")
_ATTRIBUTE = struct.Struct("=HH")


def find_ca_file() -> str | None:
    """Return the file of the system's certificate authorities, else certifi's, else None for libcurl's own."""
    configured: str | None = ssl.get_default_verify_paths().cafile  # None where there is no such file.
    for path in (configured, *_AUTHORITIES):
        if path and Path(path).is_file():
            return path
    try:
        import certifi  # noqa: PLC0415  only where the system has none
    except ImportError:
        return None
    return certifi.where()


class OwnAddresses:
    """The machine's addresses, read again every ten seconds; where the kernel does not tell them, there are none."""

    def __init__(self) -> None:
        self._known: frozenset[IpAddress] = frozenset()
        self._fresh_until = 0.0

    def __contains__(self, address: object) -> bool:
        """Say whether an address is this machine's own."""
        now = time.monotonic()
        if now >= self._fresh_until:
            self._known = frozenset(_addresses())
            self._fresh_until = now + _REFRESH_S
        return address in self._known


def _addresses() -> Iterator[IpAddress]:
    request = _HEADER.pack(17, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0) + b"\0"
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(1.0)
            kernel.send(request)
            is_done = False
            while not is_done:
                found, is_done = _parse(kernel.recv(65_536))
                yield from found
    except OSError:
        return


def _parse(data: bytes) -> tuple[list[IpAddress], bool]:
    """Return the addresses of one answer, and whether it was the last."""
    found: list[IpAddress] = []
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if kind in {_NLMSG_DONE, _NLMSG_ERROR} or length < _HEADER.size:
            return found, True
        found += _attributes(data[_HEADER.size + _IFADDRMSG.size : length])
        data = data[(length + 3) & ~3 :]
    return found, False


def _attributes(data: bytes) -> Iterator[IpAddress]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        value = data[_ATTRIBUTE.size : length]
        # Of a point-to-point link only the local end is ours.
        if kind == _IFA_LOCAL or (kind == _IFA_ADDRESS and len(value) == 16):
            yield ip_address(value)
        data = data[(length + 3) & ~3 :]
