"""Send one example event to one subscription, marked as a test. It is not in the log, and nobody else gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from angarium.core.policy import resolve
from angarium.core.vocabulary import is_sayable
from angarium.dialects.dialect import Item, Sealed
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import Conflict
from angarium.model.delivery import TEST_OFFSET, Key, Open, Origin
from angarium.model.event import Event
from angarium.model.subscription import Status, Subscription
from angarium.operations.writing import find_subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.dialects.dialect import Dialect
    from angarium.operations.context import Context
    from angarium.operations.projects import Served
    from angarium.operations.reach import Reach

_DATA: Final = b'{"message":"This is a test. It means nothing, and nothing has happened."}'
_OBJECT: Final = "example"
_ACTION: Final = "update"  # Which all dialects can say.
_NUMBER: Final = "0"  # Receivers of the older dialects expect a number, and nobody's object has this one.
_URL: Final = "https://example.com/examples/0"


async def send_example(context: Context, reach: Reach, id_: str) -> Open:
    """Have an example event sent now; return its delivery. `Conflict` for a subscription that is not pushed to."""
    subscription = await find_subscription(context, reach, id_)
    check_is_pushed_to(subscription)
    now_ms = context.clock.now().wall_ms
    offset = TEST_OFFSET + await context.store.number("test")
    key = Key(subscription.partition, offset, subscription.number, now_ms)
    dialect = dialect_of(subscription.dialect)
    event = example_event(subscription, reach.served, dialect)
    item = Item(context.ids.event(key.partition, offset, now_ms), event, now_ms, offset, key.partition)
    is_batch = resolve(dialect.policy, subscription.overrides).batch.max_events > 1
    body = dialect.encode(Sealed(context.ids.delivery(key), (item,), now_ms, is_batch), subscription.all_options)
    open_ = Open(
        key,
        origin=Origin.TEST,
        next_ms=now_ms,
        opened_ms=now_ms,
        body=body.content,
        content_type=body.content_type,
    )
    await context.engine.dispatch(open_)
    return open_


def check_is_pushed_to(subscription: Subscription) -> None:
    """Raise `Conflict` unless requests may go to a subscription's receiver."""
    if subscription.kind == "pull":
        raise Conflict(f"nothing is pushed to subscription {subscription.id}; read its feed")
    if subscription.status is Status.UNVERIFIED:
        raise Conflict(f"subscription {subscription.id} is unverified; POST …/verify starts the handshake")
    if subscription.status is Status.DISABLED:
        raise Conflict(f"subscription {subscription.id} is disabled; POST …/resume first")
    if not subscription.is_served:
        detail = "hear of it because its grant's user may not; PATCH …/grants/{grant} permits it"
        raise Conflict(f"subscription {subscription.id} may not {detail}")


def example_event(subscription: Subscription, served: Served, dialect: Dialect) -> Event:
    """Return an event that the subscription could get, by its types, and that its dialect can say."""
    object_, action = _type_of(subscription.rule.types, served, dialect)
    country = subscription.options.get("country")
    return Event(
        subscription.project,
        subscription.tenant,
        object_,
        _OBJECT if dialect.traits.actions is None else _NUMBER,
        action,
        data=_DATA,
        url=_URL if dialect.narrow(subscription.rule, subscription.all_options).needs_url else "",
        attributes=msgspec.json.encode({"country": country}) if country else b"",
    )


def _type_of(types: Sequence[str], served: Served, dialect: Dialect) -> tuple[str, str]:
    """Return the first type, its wildcards filled in, that the dialect has a word for."""
    actions = dialect.traits.actions
    for text in types:
        object_, _, action = text.rpartition(".")
        if actions is None or is_sayable(text, actions):
            action = _ACTION if action == "*" else action
            return (object_ if object_ not in {"", "*"} else _object_with(action, served)), action
    return _object_with(_ACTION, served), _ACTION


def _object_with(action: str, served: Served) -> str:
    """Return an object of the project's to which such a thing happens, or one that we make up."""
    return next(iter((*served.catalogue.with_action(action), *served.catalogue.objects, _OBJECT)))
