"""Turn a request into what a publisher asks, and what it is told into an answer: for the hot route and ASGI alike."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from angarium.api.problems import problem, status_of
from angarium.api.replies import Reply
from angarium.errors import AngariumError, Busy, Malformed, TooLarge
from angarium.operations.publish import Answer, Asked, Published
from angarium.telemetry import PUBLISH_REFUSED, REQUEST_FAILED, emit, is_said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from angarium.api.working import NoPublisher
    from angarium.operations.publish import Publisher

BODY_MAX: Final = 8 * 1024 * 1024
BODIES_MAX: Final = 256 * 1024 * 1024
METHOD: Final = "POST"

_PATH = re.compile(r"/v1/projects/([^/]+)/events")


class Bodies:
    """Count the bytes of all request bodies that are in memory, and say when there is room for no more."""

    def __init__(self, most: int = BODIES_MAX) -> None:
        self.held = 0
        self._most = most

    def hold(self, count: int) -> bool:
        """Count so many bytes more; False, and nothing is counted, when they do not fit."""
        if self.held + count > self._most:
            return False
        self.held += count
        return True

    def release(self, count: int) -> None:
        """Take note that so many bytes are gone."""
        self.held -= count


def project_of(path: str) -> str | None:
    """Return the project that a path publishes to, or None when it is another path."""
    found = _PATH.fullmatch(path)
    return found[1] if found else None


def asked_of(project: str, headers: Mapping[bytes, bytes], body: bytes) -> Asked:
    """Return what is asked; header names are lower-case."""
    key = headers.get(b"idempotency-key")
    return Asked(
        project,
        headers.get(b"authorization", b"").decode("latin-1"),
        headers.get(b"content-type", b"").decode("latin-1"),
        None if key is None else key.decode("latin-1"),
        body,
    )


def told(published: Published) -> bytes:
    """Return the document that a publisher is told."""
    ids = '","'.join(published.ids)
    return f'{{"accepted":{len(published.ids)},"ids":["{ids}"],"matched":{published.matched}}}'.encode()


def reply_to(answer: Answer) -> Reply:
    """Return the whole answer."""
    if isinstance(answer, Exception):
        return problem(answer)
    again = (("idempotency-replayed", "true"),) if answer.is_replay else ()
    return Reply(202, (("content-type", "application/json"), *again), told(answer))


def note(error: Exception, *, project: str, request_id: str) -> None:
    """Log a publish that was refused, or a fault of ours."""
    status = status_of(error)
    if status == 500:
        path = f"/v1/projects/{project}/events"
        emit(REQUEST_FAILED, request_id=request_id, method=METHOD, path=path, error=error)
    elif is_said(PUBLISH_REFUSED):
        emit(PUBLISH_REFUSED, project=project, status=status, detail=str(error), request_id=request_id)


class PublishRoute:
    """Publish as an ASGI application: whatever the hot route leaves, large and chunked bodies above all.

    Who may not publish is told so before the body is read.
    """

    def __init__(self, publisher: Publisher | NoPublisher, bodies: Bodies) -> None:
        self._publisher = publisher
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        project = project_of(scope["path"])
        assert project is not None, "only publishes are routed here"
        headers = dict(scope["headers"])  # Of several with one name the last counts, as on the hot route.
        asked = asked_of(project, headers, b"")
        body = _Body(self._bodies, receive)
        try:
            answer = await self._answer(asked, body, length=_length(headers))
        finally:
            body.release()
        if isinstance(answer, Exception):
            note(answer, project=project, request_id=scope.get("request_id", ""))
        reply = reply_to(answer)
        # Without "100 Continue" nobody knows whether the body still comes, so the connection cannot go on.
        closes = [] if body.was_asked_for or b"expect" not in headers else [(b"connection", b"close")]
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.fields() + closes})
        await send({"type": "http.response.body", "body": reply.body})

    async def _answer(self, asked: Asked, body: _Body, *, length: int | None) -> Answer:
        try:
            await self._publisher.authorize(asked)
            whole = await body.read(length=length)
        except AngariumError as error:
            return error
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._publisher.publish(replace(asked, body=whole), lambda answer: _settle(future, answer))
        return await future


class _Body:
    """Read a request's body up to the limit, and count what is held of it."""

    def __init__(self, bodies: Bodies, receive: Receive) -> None:
        self._bodies = bodies
        self._receive = receive
        self._held = 0
        self.was_asked_for = False

    async def read(self, *, length: int | None) -> bytes:
        """Return the body; `TooLarge` when it is over the limit, `Busy` when too many are held."""
        if length is not None:
            self._take(length, total=length)
        parts: list[bytes] = []
        total = 0
        self.was_asked_for = True
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Malformed("the publisher left before its body was whole")
            part = message.get("body", b"")
            total += len(part)
            if length is None:
                self._take(len(part), total=total)
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    def release(self) -> None:
        """Take note that nothing of it is held any more."""
        self._bodies.release(self._held)
        self._held = 0

    def _take(self, count: int, *, total: int) -> None:
        if total > BODY_MAX:
            raise TooLarge("the body is over 8 MiB; publish in several requests of at most 1,000 events")
        if not self._bodies.hold(count):
            raise Busy("the server holds as many request bodies as it may; repeat in a second")
        self._held += count


def _settle(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():  # The task that waited may have been cancelled.
        future.set_result(answer)


def _length(headers: Mapping[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length", b"")
    return int(text) if text.isdigit() else None
