"""Name what goes over the wire: requests, and what came back or why nothing did."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Reason(StrEnum):
    """Why an attempt ended as it did; a closed set that the API shows."""

    ACCEPTED = "accepted"
    STATUS = "status"
    GONE = "gone"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    RESET = "reset"
    DNS = "dns"
    TLS = "tls"
    BLOCKED = "blocked"
    BAD_ANSWER = "bad_answer"
    INTERNAL = "internal"


class Request(Struct, frozen=True, gc=False):
    """One HTTP request, ready to be sent: header names are lower-case, the body is what was signed."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


class Phases(Struct, frozen=True, gc=False):
    """How long each phase took, in microseconds, each from the end of the one before; 0 where it did not take place."""

    dns_us: int = 0
    connect_us: int = 0
    tls_us: int = 0
    first_byte_us: int = 0
    total_us: int = 0


class Response(Struct, frozen=True, gc=False):
    """What the receiver answered: header names lower-case, at most 64 KiB of the body, undecoded."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    phases: Phases = Phases()


class NoResponse(Struct, frozen=True):
    """Why there was no answer. `detail` is a sentence for people, without secrets."""

    reason: Reason
    detail: str = ""
    phases: Phases = Phases()


WITHHELD = NoResponse(Reason.INTERNAL, "it was not sent: whoever asked for it may send no more")
"""What a request comes to that was not begun because its `may_send` said no; told by identity, and no attempt."""
