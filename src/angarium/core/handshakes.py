"""Ask a receiver whether it wants to be pushed to, and read its answer. Signing and sending happen elsewhere.

| handshake | asked | wanted |
|---|---|---|
| `challenge` | a POST of `{"type":"verification","challenge":"…"}` | 2xx and the challenge, as body or JSON member |
| `cloudevents` | OPTIONS with `WebHook-Request-Origin` | `WebHook-Allowed-Origin`, it or `*`, whatever the status |

The first is signed like a delivery. The second is "HTTP 1.1 Web Hooks for Event Delivery" 1.0.2, section 4; after it
each delivery names the origin too.
"""

from __future__ import annotations

import msgspec

from angarium.model.wire import Request, Response

REQUEST_ORIGIN = "webhook-request-origin"
"""The header that names the sender, in the `cloudevents` handshake and in every delivery after it."""

_SHOWN = 80


class _Answer(msgspec.Struct, frozen=True):
    challenge: str


def challenge_body(challenge: str) -> bytes:
    """Return the JSON that asks a receiver to answer with this challenge."""
    return b'{"type":"verification","challenge":%b}' % msgspec.json.encode(challenge)


def check_challenge(response: Response, challenge: str) -> str | None:
    """Say what is wrong with the answer to a challenge; None when nothing is."""
    if not 200 <= response.status <= 299:
        return f"answered {response.status}, expected 2xx with the challenge"
    if response.body.strip() == challenge.encode() or _member(response.body) == challenge:
        return None
    return (
        f"answered {response.status} with {_shown(response.body)}, "
        'expected the challenge as the body, or as {"challenge": "…"} in JSON'
    )


def origin_request(url: str, origin: str) -> Request:
    """Return the request that asks whether `origin` (a DNS name that stands for this sender) may push to a url."""
    return Request("OPTIONS", url, ((REQUEST_ORIGIN, origin),))


def check_origin(response: Response, origin: str) -> str | None:
    """Say what is wrong with the answer to an origin request; None when the receiver allows it."""
    allowed = [value.strip() for name, value in response.headers if name == "webhook-allowed-origin"]
    if "*" in allowed or origin.lower() in (name.lower() for name in allowed):
        return None
    found = f"WebHook-Allowed-Origin {allowed[0][:_SHOWN]!r}" if allowed else "no WebHook-Allowed-Origin"
    return f"answered {response.status} with {found}, expected WebHook-Allowed-Origin: {origin} (or *)"


def _member(body: bytes) -> str | None:
    try:
        answer = msgspec.json.decode(body, type=_Answer | str)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, str) else answer.challenge


def _shown(body: bytes) -> str:
    if not body.strip():
        return "an empty body"
    return repr(body[:_SHOWN].decode(errors="replace")) + ("…" if len(body) > _SHOWN else "")
