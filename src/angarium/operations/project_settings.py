"""Check a project's settings. What each does is said where it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from angarium.core.addressing import parse
from angarium.core.jsontext import kind_of
from angarium.errors import FieldError
from angarium.operations.terms import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXPIRES_IN_S_MAX = 10 * 366 * 86_400
"""How long an access token may live at most."""

_PORTS_MAX = 100
_KEY_MIN, _KEY_MAX = 32, 512  # HS256's key is at least as long as its hash: RFC 7518, section 3.2.
_VERIFICATIONS = ("none", "challenge", "cloudevents")


def check_settings(settings: object) -> dict[str, Any]:
    """Return a project's settings as they are kept; members that are null are left out.

    `FieldError` (`settings.rate.per_minute`) names the first wrong or unknown one.
    """
    return _members(settings, _SETTINGS, "settings")


def _members(value: object, checks: Mapping[str, Callable[[object, str], object]], field: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FieldError(field, f"is {kind_of(value)}, expected an object with {', '.join(checks)}")
    checked: dict[str, Any] = {}
    for name, member in value.items():
        path = f"{field}.{name}"
        if name not in checks:
            raise FieldError(path, f"is unknown; known here are {', '.join(checks)}")
        if member is not None:
            checked[name] = checks[name](member, path)
    return checked


def _verification(value: object, field: str) -> object:
    if value not in _VERIFICATIONS:
        found = repr(value[:40]) if isinstance(value, str) else kind_of(value)
        raise FieldError(field, f"is {found}, expected one of {', '.join(_VERIFICATIONS)}")
    return value


def _flag(value: object, field: str) -> object:
    if not isinstance(value, bool):
        raise FieldError(field, f"is {kind_of(value)}, expected true or false")
    return value


def _whole(low: int, high: int) -> Callable[[object, str], object]:
    def check(value: object, field: str) -> object:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            found = kind_of(value) if not isinstance(value, int) or isinstance(value, bool) else "out of range"
            raise FieldError(field, f"is {found}, expected a whole number from {low:,} to {high:,}")
        return value

    return check


def _ports(value: object, field: str) -> object:
    if not isinstance(value, list) or len(value) > _PORTS_MAX:
        raise FieldError(field, f"is {kind_of(value)}, expected an array of at most {_PORTS_MAX} ports")
    return [_whole(1, 65_535)(port, f"{field}[{place}]") for place, port in enumerate(value)]


def _rate(value: object, field: str) -> object:
    rate = _members(value, {"per_minute": _whole(1, 100_000_000)}, field)
    if not rate:
        raise FieldError(f"{field}.per_minute", "is missing; name it, or leave the rate out")
    return rate


def _login(value: object, field: str) -> object:
    checks = {"url": _address, "key": _key, "expires_in": _whole(60, EXPIRES_IN_S_MAX)}
    login = _members(value, checks, field)
    for name in ("url", "key"):
        if name not in login:
            raise FieldError(f"{field}.{name}", "is missing; a login needs url and key")
    return login


def _address(value: object, field: str) -> object:
    if not isinstance(value, str):
        raise FieldError(field, f"is {kind_of(value)}, expected an address such as https://example.com/login")
    try:
        parse(value)
    except FieldError as error:
        raise FieldError(field, error.detail) from error
    return value


def _key(value: object, field: str) -> object:
    if not isinstance(value, str) or (value != MASK and not _KEY_MIN <= len(value.encode()) <= _KEY_MAX):
        raise FieldError(field, f"is none, expected a text of {_KEY_MIN} to {_KEY_MAX} bytes that only you know")
    return value


_SETTINGS: Mapping[str, Callable[[object, str], object]] = {
    "verification": _verification,
    "allow_http": _flag,
    "ports": _ports,
    "open_registration": _flag,
    "retention_days": _whole(1, 3650),
    "keep_objects": _flag,
    "rate": _rate,
    "login": _login,
}
