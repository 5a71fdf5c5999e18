"""Check a request in any dialect as its receiver should, and tell why where it is wrong.

| dialect | form | proof |
|---|---|---|
| standard | | the signature (`verifying`) |
| radiomanager | an object of eight members | the key, and the HMAC where there is a secret; the station |
| crowdmanager | an array of push items, `eventTime` growing | none |
| salesking | one parameter `signed_request` | its HMAC under the app's secret |
| dashboard | an object of four texts | none |
| springest | `changes`, one for each object and id | none |

Without a key or a secret only the form is looked at: a request can then be right, but nothing proves who sent it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct

from angarium.core import proving
from angarium.core.moments import parse_us
from angarium.core.verifying import HEADERS, Fault, Problem, Verified, explain
from angarium.errors import FieldError

DIALECTS: Final = ("standard", "radiomanager", "crowdmanager", "salesking", "dashboard", "springest")
"""What can be checked."""

_OBSOLETE: Final = "iso-8859-2"
_MINUTE: Final = re.compile(r"\d{8} \d\d:\d\d")
_SUFFIX: Final = re.compile(r"\.(json|xml)$", re.IGNORECASE)


class Expected(Struct, frozen=True):
    """What a receiver knows of what it is pushed; what is left empty is not looked at. No dialect: it is recognised."""

    dialect: str = ""
    secrets: tuple[str, ...] = ()
    api_key: str = ""
    station: str = ""
    api_key_header: str = "api-key"
    signature_header: str = "x-radiomanager-signature"


class Checked(Struct, frozen=True):
    """A request is as its dialect wants it. `looked_at` says what was looked at; `is_proven`, whether a proof was."""

    dialect: str
    looked_at: tuple[str, ...]
    is_proven: bool


Found = Verified | Checked | Problem
"""What looking at a request has brought."""


def check(
    body: bytes, headers: Mapping[str, str], expected: Expected, *, now_s: float, tolerance_s: float = 300
) -> Found:
    """Check a request, or say what is wrong with it. A signature's moment may differ from `now_s` by `tolerance_s`."""
    dialect = expected.dialect or recognise(body, headers)
    if dialect == "standard":
        return explain(body, headers, expected.secrets, now_s=now_s, tolerance_s=tolerance_s)
    lower = {name.lower(): value for name, value in headers.items()}
    if dialect == "salesking":
        return _salesking(body, expected, now_s, tolerance_s)
    if dialect == "radiomanager":
        return _radiomanager(body, lower, expected)
    document = _read(body, lower)
    problem = document if isinstance(document, Problem) else _FORMS[dialect](document)
    return problem or Checked(dialect, ("form",), is_proven=False)


def recognise(body: bytes, headers: Mapping[str, str]) -> str:
    """Return the dialect that a request seems to be in: standard when it looks like no other."""
    lower = {name.lower(): value for name, value in headers.items()}
    if any(name in lower for name in HEADERS):
        return "standard"
    if body.startswith(proving.PARAMETER.encode() + b"="):
        return "salesking"
    match _read(body, lower):
        case [{"operation": _}, *_]:
            return "crowdmanager"
        case {"model": _, "job_id": _}:
            return "radiomanager"
        case {"changes": _}:
            return "springest"
        case {"country": _, "event": _, "time": _}:
            return "dashboard"
        case _:
            return "standard"


def read_json(body: bytes, headers: Mapping[str, str]) -> Any:  # noqa: ANN401  JSON
    """Return a body's JSON value, read in its charset; None when it is no JSON. Header names are in lower case."""
    charset = _OBSOLETE if _OBSOLETE in headers.get("content-type", "").lower() else "utf-8"
    try:
        return json.loads(body.decode(charset))
    except (ValueError, RecursionError):
        return None


def _read(body: bytes, headers: Mapping[str, str]) -> Any:  # noqa: ANN401  JSON, or a problem
    document = read_json(body, headers)
    if document is None:
        return Problem(
            Fault.BAD_FORM, "the body is no JSON", "pass the raw body on; it may have been decoded or cut off"
        )
    return document


# -- with a proof ------------------------------------------------------------------------------------------------------


def _radiomanager(body: bytes, headers: Mapping[str, str], expected: Expected) -> Checked | Problem:
    looked_at = ["form"]
    if expected.api_key:
        looked_at.append("api key")
        if problem := proving.check_key(headers, expected.api_key, name=expected.api_key_header.lower()):
            return problem
    if expected.secrets:
        looked_at.append("signature")
        name = expected.signature_header.lower()
        if problem := proving.check_hmac(body, headers, expected.secrets, name=name):
            return problem
    document = _read(body, headers)
    problem = document if isinstance(document, Problem) else _members(document, _MESSAGE, "the body")
    if problem is not None:
        return problem
    if expected.station:
        looked_at.append("station")
        if str(document["station_id"]) != expected.station:
            return Problem(
                Fault.OTHER_TENANT,
                f"station_id is {document['station_id']}, expected {expected.station}",
                "refuse it: it is for another station; give each station its own address or key",
            )
    return Checked("radiomanager", tuple(looked_at), bool(expected.api_key or expected.secrets))


def _salesking(body: bytes, expected: Expected, now_s: float, tolerance_s: float) -> Checked | Problem:
    request = proving.read_signed_request(body)
    if isinstance(request, Problem):
        return request
    if not expected.secrets:
        return Checked("salesking", ("form",), is_proven=False)
    problem = proving.check_signed_request(request, expected.secrets) or _stale(request.document, now_s, tolerance_s)
    return problem or Checked("salesking", ("form", "signature", "algorithm"), is_proven=True)


def _stale(document: Mapping[str, Any], now_s: float, tolerance_s: float) -> Problem | None:
    issued_at = document.get("issued_at")
    if not _is_moment(issued_at):
        return None  # SalesKing's own SDK does not look for it.
    age_s = now_s - parse_us(str(issued_at), field="issued_at") / 1_000_000
    if abs(age_s) <= tolerance_s:
        return None
    return Problem(
        Fault.STALE if age_s > 0 else Fault.FUTURE,
        f"the signature is right, but was made {abs(age_s):.0f} s {'ago' if age_s > 0 else 'in the future'}, "
        f"more than {tolerance_s:.0f} s",
        "refuse it as a replay; if it has just come, set this machine's clock; to look at an old one, allow more",
    )


# -- forms -------------------------------------------------------------------------------------------------------------

_Kind = tuple[Callable[[Any], bool], str]


def _is_moment(value: object) -> bool:
    try:
        return isinstance(value, str) and parse_us(value, field="") is not None
    except FieldError:
        return False


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _one_of(*words: str) -> _Kind:
    return (lambda value: value in words), f"one of {', '.join(words)}"


_TEXT: _Kind = (lambda value: isinstance(value, str)), "a text"
_ID: _Kind = (lambda value: _is_whole(value) or isinstance(value, str)), "a number"
_ID_OR_NULL: _Kind = (lambda value: value is None or _is_whole(value) or isinstance(value, str)), "a number or null"
_FLAG: _Kind = (lambda value: isinstance(value, bool)), "true or false"
_MOMENT: _Kind = _is_moment, "a moment such as 2026-11-22T08:59:58Z"
_STATE: _Kind = (lambda value: value is None or isinstance(value, str | dict | list)), "JSON in a text, or null"
_TIME: _Kind = (
    (lambda value: _is_moment(value) or (isinstance(value, str) and _MINUTE.fullmatch(value) is not None)),
    "a text such as 20240223 06:23",
)

_MESSAGE: Final[Mapping[str, _Kind]] = {
    "action": _one_of("create", "update", "delete", "recover"),
    "model": _TEXT,
    "model_id": _ID,
    "job_id": ((_is_whole), "a number"),
    "resync": _FLAG,
    "station_id": _ID,
    "user_id": _ID_OR_NULL,
    "api_id": _ID_OR_NULL,
}
_PUSH_ITEM: Final[Mapping[str, _Kind]] = {
    "operation": _one_of("add", "replace", "remove"),
    "path": _TEXT,
    "eventTime": _MOMENT,
    "value": _STATE,
    "contentType": _TEXT,
}
_INVOCATION: Final[Mapping[str, _Kind]] = {
    "id": _TEXT,
    "country": _TEXT,
    "event": _one_of("REGISTER", "CHANGE", "DELETE", "INVOKE"),
    "time": _TIME,
}
_CHANGE: Final[Mapping[str, _Kind]] = {
    "action": _one_of("import", "update", "destroy"),
    "object": _TEXT,
    "id": _ID,
}
_AS_DOCUMENTED: Final = "compare it with the system's document; what sends it may be another system"


def _bad(detail: str, fix: str = _AS_DOCUMENTED) -> Problem:
    return Problem(Fault.BAD_FORM, detail, fix)


def _members(value: object, kinds: Mapping[str, _Kind], place: str) -> Problem | None:
    if not isinstance(value, dict):
        return _bad(f"{place} is no object, expected one with {', '.join(kinds)}")
    for name, (is_it, expected) in kinds.items():
        if name not in value:
            return _bad(f"{place} has no {name}, expected {expected}")
        if not is_it(value[name]):
            return _bad(f"{name} of {place} is {json.dumps(value[name])[:60]}, expected {expected}")
    return None


def _crowdmanager(document: object) -> Problem | None:
    if not isinstance(document, list) or not document:
        return _bad("the body is no array of push items")
    for number, item in enumerate(document, start=1):
        if problem := _members(item, _PUSH_ITEM, f"push item {number}"):
            return problem
    moments = [parse_us(item["eventTime"], field="eventTime") for item in document]
    for number, (before, after) in enumerate(pairwise(moments), start=2):
        if after <= before:
            return _bad(
                f"eventTime of push item {number} is not after that of the one before it",
                "order the items by eventTime before they are used, and the last of an object is its actual state",
            )
    return None


def _springest(document: object) -> Problem | None:
    changes = document.get("changes") if isinstance(document, dict) else None
    if not isinstance(changes, list) or not changes:
        return _bad("the body has no changes, expected an array of at least one")
    seen: set[tuple[str, str]] = set()
    for number, change in enumerate(changes, start=1):
        problem = _members(change, _CHANGE, f"change {number}") or _fetch_address(change, f"change {number}")
        if problem:
            return problem
        if (what := (change["object"], str(change["id"]))) in seen:
            return _bad(f"{what[0]} {what[1]} changes twice", "fetch it once: what it is now is what counts")
        seen.add(what)
    return None


def _fetch_address(change: Mapping[str, Any], place: str) -> Problem | None:
    url = change.get("url")
    if change["action"] == "destroy":
        return _bad(f"{place} is a destroy, but has a url") if "url" in change else None
    if not isinstance(url, str):
        return _bad(f"{place} has no url, expected the address where the {change['object']} is fetched")
    if "?" in url or _SUFFIX.search(url):
        return _bad(f"the url of {place} has a format's extension or a query", "append them only when you fetch it")
    return None


def _dashboard(document: object) -> Problem | None:
    return _members(document, _INVOCATION, "the body")


_FORMS: Final[Mapping[str, Callable[[object], Problem | None]]] = {
    "crowdmanager": _crowdmanager,
    "dashboard": _dashboard,
    "springest": _springest,
}
