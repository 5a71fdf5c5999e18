"""End grants when their time is over, and their subscriptions with them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from angarium.errors import NotFound, StoreAway
from angarium.operations.context import GRANTING
from angarium.operations.grants import end_grant, own_reach
from angarium.telemetry import ENGINE_FAILED, emit

if TYPE_CHECKING:
    from angarium.model.registry import Grant
    from angarium.operations.context import Context
    from angarium.operations.projects import Projects

PAUSE_S: Final = 0.5
"""A token that has expired is refused at once; so long after at most its subscriptions have ended too."""

_AT_ONCE: Final = 100


class Expiry:
    """Look for grants that have expired, again and again."""

    def __init__(self, context: Context, projects: Projects) -> None:
        self._context = context
        self._projects = projects
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def sweep_all(self) -> None:
        """End all grants that have expired."""
        while await self.sweep() == _AT_ONCE:
            pass

    async def sweep(self) -> int:
        """End some grants that have expired; return how many."""
        now_ms = self._context.clock.now().wall_ms
        expired = await self._context.store.grants_until(now_ms + 1, limit=_AT_ONCE)
        for grant in expired:
            await self._end(grant)
        return len(expired)

    async def _run(self) -> None:
        while True:
            try:
                count = await self.sweep()
            except StoreAway:
                count = 0  # Others tell of it, and each look would.
            except Exception as error:  # noqa: BLE001  whatever it is, it must not end this: it is tried again
                emit(ENGINE_FAILED, part="expiry", error=error)
                count = 0
            if count < _AT_ONCE:
                await asyncio.sleep(PAUSE_S)

    async def _end(self, grant: Grant) -> None:
        async with self._context.store.alone(GRANTING):
            present = await self._context.store.grant(grant.number)
            if present is None or present.expires_ms > self._context.clock.now().wall_ms:
                return  # It was revoked, or its code exchanged, while it was looked for.
            try:
                reach = own_reach(await self._projects.find(grant.project), "expiry")
            except NotFound:
                await self._context.store.delete_grant(grant.number)
                return
            await end_grant(self._context, reach, present, reason="it has expired")
