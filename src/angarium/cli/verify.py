"""Verify one request that somebody captured. What makes it right is `core.checking`'s to say."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

from angarium.cli import expecting, reading
from angarium.cli.command import local_command, option
from angarium.cli.failing import FAILED, MISUSED, Failure
from angarium.cli.screen import Screen
from angarium.core.checking import Found, check, recognise
from angarium.core.verifying import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELD = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+:[^\n]*")
_WITHOUT_HEADERS = ("crowdmanager", "salesking", "dashboard", "springest")
"""The dialects of which a body alone can be looked at."""


class Captured(NamedTuple):
    """A request as it came."""

    headers: Mapping[str, str]
    body: bytes


@local_command(
    "verify",
    examples=(
        "angarium verify --secret whsec_… < captured.http",
        "angarium verify --dialect radiomanager --api-key @key.txt --station 1 --body body.json --header 'api-key: …'",
    ),
)
def verify(
    screen: Screen,
    secret: expecting.Secrets = None,
    dialect: expecting.DialectFlag = None,
    api_key: expecting.ApiKey = None,
    station: expecting.Station = None,
    api_key_header: expecting.ApiKeyHeader = expecting.API_KEY_HEADER,
    signature_header: expecting.SignatureHeader = expecting.SIGNATURE_HEADER,
    body: Annotated[str, option(help="The body's file; - is standard input.")] = "-",
    header: Annotated[list[str] | None, option(help="A header, name: value; repeat.")] = None,
    tolerance: Annotated[str, option(help="So old it may be: 5m, 30d.")] = "5m",
) -> int:
    """Verify a request; say why where it fails.

    Without --header, the input is the whole request: headers, an empty line, the body; or a line of `receive --json`.
    Where a dialect has no headers to look at, the body alone will do.
    """
    expected = expecting.read(dialect, secret, api_key, station, api_key_header, signature_header)
    found = reading.read_bytes(body)
    given = Captured(reading.headers(header, field="--header"), found) if header else None
    captured = given or parse_captured(found, is_body_enough=expected.dialect in _WITHOUT_HEADERS)
    if (expected.dialect or recognise(captured.body, captured.headers)) == "standard" and not expected.secrets:
        raise Failure(
            "there is nothing to verify with",
            why="no --secret was given",
            fix="give the subscription's: --secret whsec_…, or --secret @file",
            code="usage",
            exit_code=MISUSED,
        )
    tolerance_s = reading.span_s(tolerance, field="--tolerance")
    return _show(screen, check(captured.body, captured.headers, expected, now_s=time.time(), tolerance_s=tolerance_s))


def parse_captured(text: bytes, *, is_body_enough: bool = False) -> Captured:
    """Return a request that was captured as HTTP, as a line of `angarium receive --json`, or as a body that says all.

    `is_body_enough`: take anything else for a body.
    """
    found = _from_document(text) or _from_http(text)
    if found is not None:
        return found
    if is_body_enough or recognise(text, {}) in _WITHOUT_HEADERS:
        return Captured({}, text.strip())
    raise Failure(
        "the input is no captured request",
        why="it has no headers before an empty line",
        fix="give the whole request, or the body with --header 'webhook-id: …' for each of its headers",
        code="bad_input",
    )


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


def _from_http(text: bytes) -> Captured | None:
    for gap in (b"\r\n\r\n", b"\n\n"):
        head, found, body = text.partition(gap)
        lines = [line.strip() for line in head.splitlines()]
        fields = [line for line in lines if b" HTTP/" not in line]
        if found and fields and all(_FIELD.fullmatch(line) for line in fields):
            return Captured(reading.headers([line.decode("latin-1") for line in fields], field="--body"), body)
    return None


def _show(screen: Screen, found: Found) -> int:
    said, style = expecting.told(found)
    if screen.is_json:
        screen.document(expecting.document(found))
    elif isinstance(found, Problem):
        for line in Failure(said, why=found.detail, fix=found.fix).lines():
            screen.line(line.removeprefix("error: "))
    else:
        screen.line(said, style=style)
    return FAILED if isinstance(found, Problem) else 0
