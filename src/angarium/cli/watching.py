"""Watch a job to its end, with a bar, and say how it ended. The server does it, whether anybody watches or not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from angarium.cli.command import Session, option
from angarium.cli.failing import FAILED

if TYPE_CHECKING:
    from rich.progress import Progress

RUNNING = ("queued", "pending", "running")
_POLL_S = 0.3

Wait = Annotated[bool, option("--wait/--no-wait", help="Watch it to its end.")]


def start(session: Session, path: str, asked: dict[str, Any], *, wait: bool) -> int:
    """Ask for a job, watch it if that is wanted, and return the command's exit code; None in `asked` is left out."""
    given = {name: value for name, value in asked.items() if value is not None}
    job = session.client.send("POST", path, given).value
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
        counts = "".join(f", {job[name]} {name}" for name in ("failed", "skipped") if job.get(name))
        session.screen.line(f"{job['id']} {job['state']}: {job.get('done')} of {job.get('total')}{counts}")
    if job.get("detail"):
        session.screen.say(job["detail"])
    return FAILED if job["state"] in {"failed", "cancelled"} else 0
