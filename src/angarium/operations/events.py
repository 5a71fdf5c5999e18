"""Look into the log: which events there are, and one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from angarium.errors import NotFound
from angarium.model.event import Kind, Place
from angarium.operations.windows import Window
from angarium.store.contract import EventQuery

if TYPE_CHECKING:
    from angarium.model.event import Entry
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach
    from angarium.store.contract import Listing, Page


class Events:
    """Look into the log."""

    def __init__(self, context: Context) -> None:
        self._ids = context.ids
        self._store = context.store

    async def listed(  # noqa: PLR0913  one argument for each filter
        self,
        reach: Reach,
        page: Page,
        *,
        tenant: str | None = None,
        object_: str | None = None,
        object_id: str | None = None,
        action: str | None = None,
        window: Window = Window(),  # noqa: B008  frozen
    ) -> Listing[Entry]:
        """List events, the newest first; an action may be said in either word."""
        query = EventQuery(
            reach.project,
            reach.filter(tenant),
            object_,
            object_id,
            reach.served.catalogue.canonical(action) if action is not None else None,
            window.since_ms,
            window.until_ms,
        )
        return await self._store.events(query, page)

    async def get(self, reach: Reach, id_: str) -> Entry:
        """Return one event, or what a resync has made of an object's state."""
        place = self._ids.place(id_)
        found = await self._store.entries(place.partition, [place.offset]) if place is not None else []
        for entry in found:
            event = entry.event
            is_at_place = place == Place(entry.partition, entry.offset, entry.accepted_ms)
            is_it = is_at_place and entry.kind in {Kind.EVENT, Kind.RESYNC}
            if is_it and event is not None and reach.holds(project=event.project, tenant=event.tenant):
                return entry
        raise NotFound(f"there is no event {id_[:80]!r} here; it may be older than what is kept")
