"""Find the older API that a request is for: each project of such a dialect has its own below `/p/{project}`.

One project may be served at the root as well (`ANGARIUM_ROOT_PROJECT`), so that an old client only changes its host
name. What each API is stands in its dialect's module of this package, loaded when it is first asked for: `build` makes
its application once, for all projects of the dialect. It finds the project as `scope["served"]`, the path below it as
`scope["path"]`, and what stands before that as `scope["root_path"]`.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, cast

from angarium.api.problems import as_reply, problem, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from angarium.api.replies import Reply
    from angarium.operations.callers import Callers
    from angarium.operations.context import Context
    from angarium.operations.projects import Projects, Served

PREFIX: Final = "/p/"
MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "crowdmanager": "angarium.api.crowdmanager",
        "dashboard": "angarium.api.dashboard",
        "salesking": "angarium.api.salesking",
    }
)
"""The dialects that have an API of their own, and the modules that answer it."""

# What a root project leaves to the native API; none of the older ones has any of it.
_NATIVE: Final = ("/v1/", "/static/")
_NATIVE_PAGES: Final = frozenset({"/", "/docs", "/openapi.json", "/portal", "/v1"})


class OlderApi(Protocol):
    """What a module that answers an older API offers."""

    def build(self, context: Context, callers: Callers, projects: Projects) -> ASGIApp:
        """Return what answers for all projects of its dialect."""


class OlderApis:
    """Answer what is asked of projects in the words of their dialects."""

    def __init__(
        self, context: Context, callers: Callers, projects: Projects, *, modules: Mapping[str, str] = MODULES
    ) -> None:
        self._parts = (context, callers, projects)
        self._projects = projects
        self._root = context.settings.root_project
        self._modules = modules
        self._built: dict[str, ASGIApp] = {}

    def takes(self, path: str) -> bool:
        """Say whether a path is one of an older API's, and not of the native one."""
        if path.startswith(PREFIX):
            return True
        return bool(self._root) and path not in _NATIVE_PAGES and not path.startswith(_NATIVE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request whose path it takes."""
        name, prefix, path = self._place(scope["path"])
        try:
            served = await self._projects.find(name)
            app = await self._app(served)
        except Exception as error:
            if status_of(error) == 500:
                raise
            await _send(problem(error), send)
            return
        if app is None:
            await _send(_has_none(served), send)
            return
        await app({**scope, "served": served, "root_path": prefix, "path": path}, receive, send)

    def _place(self, path: str) -> tuple[str, str, str]:
        """Return which project a path is about, what names it there, and the rest."""
        if not path.startswith(PREFIX):
            return self._root, "", path
        name, _, rest = path.removeprefix(PREFIX).partition("/")
        return name, f"{PREFIX}{name}", f"/{rest}"

    async def _app(self, served: Served) -> ASGIApp | None:
        dialect = served.project.dialect
        if dialect not in self._modules:
            return None
        if dialect not in self._built:
            module = cast("OlderApi", await asyncio.to_thread(import_module, self._modules[dialect]))
            if dialect not in self._built:  # Somebody else may have waited for it too.
                self._built[dialect] = module.build(*self._parts)
        return self._built[dialect]


def _has_none(served: Served) -> Reply:
    project = served.project
    detail = f"project {project.name} speaks {project.dialect}, which has no API of its own; use /v1/projects/"
    return as_reply(404, f"{detail}{project.name}")


async def _send(reply: Reply, send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.fields()})
    await send({"type": "http.response.body", "body": reply.body})
