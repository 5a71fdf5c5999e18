"""Say what a grant allows an app: the scope that its user granted, the user's own permissions, and where it is called.

A scope is contexts with a space between: `clients` or `clients:create,update` lets the app hear of clients,
`api/clients` lets it call the publisher's API; without names a context means all of them, and no scope at all means all
of the user's rights. A context is the plural of an object's name. A permission is an event type, with wildcards. Both
are asked whenever an event is matched, so that whoever may not delete invoices does not hear of it either.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import unquote

from angarium.core.addressing import parse
from angarium.errors import FieldError

NAMES = ("create", "read", "update", "delete")
"""What a context of a scope may be narrowed to."""

SCOPE_MAX = 4096

_ALIASES: Mapping[str, str] = {"destroy": "delete"}  # As older samples have it.
_CONTEXT = re.compile(r"(?:api/)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_UNQUOTED_MAX = 8
_SHOWN = 80


def read_scope(text: str, *, field: str = "scope") -> Mapping[str, frozenset[str]]:
    """Return what each context of a scope allows; `FieldError` for what is no scope."""
    if len(text) > SCOPE_MAX:
        raise FieldError(field, f"is {len(text)} characters long, expected at most {SCOPE_MAX}")
    allowed: dict[str, frozenset[str]] = {}
    for part in text.split():
        context, colon, listed = part.partition(":")
        if not _CONTEXT.fullmatch(context):
            raise FieldError(field, f"holds {part[:_SHOWN]!r}, expected such as clients:create,update or api/clients")
        names = frozenset(_ALIASES.get(name, name) for name in listed.split(",")) if colon else frozenset(NAMES)
        unknown = sorted(names - set(NAMES))
        if unknown:
            raise FieldError(field, f"holds {part[:_SHOWN]!r}, whose names may be {', '.join(NAMES)}")
        allowed[context] = allowed.get(context, frozenset()) | names
    if not allowed:
        raise FieldError(field, "is empty; leave it out to ask for all that the user may do")
    return allowed


def hears(scope: str | None, type_: str) -> bool:
    """Say whether a scope (None: all rights) lets an app hear of an event type."""
    if scope is None:
        return True
    object_, _, action = type_.rpartition(".")
    allowed = read_scope(scope)
    return any(action in allowed.get(context, ()) for context in (plural(object_), object_))


def calls(scope: str | None, context: str, name: str) -> bool:
    """Say whether a scope (None: all rights) lets an app make a call (`create`, `read` …) on a part of the API."""
    return scope is None or name in read_scope(scope).get(f"api/{context}", ())


def permits(permissions: Collection[str] | None, type_: str) -> bool:
    """Say whether a user's permissions (None: all there are) include an event type."""
    if permissions is None:
        return True
    object_, _, action = type_.rpartition(".")
    return any(each in permissions for each in ("*", type_, f"{object_}.*", f"*.{action}"))


def plural(object_: str) -> str:
    """Return how a scope calls an object: `invoices`, `companies`, `taxes`."""
    if object_.endswith("y") and object_[-2:-1] not in {"", "a", "e", "i", "o", "u"}:
        return f"{object_[:-1]}ies"
    return f"{object_}es" if object_.endswith(("s", "x", "z", "ch", "sh")) else f"{object_}s"


def lies_within(url: str, app_url: str) -> bool:
    """Say whether an address is the app's own: same scheme, host and port, its path the app's or below it.

    A path that a server might read as another one (dot segments in any spelling) is never within. A query may follow.
    """
    try:
        called, home = parse(url), parse(app_url)
    except FieldError:
        return False
    if (called.scheme, called.host, called.port) != (home.scheme, home.host, home.port):
        return False
    path, root = called.path.partition("?")[0], home.path.partition("?")[0].rstrip("/")
    return not _strays(path) and (path.rstrip("/") == root or path.startswith(f"{root}/"))


def _strays(path: str) -> bool:
    """Say whether a path might lead elsewhere once somebody has unquoted it, however often."""
    for _ in range(_UNQUOTED_MAX):
        if "\\" in path or any(segment.partition(";")[0] in {".", ".."} for segment in path.split("/")):
            return True
        plain = unquote(path)
        if plain == path:
            return False
        path = plain
    return True


def permitted(types: Sequence[str], scope: str | None, permissions: Collection[str] | None) -> tuple[str, ...]:
    """Return those of some event types, none of them with wildcards, that a grant lets its app hear of."""
    return tuple(each for each in types if hears(scope, each) and permits(permissions, each))
