"""Own an even share of the partitions: those whose lock the settling session holds.

Each worker holds a lock that counts it, in the lowest slot that was free, and its slot's rank says how many partitions
are its share. All see all locks, so nobody has to be asked: who has too few takes free ones, who has too many is told
to hand some over. The server lets go of the locks of whoever dies, and others take them at their next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from angarium.errors import OwnershipLost, StoreAway
from angarium.model.event import PARTITIONS
from angarium.store.contract import Balance
from angarium.store.postgres.connection import writing
from angarium.store.postgres.statements import run, value

if TYPE_CHECKING:
    from asyncpg import Connection, Record

    from angarium.store.contract import Settlement
    from angarium.store.postgres.fencing import Session

SLOTS = 1024
"""How many workers there may be."""


class Seen(Struct, frozen=True):
    """Who shares: the slots that are taken, ours if we have one, and the partitions that we and all others own."""

    slots: frozenset[int]
    slot: int | None
    own: frozenset[int]
    others: frozenset[int]

    @property
    def share(self) -> int:
        """Return how many partitions are to be ours; the lowest ranks have what cannot be divided."""
        each, rest = divmod(PARTITIONS, len(self.slots))
        return each + (self._rank < rest)

    @property
    def _rank(self) -> int:
        return sorted(self.slots).index(-1 if self.slot is None else self.slot)

    def wanted(self) -> list[int]:
        """Return the free partitions to claim. All begin elsewhere, so that few want the same."""
        begin = self._rank * PARTITIONS // len(self.slots)
        free = frozenset(range(PARTITIONS)) - self.own - self.others
        nearest = sorted(free, key=lambda partition: (partition - begin) % PARTITIONS)
        return nearest[: max(0, self.share - len(self.own))]


class SharingOwner:
    """What this process owns, by the locks of its settling session.

    `flushed` waits until what is to be settled by now has been.
    """

    def __init__(self, session: Session, flushed: Callable[[], Awaitable[None]]) -> None:
        self._session = session
        self._flushed = flushed
        self._is_counted = False
        self._owned: frozenset[int] = frozenset()
        self._lost: list[Callable[[], None]] = []
        session.when_ended(self._lose)

    @property
    def owned(self) -> frozenset[int]:
        """Return the partitions that are owned now."""
        return self._owned

    def may_send(self) -> bool:
        """Say whether a request may start now."""
        return self._session.may_send()

    def lost(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever all that was owned is lost."""
        self._lost.append(callback)

    def _lose(self) -> None:
        self._owned = frozenset()
        for callback in self._lost:
            asyncio.get_running_loop().call_soon(callback)

    async def join(self) -> None:
        """Be counted among those who share."""
        async with self._session.renewed() as connection:
            await self._look_counted(connection)
        self._is_counted = True

    async def balance(self) -> Balance:
        """Commit, look who is there, and claim free partitions up to our share."""
        if not (self._is_counted or self._owned):
            return Balance()
        async with self._session.renewed() as connection:
            seen = await (self._look_counted if self._is_counted else _look)(connection)
            if self._owned - seen.own:
                raise _betrayed(self._owned - seen.own)
            claimed = await self._commit(connection, seen.wanted() if self._is_counted else [])
            return self._taken(seen, claimed)

    async def _look_counted(self, connection: Connection) -> Seen:
        """Look who is there, having taken a slot before."""
        seen = await _look(connection)
        while seen.slot is None:
            free = min(frozenset(range(SLOTS)) - seen.slots, default=None)
            if free is None:
                raise StoreAway(f"there are {SLOTS} workers already; stop some")
            with writing():
                await run(connection, "take_slot", slot=free)
            seen = await _look(connection)
        return seen

    async def _commit(self, connection: Connection, wanted: Iterable[int]) -> frozenset[int]:
        """Claim partitions, and commit something: what the server has acknowledged shows that it is the primary."""
        began_at = self._session.now()
        with writing(connection) as checked:
            claimed = await value(connection, "claim", partitions=list(wanted))
        checked()
        self._session.acknowledged(began_at)
        return frozenset(claimed)

    def _taken(self, seen: Seen, claimed: frozenset[int]) -> Balance:
        own = seen.own | claimed
        gained, self._owned = own - self._owned, own
        share = seen.share if self._is_counted else 0
        return Balance(gained, frozenset(sorted(own)[share:]))

    async def retire(self) -> None:
        """Be counted no more, but keep what is owned until it is released."""
        self._is_counted = False
        with suppress(OwnershipLost):
            async with self._session.lend() as connection:
                seen = await _look(connection)
                if seen.slot is not None:
                    with writing():
                        await run(connection, "release_slot", slot=seen.slot)

    async def release(self, partitions: Collection[int]) -> None:
        """Let others own these, once what was to be settled by now has been written."""
        with suppress(OwnershipLost):  # They are free already.
            await self._flushed()
            async with self._session.lend() as connection:
                released = self._owned & frozenset(partitions)
                self._owned -= released
                with writing():
                    await run(connection, "release", partitions=sorted(released))

    async def leave(self) -> None:
        """Release all, and be counted no more."""
        self._is_counted = False
        with suppress(OwnershipLost):
            await self._flushed()
        self._owned = frozenset()
        await self._session.close()

    def refusal(self, settlement: Settlement) -> OwnershipLost | None:
        """Return why a flush is not to be written, None when all that it is about is owned."""
        about = partitions_of(settlement)
        if about <= self._owned:
            return None
        missing = sorted(about - self._owned)
        return OwnershipLost(f"partitions {missing} are not owned here; drop what you hold of them")


def partitions_of(settlement: Settlement) -> set[int]:
    """Return the partitions that a flush is about."""
    about = {each.key.partition for each in settlement.settled}
    about.update(each.key.partition for each in settlement.attempts)
    about.update(each.key.partition for each in settlement.opened)
    about.update(key.partition for key in settlement.closed)
    about.update(lane.partition for lane in settlement.lanes)
    about.update(partition for partition, _ in settlement.lanes_gone)
    about.update(settlement.watermarks)
    return about


def _betrayed(missing: Collection[int]) -> OwnershipLost:
    """Return an error that gives up a connection: its statements come to other sessions, as through a pooler."""
    return OwnershipLost(
        f"the locks of partitions {sorted(missing)} are not held by the session that took them; "
        "let workers connect to the server itself, not to a pooler of transactions",
        is_unknown=True,
    )


async def _look(connection: Connection) -> Seen:
    with writing():
        return _seen(await run(connection, "sharing"))


def _seen(rows: Iterable[Record]) -> Seen:
    """Return who shares, as the locks say."""
    held = [tuple(row) for row in rows]
    own_slots = [number for is_slot, number, is_own in held if is_slot and is_own]
    return Seen(
        frozenset(number for is_slot, number, _ in held if is_slot),
        own_slots[0] if own_slots else None,
        frozenset(number for is_slot, number, is_own in held if not is_slot and is_own),
        frozenset(number for is_slot, number, is_own in held if not is_slot and not is_own),
    )
