"""Run a test receiver: show each request and whether it verifies. Reading and answering them is `receiver`'s."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from angarium.cli import expecting, legible, reading
from angarium.cli.command import local_command, option
from angarium.cli.receiver import Answer, Gauge, Manners, Received, Receiver, misbehave
from angarium.cli.screen import Screen
from angarium.core.checking import recognise
from angarium.core.verifying import Problem

if TYPE_CHECKING:
    from angarium.core.checking import Expected, Found

_REMEMBERED_MAX = 100_000
_SHOWN = 300


@local_command(
    "receive",
    examples=(
        "angarium receive --port 9000 --secret whsec_…",
        "angarium receive --port 9000 --flaky 0.3 --delay 500ms",
    ),
)
def receive(
    screen: Screen,
    port: Annotated[int, option(least=0, most=65535, help="The port; 0 takes a free one.")] = 9000,
    host: Annotated[str, option(help="The address to listen on.")] = "127.0.0.1",
    secret: expecting.Secrets = None,
    dialect: expecting.DialectFlag = None,
    api_key: expecting.ApiKey = None,
    station: expecting.Station = None,
    api_key_header: expecting.ApiKeyHeader = expecting.API_KEY_HEADER,
    signature_header: expecting.SignatureHeader = expecting.SIGNATURE_HEADER,
    status: Annotated[int, option(least=200, most=599, help="Answer with this status.")] = 200,
    delay: Annotated[str, option(help="Answer after so long: 300ms, 3s.")] = "0s",
    flaky: Annotated[float, option(least=0, most=1, help="Answer this share with 500.")] = 0.0,
    rate_limit: Annotated[str | None, option(help="Answer 429 above this rate: 5/s, 60/m.")] = None,
    drop: Annotated[bool, option("--drop", help="Close every connection without an answer.")] = False,
    full: Annotated[bool, option("--full", help="Show headers and whole bodies.")] = False,
    count: Annotated[int | None, option(least=1, help="End after so many requests.")] = None,
) -> None:
    """Run a test receiver that verifies and shows what comes, in any dialect; handshakes are answered as they want."""
    manners = Manners(
        status=status,
        delay_s=reading.span_s(delay, field="--delay"),
        flaky=flaky,
        per_second=reading.per_second(rate_limit, field="--rate-limit") if rate_limit else None,
        drops=drop,
    )
    expected = expecting.read(dialect, secret, api_key, station, api_key_header, signature_header)
    desk = _Desk(screen, manners, expected, is_full=full, count=count)
    asyncio.run(_run(screen, desk, host, port))


async def _run(screen: Screen, desk: _Desk, host: str, port: int) -> None:
    receiver = Receiver(desk)
    await receiver.start(host, port)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, desk.is_done.set)
    screen.say(f"receiving on http://{host}:{receiver.port}/ (Ctrl-C ends it)")
    screen.say(f"the server must be allowed to send here: ANGARIUM_EGRESS_ALLOW={host}/32:{receiver.port}")
    await desk.is_done.wait()
    await asyncio.sleep(desk.manners.delay_s)  # The last answers are still to be sent.
    receiver.close()
    screen.say(desk.summary())


class _Desk:
    """Where each request is looked at, shown, and given its answer."""

    def __init__(
        self, screen: Screen, manners: Manners, expected: Expected, *, is_full: bool, count: int | None
    ) -> None:
        self.manners = manners
        self.is_done = asyncio.Event()
        self._screen, self._expected, self._is_full, self._count = screen, expected, is_full, count
        self._gauge = Gauge(manners.per_second)
        self._seen: dict[str, None] = {}
        self._requests = self._verified = self._again = 0

    def __call__(self, received: Received) -> Answer:
        """Show a request and return its answer."""
        self._requests += 1
        is_over = not received.is_handshake and self._gauge.is_over(time.monotonic())
        answer = misbehave(self.manners, dice=random.random(), is_over_rate=is_over)  # noqa: S311  no secret is made
        found = received.check(self._expected) if self._is_looked_at(received) else None
        is_again = self._is_again(received.message_id)
        self._verified += expecting.document(found)["verified"] is True
        self._again += is_again
        if self._screen.is_json:
            self._screen.document(_document(received, found, answer, is_again=is_again))
        else:
            self._show(received, found, answer, is_again=is_again)
        if self._requests == self._count:
            # The answer is written in this turn of the loop.
            asyncio.get_running_loop().call_soon(self.is_done.set)
        return answer

    def summary(self) -> str:
        """Return what came, in a line."""
        verified = f", {self._verified} verified" if self._expected.secrets or self._expected.api_key else ""
        return f"received {self._requests}{verified}, {self._again} of them again"

    def _is_looked_at(self, received: Received) -> bool:
        """Say whether there is something to look at: what Standard Webhooks sends proves nothing without a secret."""
        if received.method != "POST" or (received.is_handshake and "webhook-signature" not in received.headers):
            return False
        dialect = self._expected.dialect or recognise(received.body, received.headers)
        return bool(self._expected.secrets) or dialect != "standard"

    def _is_again(self, message_id: str) -> bool:
        if not message_id:
            return False
        is_again = message_id in self._seen
        self._seen[message_id] = None
        if len(self._seen) > _REMEMBERED_MAX:
            self._seen.pop(next(iter(self._seen)))
        return is_again

    def _show(self, received: Received, found: Found | None, answer: Answer, *, is_again: bool) -> None:
        mark, style = _mark(found)
        words = [
            datetime.fromtimestamp(received.at).astimezone().strftime("%H:%M:%S"),
            f"{received.method} {received.path}",
            received.message_id,
            mark,
            f"{len(received.body)} bytes",
            "-> " + ("handshake" if received.is_handshake else "dropped" if answer.is_dropped else str(answer.status)),
            "(again)" if is_again else "",
        ]
        self._screen.line("  ".join(word for word in words if word), style=style)
        if isinstance(found, Problem):
            self._screen.line(f"          why: {found.detail}; fix: {found.fix}")
        if received.validation is not None:
            self._screen.line(
                "          confirm with PUT …/pushservice/subscriptions/{} and {}".format(*_put(received))
            )
        for name, value in received.headers.items() if self._is_full else ():
            self._screen.line(f"          {name}: {value}")
        for line in legible.lines(received.body, received.headers):
            self._screen.line(f"          {line if self._is_full else line[:_SHOWN]}")


def _put(received: Received) -> tuple[str, str]:
    """Return the subscription's id, and the document that confirms it."""
    id_, token = received.validation or ("", "")
    return id_, json.dumps({"subscriptions": {"isEnabled": True, "isValidated": True, "validationToken": token}})


def _mark(found: Found | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    told, style = expecting.told(found)
    if isinstance(found, Problem):
        return f"NOT VERIFIED ({found.fault})", style
    return told.partition(":")[0], style


def _document(received: Received, found: Found | None, answer: Answer, *, is_again: bool) -> dict[str, Any]:
    problem = found if isinstance(found, Problem) else None
    return {
        "at": datetime.fromtimestamp(received.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "method": received.method,
        "path": received.path,
        "headers": received.headers,
        "body": received.body.decode(errors="replace"),
        "dialect": recognise(received.body, received.headers) if received.body else None,
        "verified": expecting.document(found)["verified"],
        "fault": problem and problem.fault,
        "detail": problem and problem.detail,
        "fix": problem and problem.fix,
        "handshake": received.is_handshake,
        "again": is_again,
        "status": None if answer.is_dropped else answer.status,
    }
