"""Stream server-sent events: one JSON document each. HTML Living Standard, section 9.2."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import StreamingResponse

from angarium.api.native.routing import log_fault
from angarium.errors import AngariumError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from typing import TypeVar

    from starlette.requests import Request

    T = TypeVar("T")

MEDIA_TYPE: Final = "text/event-stream"
_LINE = re.compile(rb"\r\n|\r|\n")
_QUIET: Final = b": still here\n\n"


def wants_stream(request: Request) -> bool:
    """Say whether a caller asks for a stream rather than for a page."""
    return MEDIA_TYPE in request.headers.get("accept", "").lower()


def stream_response(
    request: Request,
    found: AsyncGenerator[T | None, None],
    *,
    shown: Callable[[T], tuple[str, dict[str, Any]]],
    still_may: Callable[[], Awaitable[object]],
) -> StreamingResponse:
    """Answer with a stream of documents; `shown` returns each one's id (empty for none) and itself.

    `still_may` raises when the caller's key works no more: then the stream ends.
    """
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    events = _events(request, found, shown, still_may)
    return StreamingResponse(events, 200, headers, f"{MEDIA_TYPE}; charset=utf-8")


async def _events(
    request: Request,
    found: AsyncGenerator[T | None, None],
    shown: Callable[[T], tuple[str, dict[str, Any]]],
    still_may: Callable[[], Awaitable[object]],
) -> AsyncGenerator[bytes, None]:
    yield _QUIET  # So that a reader knows at once that it is connected.
    try:
        async with aclosing(found) as items:
            async for item in items:
                await still_may()
                yield _QUIET if item is None else _event(*shown(item))
    except AngariumError:
        return  # Its key was deleted, or what it reads: it learns why when it asks again.
    except Exception as error:  # noqa: BLE001  the answer has begun, so it can only end
        log_fault(request.scope, error)


def _event(id_: str, document: dict[str, Any]) -> bytes:
    """Write one event; what is published may hold line breaks between its tokens, which the format divides at."""
    lines = b"\n".join(b"data: " + line for line in _LINE.split(msgspec.json.encode(document)))
    return (b"id: %b\n" % id_.encode() if id_ else b"") + lines + b"\n\n"
