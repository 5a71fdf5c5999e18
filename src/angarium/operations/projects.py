"""Keep the projects: what each offers, in which dialect, under which settings; held in memory once used, compiled."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from angarium.core.catalogue import Catalogue, check_objects
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import Conflict, FieldError, NotFound
from angarium.model.registry import JobState, Project
from angarium.operations.context import PROJECTS
from angarium.operations.login import shown_settings, with_sealed_login
from angarium.operations.merging import merge
from angarium.operations.project_settings import check_settings
from angarium.store.contract import Page
from angarium.telemetry import PROJECT_CHANGED, emit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from angarium.model.subscription import Subscription
    from angarium.operations.context import Context
    from angarium.store.contract import Listing

_HELD_MAX: Final = 1_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ASKED: Final = ("dialect", "objects", "settings")


class Served(Struct, frozen=True):
    """A project as it is served: with its catalogue compiled."""

    project: Project
    catalogue: Catalogue


class Projects:
    """Know the projects. Used on the loop only."""

    def __init__(self, context: Context, *, forgotten: Callable[[str], None] = lambda _: None) -> None:
        """Make it; `forgotten` is called with the name of a project that was deleted, and its keys with it."""
        self._context = context
        self._store = context.store
        self._forgotten = forgotten
        self._held: OrderedDict[str, Served] = OrderedDict()
        self._changes = 0

    def held(self, name: str) -> Served | None:
        """Return a project if it is in memory."""
        return self._held.get(name)

    async def find(self, name: str) -> Served:
        """Return a project; `NotFound` when there is none."""
        held = self._held.get(name)
        if held is not None:
            return held
        changes = self._changes
        served = _serve(await self._read(name))
        if changes == self._changes:  # Else it may have been changed while it was read.
            self._held[name] = served
            if len(self._held) > _HELD_MAX:
                self._held.popitem(last=False)
        return served

    async def listed(self, page: Page) -> Listing[Project]:
        """List all projects, the newest first."""
        return await self._store.projects(page)

    async def put(self, name: str, asked: Mapping[str, Any], *, by: str) -> tuple[Project, bool]:
        """Create or replace a project; return it, and whether it is new. One that is so already stays as it is."""
        _check_name(name)
        async with self._alone():
            return await self._write(name, asked, await self._store.project(name), by)

    async def preview(self, name: str, asked: Mapping[str, Any]) -> tuple[Project, bool]:
        """Return what `put` would; nothing is written."""
        _check_name(name)
        present = await self._store.project(name)
        return await self._made(name, asked, present), present is None

    async def patch(self, name: str, patch: Mapping[str, Any], *, by: str) -> Project:
        """Merge a change into a project (RFC 7396)."""
        async with self._alone():
            present = await self._read(name)
            document = {
                "dialect": present.dialect,
                "objects": present.objects,
                "settings": shown_settings(present.settings),
            }
            written, _ = await self._write(name, merge(document, patch), present, by)
        return written

    async def delete(self, name: str, *, by: str) -> None:
        """Delete a project with its keys, tenants, jobs and subscriptions; what is logged goes by retention."""
        async with self._alone():
            found = await self._read(name)
            subscriptions = await self._subscriptions(name)
            for job in await self._store.jobs_in(JobState.RUNNING):
                if job.project == name:
                    self._context.engine.stop(job.number)
            await self._store.delete_project(name)
            self._forget(name)
            self._forgotten(name)
        for subscription in subscriptions:
            await self._context.engine.changed(subscription)
        emit(PROJECT_CHANGED, project=name, dialect=found.dialect, by=by)

    def _alone(self) -> AbstractAsyncContextManager[None]:
        """Let one write at a time, so that no two changes lose each other."""
        return self._store.alone(PROJECTS)

    async def _read(self, name: str) -> Project:
        project = await self._store.project(name)
        if project is None:
            raise NotFound(f"there is no project {name[:80]!r}; PUT /v1/projects/{{project}} makes one")
        return project

    async def _write(
        self, name: str, asked: Mapping[str, Any], present: Project | None, by: str
    ) -> tuple[Project, bool]:
        project = await self._made(name, asked, present)
        if project is present:
            return project, False
        is_new = await self._store.put_project(project)
        self._forget(name)
        emit(PROJECT_CHANGED, project=name, dialect=project.dialect, by=by)
        return project, is_new

    async def _made(self, name: str, asked: Mapping[str, Any], present: Project | None) -> Project:
        """Return a project as it is asked for: the present one itself when nothing of it differs."""
        now_ms = self._context.clock.now().wall_ms
        project = with_sealed_login(self._context.vault, _read(name, asked, now_ms), present)
        if present is None:
            return project
        await self._check_dialect(present, project)
        project = replace(project, created_ms=present.created_ms)
        return present if replace(project, updated_ms=present.updated_ms) == present else project

    async def _check_dialect(self, present: Project, wanted: Project) -> None:
        if present.dialect == wanted.dialect:
            return
        if (await self._store.subscriptions(present.name, Page(limit=1))).data:
            raise Conflict(
                f"project {present.name} has subscriptions, so its dialect stays {present.dialect}; "
                "delete them first, or make another project"
            )

    async def _subscriptions(self, name: str) -> list[Subscription]:
        found: list[Subscription] = []
        after: str | None = None
        while True:
            listing = await self._store.subscriptions(name, Page(limit=250, after=after))
            found.extend(listing.data)
            after = listing.next
            if after is None:
                return found

    def forget_all(self) -> None:
        """Take note that another process has changed something: all are read again."""
        self._changes += 1
        self._held.clear()

    def _forget(self, name: str) -> None:
        self._changes += 1
        self._held.pop(name, None)
        self._context.engine.forget_project(name)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise FieldError(
            "project",
            f"{name[:80]!r} is no project's name; use letters, digits, . _ and -, at most 64, the first "
            "a letter or digit",
        )


def _read(name: str, asked: Mapping[str, Any], now_ms: int) -> Project:
    for member in asked:
        if member not in _ASKED:
            raise FieldError(member, f"is unknown; a project has {', '.join(_ASKED)}")
    name_of_dialect = asked.get("dialect") or "standard"
    if not isinstance(name_of_dialect, str):
        raise FieldError("dialect", "is no text, expected such as standard")
    dialect = dialect_of(name_of_dialect)
    objects = check_objects(asked.get("objects"), actions=dialect.traits.actions)
    return Project(name, dialect.name, now_ms, now_ms, objects, check_settings(asked.get("settings")))


def _serve(project: Project) -> Served:
    dialect = dialect_of(project.dialect)
    catalogue = Catalogue.of(project, actions=dialect.traits.actions, objects=dialect.traits.catalogue)
    return Served(project, catalogue)
