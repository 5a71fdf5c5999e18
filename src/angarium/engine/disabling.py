"""Disable a subscription for a reason of ours: nothing is pushed any more, the feed goes on, its owner is told why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import Conflict, StoreAway
from angarium.model.subscription import Owed, Status, Subscription, Version
from angarium.telemetry import SUBSCRIPTION_DISABLED, emit

if TYPE_CHECKING:
    from angarium.clock import Clock
    from angarium.store.contract import Store

_AWAY_S = 0.5


async def disable(store: Store, clock: Clock, number: int, reason: str) -> Subscription | None:
    """Return the subscription as it is now; None when it is sent nothing any more. Waits while the store is away."""
    while True:
        try:
            now = await store.subscription(number)
            if now is None or not now.is_served:
                return None
            return await _write(store, now, reason, max(now.updated_ms, clock.now().wall_ms))
        except Conflict:
            continue  # Somebody changed it meanwhile: read it again.
        except StoreAway:
            await asyncio.sleep(_AWAY_S)


async def _write(store: Store, now: Subscription, reason: str, now_ms: int) -> Subscription:
    changed = replace(now, status=Status.DISABLED, owed=Owed.FEED, reason=reason, updated_ms=now_ms)
    rule = dialect_of(now.dialect).narrow(now.rule, now.all_options)
    version = Version(now.number, 0, Owed.FEED, rule, now.dialect)
    await store.change(changed, version, revision=now.revision)
    emit(SUBSCRIPTION_DISABLED, subscription=now.id, project=now.project, tenant=now.tenant, reason=reason)
    return changed
