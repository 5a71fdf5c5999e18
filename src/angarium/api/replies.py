"""Hold whole answers as values, and write them as HTTP/1.1."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Reply(NamedTuple):
    """One whole answer: header names in lower case, without those of the connection and the length."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return all header fields, the length included, as ASGI takes them."""
        fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in self.headers]
        return [*fields, (b"content-length", b"%d" % len(self.body))]

    def written(self, before: bytes = b"", after: bytes = b"") -> bytes:
        """Return the answer as it goes over the wire, with other header lines before and after its own."""
        lines = b"".join(b"%b: %b\r\n" % field for field in self.fields())
        return b"%b%b%b%b\r\n%b" % (_STATUS_LINES[self.status], before, lines, after, self.body)
