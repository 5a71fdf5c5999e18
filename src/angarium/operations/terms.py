"""Read on which terms somebody subscribes: a document as the HTTP API has it, checked into values that cannot be wrong.

The same check serves a new subscription and a changed one: a change is merged into the document of what there is
(`document_of`), in which header values that were not given anew stand sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from angarium.core.accepting import TENANT
from angarium.core.addressing import check_url
from angarium.core.handshakes import REQUEST_ORIGIN
from angarium.core.headers import check_headers
from angarium.core.matching import check_types
from angarium.core.patterns import compile_pattern
from angarium.core.policy import check_overrides, resolve
from angarium.core.vocabulary import canonical_types, canonical_words, is_sayable
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import FieldError
from angarium.model.subscription import Rule

if TYPE_CHECKING:
    from angarium.dialects.dialect import Dialect
    from angarium.model.registry import Project
    from angarium.model.subscription import Policy, Subscription
    from angarium.settings import Settings

MASK: Final = "********"
"""What is shown instead of a header's value, or a secret option's."""

POLICY: Final = ("ordering", "batch", "max_in_flight", "rate", "retry", "timeout_s")
MEMBERS: Final = ("url", "types", "name", "description", "dialect", "filter", "headers", "options", "kind", *POLICY)
"""What a subscription's maker may say, and change later."""

_TEXT_MAX: Final = {"name": 256, "description": 4096}
_URL_MAX: Final = 2048
_DAY_S: Final = 86_400
_LISTED: Final = 5


class Terms(Struct, frozen=True):
    """All that a subscription's maker says. A header's value is bytes where it is one that was sealed before."""

    kind: str
    url: str
    rule: Rule
    name: str
    description: str
    dialect: str
    options: dict[str, Any]
    overrides: dict[str, Any]
    headers: dict[str, str | bytes]


def read_terms(document: dict[str, Any], *, project: Project, settings: Settings, tenant: str = TENANT) -> Terms:
    """Check a tenant's document; `FieldError` names the first member that is wrong. Null is the same as left out."""
    given = {name: value for name, value in document.items() if value is not None}
    for name in given:
        if name not in MEMBERS:
            raise FieldError(name, f"is unknown here; known are {', '.join(MEMBERS)}")
    dialect = dialect_of(_text(given, "dialect", project.dialect, 64))
    kind = _kind(given)
    overrides = check_overrides({name: given[name] for name in POLICY if name in given})
    policy = resolve(dialect.policy, overrides)
    _check_lifetime(policy, project, settings)
    _check_batch(policy, dialect)
    options = dialect.check_options(_object(given, "options"))
    return Terms(
        kind=kind,
        url=_url(given, kind, dialect, project, settings, tenant),
        rule=_rule(given, dialect, project),
        name=_text(given, "name", "", _TEXT_MAX["name"]),
        description=_text(given, "description", "", _TEXT_MAX["description"]),
        dialect=dialect.name,
        options=options,
        overrides=overrides,
        headers=_headers(_object(given, "headers"), dialect, options),
    )


def document_of(subscription: Subscription) -> dict[str, Any]:
    """Return what a subscription's maker has said so far, as `read_terms` reads it; secret options stand masked."""
    return {
        "kind": subscription.kind,
        "url": subscription.url or None,
        "types": list(subscription.rule.types) or None,
        "filter": msgspec.json.decode(subscription.rule.pattern) if subscription.rule.pattern else None,
        "name": subscription.name,
        "description": subscription.description,
        "dialect": subscription.dialect,
        "options": shown_options(subscription),
        "headers": own_headers(subscription),
        **subscription.overrides,
    }


def shown_options(subscription: Subscription) -> dict[str, Any]:
    """Return the dialect's options as they are shown: the secret ones masked, without those that we keep for it."""
    names = dialect_of(subscription.dialect).traits.secret_options
    return {**subscription.options, **{name: MASK for name in subscription.sealed if name in names}}


def own_headers(subscription: Subscription) -> dict[str, bytes]:
    """Return the headers, sealed, that its maker gave: not what a handshake has put beside them."""
    return {name: value for name, value in subscription.headers.items() if name != REQUEST_ORIGIN}


def allows_http(project: Project, dialect: Dialect) -> bool:
    """Say whether addresses may be http: as the project says, else as the dialect's own document does."""
    return bool(project.settings.get("allow_http", dialect.traits.allows_http))


def _kind(given: dict[str, Any]) -> str:
    kind = given.get("kind", "push")
    if kind not in {"push", "pull"}:
        raise FieldError("kind", f"is {_found(kind)}, expected push or pull")
    return str(kind)


def _url(given: dict[str, Any], kind: str, dialect: Dialect, project: Project, settings: Settings, tenant: str) -> str:
    if kind == "pull":
        if "url" in given:
            raise FieldError("url", 'is given, but nothing is pushed to a "pull" subscription; remove it')
        return ""
    if "url" not in given:
        raise FieldError("url", 'is missing; name the address to push to, or ask for "kind": "pull"')
    ports = frozenset((*settings.egress_ports, *project.settings.get("ports", ())))
    text = _text(given, "url", "", _URL_MAX)
    address = dialect.address(text, tenant)
    allowances = settings.egress_allow
    target = check_url(address, allow_http=allows_http(project, dialect), ports=ports, allowances=allowances)
    return target.url if address == text else text


def _rule(given: dict[str, Any], dialect: Dialect, project: Project) -> Rule:
    types = _types(given["types"], dialect, project) if "types" in given else ()
    pattern = b""
    if "filter" in given:
        pattern = msgspec.json.encode(given["filter"])
        compile_pattern(pattern)
    return Rule(types, pattern)


def _types(asked: object, dialect: Dialect, project: Project) -> tuple[str, ...]:
    """Return types in canonical words; asked for they may be in those of the dialect, or the project's."""
    known = canonical_words(dialect_of(project.dialect).traits.actions or {})
    actions = dialect.traits.actions
    types = canonical_types(check_types(asked), {**known, **canonical_words(actions or {})})
    if actions is not None and not any(is_sayable(text, actions) for text in types):
        raise FieldError(
            "types",
            f"are {', '.join(types[:_LISTED])}, for none of which the {dialect.name} dialect has a word; "
            f"it has words for {', '.join(actions)}",
        )
    return types


def _headers(given: dict[str, Any], dialect: Dialect, options: dict[str, Any]) -> dict[str, str | bytes]:
    for name, value in given.items():
        if not isinstance(value, (str, bytes)):
            raise FieldError(f"headers.{name}", f"is {_found(value)}, expected a text")
        if value == MASK:
            raise FieldError(f"headers.{name}", "is what a value is shown as; give the value itself")
    new = check_headers(
        {name: "" if isinstance(value, bytes) else value for name, value in given.items()},
        reserved=(*dialect.reserved_headers, *(options[name] for name in dialect.traits.header_options)),
    )
    kept = {name: value for name, value in given.items() if isinstance(value, bytes)}
    return {**new, **kept}


def _check_lifetime(policy: Policy, project: Project, settings: Settings) -> None:
    """Refuse a schedule that outlives the log: what it would send is gone by then."""
    days = min(project.settings.get("retention_days", settings.retention_days), settings.retention_days)
    lifetime_s = sum(policy.retry.delays_s)
    if policy.retry.give_up and lifetime_s > days * _DAY_S:
        raise FieldError(
            "retry.delays_s",
            f"adds up to {lifetime_s / _DAY_S:.1f} days, but events are kept for {days}; shorten the schedule",
        )


def _check_batch(policy: Policy, dialect: Dialect) -> None:
    if dialect.traits.is_single and policy.batch.max_events > 1:
        raise FieldError(
            "batch.max_events",
            f"is {policy.batch.max_events}, but the {dialect.name} dialect sends each event alone; leave batch out",
        )


def _text(given: dict[str, Any], name: str, default: str, length_max: int) -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise FieldError(name, f"is {_found(value)}, expected a text")
    if len(value) > length_max:
        raise FieldError(name, f"is {len(value)} characters long, expected at most {length_max}")
    return value


def _object(given: dict[str, Any], name: str) -> dict[str, Any]:
    value = given.get(name, {})
    if not isinstance(value, dict):
        raise FieldError(name, f"is {_found(value)}, expected an object")
    return {member: each for member, each in value.items() if each is not None}


def _found(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return repr(value[:40])
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return "a number"
