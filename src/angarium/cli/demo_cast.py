"""Say who takes part in the demo: five subscriptions, what each wants, and how its receiver behaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from angarium.cli.receiver import Manners

PROJECT = "github"
TIME_SCALE = 60
"""Retry delays pass so many times faster: a minute is a second."""

_RETRY = {"delays_s": [60, 60, 60, 120, 300, 300, 600, 1800], "give_up": True}


class Part(NamedTuple):
    """One subscription and its receiver, which answers 500 to its first `fails_first` requests.

    `policy` holds members of the subscription as the HTTP API has them; nothing listens where it `is_dead`.
    """

    name: str
    tenant: str
    types: tuple[str, ...]
    about: str
    manners: Manners = Manners()
    fails_first: int = 0
    is_dead: bool = False
    policy: Mapping[str, Any] = {}

    @property
    def is_folding(self) -> bool:
        """Whether the last state of an object stands for those before it."""
        return "batch" in self.policy

    def wants(self, event: Mapping[str, Any]) -> bool:
        """Whether an event of the demo matches."""
        kinds = {"*", f"{event['object']}.*"}
        return event["tenant"] == self.tenant and not kinds.isdisjoint(self.types)


CAST = (
    Part("chat", "Octocoders", ("*",), "takes everything, one event a request"),
    Part(
        "billing",
        "octocat",
        ("marketplace_purchase.*", "sponsorship.*"),
        "is broken: answers 500 three times, then recovers",
        fails_first=3,
        policy={"retry": _RETRY},
    ),
    Part(
        "audit",
        "octocat",
        ("*",),
        "is slow: three requests a second, 429 above",
        Manners(per_second=3),
        policy={"retry": _RETRY, "max_in_flight": 2},
    ),
    Part(
        "search",
        "Codertocat",
        ("issues.*",),
        "wants bursts folded: the last state of each issue",
        policy={"batch": {"max_events": 100, "max_bytes": 1_000_000, "max_wait_ms": 500, "coalesce": "latest"}},
    ),
    Part("legacy", "Codertocat", ("*",), "is dead: nothing listens there", is_dead=True, policy={"retry": _RETRY}),
)
