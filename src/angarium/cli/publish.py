"""Publish events from flags, a file or standard input, all at once or at a rate. Their bytes stay as they are."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Annotated, Any

from angarium.cli import reading
from angarium.cli.client import NDJSON
from angarium.cli.command import Session, argument, client_command, option
from angarium.cli.failing import MISUSED, Failure
from angarium.errors import FieldError

_EVENTS_MAX = 1000  # A request's limits, as the HTTP API states them.
_BYTES_MAX = 7 * 1024 * 1024


@client_command(
    "publish",
    examples=(
        """angarium publish item.update 49 --data '{"title": "News at nine"}'""",
        "angarium publish --file events.ndjson --count 1000 --rate 50/s",
    ),
)
def publish(
    session: Session,
    type_: Annotated[str | None, argument("OBJECT.ACTION", help="What happened.")] = None,
    object_id_: Annotated[str | None, argument("OBJECT_ID", help="To which object.")] = None,
    object_: Annotated[str | None, option("--object", help="The object, instead of OBJECT.ACTION.")] = None,
    action: Annotated[str | None, option(help="The action, instead of OBJECT.ACTION.")] = None,
    object_id: Annotated[str | None, option(help="The object's id, instead of OBJECT_ID.")] = None,
    data: Annotated[str | None, option(help="What it is now, as JSON or @file.")] = None,
    actor: Annotated[str | None, option(help="Who did it, as a JSON object or @file.")] = None,
    attributes: Annotated[str | None, option(help="What filters go by, as a JSON object or @file.")] = None,
    object_url: Annotated[str | None, option("--object-url", help="Where it can be fetched.")] = None,
    tenant: Annotated[str | None, option(help="Whose it is; left out: default.")] = None,
    file: Annotated[str | None, option(help="Events as NDJSON; - is standard input.")] = None,
    count: Annotated[int | None, option(least=1, help="How many in all; the events are repeated.")] = None,
    rate: Annotated[str | None, option(help="At this rate, one by one: 20/s, 600/m.")] = None,
    idempotency_key: Annotated[str | None, option(help="Makes publishing it twice the same as once.")] = None,
) -> None:
    """Publish one event, or those of a file. Each request is repeated until its answer is known."""
    if file is not None:
        events = _lines(file, tenant)
    else:
        kind = _kind(type_, object_, action)
        members = {**kind, "object_id": object_id_ or object_id, "tenant": tenant, "url": object_url}
        events = [_event(members, {"data": data, "actor": actor, "attributes": attributes})]
    chosen = islice(cycle(events), count or len(events))
    groups = ((event,) for event in chosen) if rate else _grouped(chosen)
    pause_s = 1 / reading.per_second(rate, field="--rate") if rate else 0.0
    _show(session, _publish(session, groups, pause_s=pause_s, key=idempotency_key or uuid.uuid4().hex))


def _kind(type_: str | None, object_: str | None, action: str | None) -> dict[str, str | None]:
    if type_ is None:
        return {"object": object_, "action": action}
    found, dot, verb = type_.rpartition(".")
    if not dot:
        raise FieldError("OBJECT.ACTION", f"{type_!r} has no action; write item.update")
    return {"object": found, "action": verb}


def _event(members: dict[str, str | None], written: dict[str, str | None]) -> bytes:
    missing = [name for name in ("object", "action", "object_id") if not members[name]]
    if missing:
        raise Failure(
            "this is no whole event",
            why=f"it has no {' and no '.join(missing)}",
            fix="write: angarium publish item.update 49, or give a file with --file",
            code="usage",
            exit_code=MISUSED,
        )
    head = json.dumps({name: value for name, value in members.items() if value is not None}, ensure_ascii=False)
    # What is JSON already is spliced in as it was written: digits, order and spelling are the publisher's.
    spliced = [f', "{name}": {_json(text, name)}' for name, text in written.items() if text is not None]
    return f"{head[:-1]}{''.join(spliced)}}}".replace("\r", " ").replace("\n", " ").encode()


def _json(given: str, name: str) -> str:
    text = reading.text_or_file(given, field=f"--{name}").strip()
    reading.json_or_file(text, field=f"--{name}")
    return text


def _lines(file: str, tenant: str | None) -> Sequence[bytes]:
    lines = [line for line in reading.read_bytes(file).splitlines() if line.strip()]
    if not lines:
        raise FieldError("--file", f"{file} holds no event; write one JSON object a line")
    return lines if tenant is None else [_of_tenant(line, tenant, number) for number, line in enumerate(lines, 1)]


def _of_tenant(line: bytes, tenant: str, number: int) -> bytes:
    try:
        event = json.loads(line)
    except ValueError as error:
        raise FieldError("--file", f"line {number} is no JSON: {error}") from error
    if not isinstance(event, dict):
        raise FieldError("--file", f"line {number} is no JSON object")
    return json.dumps({**event, "tenant": tenant}, ensure_ascii=False).encode()


def _grouped(events: Iterator[bytes]) -> Iterator[Sequence[bytes]]:
    """Return events in groups that fit into a request each."""
    filled: list[bytes] = []
    size = 0
    for event in events:
        if filled and (len(filled) == _EVENTS_MAX or size + len(event) > _BYTES_MAX):
            yield filled
            filled, size = [], 0
        filled.append(event)
        size += len(event) + 1
    if filled:
        yield filled


def _publish(session: Session, groups: Iterator[Sequence[bytes]], *, pause_s: float, key: str) -> dict[str, Any]:
    total: dict[str, Any] = {"accepted": 0, "matched": 0, "ids": []}
    due = time.monotonic()
    for number, events in enumerate(groups):
        time.sleep(max(0.0, due - time.monotonic()))
        due += pause_s
        one = key if number == 0 else f"{key}-{number}"
        answer = session.client.publish(session.path("events"), b"\n".join(events), content_type=NDJSON, key=one).value
        total["accepted"] += answer["accepted"]
        total["matched"] += answer.get("matched", 0)
        total["ids"] += answer["ids"]
    return total


def _show(session: Session, total: dict[str, Any]) -> None:
    if session.screen.is_json:
        session.screen.document(total)
        return
    accepted = total["accepted"]
    what = total["ids"][0] if accepted == 1 else f"{accepted} events"
    session.screen.line(f"accepted {what}; {total['matched']} to be delivered")
    if not total["matched"]:
        session.screen.say("nobody has subscribed to this; to do so: angarium subscriptions create URL")
