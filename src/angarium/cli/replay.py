"""Deliver a subscription's past events again, and watch it. The server does it, whether anybody watches or not."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from angarium.cli import reading
from angarium.cli.command import Session, argument, client_command, option
from angarium.cli.failing import FAILED
from angarium.cli.listing import Since, Until

if TYPE_CHECKING:
    from rich.progress import Progress

RUNNING = ("queued", "pending", "running")
_POLL_S = 0.3


@client_command(
    "replay",
    examples=("angarium replay sub_2b7 --since 2h", "angarium replay sub_2b7 --since 1d --state exhausted --no-wait"),
)
def replay(
    session: Session,
    subscription: Annotated[str, argument("SUBSCRIPTION", help="The subscription's id.")],
    since: Since = None,
    until: Until = None,
    state: Annotated[str | None, option(help="Only what ended so, such as exhausted; left out: all.")] = None,
    wait: Annotated[bool, option("--wait/--no-wait", help="Watch it to its end.")] = True,
) -> int:
    """Deliver past events again, in their order, with the same ids."""
    now = datetime.now(UTC)
    asked = {
        "from": reading.moment(since, field="--since", now=now),
        "until": reading.moment(until, field="--until", now=now),
        "state": state,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    job = session.client.send("POST", session.path("subscriptions", subscription, "replay"), given).value
    return _end(session, _watch(session, job) if wait else job)


def _watch(session: Session, job: dict[str, Any]) -> dict[str, Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415  only here

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    talk = session.screen.talk()
    with Progress(*columns, console=talk, disable=not talk.is_terminal, transient=True) as progress:
        try:
            return _follow(session, job, progress)
        except KeyboardInterrupt:
            session.screen.say(f"{job['id']} goes on without you; see: angarium jobs show {job['id']}")
            session.screen.say(f"to end it: angarium jobs cancel {job['id']}")
            raise


def _follow(session: Session, job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    bar = progress.add_task(job["id"], total=job.get("total"))
    while job["state"] in RUNNING:
        time.sleep(_POLL_S)
        job = session.client.get(session.path("jobs", job["id"])).value
        progress.update(bar, total=job.get("total"), completed=job.get("done") or 0)
    return job


def _end(session: Session, job: dict[str, Any]) -> int:
    if session.screen.is_json:
        session.screen.document(job)
    elif job["state"] in RUNNING:
        session.screen.line(f"{job['id']} runs; see: angarium jobs show {job['id']}")
    else:
        failed = f", {job['failed']} failed" if job.get("failed") else ""
        session.screen.line(f"{job['id']} {job['state']}: {job.get('done')} of {job.get('total')}{failed}")
    return FAILED if job["state"] in {"failed", "cancelled"} else 0
