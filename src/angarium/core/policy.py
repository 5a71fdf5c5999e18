"""Resolve a subscription's policy: its maker's own words over its dialect's defaults, and back as the API shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from angarium.errors import FieldError
from angarium.model.subscription import Batch, Coalesce, Ordering, Policy, Retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import StrEnum

BATCH_ASKED_FOR = Batch(max_events=100, max_wait_ms=1000, max_bytes=64 * 1024)
"""What a subscription gets that asks for batches, where its dialect sends single events."""

_DELAYS_MAX = 100
_DELAY_S_MAX = 30 * 86_400


def resolve(defaults: Policy, overrides: Mapping[str, Any]) -> Policy:
    """Return the policy in force; `overrides` are as `check_overrides` returns them."""
    changes: dict[str, Any] = {name: overrides[name] for name in ("max_in_flight", "timeout_s") if name in overrides}
    if "ordering" in overrides:
        changes["ordering"] = Ordering(overrides["ordering"])
    if "batch" in overrides:
        changes["batch"] = _batch(defaults.batch, overrides["batch"])
    if "retry" in overrides:
        changes["retry"] = _retry(defaults.retry, overrides["retry"])
    if "rate" in overrides:
        changes["per_minute"] = overrides["rate"].get("per_minute", defaults.per_minute)
    return replace(defaults, **changes)


def show(policy: Policy) -> dict[str, Any]:
    """Return a policy as the HTTP API shows it, every member resolved."""
    return {
        "ordering": policy.ordering.value,
        "batch": {
            "max_events": policy.batch.max_events,
            "max_wait_ms": policy.batch.max_wait_ms,
            "max_bytes": policy.batch.max_bytes,
            "coalesce": policy.batch.coalesce.value,
        },
        "max_in_flight": policy.max_in_flight,
        "rate": None if policy.per_minute is None else {"per_minute": policy.per_minute},
        "retry": {"delays_s": [_plain(delay) for delay in policy.retry.delays_s], "give_up": policy.retry.give_up},
        "timeout_s": _plain(policy.timeout_s),
    }


def scaled(policy: Policy, scale: float) -> Policy:
    """Return a policy whose retry delays are divided by `scale` (`ANGARIUM_TIME_SCALE`), all else being the same."""
    delays = tuple(delay / scale for delay in policy.retry.delays_s)
    return replace(policy, retry=replace(policy.retry, delays_s=delays))


def check_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy members that somebody asks for, checked; `FieldError` names the first wrong or unknown one.

    A member that is null is left out: the dialect's own holds. So what `show` returns may be given back as it is.
    """
    checked = _members(overrides, _POLICY, "")
    retry = checked.get("retry", {})
    if retry.get("give_up") is False and retry.get("delays_s") == []:
        raise FieldError("retry.delays_s", "is empty, but what never gives up repeats its last delay; name one")
    return checked


def _batch(default: Batch, asked: Mapping[str, Any]) -> Batch:
    changes = dict(asked)
    if "coalesce" in asked:
        changes["coalesce"] = Coalesce(asked["coalesce"])
    return replace(default if default.max_events > 1 else BATCH_ASKED_FOR, **changes)


def _retry(default: Retry, asked: Mapping[str, Any]) -> Retry:
    delays_s = tuple(map(float, asked.get("delays_s", default.delays_s)))
    return replace(default, delays_s=delays_s, give_up=asked.get("give_up", default.give_up))


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number


def _members(value: object, checks: Mapping[str, Callable[[object, str], object]], field: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise FieldError(field, f"is {_found(value)}, expected an object with {', '.join(checks)}")
    checked: dict[str, Any] = {}
    for name, member in value.items():
        path = f"{field}.{name}" if field else name
        if name not in checks:
            raise FieldError(path, f"is unknown; known here are {', '.join(checks)}")
        if member is not None:
            checked[name] = checks[name](member, path)
    return checked


def _object(checks: Mapping[str, Callable[[object, str], object]]) -> Callable[[object, str], object]:
    return lambda value, field: _members(value, checks, field)


def _choice(choices: type[StrEnum]) -> Callable[[object, str], object]:
    def check(value: object, field: str) -> object:
        if value not in [choice.value for choice in choices]:
            raise FieldError(field, f"is {_found(value)}, expected one of {', '.join(choices)}")
        return value

    return check


def _whole(low: int, high: int) -> Callable[[object, str], object]:
    def check(value: object, field: str) -> object:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise FieldError(field, f"is {_found(value)}, expected a whole number from {low} to {high}")
        return value

    return check


def _seconds(low: int, high: int) -> Callable[[object, str], object]:
    def check(value: object, field: str) -> object:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise FieldError(field, f"is {_found(value)}, expected from {low} to {high} seconds")
        return value

    return check


def _delays(value: object, field: str) -> object:
    if not isinstance(value, (list, tuple)):
        raise FieldError(field, f"is {_found(value)}, expected a list of seconds")
    if len(value) > _DELAYS_MAX:
        raise FieldError(field, f"has {len(value)} entries, expected at most {_DELAYS_MAX}")
    check = _seconds(1, _DELAY_S_MAX)
    return [check(delay, f"{field}[{place}]") for place, delay in enumerate(value)]


def _flag(value: object, field: str) -> object:
    if not isinstance(value, bool):
        raise FieldError(field, f"is {_found(value)}, expected true or false")
    return value


def _found(value: object) -> str:
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case str():
            return repr(value[:40])
        case int() | float() if abs(value) < 10**18:
            return str(value)
        case int() | float():
            return "a very large number"
        case Mapping():
            return "an object"
        case _:
            return "a list"


_POLICY: Mapping[str, Callable[[object, str], object]] = {
    "ordering": _choice(Ordering),
    "batch": _object(
        {
            "max_events": _whole(1, 1000),
            "max_wait_ms": _whole(0, 600_000),
            "max_bytes": _whole(1024, 4 * 1024 * 1024),
            "coalesce": _choice(Coalesce),
        }
    ),
    "max_in_flight": _whole(1, 256),
    "rate": _object({"per_minute": _whole(1, 1_000_000)}),
    "retry": _object({"delays_s": _delays, "give_up": _flag}),
    "timeout_s": _seconds(1, 60),
}
