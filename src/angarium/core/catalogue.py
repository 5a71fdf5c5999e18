"""Say what a project's events may be: which objects and actions, where they are fetched, what their data looks like.

A project names its objects in its own `objects`, or leaves it to its dialect's catalogue; where neither names any,
every object may be published. An action may be said in canonical words or in the dialect's own; canonical is what it is
known as from here on. A project is compiled once, and what a type was found to be is remembered. Reading what is
published is `core.accepting`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, final
from urllib.parse import quote

import jsonschema_rs
import msgspec
from msgspec import Struct

from angarium.core import jsontext
from angarium.core.matching import ACTION, ACTION_MAX, OBJECT, OBJECT_MAX
from angarium.core.vocabulary import canonical_words, meanings
from angarium.errors import FieldError
from angarium.model.registry import Project

URL_MAX = 2048

_OBJECT = re.compile(OBJECT)
_ACTION = re.compile(ACTION)
_URL = re.compile(r"https?://[^\s\x00-\x1f\x7f-\x9f<>\"\\/?#]+[^\s\x00-\x1f\x7f-\x9f<>\"\\]*", re.IGNORECASE)
_PLACE = re.compile(r"\{([^{}]*)\}")
_PLACES = ("tenant", "object", "object_id")
_OBJECTS_MAX = 1000
_WINDOW_MAX = 256
_SCHEMA_BYTES_MAX = 256 * 1024
_MEMO_MAX = 10_000
_LISTED = 20
_SHOWN = 80
_PROBLEM_MAX = 300


def is_url(text: str) -> bool:
    """Say whether a text looks like an address that an object can be fetched from; nobody here fetches it."""
    return len(text) <= URL_MAX and _URL.fullmatch(text) is not None


@final
class Template:
    """A fetch address with `{tenant}`, `{object}` and `{object_id}` in it, which are filled in percent-encoded."""

    __slots__ = ("_parts",)

    def __init__(self, text: str, *, field: str) -> None:
        self._parts = _PLACE.split(text)  # Every second one names a place.
        for name in self._parts[1::2]:
            if name not in _PLACES:
                raise FieldError(field, f"asks for {{{name[:_SHOWN]}}}, expected {{{'}, {'.join(_PLACES)}}}")
        if not is_url(self.fill(tenant="x", object_="x", object_id="x")):
            raise FieldError(
                field, f"is {text[:_SHOWN]!r}, expected such as https://api.example.com/items/{{object_id}}"
            )

    def fill(self, *, tenant: str, object_: str, object_id: str) -> str:
        """Return the address of one object."""
        values = {"tenant": tenant, "object": object_, "object_id": object_id}
        parts = self._parts
        return "".join(quote(values[part], safe="") if place % 2 else part for place, part in enumerate(parts))


@final
class Schema:
    """A compiled JSON Schema. It refers to nothing outside itself: what it names elsewhere is not fetched."""

    __slots__ = ("_validator",)

    def __init__(self, schema: Any, *, field: str) -> None:  # noqa: ANN401  any JSON value, checked by the library
        if len(msgspec.json.encode(schema)) > _SCHEMA_BYTES_MAX:
            raise FieldError(field, f"is larger than {_SCHEMA_BYTES_MAX} bytes; name less in it")
        try:
            self._validator = jsonschema_rs.validator_for(schema, retriever=_no_fetching)
        except ValueError as error:
            raise FieldError(field, f"is no JSON Schema that can be compiled: {_first_line(error)}") from error

    def check(self, data: bytes) -> None:
        """Raise `FieldError` (`data.lines[0].price`) for the first thing in data that breaks the schema."""
        try:
            self._validator.validate(jsontext.read(data))
        except jsonschema_rs.ValidationError as error:
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
            raise FieldError(f"data{path}", f"breaks the object's schema: {_first_line(error)}") from None


def _no_fetching(uri: str) -> NoReturn:
    raise ValueError(f"{uri} lies outside the schema; put it under $defs")


def _first_line(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return text if len(text) <= _PROBLEM_MAX else text[:_PROBLEM_MAX] + "…"


class EventType(Struct, frozen=True):
    """What a project says of one event type.

    `object` and `action` are always the same texts, so that they compare fast. `schema` is there only when it is
    enforced.
    """

    object: str
    action: str
    url: Template | None = None
    schema: Schema | None = None


class _Object(Struct, frozen=True):
    """What a project says of one object: its canonical actions (None: any), and the rest as given."""

    actions: tuple[str, ...] | None
    window: str
    url: Template | None
    schema: Schema | None


@final
class Catalogue:
    """The event types of one project. Make it with `Catalogue.of`."""

    def __init__(self, project: str, objects: Mapping[str, _Object], actions: Mapping[str, str] | None) -> None:
        self._project = project
        self._objects = objects
        self._words = canonical_words(actions or {})
        self._any = _Object(_canonical(actions), "", None, None)
        self._memo: dict[tuple[str, str], EventType] = {}

    @classmethod
    def of(
        cls,
        project: Project,
        *,
        actions: Mapping[str, str] | None = None,
        objects: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Catalogue:
        """Compile a project's catalogue; `actions`, canonical to own, and `objects` are its dialect's (None: any).

        What a project leaves out of an object that its dialect knows is the dialect's. `FieldError` as `check_objects`
        when it cannot be compiled.
        """
        known = objects or {}
        named = {name: {**known.get(name, {}), **each} for name, each in project.objects.items()} or known
        compiled = {name: _compile(f"objects.{name}", each, actions) for name, each in named.items()}
        return cls(project.name, compiled, actions)

    @property
    def objects(self) -> tuple[str, ...]:
        """Return the names of the objects that the project names; none means any."""
        return tuple(self._objects)

    def with_action(self, action: str) -> tuple[str, ...]:
        """Return those of the named objects to which a canonical action may happen."""
        return tuple(name for name, each in self._objects.items() if each.actions is None or action in each.actions)

    def window(self, object_: str) -> str:
        """Return the member of an object's data that a resync's window is about; empty where there is none."""
        return self._objects.get(object_, self._any).window

    def canonical(self, action: str) -> str:
        """Return the canonical word for an action; one that is unknown stays as it is."""
        return self._words.get(action, action)

    def type_of(self, object_: str, action: str) -> EventType:
        """Return what the project says of a type, its action canonical from then on.

        `FieldError` (`object`, `action`) when it is not among its own.
        """
        return self._memo.get((object_, action)) or self._look(object_, action)

    def _look(self, object_: str, action: str) -> EventType:
        found = self._objects.get(object_)
        if found is None:
            found = self._unnamed(object_)
        meant = self.canonical(action)
        if found.actions is not None and meant not in found.actions:
            raise FieldError(
                "action", f"is {action[:_SHOWN]!r}, which {object_} does not have; it has {_list(found.actions)}"
            )
        _check_action(meant, "action")
        if len(self._memo) >= _MEMO_MAX:
            self._memo.clear()
        kept = self._memo[object_, action] = EventType(object_, meant, found.url, found.schema)
        return kept

    def _unnamed(self, object_: str) -> _Object:
        if self._objects:
            raise FieldError(
                "object",
                f"is {object_[:_SHOWN]!r}, which project {self._project} does not name; "
                f"it has {_list(self._objects)}; publish one of these, or name it under the project's objects",
            )
        _check_object(object_, "object")
        return self._any


def check_objects(objects: object, *, actions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a project's `objects` as they are kept, members that are null left out.

    `actions` are the dialect's, canonical to own (None: it takes any). `FieldError` (`objects.item.schema`) names the
    first wrong or unknown member.
    """
    if objects is None:
        return {}
    if not isinstance(objects, Mapping):
        raise FieldError("objects", f'is {jsontext.kind_of(objects)}, expected an object such as {{"item": {{}}}}')
    if len(objects) > _OBJECTS_MAX:
        raise FieldError("objects", f"names {len(objects)} objects, expected at most {_OBJECTS_MAX}")
    checked: dict[str, Any] = {}
    for name, said in objects.items():
        field = f"objects.{name}"
        _check_object(name, field)
        checked[name] = _members(said, field)
        _compile(field, checked[name], actions)
    return checked


def _members(said: object, field: str) -> dict[str, Any]:
    if said is None:
        return {}
    if not isinstance(said, Mapping):
        raise FieldError(field, f"is {jsontext.kind_of(said)}, expected an object with {', '.join(_MEMBERS)}")
    for name in said:
        if name not in _MEMBERS:
            raise FieldError(f"{field}.{name}", f"is unknown; known here are {', '.join(_MEMBERS)}")
    members = {name: member for name, member in said.items() if member is not None}
    for name, member in members.items():
        _MEMBERS[name](member, f"{field}.{name}")
    return members


def _compile(field: str, said: Mapping[str, Any], own: Mapping[str, str] | None) -> _Object:
    actions = _actions(field, said["actions"], own) if "actions" in said else _canonical(own)
    schema = Schema(said["schema"], field=f"{field}.schema") if "schema" in said else None
    enforced = said.get("enforce", False)
    if enforced and schema is None:
        raise FieldError(f"{field}.enforce", "is true, but there is no schema; give one, or leave this out")
    url = Template(said["url"], field=f"{field}.url") if "url" in said else None
    return _Object(actions, said.get("window", ""), url, schema if enforced else None)


def _actions(field: str, said: Collection[str], own: Mapping[str, str] | None) -> tuple[str, ...]:
    """Return the canonical actions that an object's words mean."""
    if own is None:
        return tuple(said)
    meant: dict[str, None] = {}
    for place, word in enumerate(said):
        canonical = meanings(word, own)
        if not canonical:
            raise FieldError(
                f"{field}.actions[{place}]",
                f"is {word!r}, which the dialect lacks; it has {_list(canonical_words(own))}",
            )
        meant.update(dict.fromkeys(canonical))
    return tuple(meant)


def _canonical(own: Mapping[str, str] | None) -> tuple[str, ...] | None:
    return None if own is None else tuple(own)


def _check_object(name: object, field: str) -> None:
    if not isinstance(name, str) or len(name) > OBJECT_MAX or not _OBJECT.fullmatch(name):
        raise FieldError(
            field, f"is {_found(name)}, expected letters, digits, _ and - with dots between, {OBJECT_MAX} at most"
        )


def _check_action(action: object, field: str) -> None:
    if not isinstance(action, str) or len(action) > ACTION_MAX or not _ACTION.fullmatch(action):
        raise FieldError(field, f"is {_found(action)}, expected letters, digits, _ and -, {ACTION_MAX} at most")


def _check_actions(value: object, field: str) -> None:
    if not isinstance(value, (list, tuple)) or not value:
        raise FieldError(
            field, f'is {jsontext.kind_of(value)}, expected an array such as ["create", "update", "delete"]'
        )
    for place, action in enumerate(value):
        _check_action(action, f"{field}[{place}]")


def _check_window(value: object, field: str) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= _WINDOW_MAX:
        raise FieldError(field, f"is {_found(value)}, expected the name of a member of the object's data")


def _check_url(value: object, field: str) -> None:
    if not isinstance(value, str):
        raise FieldError(field, f"is {jsontext.kind_of(value)}, expected an address as text")


def _check_flag(value: object, field: str) -> None:
    if not isinstance(value, bool):
        raise FieldError(field, f"is {jsontext.kind_of(value)}, expected true or false")


def _check_schema(value: object, field: str) -> None:
    if not isinstance(value, (bool, Mapping)):
        raise FieldError(field, f"is {jsontext.kind_of(value)}, expected a JSON Schema")


_MEMBERS: Mapping[str, Callable[[object, str], None]] = {
    "actions": _check_actions,
    "window": _check_window,
    "url": _check_url,
    "schema": _check_schema,
    "enforce": _check_flag,
}


def _found(value: object) -> str:
    return repr(value[:_SHOWN]) if isinstance(value, str) else jsontext.kind_of(value)


def _list(names: Collection[str]) -> str:
    listed = ", ".join(list(names)[:_LISTED])
    return listed if len(names) <= _LISTED else f"{listed} and {len(names) - _LISTED} more"
