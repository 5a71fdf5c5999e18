"""Deliver a subscription's past events again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from angarium.cli import reading, watching
from angarium.cli.command import Session, argument, client_command, option
from angarium.cli.listing import Since, Until


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
    wait: watching.Wait = True,
) -> int:
    """Deliver past events again, in their order, with the same ids."""
    now = datetime.now(UTC)
    asked = {
        "from": reading.moment(since, field="--since", now=now),
        "until": reading.moment(until, field="--until", now=now),
        "state": state,
    }
    return watching.start(session, session.path("subscriptions", subscription, "replay"), asked, wait=wait)
