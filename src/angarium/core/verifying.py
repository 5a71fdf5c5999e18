"""Verify a request that claims to be signed by Standard Webhooks, and tell why where it is not. Signing is `signing`'s.

The signature is looked at first and the moment last, for what is verified by hand was mostly caught long ago. When no
signature matches, the likely mistakes are tried one by one, from the most telling to the least: another scheme, a
shortened or hexadecimal signature, a secret used as it is written, a body that was parsed and written again.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from enum import StrEnum
from hmac import compare_digest, digest
from itertools import product
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from angarium.core.signing import PRIVATE_PREFIX, PUBLIC_PREFIX, SYMMETRIC_PREFIX, Scheme, signed_content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
"""What a signed request has."""

_ED25519_KEY_BYTES = 32
_ED25519_PAIR_BYTES = 64
_SIGNATURE_BYTES = {Scheme.V1: 32, Scheme.V1A: 64}
_CUT_OFF_MIN = 8  # So many characters in common are no chance.
_MILLISECONDS = 10**11  # A timestamp above is no second before the year 5138.
_REWRITTEN_MAX = 256 * 1024  # Larger bodies are not tried in other spellings.
_ENVELOPE = ("id", "type", "timestamp", "tenant", "object", "object_id", "action", "data", "url", "actor", "events")


class Fault(StrEnum):
    """Why a request does not verify; a closed set that `angarium verify --json` shows."""

    MISSING_HEADER = "missing_header"
    BAD_TIMESTAMP = "bad_timestamp"
    BAD_SIGNATURE = "bad_signature"
    BAD_SECRET = "bad_secret"  # noqa: S105  the name of a fault
    OTHER_SCHEME = "other_scheme"
    TRUNCATED = "truncated"
    UNDECODED_SECRET = "undecoded_secret"  # noqa: S105  the name of a fault
    REWRITTEN_BODY = "rewritten_body"
    WRONG_SECRET = "wrong_secret"  # noqa: S105  the name of a fault
    STALE = "stale"
    FUTURE = "future"
    WRONG_KEY = "wrong_key"
    OTHER_TENANT = "other_tenant"
    BAD_ALGORITHM = "bad_algorithm"
    BAD_FORM = "bad_form"


class Verified(Struct, frozen=True):
    """The request is authentic: by which scheme, and by which of the secrets, from 0."""

    scheme: Scheme
    secret: int


class Problem(Struct, frozen=True):
    """Why the request does not verify: what was found, and what to do."""

    fault: Fault
    detail: str
    fix: str


class _Claim(Struct, frozen=True):
    """What a request's headers say: its id, its moment, and its signatures as (version, base64)."""

    message_id: str
    sent_at_s: int
    signatures: tuple[tuple[str, str], ...]


class _Key(Struct, frozen=True):
    """What a signature is checked with: an HMAC key, or a public key. `text` is the secret as it was given."""

    scheme: Scheme
    text: str
    raw: bytes


def explain(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[str], *, now_s: float, tolerance_s: float = 300
) -> Verified | Problem:
    """Verify a request, or say why it does not verify.

    `headers` are those that came, in any case; `secrets` are `whsec_…` (its prefix may be missing), `whpk_…` or
    `whsk_…`; `now_s` is wall-clock seconds, from which `webhook-timestamp` may differ by `tolerance_s`.
    """
    claim = _read_claim({name.lower(): value.strip() for name, value in headers.items()})
    if isinstance(claim, Problem):
        return claim
    if not secrets:
        return _bad_secret("is missing")
    keys: list[_Key] = []
    for text in secrets:
        key = _read_key(text.strip())
        if isinstance(key, Problem):
            return key
        keys.append(key)
    content = signed_content(claim.message_id, claim.sent_at_s, body)
    for place, key in enumerate(keys):
        if _signs(key, claim, content):
            return _check_moment(claim.sent_at_s, now_s, tolerance_s) or Verified(key.scheme, place)
    return _why(body, claim, keys)


def _read_claim(headers: Mapping[str, str]) -> _Claim | Problem:
    missing = [name for name in HEADERS if not headers.get(name)]
    if missing:
        return Problem(
            Fault.MISSING_HEADER,
            f"the request has no {' and no '.join(missing)}",
            "pass the headers on as they came; proxies and frameworks may drop or rename them",
        )
    timestamp = headers["webhook-timestamp"]
    if not (timestamp.isascii() and timestamp.isdigit()) or int(timestamp[:20]) >= _MILLISECONDS:
        return Problem(
            Fault.BAD_TIMESTAMP,
            f"webhook-timestamp is {timestamp[:40]!r}",
            "send whole seconds since 1970, neither milliseconds nor a date",
        )
    entries = tuple(entry.partition(",")[::2] for entry in headers["webhook-signature"].split())
    signatures = tuple((version, text) for version, text in entries if version in list(Scheme) and text)
    if not signatures:
        return Problem(
            Fault.BAD_SIGNATURE,
            f"webhook-signature is {headers['webhook-signature'][:20]!r}…, without an entry of v1 or v1a",
            "send entries such as v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=, separated by spaces",
        )
    return _Claim(headers["webhook-id"], int(timestamp), signatures)


def _read_key(text: str) -> _Key | Problem:
    prefix = next((known for known in (PUBLIC_PREFIX, PRIVATE_PREFIX) if text.startswith(known)), "")
    raw = _decode(text.removeprefix(prefix or SYMMETRIC_PREFIX))
    match prefix, raw:
        case (_, None | b""):
            return _bad_secret("is not base64 after its prefix")
        case (prefix, bytes()) if prefix == PUBLIC_PREFIX and len(raw) == _ED25519_KEY_BYTES:
            return _Key(Scheme.V1A, text, raw)
        case (prefix, bytes()) if prefix == PRIVATE_PREFIX and len(raw) in {_ED25519_KEY_BYTES, _ED25519_PAIR_BYTES}:
            private = Ed25519PrivateKey.from_private_bytes(raw[:_ED25519_KEY_BYTES])
            return _Key(Scheme.V1A, text, private.public_key().public_bytes_raw())
        case ("", bytes()):
            return _Key(Scheme.V1, text, raw)
        case _:
            return _bad_secret(f"begins with {prefix} but is no Ed25519 key")


def _bad_secret(found: str) -> Problem:
    return Problem(Fault.BAD_SECRET, f"the secret {found}", "copy the whole secret, as it was shown: whsec_… or whpk_…")


def _decode(text: str) -> bytes | None:
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None


def _signs(key: _Key, claim: _Claim, content: bytes) -> bool:
    signatures = [_decode(text) for version, text in claim.signatures if version == key.scheme]
    if key.scheme is Scheme.V1:
        expected = digest(key.raw, content, "sha256")
        return any(compare_digest(signature or b"", expected) for signature in signatures)
    return any(_is_signed(key.raw, signature or b"", content) for signature in signatures)


def _is_signed(public: bytes, signature: bytes, content: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _check_moment(sent_at_s: int, now_s: float, tolerance_s: float) -> Problem | None:
    age_s = now_s - sent_at_s
    if age_s > tolerance_s:
        return Problem(
            Fault.STALE,
            f"the signature is right, but was made {age_s:.0f} s ago, more than {tolerance_s:.0f} s",
            "refuse it as a replay; if it has just come, set this machine's clock; to look at an old one, allow more",
        )
    if age_s < -tolerance_s:
        return Problem(
            Fault.FUTURE,
            f"the signature is right, but was made {-age_s:.0f} s in the future, more than {tolerance_s:.0f} s",
            "set this machine's clock, or the sender's",
        )
    return None


def _why(body: bytes, claim: _Claim, keys: Sequence[_Key]) -> Problem:
    return (
        _almost_right(body, claim, keys)
        or _other_scheme(claim, keys)
        or _misshapen(claim)
        or _undecoded(body, claim, keys)
        or _rewritten(body, claim, keys)
        or Problem(
            Fault.WRONG_SECRET,
            f"no signature matches {'any of the secrets' if len(keys) > 1 else 'the secret'}",
            "compare the secret with the subscription's or rotate it; else body, id or timestamp changed on the way",
        )
    )


def _almost_right(body: bytes, claim: _Claim, keys: Sequence[_Key]) -> Problem | None:
    content = signed_content(claim.message_id, claim.sent_at_s, body)
    for key, (version, text) in product(keys, claim.signatures):
        if key.scheme is Scheme.V1 and (problem := _almost(digest(key.raw, content, "sha256"), version, text)):
            return problem
    return None


def _almost(expected: bytes, version: str, text: str) -> Problem | None:
    """Recognise the right HMAC in a wrong form."""
    if _is_cut_off(text, b64encode(expected).decode()):
        return Problem(
            Fault.TRUNCATED,
            f"the signature is right as far as it goes, but ends after {len(text)} of 44 characters",
            "pass webhook-signature on whole; a column, a shell or a log may have cut it off",
        )
    if text.lower() == expected.hex():
        return Problem(Fault.BAD_SIGNATURE, "the signature is right, but in hexadecimal", "write it in base64")
    if version == Scheme.V1A and _decode(text) == expected:
        return Problem(Fault.OTHER_SCHEME, "the signature is an HMAC that calls itself v1a", "send it as v1,…")
    return None


def _is_cut_off(text: str, expected: str) -> bool:
    bare = text.rstrip("=")
    return _CUT_OFF_MIN <= len(bare) < len(expected.rstrip("=")) and expected.startswith(bare)


def _other_scheme(claim: _Claim, keys: Sequence[_Key]) -> Problem | None:
    signed = {Scheme(version) for version, _ in claim.signatures}
    if signed & {key.scheme for key in keys}:
        return None
    if Scheme.V1 in signed:
        return Problem(
            Fault.OTHER_SCHEME,
            "the request is signed v1 (HMAC), but the key given is for v1a (Ed25519)",
            "verify with the subscription's whsec_… secret",
        )
    return Problem(
        Fault.OTHER_SCHEME,
        "the request is signed v1a (Ed25519), but the secret given is for v1 (HMAC)",
        "verify with the subscription's whpk_… public key",
    )


def _misshapen(claim: _Claim) -> Problem | None:
    lengths = [(len(_decode(text) or b""), Scheme(version)) for version, text in claim.signatures]
    if any(length == _SIGNATURE_BYTES[scheme] for length, scheme in lengths):
        return None
    length, scheme = lengths[0]
    return Problem(
        Fault.TRUNCATED if 0 < length < _SIGNATURE_BYTES[scheme] else Fault.BAD_SIGNATURE,
        f"the {scheme} signature is {length} bytes in base64, expected {_SIGNATURE_BYTES[scheme]}",
        "pass webhook-signature on whole and unchanged",
    )


def _undecoded(body: bytes, claim: _Claim, keys: Sequence[_Key]) -> Problem | None:
    content = signed_content(claim.message_id, claim.sent_at_s, body)
    for key in keys:
        bare = key.text.removeprefix(SYMMETRIC_PREFIX)
        spellings = {SYMMETRIC_PREFIX + bare: "with its prefix", bare: "without its prefix, but not decoded,"}
        for spelling, how in spellings.items():
            if key.scheme is Scheme.V1 and _signs(_Key(Scheme.V1, key.text, spelling.encode()), claim, content):
                return Problem(
                    Fault.UNDECODED_SECRET,
                    f"the signer used the secret {how} as the key",
                    "remove whsec_ and decode the rest from base64: those bytes are the key",
                )
    return None


def _rewritten(body: bytes, claim: _Claim, keys: Sequence[_Key]) -> Problem | None:
    for spelling, how in spellings(body):
        content = signed_content(claim.message_id, claim.sent_at_s, spelling)
        if spelling != body and any(_signs(key, claim, content) for key in keys):
            return Problem(
                Fault.REWRITTEN_BODY,
                f"the body is not the one that was signed; signed was the same {how}",
                "verify the raw bytes of the request, before anything parses them as JSON or text",
            )
    return None


def spellings(body: bytes, envelope: Sequence[str] = _ENVELOPE) -> Iterator[tuple[bytes, str]]:
    """Yield what a body may have been before something rewrote it, and how that differs from what came.

    `envelope` is the order of a JSON object's members as they are sent.
    """
    if len(body) > _REWRITTEN_MAX:
        return
    yield body.strip(), "without the white space around it"
    yield body + b"\n", "with a line break at its end"
    yield body.replace(b"\r\n", b"\n"), "with LF for line breaks"
    yield body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), "with CRLF for line breaks"
    yield body.removeprefix(b"\xef\xbb\xbf"), "without a byte order mark"
    yield _BETWEEN_TOKENS.sub(rb"\1", body), "JSON without white space"
    try:
        yield from _json_spellings(json.loads(body), envelope)
    except (ValueError, RecursionError):
        return


def _json_spellings(value: object, envelope: Sequence[str]) -> Iterator[tuple[bytes, str]]:
    for (order, ordered), (style, written), is_ascii in product(
        _orders(value, envelope), _STYLES.items(), (False, True)
    ):
        text = json.dumps(ordered, ensure_ascii=is_ascii, **written)
        how = f"JSON {style}{order}{', in ASCII' if is_ascii else ''}"
        yield text.encode("utf-8", "surrogatepass"), how
        yield text.encode("utf-8", "surrogatepass") + b"\n", f"{how}, with a line break at its end"
        yield text.replace("/", "\\/").encode("utf-8", "surrogatepass"), f"{how}, with / escaped"


_BETWEEN_TOKENS = re.compile(rb'("(?:[^"\\]|\\.)*")|\s+')
_STYLES: Mapping[str, Mapping[str, Any]] = {
    "without white space": {"separators": (",", ":")},
    "with a space after each comma and colon": {},
    "indented by two": {"indent": 2},
    "indented by four": {"indent": 4},
}


def _orders(value: object, envelope: Sequence[str]) -> Iterator[tuple[str, object]]:
    """Return a JSON value with its members as they are, sorted, and as our own envelope has them."""
    yield "", value
    yield ", its members sorted", json.loads(json.dumps(value, sort_keys=True))
    yield ", its members in the order of the envelope", _as_envelope(value, envelope)


def _as_envelope(value: object, envelope: Sequence[str]) -> object:
    if not isinstance(value, dict):
        return value
    known = {name: value[name] for name in envelope if name in value}
    events = known.get("events")
    if isinstance(events, list):
        known["events"] = [_as_envelope(event, envelope) for event in events]
    return {**known, **{name: member for name, member in value.items() if name not in known}}
