"""Say what operations may ask of the engine. How it does so is its own business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

RESYNC: Final = "resync"
"""The kind of a job that sends the current state of chosen objects, chosen by a moment in their data."""
EXPORT: Final = "export"
"""The kind of a job that does so too, chosen by when their last event occurred."""

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from angarium.engine.registry import TenantSubscriptions
    from angarium.model.delivery import Attempt, Open, Settled
    from angarium.model.event import Event, Place
    from angarium.model.registry import Job
    from angarium.model.subscription import Subscription


class LaneView(Struct, frozen=True):
    """How a subscription's lane is doing. `backlog` counts owed events not yet settled; moments are 0 for never."""

    backlog: int = 0
    failing_since_ms: int = 0
    is_behind: bool = False

    @property
    def is_failing(self) -> bool:
        """Say whether its receiver has been failing of late."""
        return self.failing_since_ms > 0


class Engine(Protocol):
    """Deliver what the log owes."""

    async def open(self) -> None:
        """Recover from the store and begin to deliver. The store and the sender are open already."""

    async def close(self, *, within_s: float) -> None:
        """Seal no more, let what is on the wire end within so many seconds, settle, and stop."""

    # -- the hot path -----------------------------------------------------------------------------------------------

    def held(self, project: str, tenant: str) -> TenantSubscriptions | None:
        """Return a tenant's subscriptions if they are in memory. Never blocks."""

    async def subscriptions(self, project: str, tenant: str) -> TenantSubscriptions:
        """Return a tenant's subscriptions, loaded when they are not in memory."""

    @property
    def generation(self) -> int:
        """Return a number that grows whenever subscriptions are dropped from memory, to be read again."""

    def is_outdated(self, registries: Mapping[int, int], *, generation: int) -> bool:
        """Say whether subscriptions have changed since they were in memory in a generation, by a receipt's counters.

        If those in memory now are old they are dropped, so that `subscriptions` reads them again.
        """

    def offer(self, events: Sequence[Event], places: Sequence[Place]) -> None:
        """Hand over what has just been committed, so that it need not be read back. Call it on the loop, at once."""

    @property
    def has_room(self) -> bool:
        """Say whether publishes should still be admitted in this turn of the loop (else let senders work first)."""

    # -- changes ----------------------------------------------------------------------------------------------------

    async def changed(self, subscription: Subscription) -> None:
        """Take note that a subscription was written or removed; no request starts on its old terms after this."""

    def forget_project(self, project: str) -> None:
        """Take note that a project was replaced or deleted: whatever was derived from it is read again."""

    async def dispatch(self, open_: Open, attempt: Attempt | None = None) -> bool:
        """Have a test or a redelivery sent now, outside its lane's order; False when it is open already.

        A redelivery is moved back from the settled ones; `attempt` is the one with which it had arrived, to be kept. A
        test's body is given; its key lies above `TEST_OFFSET`.
        """

    def start(self, job: Job) -> None:
        """Run a job that the store already holds as running; what its `spec` says is told in `engine.jobs`."""

    def stop(self, job: int) -> None:
        """Stop running a job; whoever calls has written its state."""

    async def folded(self) -> None:
        """Wait until all that is committed by now has been folded into the current state of its objects.

        `StoreAway` when the store cannot be had.
        """

    def serves(self, partition: int) -> bool:
        """Say whether this process has the lanes of a partition."""

    # -- views ------------------------------------------------------------------------------------------------------

    async def lane(self, subscription: Subscription) -> LaneView:
        """Return how a subscription's lane is doing, whichever process has it."""

    async def lane_failing(self, project: str) -> Sequence[int]:
        """Return the numbers of a project's subscriptions whose lanes are failing, whichever process has them.

        Others may be among them; `lane` says how each is doing.
        """

    async def moved(self, partition: int, *, beyond: int, within_s: float) -> bool:
        """Wait until a partition's committed head is above an offset; False when the time is up first."""

    def watch(
        self, changed: Callable[[Sequence[Open], Sequence[Settled]], None], *, project: str
    ) -> Callable[[], None]:
        """Call `changed` on the loop soon after each flush, in any process, with what was opened and settled.

        Others' than the project's deliveries may be among it. Return what ends that.
        """

    def figures(self) -> Mapping[str, float]:
        """Return counters and gauges, by metric name without prefix, for `/metrics` and `/readyz`."""
