"""Put events and deliveries into a served store, as publishing and the engine would."""

from __future__ import annotations

from typing import Any

from angarium.core.partitioning import partition_of
from angarium.model.delivery import Attempt, Key, Open, Settled, State
from angarium.model.event import Event, Place
from angarium.store.contract import Publish, Settlement
from tests.api.native.serving import Native


async def publish(
    native: Native, *object_ids: str, project: str = "p", tenant: str = "default", **more: Any
) -> list[Place]:
    """Accept one event for each id; return their places."""
    members: dict[str, Any] = {"object": "item", "action": "update", **more}
    events = tuple(Event(project, tenant, object_id=id_, **members) for id_ in object_ids)
    return list((await native.store.accept(Publish(project, events, native.clock.wall_ms))).places)


def id_of(native: Native, place: Place) -> str:
    """Return an event's id."""
    return native.context.ids.event(place.partition, place.offset, place.accepted_ms)


def key_of(place: Place, subscription: int) -> Key:
    """Return the key of a delivery of one event."""
    return Key(place.partition, place.offset, subscription, place.accepted_ms)


async def settle(native: Native, key: Key, state: State = State.DELIVERED, **more: Any) -> str:
    """Record a delivery's end; return its id."""
    ended = {"attempts": 1, "status": 200, "reason": "accepted", "at_ms": native.clock.wall_ms, **more}
    settled = Settled(key, state, native.clock.wall_ms, **ended)
    await native.store.settle(Settlement(settled=[settled], closed=[key]))
    for watcher in native.engine.watchers:
        watcher([], [settled])
    return native.context.ids.delivery(key)


async def open_(native: Native, key: Key, *attempts: Attempt, **more: Any) -> str:
    """Record a delivery that is being retried; return its id."""
    opened = Open(key, **{"attempts": len(attempts), "next_ms": native.clock.wall_ms + 5000, **more})
    await native.store.settle(Settlement(opened=[opened], attempts=attempts))
    for watcher in native.engine.watchers:
        watcher([opened], [])
    return native.context.ids.delivery(key)


def partition(project: str = "p", tenant: str = "default") -> int:
    """Return a tenant's partition."""
    return partition_of(project, tenant)
