"""Speak Standard Webhooks: our envelope or CloudEvents 1.0, signed `v1` or `v1a`.

One event is `{"id", "type", "timestamp", "tenant", "object", "object_id", "action", "data", "url", "actor"}`, absent
members left out; a batch is `{"id", "type": "batch", "timestamp", "events": […]}` with the moment of its last event, so
that it is the same however often it is encoded. As CloudEvents they go in the structured and the batched JSON format:
`source` is `/{project}/{tenant}`, `subject` the object's id, and `url` and `actor` are extension attributes, the latter
as JSON text in a string. `data` stays byte for byte what was published; nothing here parses it.

Sources: Standard Webhooks 1.0.0; CloudEvents 1.0.2 with its JSON event format.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec.json import Encoder

from angarium import __version__
from angarium.core import signing as core_signing
from angarium.core.judging import judge_by_status
from angarium.core.moments import format_us
from angarium.core.signing import Scheme
from angarium.dialects.dialect import Body, Dialect, Traits
from angarium.errors import FieldError
from angarium.model.subscription import Batch, Ordering, Policy, Retry
from angarium.model.wire import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.dialects.dialect import Item, Sealed, Signing

_CHOICES = {"envelope": ("webhook", "cloudevents"), "signature": ("v1", "v1a")}  # The first of each is the default.
_USER_AGENT = f"Angarium/{__version__}"
# Control characters and noncharacters, which no CloudEvents attribute may hold (section "Type System").
_UNSAYABLE = re.compile("[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")

_json = Encoder().encode


def encode(sealed: Sealed, options: Mapping[str, Any]) -> Body:
    """Return a delivery's body: the one event, or a batch when the subscription asked for batches."""
    is_cloudevents = options.get("envelope") == "cloudevents"
    if not sealed.is_batch:
        content_type = "application/cloudevents+json" if is_cloudevents else "application/json"
        return Body(encode_item(sealed.items[0], options), content_type)
    events = b",".join([encode_item(item, options) for item in sealed.items])
    if is_cloudevents:
        return Body(b"[%b]" % events, "application/cloudevents-batch+json")
    last = sealed.items[-1]
    head = b'{"id":"%b","type":"batch","timestamp":"%b","events":[' % (sealed.id.encode(), _timestamp(last))
    return Body(b"%b%b]}" % (head, events), "application/json")


def encode_item(item: Item, options: Mapping[str, Any]) -> bytes:
    """Return one event as JSON, in the envelope that the subscription asked for."""
    return _cloudevent(item) if options.get("envelope") == "cloudevents" else _webhook(item)


def sign(body: Body, signing: Signing) -> Request:
    """Return one attempt's request, its moment and signatures made anew; without a secret it goes unsigned."""
    headers = [
        ("content-type", body.content_type),
        ("user-agent", _USER_AGENT),
        ("webhook-id", signing.message_id),
        ("webhook-timestamp", str(signing.sent_at_s)),
    ]
    if signing.secrets:
        headers.append(("webhook-signature", _signature(body, signing)))
    if signing.is_replay:
        headers.append(("angarium-replay", "true"))
    if signing.is_test:
        headers.append(("angarium-test", "true"))
    headers.extend(signing.headers.items())
    return Request("POST", signing.url, tuple(headers), body.content)


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dialect's options complete; `FieldError` for a member or value that it does not know."""
    for name, value in options.items():
        if name not in _CHOICES:
            raise FieldError(f"options.{name}", f"is unknown to the standard dialect, which has {', '.join(_CHOICES)}")
        if value not in _CHOICES[name]:
            raise FieldError(f"options.{name}", f"is {value!r}, expected one of {', '.join(_CHOICES[name])}")
    return {name: options.get(name, choices[0]) for name, choices in _CHOICES.items()}


def check_secret(text: str, options: Mapping[str, Any]) -> bytes:
    """Return a given secret as it is kept; `FieldError` when it does not fit the signature option."""
    return core_signing.check_secret(text, _scheme(options))


def make_secret(dice: bytes, options: Mapping[str, Any]) -> tuple[bytes, str]:
    """Make a secret of 32 random bytes; return it as kept, and as shown: for `v1a` the public key."""
    return core_signing.make_secret(dice, _scheme(options))


def _webhook(item: Item) -> bytes:
    event = item.event
    kind, end = _kind(event.object, event.action)
    data = event.data if item.state is None else item.state
    return b"".join(
        (
            b'{"id":"',
            item.id.encode(),
            kind,
            _timestamp(item),
            b'","tenant":',
            _json(event.tenant),
            end[0],
            _json(event.object_id),
            end[1],
            b',"data":' + data if data else b"",
            b',"url":' + _json(event.url) if event.url else b"",
            b',"actor":' + event.actor if event.actor else b"",
            b"}",
        )
    )


@lru_cache(maxsize=4096)  # A project has some dozens of types.
def _kind(object_: str, action: str) -> tuple[bytes, tuple[bytes, bytes]]:
    """Return what the envelope says of a type: after the id, before the object's id, and after it."""
    kind = b'","type":%b,"timestamp":"' % _json(f"{object_}.{action}")
    return kind, (b',"object":%b,"object_id":' % _json(object_), b',"action":%b' % _json(action))


def _cloudevent(item: Item) -> bytes:
    event = item.event
    data = event.data if item.state is None else item.state
    return b"".join(
        (
            b'{"specversion":"1.0","id":"',
            item.id.encode(),
            b'","source":',
            _source(event.project, event.tenant),
            b',"type":',
            _json(event.type),
            b',"subject":' + _json(event.object_id) if event.object_id else b"",
            b',"time":"',
            _timestamp(item),
            b'"',
            b',"url":' + _json(event.url) if event.url else b"",
            b',"actor":' + _json(_sayable(event.actor)) if event.actor else b"",
            b',"datacontenttype":"application/json","data":' + data if data else b"",
            b"}",
        )
    )


@lru_cache(maxsize=4096)
def _source(project: str, tenant: str) -> bytes:
    return _json(f"/{quote(project, safe='')}/{quote(tenant, safe='')}")


def _sayable(json_text: bytes) -> str:
    # Below the space JSON text holds only white space between its tokens; above it all can be escaped.
    return _UNSAYABLE.sub(lambda found: " " if found[0] < " " else f"\\u{ord(found[0]):04x}", json_text.decode())


def _timestamp(item: Item) -> bytes:
    return format_us(item.event.occurred_us or item.accepted_ms * 1000).encode()


def _signature(body: Body, signing: Signing) -> str:
    return core_signing.sign(
        signing.secrets, message_id=signing.message_id, sent_at_s=signing.sent_at_s, body=body.content
    )


def _scheme(options: Mapping[str, Any]) -> Scheme:
    return Scheme(options.get("signature", "v1"))


STANDARD = Dialect(
    name="standard",
    traits=Traits(makes_secret=True),
    policy=Policy(
        ordering=Ordering.OBJECT,
        batch=Batch(),
        # Standard Webhooks, "Deliverability and reliability": ten attempts over three days.
        retry=Retry((5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)),
    ),
    encode=encode,
    encode_item=encode_item,
    sign=sign,
    judge=judge_by_status,
    check_options=check_options,
    check_secret=check_secret,
    make_secret=make_secret,
    reserved_headers=("angarium-*", "user-agent", "webhook-*"),
)
"""The dialect of new projects."""
