"""List and show objects as they stand."""

from __future__ import annotations

from typing import Annotated

from angarium.cli.command import Session, argument, client_command, group, option
from angarium.cli.listing import After, Limit, show_list

objects = group("objects", "List and show objects as they stand.")

Kind = Annotated[str, argument("OBJECT", help="Which kind, such as item.")]
Tenant = Annotated[str | None, option("--tenant", help="Whose; left out: default.")]


@client_command(
    "list", into=objects, examples=("angarium objects list item", "angarium objects list item --tenant 1 --json")
)
def list_objects(session: Session, kind: Kind, tenant: Tenant = None, limit: Limit = 50, after: After = None) -> None:
    """List a tenant's objects of one kind, in the order of their ids."""
    show_list(
        session,
        session.path("objects", kind),
        columns={"OBJECT ID": "object_id", "LAST": "action", "OCCURRED": "occurred_at", "DATA": "data"},
        empty=f"no {kind} here; publish one: angarium publish {kind}.create 49",
        filters={"tenant": tenant, "limit": limit, "after": after},
    )


@client_command(
    "show", into=objects, examples=("angarium objects show item 49", "angarium objects show item 49 --json")
)
def show(
    session: Session,
    kind: Kind,
    object_id: Annotated[str, argument("OBJECT_ID", help="The object's own id.")],
    tenant: Tenant = None,
) -> None:
    """Show an object."""
    session.show(session.client.get(session.path("objects", kind, object_id), tenant=tenant), session.screen.fields)
