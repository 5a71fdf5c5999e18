"""Serve publishes on a real socket with the memory store and an engine that only remembers."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import uvicorn
import uvloop
from msgspec.structs import replace

from angarium.api.front import Front, RequestIds
from angarium.api.protocol import protocol_of
from angarium.api.publishing import Bodies, PublishRoute
from angarium.clock import SystemClock
from angarium.egress.contract import Sender
from angarium.engine.contract import Engine
from angarium.engine.registry import TenantSubscriptions
from angarium.model.event import Event, Place
from angarium.model.ids import Ids
from angarium.model.registry import ApiKey, Project, Scope
from angarium.operations.callers import Callers, digest_of
from angarium.operations.context import Context
from angarium.operations.projects import Projects
from angarium.operations.publish import Publisher
from angarium.settings import Settings
from angarium.store.contract import Publish, Receipt
from angarium.store.memory import MemoryStore
from angarium.vault import Vault

KEY = "ang_publisher"


class FakeEngine:
    """Remember what is offered; hold no tenant until it was asked for."""

    def __init__(self, *, matches: int = 3) -> None:
        self.offered: list[tuple[Event, Place]] = []
        self.loaded: list[str] = []
        self.has_room = True
        self._matches = matches
        self.generation = 0
        self._held: dict[tuple[str, str], TenantSubscriptions] = {}

    def held(self, project: str, tenant: str) -> TenantSubscriptions | None:
        return self._held.get((project, tenant))

    async def subscriptions(self, project: str, tenant: str) -> TenantSubscriptions:
        await asyncio.sleep(0)
        self.loaded.append(tenant)
        matches = self._matches

        class All:
            def matched(self, events: Sequence[Event]) -> int:
                return matches * len(events)

        found = cast("TenantSubscriptions", All())
        return self._held.setdefault((project, tenant), found)

    def is_outdated(self, registries: Mapping[int, int], *, generation: int) -> bool:
        """Say so of what was counted before `change`."""
        return generation != self.generation

    def change(self, matches: int) -> None:
        """Have another process change who wants what, so that what is in memory is not so any more."""
        self._matches = matches
        self.generation += 1
        self._held.clear()

    def offer(self, events: Sequence[Event], places: Sequence[Place]) -> None:
        self.offered.extend(zip(events, places, strict=True))

    def forget_project(self, project: str) -> None:
        self._held = {key: value for key, value in self._held.items() if key[0] != project}

    def figures(self) -> Mapping[str, float]:
        return {"lanes": 2.0}


class HeldStore(MemoryStore):
    """A memory store whose commits wait until they are let go, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held = False
        self.error: Exception | None = None
        self.registries: Mapping[int, int] = {}
        self._waiting: list[tuple[Publish, asyncio.Future[Receipt]]] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def accept(self, publish: Publish) -> asyncio.Future[Receipt]:
        if self.error is not None:
            future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
            future.set_exception(self.error)
            return future
        if not self.is_held:
            return super().accept(publish)
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((publish, future))
        return future

    def let_go(self, count: int | None = None) -> None:
        """Commit the first so many that wait (all)."""
        going, self._waiting = self._waiting[:count], self._waiting[count or len(self._waiting) :]
        for publish, future in going:
            receipt = super().accept(publish).result()
            future.set_result(replace(receipt, registries=self.registries))


@dataclass
class Served:
    """A server under test, and what lies behind it."""

    port: int
    store: HeldStore
    engine: FakeEngine
    publisher: Publisher
    front: Front
    context: Context
    asgi: list[str] = field(default_factory=list)


async def make_context(store: HeldStore, engine: FakeEngine, **settings: Any) -> Context:
    await store.put_project(Project("p", "standard", 1, 1))
    await store.put_project(Project("slow", "standard", 1, 1, settings={"rate": {"per_minute": 2}}))
    for number, (token, scope, project) in enumerate(
        [
            (KEY, Scope.PUBLISH, "p"),
            ("ang_admin", Scope.ADMIN, ""),
            ("ang_reader", Scope.READ, "p"),
            ("ang_other", Scope.PUBLISH, "other"),
        ],
        start=1,
    ):
        await store.put_key(ApiKey(number, f"key_{number}", digest_of(token), scope, 1, project=project))
    return Context(
        settings=Settings(**settings),
        clock=SystemClock(),
        ids=Ids(bytes(16)),
        vault=Vault(bytes(32)),
        store=store,
        sender=cast("Sender", None),
        engine=cast("Engine", engine),
    )


@contextlib.asynccontextmanager
async def serve(*, connections_max: int = 1000) -> AsyncIterator[Served]:
    """Serve on a free port of loopback until left."""
    store, engine = HeldStore(), FakeEngine()
    context = await make_context(store, engine)
    publisher = Publisher(context, Callers(context), Projects(context))
    bodies = Bodies()
    ids = RequestIds()
    front = Front(publisher, bodies, ids, connections_max=connections_max)
    served = Served(0, store, engine, publisher, front, context)
    route = PublishRoute(publisher, bodies)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.asgi.append(scope["path"])
        given = dict(scope["headers"]).get(b"x-request-id")
        request_id = ids.of(given)

        async def named(happening: Any) -> None:
            if happening["type"] == "http.response.start":
                happening["headers"] = [*happening["headers"], (b"x-request-id", request_id)]
            await send(happening)

        if scope["path"].endswith("/events") and scope["method"] == "POST":
            await route(scope, receive, named)
        else:
            await named({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await named({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=protocol_of(front), ws="none", lifespan="off", log_config=None,
        server_header=False,
    )  # fmt: skip
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    server.server_state.default_headers = [(b"date", b"Sun, 22 Nov 2026 09:00:00 GMT")]
    served.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.force_exit = True
        publisher.close()
        for connection in list(front.connections):
            connection.transport.abort()
        await server.shutdown()


class Caller:
    """A raw connection, to say exactly these bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, header, body."""
        status, fields, whole, body = await self.raw()
        del whole
        return status, fields, body

    async def raw(self) -> tuple[int, dict[str, str], bytes, bytes]:
        """Read one answer, and return its bytes as well."""
        async with asyncio.timeout(30):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().rstrip().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(fields.get("content-length", "0")))
        return int(first.split()[1]), fields, head + body, body

    async def rest(self) -> bytes:
        """Read until the server closes."""
        async with asyncio.timeout(30):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def eventually(holds: Callable[[], object]) -> None:
    """Wait until something holds; a minute is far more than it takes."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(0.001)


EVENT = b'{"object":"item","action":"update","object_id":"49"}'


def request(
    body: bytes = EVENT,
    *,
    project: str = "p",
    key: str | None = KEY,
    method: str = "POST",
    path: str | None = None,
    version: str = "1.1",
    length: bool = True,
    **headers: str,
) -> bytes:
    """Return a publish as bytes; header names have _ for -."""
    fields = {"host": "localhost", "content-type": "application/json"}
    if key is not None:
        fields["authorization"] = f"Bearer {key}"
    if length:
        fields["content-length"] = str(len(body))
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {path or f'/v1/projects/{project}/events'} HTTP/{version}\r\n{lines}\r\n".encode() + body


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an async test run on the loop that the server runs on, with a `served` and a `caller` where it asks so."""
    signature = inspect.signature(test)
    own = [parameter for name, parameter in signature.parameters.items() if name not in {"served", "caller"}]

    async def with_server(case: dict[str, Any]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if "served" in signature.parameters:
                case["served"] = await stack.enter_async_context(serve())
            if "caller" in signature.parameters:
                case["caller"] = await Caller.to(case["served"].port)
                stack.push_async_callback(case["caller"].close)
            await test(**case)

    def run(**case: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(with_server(case))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]  # pytest reads a test's parameters there
    return run
