"""Say what a sender is, for those who have something sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from angarium.model.wire import NoResponse, Request, Response


class Sender(Protocol):
    """Send requests, each within a wall-clock deadline, and report what came back."""

    def post(  # noqa: PLR0913  all that a request is sent under
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
        """Send one request; call `done` once, on the event loop, with the answer or why there is none.

        Returns at once and never raises for what a receiver or its address does. Connections are kept per origin and
        `owner` (the tenant), never shared between owners. `ports` are open at public addresses besides the sender's
        own. `may_send` is asked at the last moment before the request's first byte leaves, whatever connection it
        takes; when it says no nothing is sent, and `done` gets `WITHHELD`. Called on the loop only.
        """

    async def open(self) -> None:
        """Begin to send."""

    async def close(self) -> None:
        """End what is still on the wire (each reported as `reset`), and stop."""
