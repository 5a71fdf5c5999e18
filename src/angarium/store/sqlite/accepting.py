"""Accept the publishes of a group: each whole or not at all, and those with a key once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from angarium.errors import KeyReused
from angarium.store.contract import KEY_LASTS_MS, Publish, Receipt
from angarium.store.rows import pack_places, unpack_places
from angarium.store.sqlite.statements import run_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.store.sqlite.transaction import Transaction


class _Kept(Struct, frozen=True):
    """What a key answers, until when, and the digest of the body that it was used with."""

    digest: bytes
    receipt: Receipt
    expires_ms: int


def accept_all(transaction: Transaction, publishes: Sequence[Publish]) -> list[Receipt | KeyReused]:
    """Accept publishes in their order; equal keys among them are answered like those of earlier groups."""
    keyed = [publish for publish in publishes if publish.key]
    if not keyed:
        return [_accept(transaction, publish) for publish in publishes]
    kept, fresh = _read_kept(transaction, keyed), {}
    answers: list[Receipt | KeyReused] = []
    for publish in publishes:
        key = (publish.project, publish.key)
        answer = _repeat(kept.get(key), publish) if publish.key else None
        if answer is None:
            answer = _accept(transaction, publish)
            if publish.key:
                kept[key] = fresh[key] = _Kept(publish.digest, answer, publish.now_ms + KEY_LASTS_MS)
        answers.append(answer)
    _write_kept(transaction, fresh)
    return answers


def _accept(transaction: Transaction, publish: Publish) -> Receipt:
    now_ms = publish.now_ms
    return Receipt(tuple([transaction.accept(event, now_ms) for event in publish.events]), publish.matched)


def _repeat(kept: _Kept | None, publish: Publish) -> Receipt | KeyReused | None:
    """Return what a key answers again, None when it is to be used."""
    if kept is None or kept.expires_ms <= publish.now_ms:
        return None
    if kept.digest != publish.digest:
        return KeyReused(f"idempotency key {publish.key!r} was used with another body; use a new key for a new request")
    return replace(kept.receipt, is_replay=True)


def _read_kept(transaction: Transaction, keyed: Sequence[Publish]) -> dict[tuple[str, str], _Kept]:
    asked = dict.fromkeys((publish.project, publish.key) for publish in keyed)
    return {
        (project, key): _Kept(digest, Receipt(unpack_places(places), matched), expires_ms)
        for project, key, digest, matched, expires_ms, places in run_each(
            transaction.connection, "kept", [name for pair in asked for name in pair]
        )
    }


def _write_kept(transaction: Transaction, fresh: dict[tuple[str, str], _Kept]) -> None:
    values: list[Any] = []
    for (project, key), kept in fresh.items():
        packed = pack_places(kept.receipt.places)
        values += (project, key, kept.digest, kept.receipt.matched, kept.expires_ms, packed)
    run_each(transaction.connection, "keep", values)
