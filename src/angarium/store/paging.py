"""Cut lists into pages and make their cursors. Every store orders a list by a key that no two of its items share.

A cursor is that key, packed and named after its list; to callers it is opaque. A page after a cursor holds the items
that follow it, one before a cursor the nearest that precede it; both are newest first, that is by descending key.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from angarium.errors import BadCursor
from angarium.store.contract import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from angarium.store.contract import Page

T = TypeVar("T")
Cursor = tuple[int | str, ...]

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_KEYS: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "events": msgspec.msgpack.Decoder(tuple[str, _Number]),
    "projects": msgspec.msgpack.Decoder(tuple[str, _Number, str]),
    "tenants": msgspec.msgpack.Decoder(tuple[str, _Number, str]),
    "apps": msgspec.msgpack.Decoder(tuple[str, _Number]),
    "grants": msgspec.msgpack.Decoder(tuple[str, _Number]),
    "keys": msgspec.msgpack.Decoder(tuple[str, _Number]),
    "subscriptions": msgspec.msgpack.Decoder(tuple[str, _Number]),
    "jobs": msgspec.msgpack.Decoder(tuple[str, _Number]),
    "deliveries": msgspec.msgpack.Decoder(tuple[str, _Number, _Number, _Number, _Number]),
}


class Window(msgspec.Struct, frozen=True):
    """Which keys of a list a page may hold: those below `after`, or those above `before`, or any; and how many."""

    name: str
    limit: int
    after: Cursor | None = None
    before: Cursor | None = None

    @property
    def is_backward(self) -> bool:
        """Say whether the nearest items are those with the lowest keys."""
        return self.before is not None

    def holds(self, key: Cursor) -> bool:
        """Say whether an item with this key lies on the wanted side of the cursor."""
        if self.after is not None:
            return key < self.after
        return self.before is None or key > self.before


def window(name: str, page: Page) -> Window:
    """Read a page's cursors; `BadCursor` when they are not of this list."""
    if page.after is not None and page.before is not None:
        raise BadCursor("both after and before were given, expected one of them; leave the other out")
    return Window(name, page.limit, _decode(name, page.after), _decode(name, page.before))


def cut(wanted: Window, nearest: Sequence[T], key: Callable[[T], Cursor]) -> Listing[T]:
    """Make a page of the items nearest to the cursor, nearest first; one more than `limit` says that there are more."""
    data, has_more = list(nearest[: wanted.limit]), len(nearest) > wanted.limit
    if wanted.is_backward:
        data.reverse()
    has_older = has_more or wanted.is_backward
    has_newer = has_more if wanted.is_backward else wanted.after is not None
    return Listing(
        data,
        next=encode(wanted.name, key(data[-1])) if data and has_older else None,
        prev=encode(wanted.name, key(data[0])) if data and has_newer else None,
    )


def select(wanted: Window, items: Iterable[T], key: Callable[[T], Cursor]) -> Listing[T]:
    """Make a page out of all of a list's items, in whatever order they come."""
    held = sorted((item for item in items if wanted.holds(key(item))), key=key, reverse=not wanted.is_backward)
    return cut(wanted, held[: wanted.limit + 1], key)


def encode(name: str, key: Cursor) -> str:
    """Return the cursor of an item."""
    return urlsafe_b64encode(msgspec.msgpack.encode((name, *key))).decode().rstrip("=")


def _decode(name: str, text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        found, *key = _KEYS[name].decode(urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (ValueError, msgspec.MsgspecError):
        found, key = "", []
    if found != name:
        raise BadCursor(f"{text[:80]!r} is no cursor of this list, expected the next or prev of one of its pages")
    return tuple(key)
