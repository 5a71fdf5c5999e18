"""Run the server: read the settings, say where it answers, and serve until it is told to stop."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated

from angarium.cli.command import local_command, option
from angarium.cli.screen import Screen
from angarium.settings import About, load, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from angarium.app import Server

_FOR_CLIENTS = frozenset({"url", "api_key", "project"})


def _serve(screen: Screen, **flags: str | None) -> None:
    """Run the server: API and engine, with everything in one file, or one of several that share a PostgreSQL database.

    Each flag is also read from the environment (ANGARIUM_LISTEN) and from angarium.toml (listen). Secrets are not taken
    as flags, which every user of the machine can see: ANGARIUM_ADMIN_KEY, ANGARIUM_SECRET_KEY, or files that
    ANGARIUM_ADMIN_KEY_FILE and ANGARIUM_SECRET_KEY_FILE name. So is a database's password, which is part of
    ANGARIUM_STORE.
    """
    settings = load(flags={name: text for name, text in flags.items() if text is not None})
    from angarium.app import run  # noqa: PLC0415  --help and wrong settings need no server

    run(settings, told=lambda server: _tell(screen, server))


def _tell(screen: Screen, server: Server) -> None:
    """Say where the server answers, and the admin key if it has just been made."""
    if screen.is_json:
        screen.document({"url": server.url, "docs": f"{server.url}/docs", "admin_key": server.admin_key})
        return
    if server.context.settings.role == "worker":
        screen.line(f"worker     {server.url}/readyz")
        return
    screen.line(f"API        {server.url}")
    screen.line(f"docs       {server.url}/docs")
    if server.admin_key is not None:
        screen.line(f"admin key  {server.admin_key}  (shown this once; ANGARIUM_API_KEY is where commands look for it)")


def _flags() -> Iterator[inspect.Parameter]:
    """Yield a flag for each setting of a server that is no secret."""
    yield inspect.Parameter("screen", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Screen)
    for name, about in table().items():
        if not about.is_secret and name not in _FOR_CLIENTS:
            kind = Annotated[str | None, option(help=_help(about))]
            yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _help(about: About) -> str:
    return f"{about.sentence} {about.form.words}".replace("`", "")


_serve.__signature__ = inspect.Signature(list(_flags()))  # type: ignore[attr-defined]  # read by what makes commands
serve = local_command("serve", examples=("angarium serve", "angarium serve --role worker --listen 0.0.0.0:8080"))(
    _serve
)
