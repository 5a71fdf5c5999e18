"""Say what a dialect is: data and pure functions that turn sealed events into requests and answers into outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from angarium.model.delivery import Outcome
    from angarium.model.event import Event
    from angarium.model.subscription import Policy, Rule
    from angarium.model.wire import Request, Response


class Item(Struct, frozen=True, gc=False):
    """One event of a delivery, with its id and all that a body needs. `is_resync`: it is the object's current state.

    `state` replaces the event's own data where events that went together share their final state (None: its own).
    """

    id: str
    event: Event
    accepted_ms: int
    offset: int
    partition: int
    state: bytes | None = None
    is_resync: bool = False


class Sealed(Struct, frozen=True, gc=False):
    """What one delivery holds, oldest first: at least one item."""

    id: str
    items: tuple[Item, ...]
    sealed_ms: int
    is_batch: bool = False


class Body(Struct, frozen=True, gc=False):
    """The bytes that every attempt of a delivery sends, and their content type."""

    content: bytes
    content_type: str


class Signing(Struct, frozen=True):
    """What one attempt is addressed and signed with, now: all secrets that sign, newest first, in plain bytes.

    `message_id` is the event's id for one event, the delivery's for a batch. `options` are what a body is encoded with
    too: the subscription's own, its secret ones in plain, and the server's facts.
    """

    url: str
    message_id: str
    sent_at_s: int
    attempt: int
    secrets: tuple[bytes, ...]
    headers: Mapping[str, str]
    options: Mapping[str, Any]
    is_replay: bool = False
    is_test: bool = False


class Handshake(Struct, frozen=True):
    """What verifying a subscription asks its receiver, and how its answer is read (None: fine, else what is wrong)."""

    request: Request
    check: Callable[[Response], str | None]


class Traits(Struct, frozen=True):
    """What a dialect knows: its canonical actions with its own words, and whether the operator's `secret` is made.

    `secret_options` are kept encrypted and never shown; `header_options` name headers that are the dialect's own. A
    dialect that `is_fat` needs an object's data: an event without any is sent with the data that the object had. One
    that `merges` sends, when a delivery is due again, one that holds what came since as well. One that `asks_window`
    wants to be told from when to when a resync is to go. One that `is_single` sends each event alone, whatever a policy
    says. What `outlasts` maps stays the last action of an object when one of those actions follows it in the same
    delivery.
    """

    actions: Mapping[str, str] | None = None
    makes_secret: bool = False
    allows_http: bool = False
    catalogue: Mapping[str, Mapping[str, Any]] | None = None
    secret_options: tuple[str, ...] = ()
    header_options: tuple[str, ...] = ()
    is_fat: bool = False
    merges: bool = False
    asks_window: bool = False
    is_single: bool = False
    outlasts: Mapping[str, Sequence[str]] = {}


class Dialect(Struct, frozen=True):
    """One wire format with its rules.

    `encode(sealed, options)` makes the body once; `encode_item` is one event as the feed shows it, a JSON value;
    `sign(body, signing)` makes each attempt's request; `judge(response, now_s)` reads the answer (wall-clock seconds,
    for a `Retry-After` that is a date). `policy` holds the defaults. `check_options(options)` returns them complete or
    raises `FieldError`. `check_secret(text, options)` returns a given secret as it is kept;
    `make_secret(dice, options)` makes one of 32 random bytes: as it is kept, and as its receiver is shown it.
    `narrow(rule, options)` returns a rule with what this dialect cannot say to such a subscription left out.
    `address(url, tenant)` returns where a subscription's url leads, for it may hold what stands for something else.
    `handshake(url, id, token)` is what verifies a subscription (None: what its project says); the id is what the
    dialect's own API calls it.
    `reserved_headers` (`name` or `name-*`) are what a subscription may not set itself.
    """

    name: str
    traits: Traits
    policy: Policy
    encode: Callable[[Sealed, Mapping[str, Any]], Body]
    encode_item: Callable[[Item, Mapping[str, Any]], bytes]
    sign: Callable[[Body, Signing], Request]
    judge: Callable[[Response, float], Outcome]
    check_options: Callable[[Mapping[str, Any]], dict[str, Any]]
    check_secret: Callable[[str, Mapping[str, Any]], bytes]
    make_secret: Callable[[bytes, Mapping[str, Any]], tuple[bytes, str]]
    reserved_headers: Sequence[str] = ()
    narrow: Callable[[Rule, Mapping[str, Any]], Rule] = lambda rule, _: rule
    address: Callable[[str, str], str] = lambda url, _: url
    handshake: Callable[[str, str, str], Handshake] | None = None
