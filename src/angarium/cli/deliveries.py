"""List and show deliveries; deliver again."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from angarium.cli.client import with_query
from angarium.cli.command import Session, argument, client_command, group, option
from angarium.cli.failing import MISUSED, Failure
from angarium.cli.listing import After, Limit, Since, Tenant, Until, show_list, window

deliveries = group("deliveries", "List and show deliveries, or deliver again.")


class State(StrEnum):
    """What a delivery is in."""

    DELIVERED = "delivered"
    RETRYING = "retrying"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    MERGED = "merged"


OfSubscription = Annotated[str | None, option("--subscription", help="Only of this subscription.")]
InState = Annotated[State | None, option("--state", help="Only in this state.")]
OfEvent = Annotated[str | None, option("--event", help="Only with this event.")]


@client_command(
    "list",
    into=deliveries,
    examples=(
        "angarium deliveries list --state retrying",
        "angarium deliveries list --subscription sub_2b7 --since 2h",
    ),
)
def list_deliveries(
    session: Session,
    subscription: OfSubscription = None,
    tenant: Tenant = None,
    state: InState = None,
    event: OfEvent = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    after: After = None,
) -> None:
    """List deliveries, the newest first."""
    show_list(
        session,
        session.path("deliveries"),
        columns={
            "DELIVERY": "id",
            "SUBSCRIPTION": "subscription",
            "TYPE": "type",
            "STATE": "state",
            "ATTEMPTS": "attempts",
            "STATUS": "status",
            "REASON": "reason",
            "NEXT": "next_at",
        },
        empty="no delivery here; send a test: angarium subscriptions test SUBSCRIPTION",
        filters={
            "subscription": subscription,
            "tenant": tenant,
            "state": state,
            "event": event,
            **window(since, until),
            "limit": limit,
            "after": after,
        },
    )


Delivery = Annotated[str, argument("DELIVERY", help="The delivery's id.")]


@client_command(
    "show", into=deliveries, examples=("angarium deliveries show dlv_2b7", "angarium deliveries show dlv_2b7 --json")
)
def show(session: Session, delivery: Delivery) -> None:
    """Show a delivery with its attempts."""

    def people(document: dict[str, Any]) -> None:
        attempts = document.pop("attempts", None) or []
        session.screen.fields(document)
        session.screen.line("")
        session.screen.table(
            ["ATTEMPT", "AT", "STATUS", "REASON", "TOOK MS", "ANSWER"],
            (
                [attempt.get(name) for name in ("number", "at", "status", "reason", "took_ms", "response")]
                for attempt in attempts
            ),
            empty="no attempt yet",
        )

    session.show(session.client.get(session.path("deliveries", delivery)), people)


@client_command(
    "redeliver",
    into=deliveries,
    examples=(
        "angarium deliveries redeliver dlv_2b7",
        "angarium deliveries redeliver --subscription sub_2b7 --state exhausted --since 1d",
    ),
)
def redeliver(
    session: Session,
    delivery: Annotated[str | None, argument("DELIVERY", help="One delivery's id.")] = None,
    subscription: OfSubscription = None,
    tenant: Tenant = None,
    state: InState = None,
    event: OfEvent = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Send one delivery again, or all that the filters choose, as a job."""
    chosen = {"subscription": subscription, "tenant": tenant, "state": state, "event": event, **window(since, until)}
    if delivery is not None:
        reply = session.client.send("POST", session.path("deliveries", delivery, "redeliver"))
        session.show(reply, lambda _: session.screen.line(f"{delivery} is sent again"))
        return
    if not any(chosen.values()):
        raise Failure(
            "nothing was chosen to be delivered again",
            why="there is neither a delivery's id nor a filter",
            fix="name one, or choose: angarium deliveries redeliver --subscription sub_… --state exhausted",
            code="usage",
            exit_code=MISUSED,
        )
    reply = session.client.send("POST", with_query(session.path("deliveries", "redeliver"), chosen))
    session.show(
        reply, lambda job: session.screen.line(f"{job['id']} delivers them; see: angarium jobs show {job['id']}")
    )
