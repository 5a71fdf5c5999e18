"""Take the flags that say what a receiver knows of what it is pushed, and say what looking at a request has brought."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from angarium.cli import reading
from angarium.cli.command import option
from angarium.core.checking import Checked, Expected, Found
from angarium.core.verifying import Problem, Verified


class Dialect(StrEnum):
    """The dialects that can be checked."""

    STANDARD = "standard"
    RADIOMANAGER = "radiomanager"
    CROWDMANAGER = "crowdmanager"
    SALESKING = "salesking"
    DASHBOARD = "dashboard"
    SPRINGEST = "springest"


DialectFlag = Annotated[Dialect | None, option("--dialect", help="The dialect; left out: recognised.")]
Secrets = Annotated[
    list[str] | None,
    option("--secret", help="whsec_… or whpk_…, radiomanager's secret, a salesking app's; or @file; repeat."),
]
ApiKey = Annotated[str | None, option("--api-key", help="Radiomanager: the key that must come, or @file.")]
ApiKeyHeader = Annotated[str, option("--api-key-header", help="Radiomanager: the header that it comes in.")]
SignatureHeader = Annotated[str, option("--signature-header", help="Radiomanager: the header of the HMAC.")]
Station = Annotated[str | None, option("--station", help="Radiomanager: the station that it must be for.")]

_BARE = Expected()
API_KEY_HEADER = _BARE.api_key_header
SIGNATURE_HEADER = _BARE.signature_header


def read(
    dialect: Dialect | None,
    secret: list[str] | None,
    api_key: str | None,
    station: str | None,
    api_key_header: str,
    signature_header: str,
) -> Expected:
    """Return what the flags say."""
    return Expected(
        dialect=dialect.value if dialect is not None else "",
        secrets=tuple(reading.secrets(secret, field="--secret")),
        api_key=reading.text_or_file(api_key, field="--api-key").strip() if api_key else "",
        station=station or "",
        api_key_header=api_key_header,
        signature_header=signature_header,
    )


def told(found: Found) -> tuple[str, str]:
    """Return in a few words what looking at a request has brought, and the style of that."""
    match found:
        case Verified(scheme, place):
            return f"verified: {scheme}, secret {place + 1}", "green"
        case Checked(dialect, looked_at, is_proven):
            if is_proven:
                return f"verified: {dialect} ({', '.join(looked_at)})", "green"
            return f"well-formed: {dialect}, and nothing was looked at that proves who sent it", "yellow"
        case Problem(fault, _, _):
            return f"not verified ({fault})", "red"


def document(found: Found | None) -> dict[str, Any]:
    """Return what looking at a request has brought, for programs: `verified` is null where nothing proves it."""
    match found:
        case Verified(scheme, place):
            return {"verified": True, "scheme": scheme, "secret": place}
        case Checked(dialect, looked_at, is_proven):
            return {"verified": True if is_proven else None, "dialect": dialect, "looked_at": list(looked_at)}
        case Problem(fault, detail, fix):
            return {"verified": False, "fault": fault, "detail": detail, "fix": fix}
        case None:
            return {"verified": None}
