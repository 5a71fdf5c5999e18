"""Send one example event to one subscription, marked as a test. It is not in the log, and nobody else gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from angarium.core.policy import resolve
from angarium.dialects.dialect import Item, Sealed
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import Conflict
from angarium.model.delivery import TEST_OFFSET, Key, Open, Origin
from angarium.model.event import Event
from angarium.model.subscription import Status, Subscription
from angarium.operations.writing import find_subscription

if TYPE_CHECKING:
    from angarium.dialects.dialect import Dialect
    from angarium.operations.context import Context
    from angarium.operations.projects import Served
    from angarium.operations.reach import Reach

_DATA: Final = b'{"message":"This is a test. It means nothing, and nothing has happened."}'
_OBJECT: Final = "example"
_ACTION: Final = "update"


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


def example_event(subscription: Subscription, served: Served, dialect: Dialect) -> Event:
    """Return an event that the subscription could get, by its types."""
    object_, action = _type_of(subscription, served, dialect)
    return Event(subscription.project, subscription.tenant, object_, "example", action, data=_DATA)


def _type_of(subscription: Subscription, served: Served, dialect: Dialect) -> tuple[str, str]:
    named = (*served.catalogue.objects, _OBJECT)[0]
    actions = (*(dialect.traits.actions or ()), _ACTION)
    for text in subscription.rule.types:
        object_, _, action = text.rpartition(".")
        return (object_ if object_ not in {"", "*"} else named), (action if action != "*" else actions[0])
    return named, actions[0] if dialect.traits.actions else _ACTION
