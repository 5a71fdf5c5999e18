"""Accept the publishes of a group: each whole or not at all, and those with a key once.

A group without keys is one statement. With keys it is a transaction that holds the keys first, in their order, then the
partitions, in theirs: whoever waits for another holds nothing that this one may wait for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from angarium.errors import KeyReused
from angarium.model.event import Kind, Place
from angarium.store.contract import KEY_LASTS_MS, Publish, Receipt
from angarium.store.postgres.appending import Batch, Moved
from angarium.store.postgres.connection import committing, writing
from angarium.store.postgres.line import Written
from angarium.store.postgres.statements import run
from angarium.store.rows import event_columns, pack_places, unpack_places

if TYPE_CHECKING:
    from angarium.store.postgres.names import Names, Numbers, Owner
    from angarium.store.postgres.statements import Connection

Name = tuple[str, str]


class _Kept(NamedTuple):
    """What a key answers, until when, and the digest of the body that it was used with."""

    digest: bytes
    receipt: Receipt
    expires_ms: int


class _Own(NamedTuple):
    """A publish that is accepted: where its events stand, counted from where their partitions stood."""

    publish: Publish
    places: Sequence[tuple[int, int]]


class _Repeat(NamedTuple):
    """A publish whose key another one of its group has used first."""

    of: _Own


_Plan = _Own | _Repeat | Receipt | KeyReused


async def accept_all(connection: Connection, names: Names, publishes: Sequence[Publish]) -> Written:
    """Accept publishes in their order; equal keys among them are answered like those of earlier groups."""
    owners = {(event.project, event.tenant) for publish in publishes for event in publish.events}
    with writing():
        numbers = await names.give(connection, owners)
    batch = Batch()
    if not any(publish.key for publish in publishes):
        plans: list[_Plan] = [_take(batch, numbers, publish) for publish in publishes]
        with writing(connection) as checked:
            moved = await batch.write(connection)
        checked()
    else:
        async with committing(connection):
            kept = await _claim(connection, publishes)
            plans = _plan(batch, numbers, publishes, kept)
            moved = await batch.write(connection)
            await _keep(connection, plans, moved)
    return Written([_answer(plan, moved) for plan in plans], moved)


def _take(batch: Batch, numbers: Mapping[Owner, Numbers], publish: Publish) -> _Own:
    now_ms = publish.now_ms
    return _Own(
        publish,
        [
            batch.add(numbers[event.project, event.tenant], now_ms, Kind.EVENT, event_columns(event))
            for event in publish.events
        ],
    )


async def _claim(connection: Connection, publishes: Sequence[Publish]) -> dict[Name, _Kept]:
    """Hold the keys of a group; return what those answer that were used before."""
    asked = list(dict.fromkeys((publish.project, publish.key) for publish in publishes if publish.key))
    rows = await run(
        connection,
        "claim_keys",
        projects=[project.encode() for project, _ in asked],
        keys=[key.encode() for _, key in asked],
    )
    return {
        (project.decode(), key.decode()): _Kept(digest, Receipt(unpack_places(places), matched), expires_ms)
        for project, key, digest, matched, expires_ms, places in rows
        if places is not None
    }


def _plan(
    batch: Batch, numbers: Mapping[Owner, Numbers], publishes: Sequence[Publish], kept: Mapping[Name, _Kept]
) -> list[_Plan]:
    """Say what becomes of each publish of a group."""
    fresh: dict[Name, _Own] = {}
    plans: list[_Plan] = []
    for publish in publishes:
        name = (publish.project, publish.key)
        plan = _repeat(publish, fresh.get(name), kept.get(name)) if publish.key else None
        if plan is None:
            plan = _take(batch, numbers, publish)
            if publish.key:
                fresh[name] = plan
        plans.append(plan)
    return plans


def _repeat(publish: Publish, own: _Own | None, kept: _Kept | None) -> _Plan | None:
    """Return what a key answers again, None when it is to be used."""
    if own is not None:
        digest, expires_ms = own.publish.digest, own.publish.now_ms + KEY_LASTS_MS
    elif kept is not None:
        digest, expires_ms = kept.digest, kept.expires_ms
    else:
        return None
    if expires_ms <= publish.now_ms:
        return None
    if digest != publish.digest:
        return KeyReused(f"idempotency key {publish.key!r} was used with another body; use a new key for a new request")
    if own is not None:
        return _Repeat(own)
    assert kept
    return replace(kept.receipt, is_replay=True)


async def _keep(connection: Connection, plans: Sequence[_Plan], moved: Mapping[int, Moved]) -> None:
    """Keep what the keys answer that were used; the last one, when one expired within its own group."""
    used = {
        (plan.publish.project, plan.publish.key): (plan.publish, _receipt(plan, moved))
        for plan in plans
        if isinstance(plan, _Own) and plan.publish.key
    }
    if used:
        await run(
            connection,
            "keep_keys",
            projects=[project.encode() for project, _ in used],
            keys=[key.encode() for _, key in used],
            digests=[publish.digest for publish, _ in used.values()],
            matched=[publish.matched for publish, _ in used.values()],
            expires_ms=[publish.now_ms + KEY_LASTS_MS for publish, _ in used.values()],
            places=[pack_places(receipt.places) for _, receipt in used.values()],
        )


def _answer(plan: _Plan, moved: Mapping[int, Moved]) -> Receipt | KeyReused:
    if isinstance(plan, _Own):
        return _receipt(plan, moved)
    if isinstance(plan, _Repeat):
        return replace(_receipt(plan.of, moved), is_replay=True)
    return plan


def _receipt(own: _Own, moved: Mapping[int, Moved]) -> Receipt:
    now_ms = own.publish.now_ms
    places = [Place(partition, moved[partition].before + distance, now_ms) for partition, distance in own.places]
    registries = {place.partition: moved[place.partition].registry for place in places}
    return Receipt(tuple(places), own.publish.matched, registries=registries)
