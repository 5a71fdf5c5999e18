"""Say in sentences what a check has found: where, what was expected, what to do. Finding it is `checking`'s."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from angarium.model.subscription import Subscription
from angarium.store import bodies
from angarium.store.copying import BY_NAME, Table
from angarium.store.rows import STATES, Row

SAID_MAX: Final = 20
"""How many of one kind are said one by one."""

_RESTORE = "restore the store from a copy"
_AGAIN = "publish it again, or resync it from where it lives"
_SENTENCES: Final[Mapping[str, tuple[str, str, str]]] = {
    "damage": ("{detail}", "", ""),
    "gap": ("partition {partition} goes on from offset {last} to {offset}", "no gap", _RESTORE),
    "head": ("the log of partition {partition} ends at offset {last}", "its head, {head}", _RESTORE),
    "watermark": ("the watermark of partition {partition} is {found}", "at most its head, {head}", _RESTORE),
    "lane": ("{subscription} stands at offset {found} of partition {partition}", "at most its head, {head}", _RESTORE),
    "beyond": (
        "a delivery to {subscription} settles offset {offset} of partition {partition}",
        "offsets from 1 to the head, {head}, the last of them the highest",
        _RESTORE,
    ),
    "tenant": (
        "a delivery to {subscription} settles offset {offset} of partition {partition}",
        "an event of its own tenant there",
        _RESTORE,
    ),
    "member": (
        "offset {offset} of partition {partition} does not lead to the delivery to {subscription} that ends at {last}",
        "that every event that a delivery settles does",
        _RESTORE,
    ),
    "unsettled": (
        "offset {offset} of partition {partition} is owed to {subscription}, and neither settled nor open",
        "one of these at or below the watermark, or the lane's cursor",
        "nobody will send it: have it replayed with angarium replay",
    ),
    "twice": (
        "offset {offset} of partition {partition} is settled more than once for {subscription}",
        "once",
        "it was sent twice, and nothing is left to be done",
    ),
    "count": (
        "project {project} counts {found} deliveries as {state}",
        "{expected}, for so many there are",
        "copy the store with angarium store copy, which counts anew",
    ),
    "object": (
        "the row of {object} of {tenant} names offset {found} as its last event",
        "offset {expected} of partition {partition}",
        _AGAIN,
    ),
    "data": (
        "the row of {object} of {tenant} names offset {found} as its last data",
        "offset {expected} of partition {partition}",
        _AGAIN,
    ),
    "ended": (
        "the row of {object} of {tenant} says otherwise",
        "that it is {expected} since offset {offset} of partition {partition}",
        _AGAIN,
    ),
    "key": (
        "idempotency key {key!r} of project {name!r} answers with offset {offset} of partition {partition}",
        "that its event is there",
        _RESTORE,
    ),
}
"""What was found, what was expected, and what to do."""


class Wrong:
    """What has been found, the first of each kind in full."""

    def __init__(self, find: Callable[[Table, Sequence[Row]], Awaitable[Sequence[Row]]]) -> None:
        self._find = find
        self._counts: dict[str, int] = defaultdict(int)
        self._said: list[tuple[str, dict[str, Any]]] = []

    def add(self, kind: str, **details: Any) -> None:  # noqa: ANN401  whatever the sentence names
        """Take note of something wrong; subscriptions, projects and tenants are named by their numbers."""
        self._counts[kind] += 1
        if self._counts[kind] <= SAID_MAX:
            self._said.append((kind, details))

    async def sentences(self) -> list[str]:
        """Return all in sentences, and how many more there are of a kind."""
        said = [_sentence(kind, await self._named(details)) for kind, details in self._said]
        more = {kind: count - SAID_MAX for kind, count in self._counts.items() if count > SAID_MAX}
        return said + [f"{count:,} more of the kind {kind!r} are not shown" for kind, count in more.items()]

    async def _named(self, details: Mapping[str, Any]) -> dict[str, Any]:
        named = dict(details)
        if "subscription" in named:
            named["subscription"] = await self._subscription(named["subscription"])
        if "project" in named:
            named["project"] = await self._name("project", named["project"])
        if "tenant" in named:
            named["tenant"] = f"tenant {await self._name('tenant', named['tenant'])}"
        if "state" in named:
            named["state"] = STATES[named["state"]].value
        return named

    async def _subscription(self, number: int) -> str:
        for row in await self._find(BY_NAME["subscription"], [(number,)]):
            return f"subscription {bodies.unpack(Subscription, row[-1]).id}"
        return f"subscription number {number}, which is gone"

    async def _name(self, table: str, number: int) -> str:
        place = BY_NAME[table].columns.index("name")
        for row in await self._find(BY_NAME[table], [(number,)]):
            return repr(row[place])
        return f"number {number}, which has no name"


def _sentence(kind: str, named: Mapping[str, Any]) -> str:
    found, expected, fix = _SENTENCES[kind]
    return (f"{found}, expected {expected}; {fix}" if fix else found).format(**named)
