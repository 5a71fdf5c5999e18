"""List, show and cancel jobs: resyncs, replays, and deliveries made again by the many."""

from __future__ import annotations

from typing import Annotated

from angarium.cli.command import Session, argument, client_command, group
from angarium.cli.listing import After, Limit, show_list

jobs = group("jobs", "List, show and cancel jobs.")

Job = Annotated[str, argument("JOB", help="The job's id.")]


@client_command("list", into=jobs, examples=("angarium jobs list", "angarium jobs list --json"))
def list_jobs(session: Session, limit: Limit = 50, after: After = None) -> None:
    """List jobs, the newest first."""
    show_list(
        session,
        session.path("jobs"),
        columns={"JOB": "id", "KIND": "kind", "STATE": "state", "DONE": "done", "TOTAL": "total", "FAILED": "failed"},
        empty="no job yet; start one: angarium replay SUBSCRIPTION --since 1h",
        filters={"limit": limit, "after": after},
    )


@client_command("show", into=jobs, examples=("angarium jobs show job_2b7", "angarium jobs show job_2b7 --json"))
def show(session: Session, job: Job) -> None:
    """Show how far a job is."""
    session.show(session.client.get(session.path("jobs", job)), session.screen.fields)


@client_command("cancel", into=jobs, examples=("angarium jobs cancel job_2b7", "angarium jobs cancel job_2b7 --json"))
def cancel(session: Session, job: Job) -> None:
    """Cancel a job: what it has not begun is not begun any more."""
    session.show(session.client.send("POST", session.path("jobs", job, "cancel")), session.screen.fields)
