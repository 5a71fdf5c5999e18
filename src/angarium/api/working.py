"""Answer as a worker, which delivers and is asked nothing: health, readiness, metrics and version are `service`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from angarium.api.problems import problem
from angarium.errors import NotFound
from angarium.telemetry import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from angarium.operations.publish import Answer, Asked

_NOT_HERE: Final = (
    "this process is a worker (ANGARIUM_ROLE), which delivers and has no API; ask one whose role is api, or all"
)


class NoPublisher:
    """Take the place of what accepts publishes: all are told to go elsewhere."""

    def __init__(self) -> None:
        self.took = Histogram()

    def publish(self, asked: Asked, done: Callable[[Answer], None]) -> None:  # noqa: ARG002  whatever it is
        """Refuse a publish."""
        done(NotFound(_NOT_HERE))

    def may_publish(self, asked: Asked) -> bool | None:  # noqa: ARG002  whoever asks
        """Say that nobody may publish here."""
        return False

    async def authorize(self, asked: Asked) -> None:  # noqa: ARG002  whoever asks
        """Raise what every publish is refused with."""
        raise NotFound(_NOT_HERE)

    def figures(self) -> Mapping[str, float]:
        """Return no figures: there are none."""
        return {}


async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  whatever is asked
    """Answer, as an ASGI application, that what was asked for is elsewhere."""
    reply = problem(NotFound(_NOT_HERE))
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.fields()})
    await send({"type": "http.response.body", "body": reply.body})
