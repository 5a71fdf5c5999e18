"""Serve the native API on a real socket, over the memory store, with an engine and a sender that hold state only."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

import jsonschema_rs
import uvicorn

from angarium.api.native import openapi
from angarium.api.native.app import build_native
from angarium.clock import Clock, Moment
from angarium.engine.contract import LaneView
from angarium.engine.registry import TenantSubscriptions
from angarium.model.delivery import Attempt, Open, Settled
from angarium.model.event import Event, Place
from angarium.model.ids import Ids
from angarium.model.registry import Job
from angarium.model.subscription import Subscription
from angarium.model.wire import NoResponse, Request, Response
from angarium.operations.callers import Callers
from angarium.operations.context import Context
from angarium.operations.projects import Projects
from angarium.settings import Allowance, Settings
from angarium.store.memory import MemoryStore
from angarium.vault import Vault

ADMIN = "the-operator-s-own-key"


@dataclass
class FakeClock:
    """A clock that stands until it is set; `skip_ms` moves it."""

    wall_ms: int = 1_800_000_000_000

    def now(self) -> Moment:
        return Moment(self.wall_ms / 1000, self.wall_ms)

    def skip_ms(self, span_ms: int) -> None:
        self.wall_ms += span_ms


@dataclass
class FakeEngine:
    """An engine that delivers nothing: it remembers what it is told, and says of lanes what a test has put in."""

    store: MemoryStore
    changes: list[int] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    dispatched: list[Open] = field(default_factory=list)
    started: list[Job] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    views: dict[int, LaneView] = field(default_factory=dict)
    watchers: list[Callable[[Sequence[Open], Sequence[Settled]], None]] = field(default_factory=list)
    has_room: bool = True

    async def open(self) -> None:
        """Do nothing."""

    async def close(self, *, within_s: float) -> None:
        """Do nothing."""

    def held(self, project: str, tenant: str) -> TenantSubscriptions | None:
        return None

    async def subscriptions(self, project: str, tenant: str) -> TenantSubscriptions:
        return TenantSubscriptions(
            await self.store.project(project),
            tenant,
            await self.store.subscriptions_of(project, tenant),
            await self.store.versions_of(project, tenant),
        )

    generation = 0

    def is_outdated(self, registries: Mapping[int, int], *, generation: int) -> bool:
        return False

    def serves(self, partition: int) -> bool:
        return True

    def offer(self, events: Sequence[Event], places: Sequence[Place]) -> None:
        """Do nothing: nobody waits for it."""

    async def changed(self, subscription: Subscription) -> None:
        self.changes.append(subscription.number)

    def forget_project(self, project: str) -> None:
        self.forgotten.append(project)

    async def dispatch(self, open_: Open, attempt: Attempt | None = None) -> bool:
        is_new = await self.store.reopen(open_, attempt)
        if is_new:
            self.dispatched.append(open_)
        return is_new

    def start(self, job: Job) -> None:
        self.started.append(job)

    def stop(self, job: int) -> None:
        self.stopped.append(job)

    async def folded(self) -> None:
        while await self.store.fold_objects(limit=100) == 100:
            pass

    async def lane(self, subscription: Subscription) -> LaneView:
        return self.views.get(subscription.number, LaneView())

    async def lane_failing(self, project: str) -> Sequence[int]:
        return [number for number, view in self.views.items() if view.is_failing]

    async def moved(self, partition: int, *, beyond: int, within_s: float) -> bool:
        until = asyncio.get_running_loop().time() + within_s
        while (await self.store.heads()).get(partition, 0) <= beyond:
            if asyncio.get_running_loop().time() >= until:
                return False
            await asyncio.sleep(0.005)
        return True

    def watch(
        self, changed: Callable[[Sequence[Open], Sequence[Settled]], None], *, project: str
    ) -> Callable[[], None]:
        self.watchers.append(changed)
        return lambda: self.watchers.remove(changed)

    def figures(self) -> Mapping[str, float]:
        return {}


@dataclass
class FakeSender:
    """A sender that asks a test what came back."""

    answer: Callable[[Request], Response | NoResponse] = lambda _: Response(200)
    sent: list[Request] = field(default_factory=list)

    def post(
        self,
        request: Request,
        *,
        timeout_s: float,
        allow_http: bool,
        owner: str,
        done: Callable[[Response | NoResponse], None],
        ports: frozenset[int] = frozenset(),
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        self.sent.append(request)
        asyncio.get_running_loop().call_soon(done, self.answer(request))

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


def make_context(**settings: Any) -> Context:
    """Return a server's parts, with nothing in the store."""
    store = MemoryStore()
    allow = (Allowance(ip_network("127.0.0.0/8"), 1024, 65_535),)
    return Context(
        settings=Settings(**{"admin_key": ADMIN, "egress_allow": allow, **settings}),
        clock=cast("Clock", FakeClock()),
        ids=Ids(bytes(range(16))),
        vault=Vault(bytes(range(32))),
        store=store,
        sender=FakeSender(),
        engine=FakeEngine(store),
    )


class Reply(NamedTuple):
    """What the server answered; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def expect(self, status: int) -> Any:
        """Return the parsed body of an answer with this status; fail with the answer otherwise."""
        assert self.status == status, f"{self.status}, expected {status}: {self.body[:2000].decode(errors='replace')}"
        return json.loads(self.body) if self.body else None

    def problem(self, status: int) -> Any:
        """Return the problem document of an answer with this status."""
        document = self.expect(status)
        assert self.headers["content-type"] == "application/problem+json"
        assert document["status"] == status
        assert document["detail"]
        assert self.headers["x-request-id"]
        return document

    def fields(self, status: int = 422) -> list[str]:
        """Return the fields that a problem says are at fault."""
        return [fault["field"] for fault in self.problem(status)["errors"]]


@dataclass
class Native:
    """The native API under test, and what lies behind it."""

    port: int
    context: Context
    key: str = ADMIN

    @property
    def clock(self) -> FakeClock:
        return cast("FakeClock", self.context.clock)

    @property
    def engine(self) -> FakeEngine:
        return cast("FakeEngine", self.context.engine)

    @property
    def sender(self) -> FakeSender:
        return cast("FakeSender", self.context.sender)

    @property
    def store(self) -> MemoryStore:
        return cast("MemoryStore", self.context.store)

    async def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        """Make one call, with a document as JSON or a body as it is."""
        content = json.dumps(document).encode() if document is not None else body or b""
        shown = self.key if key is None else key
        fields = {
            "host": "localhost",
            "connection": "close",
            "content-length": str(len(content)),
            **({"authorization": f"Bearer {shown}"} if shown else {}),
            **({"content-type": "application/json"} if content else {}),
            **(headers or {}),
        }
        chosen = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(chosen)}" if chosen else path
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(head.encode() + b"\r\n" + content)
            reply = _reply(await asyncio.wait_for(reader.read(), 60))
        finally:
            writer.close()
            await writer.wait_closed()
        check_answer(method, path, reply)
        return reply

    async def project(self, name: str = "p", **members: Any) -> str:
        """Make a project; return its path."""
        (await self.call("PUT", f"/v1/projects/{name}", members)).expect(201)
        return f"/v1/projects/{name}"

    async def make_key(self, scope: str, project: str = "p", **members: Any) -> str:
        """Make a key; return it."""
        made = await self.call("POST", f"/v1/projects/{project}/keys", {"scope": scope, **members})
        token: str = made.expect(201)["key"]
        return token

    async def subscribe(self, url: str | None = "https://example.com/hook", **members: Any) -> Any:
        """Subscribe in project p; return the subscription as it is shown."""
        document = members if url is None else {"url": url, **members}
        return (await self.call("POST", "/v1/projects/p/subscriptions", document)).expect(201)


@functools.cache
def _documented() -> tuple[Any, list[tuple[re.Pattern[str], Any]]]:
    """Return the API's OpenAPI document, and its paths with what they match."""
    context = make_context()
    callers = Callers(context)
    document = openapi.document_of(cast("Any", build_native(context, callers, Projects(context))).app)
    paths = [(re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path) for path in document["paths"]]
    return document, [(pattern, document["paths"][path]) for pattern, path in paths]


@functools.cache
def _validator(name: str) -> Any:
    schemas = {"components": {"schemas": _documented()[0]["components"]["schemas"]}}
    return jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", **schemas})


def check_answer(method: str, path: str, reply: Reply) -> None:
    """Hold an answer against what the OpenAPI document says of it."""
    if reply.status >= 400:
        _validator("Problem").validate(json.loads(reply.body))
        return
    item = next((item for pattern, item in _documented()[1] if pattern.fullmatch(path.partition("?")[0])), None)
    if item is None:
        return  # A page for people, or the document itself.
    answer = item[method.lower()]["responses"][str(reply.status)]
    assert bool(reply.body) == ("content" in answer)
    if reply.body:
        name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        _validator(name).validate(json.loads(reply.body))


def _reply(raw: bytes) -> Reply:
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    return Reply(int(status.split(" ")[1]), {name.lower(): value for name, value in pairs}, body)


@contextlib.asynccontextmanager
async def serve(context: Context) -> AsyncIterator[Native]:
    """Serve the native API over a context."""
    callers = Callers(context)
    projects = Projects(context, forgotten=callers.forget_project)
    app = build_native(context, callers, projects)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, ws="none", lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield Native(server.servers[0].sockets[0].getsockname()[1], context)
    finally:
        server.force_exit = True
        await server.shutdown()
