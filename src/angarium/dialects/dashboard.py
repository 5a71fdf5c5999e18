"""Speak the notifications of the dashboard service: each event alone, as an object of four texts.

A subscription is for one country, or for all; an event's country is its `attributes.country`. `id` is the
subscription's, `time` the event's, in UTC.

Sources: the dashboard service's `notifications.md`; contract sections 5.3 to 5.6; decisions 3, 7, 12 and 14.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from angarium.core.judging import judge_by_status
from angarium.core.moments import format_us
from angarium.core.vocabulary import narrowed
from angarium.dialects.common import (
    JSON,
    RESERVED,
    check_known,
    check_no_secret,
    choice_option,
    json_text,
    make_no_secret,
    post,
    text_option,
)
from angarium.dialects.dialect import Body, Dialect, Traits
from angarium.model.subscription import Batch, Ordering, Policy, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.dialects.dialect import Item, Sealed
    from angarium.model.subscription import Rule

ACTIONS = {"create": "REGISTER", "update": "CHANGE", "delete": "DELETE", "retrieve": "INVOKE"}
CATALOGUE: Mapping[str, Mapping[str, Any]] = {"dashboard": {}}

_TIMES = ("minute", "rfc3339")  # The first is the default.
_COUNTRY_MAX = 64


class _Attributes(Struct, gc=False):
    """What the publisher says of an event beside its data."""

    country: Raw = Raw(b"null")


_decode_attributes = msgspec.json.Decoder(_Attributes).decode
_decode_text = msgspec.json.Decoder(str).decode


def encode(sealed: Sealed, options: Mapping[str, Any]) -> Body:
    """Return a delivery's body: its one event, or the last one of what was sealed in another dialect."""
    return Body(encode_item(sealed.items[-1], options), JSON)


def encode_item(item: Item, options: Mapping[str, Any]) -> bytes:
    """Return one event as an invocation."""
    event = item.event
    moment_us = event.occurred_us or item.accepted_ms * 1000
    return b'{"id":%b,"country":%b,"event":%b,"time":%b}' % (
        json_text(str(options.get("id", ""))),
        json_text(_country(event.attributes)),
        json_text(ACTIONS.get(event.action, event.action)),
        json_text(
            format_us(moment_us) if options.get("time_format") == "rfc3339" else _minute(moment_us // 60_000_000)
        ),
    )


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options complete; `FieldError` for one that is unknown, or a value that is none of its own."""
    check_known(options, ("country", "time_format"), dialect="dashboard")
    return {
        "country": text_option(options, "country", "", length_max=_COUNTRY_MAX).strip().upper(),
        "time_format": choice_option(options, "time_format", _TIMES),
    }


def narrow(rule: Rule, options: Mapping[str, Any]) -> Rule:
    """Return a rule for the subscription's country only, with what the service has no word for left out."""
    country = options.get("country", "")
    return narrowed(_of_country(rule, country) if country else rule, ACTIONS)


def _of_country(rule: Rule, country: str) -> Rule:
    # The country needs its own object, for that is how many subscriptions are told apart without asking each.
    wanted = {"attributes": {"country": {"$in": sorted({country, country.lower()})}}}
    if not rule.pattern:
        return replace(rule, pattern=json_text(wanted))
    return replace(rule, pattern=json_text({**wanted, "$and": [Raw(rule.pattern)]}))


@lru_cache(maxsize=4096)
def _country(attributes: bytes) -> str:
    """Return the event's country in upper case; empty where it has none."""
    if not attributes:
        return ""
    text = bytes(_decode_attributes(attributes).country)
    return _decode_text(text).upper() if text[:1] == b'"' else ""


@lru_cache(maxsize=64)
def _minute(minutes: int) -> str:
    """Return minutes since the epoch as the service writes moments: `20240223 06:23`."""
    return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y%m%d %H:%M").rjust(14, "0")


DASHBOARD = Dialect(
    name="dashboard",
    traits=Traits(actions=ACTIONS, allows_http=True, catalogue=CATALOGUE, is_single=True),
    policy=Policy(
        ordering=Ordering.OBJECT,
        batch=Batch(),
        retry=Retry((5, 60, 300)),  # The service itself makes one attempt; three more do no harm.
    ),
    encode=encode,
    encode_item=encode_item,
    sign=post,
    judge=judge_by_status,
    check_options=check_options,
    check_secret=check_no_secret,
    make_secret=make_no_secret,
    reserved_headers=RESERVED,
    narrow=narrow,
)
"""The dashboard service of NTNU's PROG2005."""
