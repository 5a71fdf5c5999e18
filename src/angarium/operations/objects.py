"""Look at objects as they stand: the state that their events have led to, kept unless the project says otherwise."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from angarium.errors import BadCursor, Conflict, NotFound
from angarium.store.contract import Listing

if TYPE_CHECKING:
    from angarium.model.event import ObjectState
    from angarium.model.registry import Project
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach


class Objects:
    """Look at objects. What was answered as accepted before is in what is found."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._engine = context.engine

    async def get(self, reach: Reach, object_: str, object_id: str, *, tenant: str | None) -> ObjectState:
        """Return one object; `NotFound` when there is none, or none any more, `Conflict` when none are kept."""
        owner = reach.owner(tenant)
        await self._fold(reach)
        found = await self._store.object(reach.project, owner, object_, object_id)
        if found is None:
            raise NotFound(f"there is no {object_[:80]} {object_id[:80]!r} of tenant {owner!r} here")
        if found.is_deleted:
            raise NotFound(f"{object_[:80]} {object_id[:80]!r} of tenant {owner!r} was deleted")
        return found

    async def listed(
        self, reach: Reach, object_: str, *, tenant: str | None, limit: int, after: str | None
    ) -> Listing[ObjectState]:
        """List a tenant's objects of one kind in the order of their ids, forwards only."""
        owner = reach.owner(tenant)
        await self._fold(reach)
        found = await self._store.objects(reach.project, owner, object_, after=_read(after), limit=limit + 1)
        shown = found[:limit]
        return Listing(shown, _cursor(shown[-1].object_id) if len(found) > limit else None)

    async def _fold(self, reach: Reach) -> None:
        check_objects_are_kept(reach.served.project)
        await self._engine.folded()


def check_objects_are_kept(project: Project) -> None:
    """Raise `Conflict` when a project keeps no current state."""
    if project.settings.get("keep_objects") is False:
        raise Conflict(f"project {project.name} keeps no objects; its setting keep_objects is off")


def _cursor(object_id: str) -> str:
    return urlsafe_b64encode(object_id.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _read(after: str | None) -> str:
    if after is None:
        return ""
    try:
        return urlsafe_b64decode(after + "=" * (-len(after) % 4)).decode("utf-8", "surrogatepass")
    except ValueError:
        raise BadCursor(f"{after[:80]!r} is no cursor of this list; take `next` of a page") from None
