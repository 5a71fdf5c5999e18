"""Read what is published: JSON in, events out, or an error that names the field and the fix. Storing happens elsewhere.

| form | holds |
|---|---|
| JSON | one event, or an array of 1 to 1,000 |
| NDJSON | one event on each line, 1 to 10,000; empty lines count for nothing |

`data`, `actor` and `attributes` stay byte for byte what was published, without the white space around them; they are
checked to be JSON in UTF-8, but not read. Where an object has two members of one name, the last one counts on the
event's own level; inside `data` both are passed on. `null` stands for an absent member, except in `data`, where it is
data. A tenant or object id that is a number is the text of that number, as it was written.

In errors an event is `events[2]` when several could have come, and goes unnamed when it came alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import NoReturn

import msgspec
from msgspec import Raw, Struct

from angarium.core import jsontext
from angarium.core.catalogue import URL_MAX, Catalogue, is_url
from angarium.core.moments import parse_us
from angarium.errors import FieldError, TooLarge, UnsupportedType
from angarium.model.event import Event

REQUEST_BYTES_MAX = 8 * 1024 * 1024
EVENT_BYTES_MAX = 256 * 1024
EVENTS_MAX = 1000
LINES_MAX = 10_000
DEPTH_MAX = 64
NAME_MAX = 256
TENANT = "default"
"""The tenant of events that name none."""

_SPACE = b" \t\n\r"
_SHOWN = 80
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CHARSET = re.compile(r'charset\s*=\s*"?([^";\s]*)', re.IGNORECASE)


class Form(Enum):
    """How a publish writes its events."""

    JSON = "application/json"
    NDJSON = "application/x-ndjson"


_FORMS = {
    "": Form.JSON,  # Who says nothing means the usual.
    "application/json": Form.JSON,
    "application/x-ndjson": Form.NDJSON,
    "application/ndjson": Form.NDJSON,
    "application/jsonl": Form.NDJSON,
}
_ABSENT = Raw(b"")


class _Published(Struct, forbid_unknown_fields=True, gc=False):
    """An event as it comes."""

    object: str
    action: str
    object_id: Raw
    tenant: Raw = _ABSENT
    data: Raw = _ABSENT
    url: str | None = None
    actor: Raw = _ABSENT
    attributes: Raw = _ABSENT
    occurred_at: str | None = None


_REQUIRED = ("object", "action", "object_id")
_TEXTS = ("object", "action", "url", "occurred_at")
_decode = msgspec.json.Decoder(_Published).decode
_decode_array = msgspec.json.Decoder(list[Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


@lru_cache(maxsize=256)
def form_of(content_type: str) -> Form:
    """Return the form that a `Content-Type` names; `UnsupportedType` when it is none of ours."""
    media_type, _, parameters = content_type.partition(";")
    form = _FORMS.get(media_type.strip().lower())
    charset = _CHARSET.search(parameters)
    if form is None:
        raise UnsupportedType(
            f"the content type is {media_type.strip()[:_SHOWN]!r}, expected application/json or application/x-ndjson"
        )
    if charset is not None and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedType(f"the body is in {charset[1][:_SHOWN]!r}, expected utf-8")
    return form


def accept(body: bytes, form: Form, *, project: str, catalogue: Catalogue) -> tuple[Event, ...]:
    """Return the events that a publish's body holds, at least one.

    `Malformed` when it is not what its form says, `TooLarge` when it or an event in it is over its limit, `FieldError`
    for the first field that is wrong.
    """
    if len(body) > REQUEST_BYTES_MAX:
        raise TooLarge(f"the body has {len(body)} bytes, expected at most {REQUEST_BYTES_MAX}; send it in parts")
    jsontext.check_utf8(body, what="the body")
    if form is Form.NDJSON:
        return _lines(body, project, catalogue)
    if body[:1] == b"[" or body.lstrip(_SPACE)[:1] == b"[":
        return _array(body, project, catalogue)
    return (_event(body, "the body", project, catalogue),)


def _array(body: bytes, project: str, catalogue: Catalogue) -> tuple[Event, ...]:
    try:
        elements = _decode_array(body)
    except RecursionError:
        raise FieldError("", _TOO_DEEP) from None
    except msgspec.DecodeError as error:
        jsontext.refuse(body, error, what="the body")
    if not elements:
        raise FieldError("", "is an empty array, expected at least one event")
    if len(elements) > EVENTS_MAX:
        raise TooLarge(f"the array has {len(elements)} events, expected at most {EVENTS_MAX}; send it in parts")
    return _events(((f"events[{place}]", bytes(each)) for place, each in enumerate(elements)), project, catalogue)


def _lines(body: bytes, project: str, catalogue: Catalogue) -> tuple[Event, ...]:
    lines = [(f"line {number}", line) for number, line in enumerate(body.split(b"\n"), start=1) if line.strip(_SPACE)]
    if not lines:
        raise FieldError("", "holds no line with an event, expected at least one")
    if len(lines) > LINES_MAX:
        raise TooLarge(f"the body has {len(lines)} events, expected at most {LINES_MAX}; send it in parts")
    return _events(lines, project, catalogue)


def _events(texts: Iterable[tuple[str, bytes]], project: str, catalogue: Catalogue) -> tuple[Event, ...]:
    events: list[Event] = []
    try:
        for what, text in texts:
            events.append(_event(text, what, project, catalogue))
    except FieldError as error:
        place = f"events[{len(events)}]"
        raise FieldError(f"{place}.{error.field}" if error.field else place, error.detail) from error
    return tuple(events)


def _event(text: bytes, what: str, project: str, catalogue: Catalogue) -> Event:
    """Return one event; the fields of errors are those of the event, `what` names it as a whole."""
    if len(text) > EVENT_BYTES_MAX and len(text.strip(_SPACE)) > EVENT_BYTES_MAX:
        raise TooLarge(
            f"{what} has {len(text)} bytes, expected at most {EVENT_BYTES_MAX} for an event; "
            "publish less data, and the url where the rest can be fetched"
        )
    if jsontext.nests_deeper(text, DEPTH_MAX):
        raise FieldError("", _TOO_DEEP)
    try:
        published = _decode(text)
    except msgspec.ValidationError as error:
        _diagnose(text, error, what)
    except RecursionError:
        raise FieldError("", _TOO_DEEP) from None
    except msgspec.DecodeError as error:
        jsontext.refuse(text, error, what=what)
    kind = catalogue.type_of(published.object, published.action)
    object_id = _name(bytes(published.object_id), "object_id")
    tenant = bytes(published.tenant)
    tenant_name = _name(tenant, "tenant") if tenant and tenant != b"null" else TENANT
    data = bytes(published.data)
    if kind.schema is not None and data:
        kind.schema.check(data)
    url = published.url
    if url is not None:
        _check_url(url)
    elif kind.url is not None:
        url = kind.url.fill(tenant=tenant_name, object_=kind.object, object_id=object_id)
    moment = published.occurred_at
    return Event(
        project,
        tenant_name,
        kind.object,
        object_id,
        kind.action,
        data,
        url or "",
        _object(bytes(published.actor), "actor"),
        _object(bytes(published.attributes), "attributes"),
        0 if moment is None else _moment(moment),
    )


_TOO_DEEP = f"nests deeper than {DEPTH_MAX} levels; write it flatter, or put the inner part into a text"


def _name(text: bytes, field: str) -> str:
    """Return a publisher's own id: a text, or a number as it was written."""
    first = text[:1]
    if first == b'"':
        name = _decode_text(text) if b"\\" in text else text[1:-1].decode()
    elif first in b"-0123456789":
        name = text.decode()
    else:
        raise FieldError(field, f"is {jsontext.kind(text)}, expected a text or a number")
    if not name:
        raise FieldError(field, "is empty, expected a text or a number")
    if len(name) > NAME_MAX:
        raise FieldError(field, f"is {len(name)} characters long, expected at most {NAME_MAX}")
    if not name.isprintable() and (control := _CONTROL.search(name)):
        raise FieldError(field, f"holds the control character U+{ord(control[0]):04X}; leave it out")
    return name


def _object(text: bytes, field: str) -> bytes:
    """Return the JSON of an object as it was published; empty when absent."""
    if not text or text[:1] == b"{":
        return text
    if text == b"null":
        return b""
    raise FieldError(field, f"is {jsontext.kind(text)}, expected an object")


@lru_cache(maxsize=1024)  # What happens in one second is published with one text.
def _moment(text: str) -> int:
    return parse_us(text, field="occurred_at")


def _check_url(url: str) -> None:
    if len(url) > URL_MAX:
        raise FieldError("url", f"is {len(url)} characters long, expected at most {URL_MAX}")
    if not is_url(url):
        raise FieldError("url", f"is {url[:_SHOWN]!r}, expected an address such as https://api.example.com/items/49")


def _diagnose(text: bytes, error: Exception, what: str) -> NoReturn:
    """Say which member makes this JSON no event."""
    kind = jsontext.kind(text.lstrip(_SPACE))
    if kind != "an object":
        raise FieldError("", f"is {kind}, expected an event, an object with {', '.join(_REQUIRED)}")
    try:
        members = _decode_members(text)
    except msgspec.DecodeError as broken:  # What is wrong with a member is said before the text is read to its end.
        jsontext.refuse(text, broken, what=what)
    known = _Published.__struct_fields__
    for name in members:
        if name not in known:
            raise FieldError(name[:_SHOWN], f"is unknown; an event has {', '.join(known)}")
    for name in _REQUIRED:
        if name not in members:
            raise FieldError(name, f"is missing; an event needs {', '.join(_REQUIRED)}")
    for name in _TEXTS:
        found = jsontext.kind(bytes(members[name])) if name in members else "a text"
        if found != "a text":
            raise FieldError(name, f"is {found}, expected a text")
    raise FieldError("", f"is no event: {error}")  # Such as a wrong member that a right one of its name follows.
