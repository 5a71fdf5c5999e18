"""Speak CROWDMANAGER's Push API: batches of push items, in which every operation stays and shows the final state.

A body is an array of `{"operation", "path", "eventTime", "value", "contentType"}`, whichever of the two media types a
subscription has. What happened to one object several times within a batch is there as often, each time with the state
that the object has at its end: none, `null`, when it was removed. `eventTime` grows strictly within a batch, since that
is what receivers order by.

A url may hold `{org}`, the id of the organisation whose data it is, and may end in `#OBSOLETE-CHARSET`, which asks for
ISO 8859-2. A subscription is verified by a GET of its url with `Id` and `ValidationToken` added.

Sources: "Push API" (the founding document), sections Pushing Reliability, Batching, Format; the public set-up guide.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote

from msgspec.json import Encoder

from angarium import __version__
from angarium.core.judging import judge_by_status
from angarium.core.moments import digits_of, format_us
from angarium.core.vocabulary import narrowed
from angarium.dialects.dialect import Body, Dialect, Handshake, Traits
from angarium.errors import FieldError
from angarium.model.delivery import Gone, Outcome, Refused
from angarium.model.subscription import Batch, Coalesce, Ordering, Policy, Retry, Rule
from angarium.model.wire import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from angarium.dialects.dialect import Item, Sealed, Signing
    from angarium.model.wire import Response

JSON_API: Final = "application/vnd.api+json"
PLAIN: Final = "application/json"
FORMATS: Final = (JSON_API, PLAIN)
OBSOLETE_CHARSET: Final = "#OBSOLETE-CHARSET"
"""How a url ends that wants its bodies in ISO 8859-2."""

ACTIONS: Final = MappingProxyType({"create": "add", "recover": "add", "update": "replace", "delete": "remove"})
"""The operation of each action that can be said."""

CATALOGUE: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {"CustomerProfile": {}, "Activity": {}, "Consent": {}, "StreamEntry": {}}
)

_CHOICES: Final = {"format": FORMATS, "value_as": ("text", "object")}  # The first of each is the default.
_ENDS: Final = "delete"
_ORG: Final = re.compile(r"\{org\}|%7Borg%7D", re.IGNORECASE)
_CHARSET: Final = "iso-8859-2"
_UNSAYABLE: Final = re.compile(f"[^{re.escape(bytes(range(256)).decode(_CHARSET))}]")
_USER_AGENT: Final = f"Angarium/{__version__}"
_MILLISECOND_US: Final = 1000
_LATEST_US: Final = 253_402_300_799_999_999  # The last that can be written, at the end of 9999.

_json = Encoder().encode


def encode(sealed: Sealed, options: Mapping[str, Any]) -> Body:
    """Return a delivery's body, an array of push items, in the format and character set of the subscription."""
    last = {(item.event.object, item.event.object_id): item.event.action for item in sealed.items}
    written, moments_us = [], _growing(sealed.items)
    digits = max(map(digits_of, moments_us))  # The same for all, so that they are in order as texts too.
    for item, moment_us in zip(sealed.items, moments_us, strict=True):
        final = last[item.event.object, item.event.object_id] if item.state is not None else item.event.action
        event_time = format_us(moment_us, digits=digits)
        written.append(_push_item(item, event_time, options, is_removed=final == _ENDS))
    content, content_type = b"[%b]" % b",".join(written), options.get("format", JSON_API)
    if options.get("url", "").endswith(OBSOLETE_CHARSET):
        return Body(_obsolete(content), f"{content_type}; charset={_CHARSET}")
    return Body(content, content_type)


def encode_item(item: Item, options: Mapping[str, Any]) -> bytes:
    """Return one event as a push item."""
    return _push_item(item, format_us(_occurred_us(item)), options, is_removed=item.event.action == _ENDS)


def sign(body: Body, signing: Signing) -> Request:
    """Return one attempt's request, which carries no signature: the url is what only its receiver knows."""
    headers = (("content-type", body.content_type), ("user-agent", _USER_AGENT), *signing.headers.items())
    return Request("POST", address(signing.url, signing.options.get("tenant", "")), headers, body.content)


def judge(response: Response, now_s: float) -> Outcome:
    """Say what the receiver did: of what is gone the document knows nothing, it is tried again like the rest."""
    outcome = judge_by_status(response, now_s)
    return Refused(outcome.status) if isinstance(outcome, Gone) else outcome


@lru_cache(maxsize=4096)
def address(url: str, tenant: str) -> str:
    """Return where a url leads: without the mark of the character set, and with the organisation's id filled in."""
    organization = quote(tenant, safe="")
    return _ORG.sub(lambda _: organization, url.removesuffix(OBSOLETE_CHARSET))


def handshake(url: str, id_: str, token: str) -> Handshake:
    """Return the GET that tells a receiver a subscription's id and token, and wants nothing but a 200."""
    joint = "" if url.endswith(("?", "&")) else "&" if "?" in url else "?"
    asked = f"{url}{joint}Id={quote(id_, safe='')}&ValidationToken={quote(token, safe='')}"
    return Handshake(Request("GET", asked, (("user-agent", _USER_AGENT),)), _check_answer)


def narrow(rule: Rule, _: Mapping[str, Any]) -> Rule:
    """Return a rule that keeps to the actions which have an operation; `add` is a create and a recovery."""
    return narrowed(rule, ACTIONS)


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dialect's options complete; `FieldError` for a member or value that it does not know."""
    for name, value in options.items():
        if name not in _CHOICES:
            raise FieldError(f"options.{name}", f"is unknown to crowdmanager, which has {', '.join(_CHOICES)}")
        if value not in _CHOICES[name]:
            raise FieldError(f"options.{name}", f"is {value!r}, expected one of {', '.join(_CHOICES[name])}")
    return {name: options.get(name, choices[0]) for name, choices in _CHOICES.items()}


def check_secret(_: str, __: Mapping[str, Any]) -> NoReturn:
    """Refuse a secret: nothing is signed."""
    raise FieldError("secret", "is of no use to crowdmanager, which does not sign; leave it out")


def make_secret(_: bytes, __: Mapping[str, Any]) -> NoReturn:
    """Refuse to make a secret: nothing is signed."""
    raise FieldError("secret", "is of no use to crowdmanager, which does not sign")


def _check_answer(response: Response) -> str | None:
    return None if response.status == 200 else f"answered {response.status} to the validation, expected 200"


def _push_item(item: Item, event_time: str, options: Mapping[str, Any], *, is_removed: bool) -> bytes:
    event = item.event
    operation = ACTIONS.get(event.action, "replace").encode()
    data = event.data if item.state is None else item.state
    return b'{"operation":"%b","path":%b,"eventTime":"%b","value":%b,"contentType":%b}' % (
        operation,
        _json(event.url),
        event_time.encode(),
        _value(data, options) if data and not is_removed else b"null",
        _json(event.object),
    )


def _value(data: bytes, options: Mapping[str, Any]) -> bytes:
    return data if options.get("value_as") == "object" else _json(data.decode())


def _growing(items: Sequence[Item]) -> list[int]:
    """Return when each event occurred, in microseconds; what would not be later than the one before is made so."""
    moments_us: list[int] = []
    for item in items:
        moment_us = _occurred_us(item)
        if moments_us:
            moment_us = max(moment_us, min(moments_us[-1] + _MILLISECOND_US, _LATEST_US))
        moments_us.append(moment_us)
    return moments_us


def _occurred_us(item: Item) -> int:
    return item.event.occurred_us or item.accepted_ms * 1000


def _obsolete(text: bytes) -> bytes:
    """Return a JSON text in ISO 8859-2; what that lacks can only stand in texts, where it is escaped."""
    return _UNSAYABLE.sub(lambda found: json.dumps(found[0])[1:-1], text.decode()).encode(_CHARSET)


CROWDMANAGER: Final = Dialect(
    name="crowdmanager",
    traits=Traits(actions=ACTIONS, allows_http=True, catalogue=CATALOGUE, is_fat=True),
    policy=Policy(
        ordering=Ordering.OBJECT,
        batch=Batch(max_events=100, max_wait_ms=2000, coalesce=Coalesce.OPERATIONS),
        # "A maximum of 10 attempts at an increasing time interval", the last "approx 2,5 hours after first attempt".
        # Nothing is said of disabling, so later events are pushed however long it has been down.
        retry=Retry((200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800), jitter=0.0, disables=False),
    ),
    encode=encode,
    encode_item=encode_item,
    sign=sign,
    judge=judge,
    check_options=check_options,
    check_secret=check_secret,
    make_secret=make_secret,
    reserved_headers=("user-agent",),
    narrow=narrow,
    address=address,
    handshake=handshake,
)
"""The dialect of CROWDMANAGER's receivers."""
