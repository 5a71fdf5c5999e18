"""Run a whole server in this process, on a loop and thread of its own, and call it as any program would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from angarium import app
from angarium.operations.context import Context
from angarium.settings import Address, Settings

KEY = "the-operator-s-own-key"


@dataclass
class Running:
    """A server under test."""

    port: int
    context: Context
    admin_key: str | None
    loop: asyncio.AbstractEventLoop


class Reply(NamedTuple):
    """An answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextlib.contextmanager
def running(folder: Path, **changes: Any) -> Iterator[Running]:
    """Lend a server whose store lies in a folder."""
    given: dict[str, Any] = {
        "store": f"sqlite:///{folder / 'angarium.db'}",
        "listen": Address("127.0.0.1", 0),
        "admin_key": KEY,
        "stop_s": 1,
        **changes,
    }
    settings = Settings(**given)
    started, servers, problems = threading.Event(), list[Running](), list[BaseException]()
    ending: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def live() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        ending.append((loop, ended))
        async with app.running(settings) as server:
            servers.append(Running(int(server.url.rpartition(":")[2]), server.context, server.admin_key, loop))
            started.set()
            await ended.wait()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(live())
        except BaseException as problem:  # noqa: BLE001  handed to the test
            problems.append(problem)
        finally:
            started.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert started.wait(60)
        if servers:
            yield servers[0]
    finally:
        if ending and thread.is_alive():
            loop, ended = ending[0]
            loop.call_soon_threadsafe(ended.set)
        thread.join(60)
    if problems:
        raise problems[0]


def call(
    server: Running,
    method: str,
    path: str,
    document: Any = None,
    *,
    key: str | None = KEY,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Make one call on a connection of its own."""
    sent = {"content-type": "application/json", **(headers or {})}
    if key:
        sent["authorization"] = f"Bearer {key}"
    body = None if document is None else json.dumps(document).encode()
    with contextlib.closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, fields, response.read())
