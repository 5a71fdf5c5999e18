"""Name who wants which events, where, in which dialect, under which policy."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

from msgspec import Struct


class Ordering(StrEnum):
    """What waits for what."""

    OBJECT = "object"
    STRICT = "strict"
    NONE = "none"


class Coalesce(StrEnum):
    """What happens to several events of one object that go out in one delivery."""

    NONE = "none"
    OPERATIONS = "operations"
    LATEST = "latest"


class Batch(Struct, frozen=True):
    """When a batch is full: so many events, so many bytes, or so long after its first event."""

    max_events: int = 1
    max_wait_ms: int = 0
    max_bytes: int = 256 * 1024
    coalesce: Coalesce = Coalesce.NONE


class Retry(Struct, frozen=True):
    """The waits between attempts, in seconds; their sum is a delivery's lifetime unless it never gives up.

    With `give_up` false the last delay repeats for ever. With `disables` false, who fails for days stays enabled.
    """

    delays_s: tuple[float, ...]
    give_up: bool = True
    jitter: float = 0.2
    disables: bool = True


class Policy(Struct, frozen=True):
    """How a subscription's deliveries are made, resolved: the dialect's defaults under the subscription's own words."""

    ordering: Ordering
    batch: Batch
    retry: Retry
    max_in_flight: int = 8
    per_minute: int | None = None
    timeout_s: float = 15.0


class Secret(Struct, frozen=True):
    """One signing secret, encrypted; `expires_ms` is when it stops to sign after a rotation (None: the current one)."""

    sealed: bytes
    expires_ms: int | None = None


class Status(StrEnum):
    """What a subscription was last told to be. `failing` is not here: it is what its lane says of itself."""

    UNVERIFIED = "unverified"
    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class Owed(IntEnum):
    """What a version owes of an event that its rule matches: nothing, a place in the feed only, or a push."""

    NOTHING = 0
    FEED = 1
    PUSH = 2


class Rule(Struct, frozen=True):
    """Which events are wanted: types with wildcards (none: all) and a JSON pattern (empty: any).

    A version's rule says besides which types its dialect can say and its grant permits (None: all), and whether an
    event must have a url to be said.
    """

    types: tuple[str, ...] = ()
    pattern: bytes = b""
    sayable: tuple[str, ...] | None = None
    permitted: tuple[str, ...] | None = None
    needs_url: bool = False


class Version(Struct, frozen=True):
    """What was in force for a subscription from an offset of its partition on, until its next version."""

    subscription: int
    from_offset: int
    owed: Owed
    rule: Rule
    dialect: str


class Subscription(Struct, frozen=True):
    """Who wants which events, where, in which dialect, under which policy: as it stands now.

    `number` identifies it inside a store, `id` outside; `external_id` is what an older API calls it. `overrides` holds
    the policy members that its maker gave, as in the HTTP API (`ordering`, `batch`, `max_in_flight`, `rate`, `retry`,
    `timeout_s`); the rest is its dialect's. `headers` values, `secrets` and `sealed` options are encrypted. `facts` are
    what the server itself knows for the dialect (a grant's user, a flag of an older API): options that nobody sets, not
    shown as such. `reason` says why it is disabled or unverified. `resumed_ms` is when it was last resumed: lifetimes
    count from there.
    """

    number: int
    id: str
    project: str
    tenant: str
    partition: int
    created_ms: int
    updated_ms: int
    status: Status
    kind: str = "push"
    url: str = ""
    name: str = ""
    description: str = ""
    dialect: str = "standard"
    rule: Rule = Rule()
    overrides: dict[str, Any] = {}
    options: dict[str, Any] = {}
    sealed: dict[str, bytes] = {}
    facts: dict[str, Any] = {}
    headers: dict[str, bytes] = {}
    secrets: tuple[Secret, ...] = ()
    reason: str = ""
    owed: Owed = Owed.PUSH
    resumed_ms: int = 0
    external_id: str = ""
    revision: int = 1

    @property
    def is_served(self) -> bool:
        """Say whether it is sent what it is owed, at once or after a pause; a grant may permit nothing of it."""
        return self.status in {Status.ACTIVE, Status.PAUSED} and self.owed is not Owed.NOTHING

    @property
    def all_options(self) -> dict[str, Any]:
        """Return what the dialect goes by, but for the secret options: `url`, `tenant` and `id` are among it.

        The id is what the dialect's own API calls it, where that made it.
        """
        own = {"url": self.url, "tenant": self.tenant, "id": self.external_id or self.id}
        return {**self.options, **self.facts, **own}
