"""Measure a running server: publish, receive on this machine, and say how many events a second and how late they came.

The load and the receiver take their share of this machine, in one process: the figures are what the whole reaches, not
what the server alone could. The load itself is `bench_load`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec

from angarium.cli import reading
from angarium.cli.bench_load import Load, Publisher, Target
from angarium.cli.client import ApiProblem, segment
from angarium.cli.command import Session, client_command, option
from angarium.cli.failing import FAILED, Failure
from angarium.cli.receiver import Answer, Received, Receiver

_PROJECT = "bench"
_QUIET_S = 15.0
_EVENTS = 10_000
_IN_FLIGHT = 64


class Measured(NamedTuple):
    """What came of it; rates in events a second, latencies in milliseconds from publish to arrival."""

    events: int
    accepted_per_s: float
    delivered_per_s: float
    p50_ms: float
    p99_ms: float
    missing: int
    repeated: int
    busy: int


@client_command(
    "bench", examples=("angarium bench --events 50000 --connections 64", "angarium bench --rate 500/s --json")
)
def bench(
    session: Session,
    events: Annotated[int, option(least=1, help="How many are published.")] = _EVENTS,
    batch: Annotated[int, option(least=1, most=1000, help="How many a request.")] = 1,
    size: Annotated[int, option(least=0, most=200_000, help="Bytes of text in each.")] = 400,
    connections: Annotated[int, option(least=1, most=1000, help="How many at once.")] = 32,
    rate: Annotated[str | None, option(help="Events at this rate: 500/s; left out: as fast as it goes.")] = None,
    host: Annotated[str, option(help="The address to receive on.")] = "127.0.0.1",
    port: Annotated[int, option(least=0, most=65535, help="The port to receive on.")] = 9000,
) -> int:
    """Publish to a running server and receive on this machine; show events per second and latencies.

    It makes a project and a subscription of its own, and deletes them. The server must be allowed to send here:
    ANGARIUM_EGRESS_ALLOW=127.0.0.0/8:9000
    """
    per_second = reading.per_second(rate, field="--rate") if rate else 0.0
    load = Load(events, batch, size, connections, per_second)
    measured = asyncio.run(_measure(session, load, host, port))
    _show(session, load, measured)
    return FAILED if measured.missing else 0


async def _measure(session: Session, load: Load, host: str, port: int) -> Measured:
    arrivals = _Arrivals(load.events)
    receiver = Receiver(arrivals)
    await receiver.start(host, port)
    project = f"/v1/projects/{segment(_PROJECT)}"
    made = _prepare(session, project, f"http://{host}:{receiver.port}/")
    try:
        target = Target(session.client.url, session.key, f"{project}/events")
        publisher = Publisher(load, target)
        published_s = await publisher.run()
        await arrivals.wait()
    finally:
        session.client.send("DELETE", f"{project}/subscriptions/{segment(made)}")
        receiver.close()
    return _sum_up(load, publisher, arrivals, published_s)


def _prepare(session: Session, project: str, url: str) -> str:
    """Make the project and a subscription to all of it; return the subscription's id."""
    wanted = {"url": url, "name": "bench", "max_in_flight": _IN_FLIGHT}
    session.client.send("PUT", project, {"dialect": "standard", "settings": {"keep_objects": False}})
    try:
        return str(session.client.send("POST", f"{project}/subscriptions", wanted).value["id"])
    except ApiProblem as problem:
        if any(fault.get("field") == "url" for fault in problem.errors):
            raise Failure(
                f"the server may not send to {url}",
                why=problem.detail,
                fix=f"start it with ANGARIUM_EGRESS_ALLOW={url.split('/')[2].replace(':', '/32:')}",
                code="blocked",
            ) from problem
        raise


class _Event(msgspec.Struct, frozen=True):
    object_id: str


class _Arrivals:
    """Note when each event arrives first, and how many come again."""

    def __init__(self, events: int) -> None:
        self.at_s = [0.0] * events
        self.repeated = 0
        self.count = 0
        self.last_s = 0.0
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._decoder = msgspec.json.Decoder(_Event)

    def __call__(self, received: Received) -> Answer:
        """Note one event."""
        number = int(self._decoder.decode(received.body).object_id)
        if self.at_s[number]:
            self.repeated += 1
            return Answer()
        self.at_s[number] = self.last_s = self._loop.time()
        self.count += 1
        self._changed.set()
        return Answer()

    async def wait(self) -> None:
        """Wait until all have come, or none has for a while."""
        while self.count < self._events:
            self._changed.clear()
            try:
                async with asyncio.timeout(_QUIET_S):
                    await self._changed.wait()
            except TimeoutError:
                return


def _sum_up(load: Load, publisher: Publisher, arrivals: _Arrivals, published_s: float) -> Measured:
    pairs = zip(publisher.began_s, arrivals.at_s, strict=True)
    took_ms = sorted(1000 * (at_s - began_s) for began_s, at_s in pairs if at_s)
    span_s = arrivals.last_s - publisher.began_s[0]
    return Measured(
        events=load.events,
        accepted_per_s=round(load.events / published_s, 1),
        delivered_per_s=round(len(took_ms) / span_s, 1) if took_ms else 0.0,
        p50_ms=round(_quantile(took_ms, 0.50), 2),
        p99_ms=round(_quantile(took_ms, 0.99), 2),
        missing=load.events - len(took_ms),
        repeated=arrivals.repeated,
        busy=publisher.busy,
    )


def _quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else 0.0


def _show(session: Session, load: Load, measured: Measured) -> None:
    if session.screen.is_json:
        session.screen.document({**measured._asdict(), "load": load._asdict()})
        return
    line = session.screen.line
    arrived = "each once" if not measured.missing and not measured.repeated else f"{measured.repeated} again"
    line(f"accepted   {measured.accepted_per_s:>10,.0f} events/s   {measured.events:,} in requests of {load.batch}")
    line(f"delivered  {measured.delivered_per_s:>10,.0f} events/s   {arrived}, one a request")
    line(f"latency    {measured.p50_ms:>10,.1f} ms p50    {measured.p99_ms:,.1f} ms p99, from publish to arrival")
    if measured.missing:
        line(f"missing    {measured.missing:>10,} events", style="red")
    if measured.busy:
        session.screen.say(f"the server asked {measured.busy} times to come again later")
    if not load.per_second:
        session.screen.say("it was published as fast as it goes, so latency is mostly waiting; try --rate 500/s")
    session.screen.say("load and receiver ran on this machine too, in one process")
