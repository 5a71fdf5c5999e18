"""Send a subscription objects as they stand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from angarium.cli import reading, watching
from angarium.cli.command import Session, argument, client_command, option


@client_command(
    "resync",
    examples=(
        "angarium resync sub_2b7 --from 2026-11-01 --until 2026-12-01",
        "angarium resync sub_2b7 --objects program,presenter --no-wait",
    ),
)
def resync(
    session: Session,
    subscription: Annotated[str, argument("SUBSCRIPTION", help="The subscription's id.")],
    from_: Annotated[
        str | None, option("--from", help="Windowed objects from this moment on; 7d: back, +7d: on.")
    ] = None,
    until: Annotated[
        str | None, option("--until", help="Until this moment, itself included; written as --from.")
    ] = None,
    objects: Annotated[list[str] | None, option(help="Such as item,program; left out: all that it selects.")] = None,
    actor: Annotated[str | None, option(help="JSON: who asks; left out: the key's.")] = None,
    wait: watching.Wait = True,
) -> int:
    """Send objects as they stand, as if they had just been created; nothing is deleted.

    Objects with a window, such as items by their start, are sent when it lies within --from and --until.
    """
    now = datetime.now(UTC)
    asked = {
        "from": reading.moment(from_, field="--from", now=now),
        "until": reading.moment(until, field="--until", now=now),
        "objects": reading.words(objects),
        "actor": reading.json_or_file(actor, field="--actor") if actor is not None else None,
    }
    return watching.start(session, session.path("subscriptions", subscription, "resync"), asked, wait=wait)
