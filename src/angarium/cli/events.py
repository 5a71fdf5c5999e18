"""List and show events."""

from __future__ import annotations

from typing import Annotated, Any

from angarium.cli.command import Session, argument, client_command, group, option
from angarium.cli.listing import After, Limit, Since, Tenant, Until, show_list, window

events = group("events", "List and show events.")


@client_command(
    "list",
    into=events,
    examples=("angarium events list --since 1h", "angarium events list --object item --object-id 49"),
)
def list_events(
    session: Session,
    tenant: Tenant = None,
    object: Annotated[str | None, option(help="Only of these objects.")] = None,  # noqa: A002  the flag's name
    action: Annotated[str | None, option(help="Only with this action.")] = None,
    object_id: Annotated[str | None, option(help="Only of this one object.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    after: After = None,
) -> None:
    """List events, the newest first."""
    show_list(
        session,
        session.path("events"),
        columns={
            "EVENT": "id",
            "OBJECT": "object",
            "ACTION": "action",
            "OBJECT ID": "object_id",
            "TENANT": "tenant",
            "OCCURRED": "occurred_at",
        },
        empty="no event here; publish one: angarium publish item.update 49",
        filters={
            "tenant": tenant,
            "object": object,
            "action": action,
            "object_id": object_id,
            **window(since, until),
            "limit": limit,
            "after": after,
        },
    )


@client_command("show", into=events, examples=("angarium events show evt_2b7", "angarium events show evt_2b7 --json"))
def show(session: Session, event: Annotated[str, argument("EVENT", help="The event's id.")]) -> None:
    """Show an event, and what became of it."""

    def people(document: dict[str, Any]) -> None:
        deliveries = document.pop("deliveries", None) or []
        session.screen.fields(document)
        session.screen.line("")
        session.screen.table(
            ["DELIVERY", "SUBSCRIPTION", "STATE", "ATTEMPTS"],
            ([item.get("id"), item.get("subscription"), item.get("state"), _count(item)] for item in deliveries),
            empty="no delivery (yet): nobody has subscribed, or it is still on its way",
        )

    session.show(session.client.get(session.path("events", event)), people)


def _count(delivery: dict[str, Any]) -> object:
    attempts = delivery.get("attempts")
    return len(attempts) if isinstance(attempts, list) else attempts
