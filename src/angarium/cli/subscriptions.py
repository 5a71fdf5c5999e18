"""Say who wants which events, where, and how: create, change, pause, resume, test, rotate, resync, replay."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from angarium.cli import reading
from angarium.cli.command import Session, argument, client_command, group, option
from angarium.cli.listing import After, Limit, Tenant, show_list
from angarium.cli.replay import replay
from angarium.cli.resync import resync
from angarium.errors import FieldError

subscriptions = group("subscriptions", "Say who wants which events, where, and how.")


class State(StrEnum):
    """What a subscription is in."""

    UNVERIFIED = "unverified"
    ACTIVE = "active"
    FAILING = "failing"
    PAUSED = "paused"
    DISABLED = "disabled"


class Ordering(StrEnum):
    """What waits for what."""

    OBJECT = "object"
    STRICT = "strict"
    NONE = "none"


class Coalesce(StrEnum):
    """What happens to several events of one object in one delivery."""

    NONE = "none"
    OPERATIONS = "operations"
    LATEST = "latest"


Id = Annotated[str, argument("SUBSCRIPTION", help="The subscription's id.")]
Types = Annotated[
    list[str] | None, option("--types", help="Event types, such as item.* or *.delete; repeat or use commas.")
]
NameOf = Annotated[str | None, option("--name", help="A name.")]
Description = Annotated[str | None, option("--description", help="A description.")]
Filter = Annotated[str | None, option("--filter", help="A pattern over the event, as JSON or @file.")]
Header = Annotated[list[str] | None, option("--header", help="A header to send, name: value; repeat.")]
Order = Annotated[Ordering | None, option("--ordering", help="What waits for what.")]
MaxEvents = Annotated[int | None, option("--max-events", help="So many events in a delivery at most.")]
MaxWait = Annotated[str | None, option("--max-wait", help="So long an event waits for others: 500ms, 2s.")]
Fold = Annotated[Coalesce | None, option("--coalesce", help="What happens to several events of one object.")]
MaxInFlight = Annotated[int | None, option("--max-in-flight", help="So many requests at a time.")]
Rate = Annotated[str | None, option("--rate", help="So many requests: 10/s, 600/m.")]
Retry = Annotated[str | None, option("--retry", help="The waits between attempts: 5s,5m,30m.")]
Timeout = Annotated[str | None, option("--timeout", help="So long an attempt may take.")]
OptionOf = Annotated[
    list[str] | None, option("--option", help="What its dialect takes, name=value or name=@file; repeat.")
]
More = Annotated[str | None, option("--with", help="Further members, as a JSON object or @file.")]


@client_command(
    "list",
    into=subscriptions,
    examples=("angarium subscriptions list", "angarium subscriptions list --state failing --json"),
)
def list_subscriptions(
    session: Session,
    tenant: Tenant = None,
    state: Annotated[State | None, option(help="Only in this state.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> None:
    """List subscriptions."""
    show_list(
        session,
        session.path("subscriptions"),
        columns={
            "SUBSCRIPTION": "id",
            "STATE": "state",
            "BACKLOG": "backlog",
            "TYPES": "types",
            "URL": "url",
            "TENANT": "tenant",
            "NAME": "name",
        },
        empty="no subscription yet; make one: angarium subscriptions create https://example.com/hook",
        filters={"tenant": tenant, "state": state, "limit": limit, "after": after},
    )


@client_command(
    "create",
    into=subscriptions,
    examples=(
        "angarium subscriptions create https://example.com/hook --types 'item.*' --name warehouse",
        "angarium subscriptions create https://example.com/push --dialect radiomanager --option api_key=@key",
    ),
)
def create(
    session: Session,
    address: Annotated[str | None, argument("URL", help="Where to; left out for --pull.")] = None,
    pull: Annotated[bool, option("--pull", help="Nothing is pushed; its feed is pulled.")] = False,
    tenant: Annotated[str | None, option(help="Whose events; left out: default.")] = None,
    dialect: Annotated[str | None, option(help="The wire format; left out: the project's.")] = None,
    secret: Annotated[str | None, option(help="The secret, as whsec_… or @file; left out: made.")] = None,
    types: Types = None,
    name: NameOf = None,
    description: Description = None,
    filter_: Filter = None,
    header: Header = None,
    ordering: Order = None,
    max_events: MaxEvents = None,
    max_wait: MaxWait = None,
    coalesce: Fold = None,
    max_in_flight: MaxInFlight = None,
    rate: Rate = None,
    retry: Retry = None,
    timeout: Timeout = None,
    option_: OptionOf = None,
    more: More = None,
) -> None:
    """Create a subscription and show its secret, this once."""
    document = {
        "url": address,
        "kind": "pull" if pull else None,
        "tenant": tenant,
        "dialect": dialect,
        "secret": reading.text_or_file(secret, field="--secret").strip() if secret else None,
        "types": reading.words(types),
        "name": name,
        "description": description,
        **_policy(filter_, header, ordering, max_in_flight, rate, retry, timeout),
        "batch": _batch(max_events, max_wait, coalesce),
        "options": reading.options(option_, field="--option") or None,
        **_more(more),
    }
    given = {member: value for member, value in document.items() if value is not None}
    session.show(session.client.send("POST", session.path("subscriptions"), given), _created(session))


@client_command(
    "update",
    into=subscriptions,
    examples=(
        "angarium subscriptions update sub_2b7 --types 'item.*,broadcast.delete'",
        """angarium subscriptions update sub_2b7 --with '{"rate": null}'""",
    ),
)
def update(
    session: Session,
    subscription: Id,
    address: Annotated[str | None, option("--to", help="The new url.")] = None,
    types: Types = None,
    name: NameOf = None,
    description: Description = None,
    filter_: Filter = None,
    header: Header = None,
    ordering: Order = None,
    max_events: MaxEvents = None,
    max_wait: MaxWait = None,
    coalesce: Fold = None,
    max_in_flight: MaxInFlight = None,
    rate: Rate = None,
    retry: Retry = None,
    timeout: Timeout = None,
    option_: OptionOf = None,
    more: More = None,
) -> None:
    """Change what is named and leave the rest."""
    document = {
        "url": address,
        "types": reading.words(types),
        "name": name,
        "description": description,
        **_policy(filter_, header, ordering, max_in_flight, rate, retry, timeout),
        "batch": _batch(max_events, max_wait, coalesce),
        "options": reading.options(option_, field="--option") or None,
    }
    # In a JSON merge patch null removes, so what was not given must not be there; --with may say null.
    given = {member: value for member, value in document.items() if value is not None} | _more(more)
    session.show(
        session.client.send("PATCH", session.path("subscriptions", subscription), given), session.screen.fields
    )


@client_command(
    "show",
    into=subscriptions,
    examples=("angarium subscriptions show sub_2b7", "angarium subscriptions show sub_2b7 --json"),
)
def show(session: Session, subscription: Id) -> None:
    """Show a subscription, its state and its backlog."""
    session.show(session.client.get(session.path("subscriptions", subscription)), session.screen.fields)


@client_command(
    "delete",
    into=subscriptions,
    examples=("angarium subscriptions delete sub_2b7", "angarium subscriptions delete sub_2b7 --json"),
)
def delete(session: Session, subscription: Id) -> None:
    """Delete a subscription; what waits for it is cancelled."""
    reply = session.client.send("DELETE", session.path("subscriptions", subscription))
    session.show(reply, lambda _: session.screen.line(f"deleted {subscription}"))


@client_command(
    "pause",
    into=subscriptions,
    examples=("angarium subscriptions pause sub_2b7", "angarium subscriptions pause sub_2b7 --json"),
)
def pause(session: Session, subscription: Id) -> None:
    """Send nothing until it is resumed; what is owed is kept."""
    _act(session, subscription, "pause", "is paused; go on with: angarium subscriptions resume {0}")


@client_command(
    "resume",
    into=subscriptions,
    examples=("angarium subscriptions resume sub_2b7", "angarium subscriptions resume sub_2b7 --json"),
)
def resume(session: Session, subscription: Id) -> None:
    """Send again: what was kept if it was paused, what comes from now on if it was disabled."""
    _act(session, subscription, "resume", "is resumed")


@client_command(
    "disable",
    into=subscriptions,
    examples=("angarium subscriptions disable sub_2b7", "angarium subscriptions disable sub_2b7 --json"),
)
def disable(session: Session, subscription: Id) -> None:
    """Owe it nothing any more; what waits is cancelled."""
    _act(session, subscription, "disable", "is disabled; start again with: angarium subscriptions resume {0}")


@client_command(
    "verify",
    into=subscriptions,
    examples=("angarium subscriptions verify sub_2b7", "angarium subscriptions verify sub_2b7 --json"),
)
def verify(session: Session, subscription: Id) -> None:
    """Ask the receiver again whether it wants to be pushed to."""
    _act(session, subscription, "verify", "is being asked; see: angarium subscriptions show {0}")


@client_command(
    "test",
    into=subscriptions,
    examples=("angarium subscriptions test sub_2b7", "angarium subscriptions test sub_2b7 --json"),
)
def test(session: Session, subscription: Id) -> None:
    """Send one example event, marked as a test, to this subscription only."""
    _act(session, subscription, "test", "gets a test; see: angarium deliveries list --subscription {0}")


@client_command(
    "rotate",
    into=subscriptions,
    examples=("angarium subscriptions rotate sub_2b7", "angarium subscriptions rotate sub_2b7 --overlap 2d"),
)
def rotate(
    session: Session,
    subscription: Id,
    overlap: Annotated[str, option(help="So long both secrets sign.")] = "1d",
) -> None:
    """Make a new secret and show it, this once; the old one signs too for a while."""
    document = {"overlap_s": int(reading.span_s(overlap, field="--overlap"))}
    reply = session.client.send("POST", session.path("subscriptions", subscription, "secret", "rotate"), document)

    def people(answer: dict[str, Any]) -> None:
        session.screen.line(answer["secret"])
        session.screen.say(f"keep it now: it is not shown again; the old one signs for another {overlap}")

    session.show(reply, people)


subscriptions.add_command(replay)
subscriptions.add_command(resync)


def _act(session: Session, subscription: str, verb: str, done: str) -> None:
    reply = session.client.send("POST", session.path("subscriptions", subscription, verb))
    session.show(reply, lambda _: session.screen.line(f"{subscription} {done.format(subscription)}"))


def _created(session: Session) -> Any:  # noqa: ANN401  a function that prints
    def people(document: dict[str, Any]) -> None:
        session.screen.fields(document)
        if document.get("secret"):
            session.screen.say("keep the secret now: it is not shown again; a receiver verifies with it:")
            session.screen.say(f"  angarium receive --secret {document['secret']}")

    return people


def _policy(
    filter_: str | None,
    header: list[str] | None,
    ordering: Ordering | None,
    max_in_flight: int | None,
    rate: str | None,
    retry: str | None,
    timeout: str | None,
) -> dict[str, Any]:
    return {
        "filter": reading.json_or_file(filter_, field="--filter") if filter_ else None,
        "headers": reading.headers(header, field="--header") or None,
        "ordering": ordering.value if ordering else None,
        "max_in_flight": max_in_flight,
        "rate": {"per_minute": round(reading.per_second(rate, field="--rate") * 60)} if rate else None,
        "retry": {"delays_s": [_span(text, "--retry") for text in reading.words([retry]) or []]} if retry else None,
        "timeout_s": _span(timeout, "--timeout") if timeout else None,
    }


def _batch(max_events: int | None, max_wait: str | None, coalesce: Coalesce | None) -> dict[str, Any] | None:
    members = {
        "max_events": max_events,
        "max_wait_ms": round(reading.span_s(max_wait, field="--max-wait") * 1000) if max_wait else None,
        "coalesce": coalesce.value if coalesce else None,
    }
    return {name: value for name, value in members.items() if value is not None} or None


def _more(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    document = reading.json_or_file(text, field="--with")
    if not isinstance(document, dict):
        raise FieldError("--with", "is no JSON object")
    return document


def _span(text: str, field: str) -> float:
    """Return seconds, whole where they are: what is stored is shown again."""
    seconds = reading.span_s(text, field=field)
    return int(seconds) if seconds.is_integer() else seconds
