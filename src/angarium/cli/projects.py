"""List, create, show and delete projects."""

from __future__ import annotations

from typing import Annotated

from angarium.cli import reading
from angarium.cli.client import segment
from angarium.cli.command import Session, argument, client_command, group, option
from angarium.cli.listing import After, Limit, show_list

projects = group("projects", "List, create, show and delete projects.")

Name = Annotated[str, argument("NAME", help="The project's name.")]


@client_command("list", into=projects, examples=("angarium projects list", "angarium projects list --json"))
def list_projects(session: Session, limit: Limit = 50, after: After = None) -> None:
    """List the projects."""
    show_list(
        session,
        "/v1/projects",
        columns={"PROJECT": "id", "DIALECT": "dialect", "CREATED": "created_at"},
        empty="no project yet; make one: angarium projects create demo",
        filters={"limit": limit, "after": after},
    )


@client_command(
    "create",
    into=projects,
    examples=(
        "angarium projects create demo",
        """angarium projects create radio --objects '{"item": {"window": "start"}}'""",
    ),
)
def create(
    session: Session,
    name: Name,
    dialect: Annotated[str, option(help="The wire format of its subscriptions.")] = "standard",
    objects: Annotated[str | None, option(help="Its objects, as JSON or @file; left out: any.")] = None,
    settings: Annotated[str | None, option(help="Its settings, as JSON or @file.")] = None,
) -> None:
    """Create a project, or replace what is said of it."""
    document = {"dialect": dialect}
    if objects is not None:
        document["objects"] = reading.json_or_file(objects, field="--objects")
    if settings is not None:
        document["settings"] = reading.json_or_file(settings, field="--settings")
    reply = session.client.send("PUT", f"/v1/projects/{segment(name)}", document)
    session.show(reply, session.screen.fields)
    session.screen.say(f"next: angarium subscriptions create https://example.com/hook --project {name}")


@client_command("show", into=projects, examples=("angarium projects show demo", "angarium projects show demo --json"))
def show(session: Session, name: Name) -> None:
    """Show a project."""
    session.show(session.client.get(f"/v1/projects/{segment(name)}"), session.screen.fields)


@client_command(
    "delete", into=projects, examples=("angarium projects delete demo", "angarium projects delete old --json")
)
def delete(session: Session, name: Name) -> None:
    """Delete a project with all that belongs to it."""
    reply = session.client.send("DELETE", f"/v1/projects/{segment(name)}")
    session.show(reply, lambda _: session.screen.line(f"deleted {name}"))
