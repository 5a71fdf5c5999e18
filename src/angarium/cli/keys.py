"""List, create and delete API keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from angarium.cli import reading
from angarium.cli.command import Session, argument, client_command, group, option
from angarium.cli.listing import After, Limit, show_list

keys = group("keys", "List, create and delete a project's API keys.")


class Scope(StrEnum):
    """What a key may do, from all to least."""

    ADMIN = "admin"
    MANAGE = "manage"
    READ = "read"
    PUBLISH = "publish"
    TENANT = "tenant"


@client_command("list", into=keys, examples=("angarium keys list --project demo", "angarium keys list --json"))
def list_keys(session: Session, limit: Limit = 50, after: After = None) -> None:
    """List the keys, without the keys themselves: those are shown once only."""
    show_list(
        session,
        session.path("keys"),
        columns={"KEY": "id", "SCOPE": "scope", "TENANT": "tenant", "CREATED": "created_at", "EXPIRES": "expires_at"},
        empty="no key yet; make one: angarium keys create --scope publish",
        filters={"limit": limit, "after": after},
    )


@client_command(
    "create",
    into=keys,
    examples=(
        "angarium keys create --scope publish",
        "angarium keys create --scope tenant --tenant 1201 --expires-in 1h",
    ),
)
def create(
    session: Session,
    scope: Annotated[Scope, option(help="What it may do.")],
    tenant: Annotated[str | None, option(help="Whose it is, for the scope tenant.")] = None,
    expires_in: Annotated[str | None, option(help="How long it works: 3600, 1h, 30d; left out: always.")] = None,
) -> None:
    """Create a key and show it, this once."""
    document: dict[str, object] = {"scope": scope.value}
    if tenant is not None:
        document["tenant"] = tenant
    if expires_in is not None:
        document["expires_in"] = int(reading.span_s(expires_in, field="--expires-in"))

    def people(key: dict[str, Any]) -> None:
        session.screen.fields(key)
        session.screen.say("keep it now: it is not shown again")

    session.show(session.client.send("POST", session.path("keys"), document), people)


@client_command("delete", into=keys, examples=("angarium keys delete key_2b7", "angarium keys delete key_2b7 --json"))
def delete(session: Session, key_id: Annotated[str, argument("KEY", help="The key's id.")]) -> None:
    """Delete a key: it stops to work at once."""
    reply = session.client.send("DELETE", session.path("keys", key_id))
    session.show(reply, lambda _: session.screen.line(f"deleted {key_id}"))
