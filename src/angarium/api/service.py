"""Be the outermost ASGI application: health, readiness, metrics and publishes; the rest is the older and native APIs'.

Each request gets its name here, as `scope["request_id"]` and in its answer's `x-request-id`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec

from angarium import __version__
from angarium.api.problems import CONTENT_TYPE as PROBLEM
from angarium.api.problems import as_reply, problem
from angarium.api.publishing import METHOD, project_of
from angarium.api.replies import Reply
from angarium.errors import AngariumError
from angarium.telemetry import REQUEST_FAILED, emit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from angarium.api.front import RequestIds
    from angarium.api.metrics import Metrics
    from angarium.api.older import OlderApis
    from angarium.operations.context import Context

_JSON: Final = (("content-type", "application/json"), ("cache-control", "no-store"))
_PROBE_LASTS_S: Final = 1.0
_PROBE_WAITS_S: Final = 2.0
_PROBE: Final = "probe"


class Readiness:
    """Say whether the server can do its work now, and if not, why."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._probed_at = 0.0
        self._causes: Sequence[str] = ()
        self._lock = asyncio.Lock()
        self._is_stopping = False

    def stop(self) -> None:
        """Be ready no more, so that whoever balances load sends requests elsewhere."""
        self._is_stopping = True

    async def causes(self) -> Sequence[str]:
        """Return why it is not ready, nothing when it is. The store is written at most once a second."""
        if self._is_stopping:
            return ("the server is stopping",)
        engine = self._idle()
        async with self._lock:
            if time.monotonic() - self._probed_at > _PROBE_LASTS_S:
                self._causes = await self._probe()
                self._probed_at = time.monotonic()
        return (*engine, *self._causes)

    def _idle(self) -> Sequence[str]:
        """Return why nothing is delivered here, nothing when it is or is not this process's work."""
        if not self._context.engine.figures().get("is_running", 1.0):
            return ("the engine does not deliver",)
        if self._context.settings.role != "api" and not self._context.store.owner.may_send():
            return ("nothing is sent until the database has acknowledged again that this process is there",)
        return ()

    async def _probe(self) -> Sequence[str]:
        now_ms = self._context.clock.now().wall_ms
        try:
            async with asyncio.timeout(_PROBE_WAITS_S):
                await self._context.store.put_meta(_PROBE, str(now_ms).encode())
        except TimeoutError:
            return (f"the store did not write within {_PROBE_WAITS_S:g} s",)
        except AngariumError as error:
            return (f"the store cannot be written: {error}",)
        return ()


class Service:
    """Answer what concerns the server itself, and hand on the rest."""

    def __init__(
        self,
        *,
        native: ASGIApp,
        older: OlderApis | None,
        publish: ASGIApp,
        readiness: Readiness,
        make_metrics: Callable[[], Metrics],
        ids: RequestIds,
    ) -> None:
        self._native = native
        self._older = older
        self._publish = publish
        self._readiness = readiness
        self._make_metrics = make_metrics
        self._metrics: Metrics | None = None
        self._ids = ids
        self._own: dict[str, Callable[[], Awaitable[Reply]]] = {
            "/healthz": self._health,
            "/readyz": self._ready,
            "/metrics": self._figures,
            "/version": self._version,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            return
        request_id = self._ids.of(dict(scope["headers"]).get(b"x-request-id"))
        scope["request_id"] = request_id.decode("ascii")
        has_begun = False

        async def named(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._route(scope, receive, named)
        except Exception as error:
            emit(
                REQUEST_FAILED,
                request_id=scope["request_id"],
                method=scope["method"],
                path=scope["path"],
                error=error,
            )
            if has_begun:
                raise  # uvicorn ends the connection, so that nobody takes half an answer for a whole one.
            await _send(problem(error), named)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        own = self._own.get(scope["path"])
        if own is not None:
            await _send(await own() if scope["method"] in {"GET", "HEAD"} else _ONLY_GET, send)
        elif scope["method"] == METHOD and project_of(scope["path"]) is not None:
            await self._publish(scope, receive, send)
        elif self._older is not None and self._older.takes(scope["path"]):
            await self._older(scope, receive, send)
        else:
            await self._native(scope, receive, send)

    async def _health(self) -> Reply:
        return Reply(200, _JSON, b'{"status":"ok"}')

    async def _ready(self) -> Reply:
        causes = await self._readiness.causes()
        if not causes:
            return Reply(200, _JSON, b'{"status":"ready"}')
        document = {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "; ".join(causes),
            "causes": causes,
        }
        headers = (("content-type", PROBLEM), ("cache-control", "no-store"), ("retry-after", "1"))
        return Reply(503, headers, msgspec.json.encode(document))

    async def _figures(self) -> Reply:
        from angarium.api.metrics import CONTENT_TYPE  # noqa: PLC0415  nobody waits for it at the start

        if self._metrics is None:
            self._metrics = self._make_metrics()
        return Reply(200, (("content-type", CONTENT_TYPE),), self._metrics.written())

    async def _version(self) -> Reply:
        return Reply(200, _JSON, msgspec.json.encode({"name": "angarium", "version": __version__}))


_ONLY_GET: Final = as_reply(405, "only GET and HEAD are allowed here", headers=[("allow", "GET, HEAD")])


async def _send(reply: Reply, send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.fields()})
    await send({"type": "http.response.body", "body": reply.body})
