"""Read which projects and subscriptions a file declares, and tell how what there is differs from it. No network here.

A file is TOML, with a table for each project; a subscription is recognised by its tenant and name:

    [projects.radio]
    dialect = "radiomanager"
    objects = { item = { window = "start" } }

    [[projects.radio.subscriptions]]
    tenant = "1"
    name = "website"
    url = "https://example.com/hook"
    options = { api_key = { env = "WEBSITE_KEY" } }

The members are those of the HTTP API. In an address, an option, a header, a secret or a project's settings
`{ env = "NAME" }` stands for what a variable holds, and `{ file = "path" }` for what a file holds, so that secrets stay
out of the file. The server's own settings, which `angarium.toml` may hold as well, are passed over.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from angarium.errors import FieldError
from angarium.settings import PROJECTS, table

DEFAULT_TENANT: Final = "default"
MEMBERS: Final = (
    "url",
    "types",
    "description",
    "dialect",
    "filter",
    "headers",
    "options",
    "kind",
    "ordering",
    "batch",
    "max_in_flight",
    "rate",
    "retry",
    "timeout_s",
)
"""What of a subscription a file says; what it leaves out returns to its default."""

PROJECT_MEMBERS: Final = ("dialect", "objects", "settings")
"""… and of a project."""

_FILLED: Final = ("url", "secret", "options", "headers")


class DeclaredSubscription(NamedTuple):
    """A subscription as a file has it: its name within its tenant, and all else."""

    tenant: str
    name: str
    document: dict[str, Any]


class DeclaredProject(NamedTuple):
    """A project as a file has it."""

    name: str
    document: dict[str, Any]
    subscriptions: tuple[DeclaredSubscription, ...]


# -- reading -----------------------------------------------------------------------------------------------------------


def read(content: bytes, *, environment: Mapping[str, str], folder: Path) -> list[DeclaredProject]:
    """Return what a file declares; `FieldError` names the first place that is wrong. Paths start from `folder`."""
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        raise FieldError("", f"the file is no TOML: {error}") from error
    for name in document:
        if name != PROJECTS and name.removesuffix("_file") not in table():
            raise FieldError(name, f"is unknown; a file declares {PROJECTS}, and may hold the server's settings")
    filling = _Filling(environment, folder)
    projects = _table(document.get(PROJECTS, {}), PROJECTS)
    return [_project(name, _table(said, f"{PROJECTS}.{name}"), filling) for name, said in projects.items()]


class _Filling(NamedTuple):
    """Where the values are that stand outside the file."""

    environment: Mapping[str, str]
    folder: Path

    def fill(self, value: Any, field: str) -> Any:  # noqa: ANN401  any TOML
        """Return a value with what stands outside the file filled in."""
        match value:
            case {"env": str(name), **others} if not others:
                if name not in self.environment:
                    raise FieldError(field, f"is the variable {name}, which is not set; set it, or write the value")
                return self.environment[name]
            case {"file": str(name), **others} if not others:
                return self._content(name, field)
            case dict():
                return {name: self.fill(member, f"{field}.{name}") for name, member in value.items()}
            case _:
                return value

    def _content(self, name: str, field: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise FieldError(field, f"is the file {name}, which cannot be read: {error}") from error


def _project(name: str, said: dict[str, Any], filling: _Filling) -> DeclaredProject:
    field = f"{PROJECTS}.{name}"
    for member in said:
        if member not in {*PROJECT_MEMBERS, "subscriptions"}:
            raise FieldError(
                f"{field}.{member}", f"is unknown; a project has {', '.join(PROJECT_MEMBERS)}, subscriptions"
            )
    _check_json(said, field)
    document: dict[str, Any] = {member: said[member] for member in PROJECT_MEMBERS if member in said}
    if "settings" in document:
        document["settings"] = filling.fill(document["settings"], f"{field}.settings")
    listed = said.get("subscriptions", [])
    if not isinstance(listed, list):
        raise FieldError(f"{field}.subscriptions", f"is no list; begin each with [[{field}.subscriptions]]")
    made = tuple(
        _subscription(_table(each, f"{field}.subscriptions[{place}]"), f"{field}.subscriptions[{place}]", filling)
        for place, each in enumerate(listed)
    )
    _check_names(made, field)
    return DeclaredProject(name, document, made)


def _subscription(said: dict[str, Any], field: str, filling: _Filling) -> DeclaredSubscription:
    name, tenant = said.get("name"), said.get("tenant", DEFAULT_TENANT)
    if not isinstance(name, str) or not name:
        raise FieldError(f"{field}.name", "is missing; a subscription is recognised by it, within its tenant")
    document = {member: value for member, value in said.items() if member not in {"name", "tenant"}}
    for member in _FILLED:
        if member in document:
            document[member] = filling.fill(document[member], f"{field}.{member}")
    return DeclaredSubscription(str(tenant), name, document)


def _check_names(made: tuple[DeclaredSubscription, ...], field: str) -> None:
    seen = set[tuple[str, str]]()
    for place, each in enumerate(made):
        if (each.tenant, each.name) in seen:
            raise FieldError(f"{field}.subscriptions[{place}].name", f"{each.name!r} is there twice; rename one")
        seen.add((each.tenant, each.name))


def _table(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FieldError(field, f"is no table; begin it with [{field}]")
    return value


def _check_json(value: object, field: str) -> None:
    """Refuse what TOML can say and JSON cannot."""
    match value:
        case dict():
            for name, member in value.items():
                _check_json(member, f"{field}.{name}")
        case list():
            for place, element in enumerate(value):
                _check_json(element, f"{field}[{place}]")
        case float() if value in {float("inf"), float("-inf")} or value != value:  # noqa: PLR0124  true of NaN alone
            raise FieldError(field, "is no number that JSON can say")
        case str() | bool() | int() | float():
            pass
        case _:
            raise FieldError(field, f"is {value}, a moment; write it as a text, in quotes")


# -- telling apart -----------------------------------------------------------------------------------------------------


def patch_to(shown: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7396) that makes a subscription what the file says: what is left out is removed."""
    given = {name: value for name, value in wanted.items() if name != "secret"}
    if isinstance(given.get("headers"), dict):
        given["headers"] = {name.lower(): value for name, value in given["headers"].items()}
    return {**dict.fromkeys(MEMBERS), **{name: _patch(shown.get(name), value) for name, value in given.items()}}


def _patch(shown: object, wanted: object) -> object:
    if not isinstance(shown, dict) or not isinstance(wanted, dict):
        return wanted
    named = {name: _patch(shown.get(name), value) for name, value in wanted.items()}
    return {**dict.fromkeys(name for name in shown if name not in wanted), **named}


def differences(before: Mapping[str, Any], after: Mapping[str, Any], members: Sequence[str]) -> list[str]:
    """Return what has changed of what the server shows; what it does not show is called a secret value."""
    seen = list(_seen(before, after, members))
    return seen if seen or before["updated_at"] == after["updated_at"] else ["a secret value"]


def _seen(before: Mapping[str, Any], after: Mapping[str, Any], members: Sequence[str]) -> Iterator[str]:
    for member in members:
        here, there = before.get(member), after.get(member)
        if isinstance(here, dict) and isinstance(there, dict) and member != "filter":
            names = dict.fromkeys((*here, *there))
            yield from (f"{member}.{name}" for name in names if here.get(name) != there.get(name))
        elif here != there:
            yield member
