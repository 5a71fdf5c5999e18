"""Speak Springest's hooks for trainings: changes in bundles, one for each object, each with the url to fetch it from.

Within a bundle the last change of an object counts; only an import, which says that all of an institute's trainings
have changed, outlasts the updates that follow it. A change's url has neither the suffix of a format nor a query, where
keys would stand; what was destroyed has no url. While a receiver is away its changes are kept, and each new try holds
what came since as well.

Sources: Springest, "Webhooks for Trainings API"; contract sections 6.1 to 6.9; decisions 6, 7, 13 and 14.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from angarium.core.catalogue import is_url
from angarium.core.judging import judge_by_status
from angarium.core.vocabulary import narrowed
from angarium.dialects.common import (
    JSON,
    RESERVED,
    check_known,
    check_no_secret,
    json_id,
    json_text,
    make_no_secret,
    post,
    text_option,
)
from angarium.dialects.dialect import Body, Dialect, Traits
from angarium.errors import FieldError
from angarium.model.delivery import Gone, Refused
from angarium.model.subscription import Batch, Coalesce, Ordering, Policy, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.dialects.dialect import Item, Sealed
    from angarium.model.delivery import Outcome
    from angarium.model.event import Event
    from angarium.model.subscription import Rule
    from angarium.model.wire import Response

ACTIONS = {"create": "update", "update": "update", "recover": "update", "delete": "destroy", "import": "import"}
CATALOGUE: Mapping[str, Mapping[str, Any]] = {
    "training": {"actions": ["update", "destroy"]},
    "institute": {"actions": ["import", "update", "destroy"]},
}

_SUFFIX = re.compile(r"(?<=[^/])\.(?:json|xml|html?|csv|ya?ml|js|txt|rss|atom)$", re.IGNORECASE)
_AUTHORITY = re.compile(r"[A-Za-z]+://[^/?#]*")
_URL_MAX = 2048


def encode(sealed: Sealed, options: Mapping[str, Any]) -> Body:
    """Return a delivery's body, its changes in the order in which they happened last."""
    return Body(b'{"changes":[%b]}' % b",".join([encode_item(item, options) for item in sealed.items]), JSON)


def encode_item(item: Item, options: Mapping[str, Any]) -> bytes:
    """Return one event as a change."""
    event = item.event
    action = ACTIONS.get(event.action, event.action)
    url = "" if action == "destroy" else _url(event, options.get("url_base", ""))
    return b'{"action":%b,"object":%b,"id":%b%b}' % (
        json_text(action),
        json_text(event.object),
        json_id(event.object_id),
        b',"url":' + json_text(url) if url else b"",
    )


def judge(response: Response, now_s: float) -> Outcome:
    """Say what the receiver did. It cannot end its subscription: it is tried "until it is working again"."""
    outcome = judge_by_status(response, now_s)
    return Refused(outcome.status) if isinstance(outcome, Gone) else outcome


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options complete; `FieldError` for one that is unknown, or a base that is no plain address."""
    check_known(options, ("url_base",), dialect="springest")
    base = text_option(options, "url_base", "", length_max=_URL_MAX).rstrip("/")
    if base and (not is_url(base) or "?" in base or "#" in base):
        raise FieldError("options.url_base", f"is {base[:80]!r}, expected such as http://api.springest.nl")
    return {"url_base": base} if base else {}


def narrow(rule: Rule, options: Mapping[str, Any]) -> Rule:
    """Return a rule with what Springest cannot say left out: what it has no word for, and changes without a url."""
    return narrowed(rule, ACTIONS, needs_url=not options.get("url_base"))


def _url(event: Event, base: str) -> str:
    """Return where an object is fetched, without suffix and query; empty where nothing says it."""
    if event.url:
        plain = event.url.partition("#")[0].partition("?")[0]
        host = _AUTHORITY.match(plain)
        start = host.end() if host else 0
        return plain[:start] + _SUFFIX.sub("", plain[start:])
    return f"{base}/{event.object}s/{quote(event.object_id, safe='')}" if base else ""


SPRINGEST = Dialect(
    name="springest",
    traits=Traits(
        actions=ACTIONS,
        allows_http=True,
        catalogue=CATALOGUE,
        merges=True,
        outlasts={"import": ("create", "update", "recover")},
    ),
    policy=Policy(
        # One POST at a time, so that what comes while it fails is told by the next.
        ordering=Ordering.STRICT,
        batch=Batch(max_events=1000, max_wait_ms=3000, max_bytes=1024 * 1024, coalesce=Coalesce.LATEST),
        retry=Retry((5, 15, 30, 60, 120, 300, 600, 900), give_up=False, jitter=0.0),
    ),
    encode=encode,
    encode_item=encode_item,
    sign=post,
    judge=judge,
    check_options=check_options,
    check_secret=check_no_secret,
    make_secret=make_no_secret,
    reserved_headers=RESERVED,
    narrow=narrow,
)
"""Springest's hooks for its trainings API."""
