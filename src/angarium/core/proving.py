"""Look at what proves who sent a request of an older system: RadioManager's key and HMAC, SalesKing's `signed_request`.

What proves a request by Standard Webhooks is `verifying`'s; what a body has to look like, `checking`'s. As there, when
nothing matches, the likely mistakes are tried one by one.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64decode
from hmac import compare_digest, digest
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from msgspec import Struct

from angarium.core.verifying import Fault, Problem, spellings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RADIOMANAGER: Final = ("action", "model", "model_id", "job_id", "resync", "station_id", "user_id", "api_id")
"""The members of a RadioManager message, in its document's order."""
PARAMETER: Final = "signed_request"
"""SalesKing's one form parameter."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PAYLOAD: Final = re.compile(r"[A-Za-z0-9_-]+")
_ALGORITHM: Final = "hmac-sha256"


class SignedRequest(Struct, frozen=True):
    """A `signed_request`: its signature, the text that was signed, and the JSON object in that."""

    signature: str
    payload: str
    document: dict[str, Any]


# -- RadioManager ------------------------------------------------------------------------------------------------------


def check_key(headers: Mapping[str, str], expected: str, *, name: str) -> Problem | None:
    """Return what is wrong with the key that a request shows in a header, if anything; header names in lower case."""
    shown = headers.get(name)
    if shown is None:
        elsewhere = next((other for other, value in headers.items() if value == expected), "")
        found = f"; the key stands in {elsewhere}" if elsewhere else ""
        fix = (
            f"expect it there, or set the subscription's option api_key_header to {name}"
            if elsewhere
            else "pass the headers on as they came; proxies and frameworks may drop or rename them"
        )
        return Problem(Fault.MISSING_HEADER, f"the request has no {name}{found}", fix)
    if compare_digest(shown.encode(), expected.encode()):
        return None
    if shown.strip() == expected.strip():
        detail, fix = "is right but for white space around it", "strip what is compared"
    elif shown.lower() == expected.lower():
        detail, fix = "differs from the one expected in upper and lower case", "compare it as it is, and copy it so"
    else:
        detail, fix = "is not the one expected", "compare it with the subscription's option api_key; else refuse it"
    return Problem(Fault.WRONG_KEY, f"the key in {name} {detail}", fix)


def check_hmac(body: bytes, headers: Mapping[str, str], secrets: Sequence[str], *, name: str) -> Problem | None:
    """Return what is wrong with the HMAC-SHA256 of a body in a header, if anything; header names in lower case."""
    shown = headers.get(name)
    if shown is None:
        return Problem(
            Fault.MISSING_HEADER,
            f"the request has no {name}, so it is not signed",
            "set the subscription's option secret; if it has one, pass the headers on as they came",
        )
    digests = [digest(secret.encode(), body, "sha256") for secret in secrets]
    if any(compare_digest(shown.encode(), each.hex().encode()) for each in digests):
        return None
    return (
        next((problem for each in digests if (problem := _misspelt(shown, each, name))), None)
        or _rewritten(body, shown, secrets)
        or Problem(
            Fault.WRONG_SECRET,
            f"{name} is not the body's HMAC under {'any of the secrets' if len(secrets) > 1 else 'the secret'}",
            "compare the secret with the subscription's option secret; else the body changed on the way",
        )
    )


def _misspelt(shown: str, expected: bytes, name: str) -> Problem | None:
    """Recognise the right HMAC in a wrong form."""
    if shown.strip().lower() == expected.hex():
        return Problem(Fault.BAD_SIGNATURE, f"{name} is right, but not in lower case alone", "write it as it was sent")
    if shown.rstrip("=") == b64encode(expected).decode().rstrip("="):
        return Problem(Fault.BAD_SIGNATURE, f"{name} is right, but in base64", "expect lower-case hexadecimal digits")
    if len(shown) >= 8 and expected.hex().startswith(shown.lower()):
        return Problem(
            Fault.TRUNCATED,
            f"{name} is right as far as it goes, but ends after {len(shown)} of 64 characters",
            "pass it on whole; a column, a shell or a log may have cut it off",
        )
    return None


def _rewritten(body: bytes, shown: str, secrets: Sequence[str]) -> Problem | None:
    for spelling, how in spellings(body, RADIOMANAGER):
        if any(shown == digest(secret.encode(), spelling, "sha256").hex() for secret in secrets):
            return Problem(
                Fault.REWRITTEN_BODY,
                f"the body is not the one that was signed; signed was the same {how}",
                "verify the raw bytes of the request, before anything parses them as JSON or text",
            )
    return None


# -- SalesKing ---------------------------------------------------------------------------------------------------------


def read_signed_request(body: bytes) -> SignedRequest | Problem:
    """Take a form with a `signed_request` apart, or say why that cannot be done. The bare value will do as well."""
    text = body.decode("utf-8", "replace")
    if PARAMETER in text:
        values = [value for name, value in parse_qsl(text, keep_blank_values=True) if name == PARAMETER]
    else:
        values = [text]
    if len(values) != 1:
        return Problem(Fault.BAD_FORM, f"the form has {len(values)} parameters {PARAMETER}", "send exactly one")
    signature, dot, payload = values[0].partition(".")
    if not dot or "." in payload:
        return Problem(
            Fault.BAD_FORM,
            f"{PARAMETER} has {values[0].count('.')} dots, expected one between signature and payload",
            "send the body as application/x-www-form-urlencoded, and pass it on unchanged",
        )
    if payload.strip() != payload or signature.strip() != signature:
        return Problem(Fault.BAD_FORM, f"{PARAMETER} has white space around it", "remove the line break")
    if not _PAYLOAD.fullmatch(payload):
        what = "padding" if payload.endswith("=") else "characters outside base64url"
        return Problem(Fault.BAD_FORM, f"the payload has {what}", "use base64url (- and _) without padding")
    return _read_payload(signature, payload)


def _read_payload(signature: str, payload: str) -> SignedRequest | Problem:
    try:
        document = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return Problem(Fault.BAD_FORM, "the payload is no JSON object in base64url", "pass the parameter on whole")
    return SignedRequest(signature, payload, document)


def check_signed_request(request: SignedRequest, secrets: Sequence[str]) -> Problem | None:
    """Return what is wrong with a signature, if anything; `secrets` are apps'."""
    if not any(compare_digest(request.signature.encode(), _signature(request.payload, each)) for each in secrets):
        which = "any of the secrets" if len(secrets) > 1 else "the secret"
        return next((problem for each in secrets if (problem := _almost(request, each))), None) or Problem(
            Fault.WRONG_SECRET,
            f"the signature is not the payload's HMAC under {which}",
            "compare it with the app's secret, which is not the subscription's; else the parameter changed on the way",
        )
    algorithm = request.document.get("algorithm")
    if not isinstance(algorithm, str) or algorithm.lower() != _ALGORITHM:
        found = "has no member algorithm" if algorithm is None else f"says that its algorithm is {algorithm!r}"
        return Problem(
            Fault.BAD_ALGORITHM,
            f"the signature is right, but the payload {found}, expected HMAC-SHA256",
            "refuse it, as SalesKing's own SDK does",
        )
    return None


def _signature(payload: str, secret: str) -> bytes:
    return digest(secret.encode(), payload.encode(), "sha256").hex().encode()


def _almost(request: SignedRequest, secret: str) -> Problem | None:
    """Recognise the right secret in a wrong use."""
    signature, payload = request.signature, request.payload
    expected = digest(secret.encode(), payload.encode(), "sha256")
    if problem := _misspelt(signature, expected, "the signature"):
        return problem
    if signature.replace("-", "+").replace("_", "/").rstrip("=") == b64encode(expected).decode().rstrip("="):
        return Problem(
            Fault.BAD_SIGNATURE,
            "the signature is right, but in base64url, as Facebook has it",
            "write it in lower-case hexadecimal digits",
        )
    decoded = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    if signature == digest(secret.encode(), decoded, "sha256").hex():
        return Problem(
            Fault.REWRITTEN_BODY, "the JSON was signed, not its base64url", "compute the HMAC of the encoded payload"
        )
    if not _DIGEST.fullmatch(signature):
        return Problem(
            Fault.BAD_SIGNATURE,
            f"the signature is {signature[:20]!r}…, expected 64 lower-case hexadecimal digits",
            "pass the parameter on unchanged",
        )
    return None
