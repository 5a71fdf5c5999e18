"""Make what dialects are asked to encode and sign: fixed moments, places and ids."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from angarium.dialects.dialect import Item, Sealed, Signing
from angarium.model.event import Event

NOON_MS = 1795348800_000  # 2026-11-22T12:00:00Z
NOON_S = NOON_MS // 1000


def item(event: Event, *, offset: int = 1, partition: int = 0, **changes: Any) -> Item:
    return replace(Item(f"evt_{offset}", event, NOON_MS, offset, partition), **changes)


def single(event: Event, **changes: Any) -> Sealed:
    return Sealed("", (item(event, **changes),), NOON_MS)


def batch(*events: Event) -> Sealed:
    items = tuple(item(event, offset=offset) for offset, event in enumerate(events, start=1))
    return Sealed("dlv_1", items, NOON_MS, is_batch=True)


def signing(options: dict[str, Any], **changes: Any) -> Signing:
    return replace(
        Signing(
            url="https://example.com/hook",
            message_id="evt_1",
            sent_at_s=NOON_S,
            attempt=1,
            secrets=(),
            headers={},
            options=options,
        ),
        **changes,
    )
