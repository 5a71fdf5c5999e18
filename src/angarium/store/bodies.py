"""Pack values of the registry as JSON, which people can read in the file, and unpack them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, json

from angarium.model.delivery import LaneRow
from angarium.model.registry import ApiKey, App, Grant, Job, Project, Tenant
from angarium.model.subscription import Subscription, Version

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T", bound=Struct)

_DECODERS: dict[type[Struct], json.Decoder[Any]] = {
    kind: json.Decoder(kind) for kind in (ApiKey, App, Grant, Job, LaneRow, Project, Subscription, Tenant, Version)
}

pack = json.Encoder().encode


def unpack(kind: type[T], body: bytes) -> T:
    """Return the value that was packed."""
    value = _DECODERS[kind].decode(body)
    assert isinstance(value, kind)
    return value


def unpack_first(kind: type[T], rows: Iterable[tuple[Any, ...]]) -> T | None:
    """Return the value of the first row, if there is one."""
    return next((unpack(kind, body) for (body,) in rows), None)


def unpack_all(kind: type[T], rows: Iterable[tuple[Any, ...]]) -> list[T]:
    """Return the values of all rows."""
    return [unpack(kind, body) for (body,) in rows]
