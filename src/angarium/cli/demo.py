"""Show Angarium at work: a real server, receivers that fail and recover, real events, and what arrives, live.

Who takes part is `demo_cast`'s to say, what is published `demo_events`', the server `demo_server`'s; `demo_tally` holds
what arrives against what was published, `demo_show` shows it. Here it is put together and timed.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Any

from angarium.cli.client import NDJSON, ApiClient, segment
from angarium.cli.command import local_command, option
from angarium.cli.demo_cast import CAST, PROJECT, Part
from angarium.cli.demo_events import burst, packaged
from angarium.cli.demo_server import HOST, Running, closed_port, running
from angarium.cli.demo_show import Show
from angarium.cli.demo_tally import Tally
from angarium.cli.failing import FAILED, INTERRUPTED
from angarium.cli.receiver import Answer, Gauge, Received, Receiver, misbehave
from angarium.cli.screen import Screen

_PAUSE_S = 0.07
_SLOW_PAUSE_S = 0.5
_BURST_AT = 30
_WAIT_S = 30.0
_LAST_S = 0.2  # The last answers are still to be written, and what should not come would come now.
_LOOK_S = 0.5
_BASE = f"/v1/projects/{PROJECT}"


@local_command("demo", examples=("angarium demo --once", "angarium demo --once --json"))
def demo(
    screen: Screen,
    once: Annotated[bool, option("--once", help="End when all has arrived; 0 if it has, else 1.")] = False,
) -> int:
    """Start a server and receivers on this machine, publish real events, and show what arrives, live.

    Nothing of it stays: the store lies in a temporary folder, and only this machine is spoken to.
    """
    return asyncio.run(_play(Show(screen), once=once))


async def _play(show: Show, *, once: bool) -> int:
    tally, changed = Tally(CAST), asyncio.Event()
    desks = [_Desk(part, tally, show, changed) for part in CAST]
    async with _receiving(desks), _server(desks) as server:
        stage = _Stage(server, tally, show, changed)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stage.stop)
        show.opening(server)
        began_s = time.monotonic()
        await stage.subscribe(desks)
        watching = asyncio.create_task(stage.watch_the_dead())
        try:
            await stage.publish_all()
            if not once:
                show.next_steps(server)
                await stage.go_on()
            await stage.wait_for_all()
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        show.closing(tally, waiting=await stage.waiting(), took_s=time.monotonic() - began_s)
    if once and stage.stops:
        return INTERRUPTED
    if once:
        show.next_steps(None)
    return 0 if tally.is_right() else FAILED


class _Desk:
    """One part's receiver; `port` is where it listens, or where nobody does."""

    def __init__(self, part: Part, tally: Tally, show: Show, changed: asyncio.Event) -> None:
        self.part = part
        self.port = 0
        self.secret = ""
        self._tally, self._show, self._changed = tally, show, changed
        self._gauge = Gauge(part.manners.per_second)
        self._requests = 0

    def __call__(self, received: Received) -> Answer:
        """Note and show a request, and return the answer."""
        self._requests += 1
        failing = self._requests <= self.part.fails_first
        manners = self.part.manners._replace(status=500) if failing else self.part.manners
        answer = misbehave(manners, dice=1.0, is_over_rate=self._gauge.is_over(time.monotonic()))
        found = received.verify([self.secret])
        self._show.arrived(self._tally.receive(self.part, received, found, answer))
        self._changed.set()
        return answer


@asynccontextmanager
async def _receiving(desks: Sequence[_Desk]) -> AsyncIterator[None]:
    """Let the receivers listen, each on a free port."""
    with ExitStack() as stack:
        for desk in desks:
            if desk.part.is_dead:
                desk.port = stack.enter_context(closed_port())
                continue
            receiver = Receiver(desk)
            await receiver.start(HOST)
            stack.callback(receiver.close)
            desk.port = receiver.port
        yield


@asynccontextmanager
async def _server(desks: Sequence[_Desk]) -> AsyncIterator[Running]:
    """Lend a server; starting and ending it leaves the loop to the receivers."""
    lending = running([desk.port for desk in desks])
    server = await asyncio.to_thread(lending.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(lending.__exit__, None, None, None)


class _Stage:
    """What the demo asks its server for."""

    def __init__(self, server: Running, tally: Tally, show: Show, changed: asyncio.Event) -> None:
        self._server, self._tally, self._show, self._changed = server, tally, show, changed
        self.stops = 0
        self._dead = ""
        self._bursts = 0

    def stop(self) -> None:
        """End what is under way: publishing first, then waiting."""
        self.stops += 1
        self._changed.set()

    async def subscribe(self, desks: Sequence[_Desk]) -> None:
        """Make the project and its subscriptions."""
        await self._ask(lambda client: client.send("PUT", _BASE, {"dialect": "standard"}))
        for desk in desks:
            part = desk.part
            wanted = {
                "url": f"http://{HOST}:{desk.port}/{part.name}",
                "name": part.name,
                "tenant": part.tenant,
                "types": part.types,
                **part.policy,
            }
            made = await self._ask(
                partial(ApiClient.send, method="POST", path=f"{_BASE}/subscriptions", document=wanted)
            )
            desk.secret = made["secret"]
            if part.is_dead:
                self._dead = made["id"]

    async def publish_all(self) -> None:
        """Publish each event that comes with the package, and a burst among them."""
        await self._publish_each(packaged(), pause_s=_PAUSE_S)

    async def go_on(self) -> None:
        """Publish the same again and again, more slowly, until it is told to stop."""
        while not self.stops:
            await self._publish_each(packaged(), pause_s=_SLOW_PAUSE_S)

    async def wait_for_all(self) -> None:
        """Wait until all has arrived that can, or for so long that something must be wrong."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                while not self._tally.is_complete() and self.stops < 2:
                    self._changed.clear()
                    await self._changed.wait()
        await asyncio.sleep(_LAST_S)

    async def waiting(self) -> int:
        """Return how many events wait for the dead one, as the server counts them."""
        found = await self._ask(lambda client: client.get(f"{_BASE}/subscriptions/{segment(self._dead)}"))
        return int(found["backlog"])

    async def watch_the_dead(self) -> None:
        """Show the attempts that find nobody; they never arrive, so that the server must be asked."""
        shown: dict[str, int] = {}
        while True:
            await asyncio.sleep(_LOOK_S)
            page = await self._ask(lambda client: client.get(f"{_BASE}/deliveries", subscription=self._dead, limit=5))
            for delivery in reversed(page["data"]):
                if delivery["attempts"] > shown.get(delivery["id"], 0):
                    shown[delivery["id"]] = delivery["attempts"]
                    self._show.unanswered(CAST[-1], delivery)

    async def _publish_each(self, events: Sequence[Mapping[str, Any]], *, pause_s: float) -> None:
        for number, event in enumerate(events):
            if self.stops:
                return
            if number == _BURST_AT:
                edits = burst(self._bursts)
                self._bursts += 1
                self._show.published(len(edits))
                await self._publish(edits)
            await self._publish([event])
            await asyncio.sleep(pause_s)

    async def _publish(self, events: Sequence[Mapping[str, Any]]) -> None:
        lines = []
        for event in events:
            data = json.dumps(event["data"], ensure_ascii=False).encode()
            head = json.dumps({name: value for name, value in event.items() if name != "data"}).encode()
            lines.append(head[:-1] + b', "data": ' + data + b"}")
            self._tally.expect(event, data)
        key = f"demo-{self._tally.published}"
        body = b"\n".join(lines)
        await self._ask(lambda client: client.publish(f"{_BASE}/events", body, content_type=NDJSON, key=key))

    async def _ask(self, ask: Callable[[ApiClient], Any]) -> Any:  # noqa: ANN401  JSON
        """Ask the server in a thread, so that receivers answer meanwhile."""

        def work() -> Any:  # noqa: ANN401  JSON
            with ApiClient(self._server.url, self._server.key) as client:
                return ask(client).value

        return await asyncio.to_thread(work)
