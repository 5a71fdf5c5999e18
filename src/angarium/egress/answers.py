"""Turn what libcurl says of a finished transfer into a `Response`, or into the reason why there is none.

| how it ended | with the whole head of an answer | without |
|---|---|---|
| complete | the answer | – |
| we stopped reading: deadline, too long a body or head | the answer, as far as it was read | `timeout`, `bad_answer` |
| the receiver broke off | `reset` | `reset` |

So a status counts as soon as its head is there and *we* end the transfer; an answer that the receiver itself did not
finish counts for nothing, for it may have died before it did the work.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import pycurl

from angarium.model.wire import NoResponse, Phases, Reason, Response

if TYPE_CHECKING:
    from collections.abc import Iterable

BODY_MAX = 64 * 1024
"""How much of an answer's body is read, in bytes."""

_FREQUENT_BYTES_MAX = 256
_TOO_LARGE = 100  # CURLE_TOO_LARGE, which pycurl does not name.
_REASONS = {
    pycurl.E_OPERATION_TIMEDOUT: Reason.TIMEOUT,
    pycurl.E_COULDNT_CONNECT: Reason.REFUSED,
    pycurl.E_COULDNT_RESOLVE_HOST: Reason.DNS,
    pycurl.E_SEND_ERROR: Reason.RESET,
    pycurl.E_RECV_ERROR: Reason.RESET,
    pycurl.E_GOT_NOTHING: Reason.RESET,
    pycurl.E_PARTIAL_FILE: Reason.RESET,
    pycurl.E_UNSUPPORTED_PROTOCOL: Reason.BAD_ANSWER,  # HTTP/0.9, or a version that does not exist.
    pycurl.E_FTP_WEIRD_SERVER_REPLY: Reason.BAD_ANSWER,  # CURLE_WEIRD_SERVER_REPLY, of HTTP too.
    pycurl.E_WRITE_ERROR: Reason.BAD_ANSWER,
    _TOO_LARGE: Reason.BAD_ANSWER,
    pycurl.E_SSL_CONNECT_ERROR: Reason.TLS,
    pycurl.E_SSL_CERTPROBLEM: Reason.TLS,
    pycurl.E_SSL_CIPHER: Reason.TLS,
    pycurl.E_SSL_CACERT: Reason.TLS,  # CURLE_PEER_FAILED_VERIFICATION, the same number.
    pycurl.E_SSL_CACERT_BADFILE: Reason.TLS,
    pycurl.E_SSL_ISSUER_ERROR: Reason.TLS,
    pycurl.E_SSL_INVALIDCERTSTATUS: Reason.TLS,
}
_BAD_FRAMING = ("chunk", "hunk-", "header", "Content-Length", "Transfer-Encoding")
_ENDED_BY_US = frozenset({pycurl.E_OPERATION_TIMEDOUT, pycurl.E_WRITE_ERROR, _TOO_LARGE})


def phases(curl: pycurl.Curl, *, dns_us: int) -> Phases:
    """Return how long each phase of a finished transfer took; `dns_us` went by before libcurl was asked."""
    info = curl.getinfo
    total_us = dns_us + info(pycurl.TOTAL_TIME_T)
    first_byte_at = info(pycurl.STARTTRANSFER_TIME_T)
    if not info(pycurl.NUM_CONNECTS):
        return Phases(dns_us, 0, 0, first_byte_at, total_us)
    connected_at = info(pycurl.CONNECT_TIME_T)
    secured_at = info(pycurl.APPCONNECT_TIME_T)
    tls_us = max(secured_at - connected_at, 0)
    first_byte_us = max(first_byte_at - max(connected_at, secured_at), 0)
    return Phases(dns_us, connected_at, tls_us, first_byte_us, total_us)


def response(status: int, lines: Iterable[bytes], chunks: list[bytes], took: Phases) -> Response:
    """Return the answer; `lines` are the heads of all that came, interim ones (1xx) before the last."""
    if not chunks:
        body = b""
    else:
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if len(body) > BODY_MAX:
            body = body[:BODY_MAX]
    return Response(status, _headers(lines), body, took)


def _headers(lines: Iterable[bytes]) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for line in lines:
        header = _frequent(line) if len(line) <= _FREQUENT_BYTES_MAX else _header(line)
        if header is not None:
            headers.append(header)
        elif line.startswith(b"HTTP/"):
            headers.clear()  # What was before belonged to an interim answer.
    return tuple(headers)


def _header(line: bytes) -> tuple[str, str] | None:
    name, colon, value = line.decode("latin-1").partition(":")
    return (name.lower(), value.strip()) if colon and not name.startswith("HTTP/") else None


_frequent = lru_cache(maxsize=4096)(_header)  # Most receivers say the same each time: half of the cost of reading it.


def has_status(code: int, *, status: int, is_head_whole: bool, message: str) -> bool:
    """Say whether a transfer that ended with an error has a status that counts."""
    if status < 200:
        return False
    if code in _ENDED_BY_US:
        return is_head_whole or code == _TOO_LARGE
    return "Too large response headers" in message


def no_response(code: int, message: str, took: Phases) -> NoResponse:
    """Return why there was no answer, in our words for the reason and libcurl's for the detail."""
    if not code:
        return NoResponse(Reason.RESET, "the connection ended inside the answer's head", took)
    reason = _REASONS.get(code, Reason.INTERNAL)
    if code == pycurl.E_RECV_ERROR and any(word in message for word in _BAD_FRAMING):
        reason = Reason.BAD_ANSWER
    return NoResponse(reason, message or f"libcurl's error {code}", took)
