"""Verify one signed request that somebody captured. What makes a signature right is `core.verifying`'s to say."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

from angarium.cli import reading
from angarium.cli.command import local_command, option
from angarium.cli.failing import FAILED, MISUSED, Failure
from angarium.cli.screen import Screen
from angarium.core.verifying import Problem, Verified, explain

if TYPE_CHECKING:
    from collections.abc import Mapping


class Captured(NamedTuple):
    """A request as it came."""

    headers: Mapping[str, str]
    body: bytes


@local_command(
    "verify",
    examples=(
        "angarium verify --secret whsec_… < captured.http",
        "angarium verify --secret @secret.txt --body body.json --header 'webhook-id: evt_2b7' --header …",
    ),
)
def verify(
    screen: Screen,
    secret: Annotated[list[str] | None, option(help="whsec_… or whpk_…, or @file; repeat.")] = None,
    body: Annotated[str, option(help="The body's file; - is standard input.")] = "-",
    header: Annotated[list[str] | None, option(help="A header, name: value; repeat.")] = None,
    tolerance: Annotated[str, option(help="So old it may be: 5m, 30d.")] = "5m",
) -> int:
    """Verify a request; say why where it fails.

    Without --header, the input is the whole request: headers, an empty line, the body; or a line of `receive --json`.
    """
    secrets = reading.secrets(secret, field="--secret")
    if not secrets:
        raise Failure(
            "there is nothing to verify with",
            why="no --secret was given",
            fix="give the subscription's: --secret whsec_…, or --secret @file",
            code="usage",
            exit_code=MISUSED,
        )
    found = reading.read_bytes(body)
    captured = Captured(reading.headers(header, field="--header"), found) if header else parse_captured(found)
    tolerance_s = reading.span_s(tolerance, field="--tolerance")
    return _show(screen, explain(captured.body, captured.headers, secrets, now_s=time.time(), tolerance_s=tolerance_s))


def parse_captured(text: bytes) -> Captured:
    """Return a request that was captured as HTTP, or as a line of `angarium receive --json`."""
    return _from_document(text) or _from_http(text)


def _from_document(text: bytes) -> Captured | None:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    if (
        isinstance(document, dict)
        and isinstance(document.get("headers"), dict)
        and isinstance(document.get("body"), str)
    ):
        return Captured(document["headers"], document["body"].encode())
    return None


def _from_http(text: bytes) -> Captured:
    for gap in (b"\r\n\r\n", b"\n\n"):
        head, found, body = text.partition(gap)
        if found and b"webhook-" in head.lower():
            lines = [line.strip() for line in head.decode("latin-1").splitlines()]
            fields = [line for line in lines if ":" in line and " HTTP/" not in line]
            return Captured(reading.headers(fields, field="--body"), body)
    raise Failure(
        "the input is no captured request",
        why="it has no webhook- headers before an empty line",
        fix="give the whole request, or the body with --header 'webhook-id: …' for each of its headers",
        code="bad_input",
    )


def _show(screen: Screen, found: Verified | Problem) -> int:
    match found:
        case Verified(scheme, place):
            if screen.is_json:
                screen.document({"verified": True, "scheme": scheme, "secret": place})
            else:
                screen.line(f"verified: {scheme}, secret {place + 1}", style="green")
            return 0
        case Problem(fault, detail, fix):
            if screen.is_json:
                screen.document({"verified": False, "fault": fault, "detail": detail, "fix": fix})
            else:
                for line in Failure(f"not verified ({fault})", why=detail, fix=fix).lines():
                    screen.line(line.removeprefix("error: "))
            return FAILED
