"""Let a real server run for a while, so that its store holds some of everything that a store can hold."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from angarium.model.registry import App, Grant
from angarium.store.sqlite import SqliteStore
from tests.stories.calling import Project, event
from tests.stories.receiving import Answer, Hook, Receiver
from tests.stories.serving import Server
from tests.stories.waiting import eventually

FAILED = Answer(500)
HOUR_MS = 3_600_000


class Lived(NamedTuple):
    """A store that a server has run on: its file, and who receives what it sends."""

    path: Path
    alive: Hook
    dead: Hook
    paused: Hook
    secret: str
    waiting: int
    """How many events wait for the dead receiver, and as many for the paused one."""


def live(folder: Path, receiver: Receiver, *, events: int = 60) -> Lived:
    """Run a server on a new store, stop it, and drop some of the oldest from its log."""
    alive, dead, paused = receiver.hook(), receiver.hook(), receiver.hook()
    server = Server(folder, dev="1", time_scale="10").start()
    try:
        secret, old = _publish_and_resync(server, alive, dead, paused, events=events)
        _older_apis(server, receiver.hook())
    finally:
        server.stop()
    path = folder / "angarium.db"
    asyncio.run(_forget(path, old))
    return Lived(path, alive, dead, paused, secret, events)


def _publish_and_resync(server: Server, alive: Hook, dead: Hook, paused: Hook, *, events: int) -> tuple[str, int]:
    project = server.project("shop")
    first = project.subscribe(alive.url)
    project.publish(*(event(f"old-{number}", data={"n": number}) for number in range(20)))
    project.publish(event("old-1", "item.delete"), event("old-2"))
    alive.wait_for(22)
    project.wait_for("delivered", number=22)
    time.sleep(0.01)
    old = int(time.time() * 1000)
    time.sleep(0.01)
    batches = project.subscribe(alive.url, batch={"max_events": 10, "max_wait_ms": 20, "coalesce": "latest"})
    project.subscribe(dead.always(FAILED).url, retry={"delays_s": [3600] * 3}, name="dead")
    sleeps = project.subscribe(paused.url, name="paused")
    project.post(f"subscriptions/{sleeps['id']}/pause", status=200)
    project.subscribe(kind="pull", name="pulled")
    for number in range(0, events, 20):
        project.publish(*(event(each % 7, data={"n": each}) for each in range(number, number + 20)))
    headers = {"idempotency-key": "once"}
    project.client.call("POST", f"{project.path}/events", event("keyed"), headers=headers).expect(202)
    project.publish(*(event(each, "thing.create", tenant=str(each)) for each in range(5)))
    project.change(batches["id"], types=["item.*", "thing.*"])
    project.post(f"subscriptions/{first['id']}/test", status=202)
    gone = project.subscribe(alive.url, name="gone")
    project.client.call("DELETE", f"{project.path}/subscriptions/{gone['id']}").expect(204)
    _jobs(project, str(first["id"]))
    project.wait_for("retrying", number=1)
    return str(first["secret"]), old


def _jobs(project: Project, subscription: str) -> None:
    resync = project.post(f"subscriptions/{subscription}/resync", {"objects": ["item"]})
    replay = project.post(f"subscriptions/{subscription}/replay", {"state": "delivered"})
    for job in (resync["id"], replay["id"]):
        eventually(partial(_is_over, project, job))


def _is_over(project: Project, job: str) -> bool:
    return bool(project.get(f"jobs/{job}")["state"] != "running")


def _older_apis(server: Server, alive: Hook) -> None:
    radio = Project(server.client, "radio").create(dialect="radiomanager")
    radio.subscribe(alive.url, tenant="1", options={"api_key": "k3y"})
    radio.publish(event(1, "item.create", tenant="1", data={"start": "2026-11-01T00:00:00Z"}))
    radio.wait_for("delivered")
    board = Project(server.client, "board").create(dialect="dashboard")
    board.subscribe(alive.url, tenant="1")
    board.publish(event(1, "dashboard.update", tenant="1"))
    Project(server.client, "bare").create(settings={"keep_objects": False}).publish(event("none"))
    server.client.call("POST", "/v1/projects/shop/keys", {"scope": "read", "name": "k"}).expect(201)


async def _forget(path: Path, before_ms: int) -> None:
    store = SqliteStore(path)
    await store.open()
    now_ms = int(time.time() * 1000)
    await store.put_app(App(1, "app_1", "shop", "Ledger", now_ms))
    await store.put_grant(Grant(1, "grant_1", "shop", 1, "", "ann", now_ms, now_ms + HOUR_MS, digest=b"token"))
    await store.take_once("word", now_ms=now_ms, until_ms=now_ms + HOUR_MS)
    await store.fold_objects(limit=1_000_000)
    assert await store.retain(before_ms=before_ms, limit=1_000_000)
    await store.close()
