"""Hold what operations work with; `app` wires it once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from angarium.clock import Clock, Moment
    from angarium.egress.contract import Sender
    from angarium.engine.contract import Engine
    from angarium.model.ids import Ids
    from angarium.settings import Settings
    from angarium.store.contract import Store
    from angarium.vault import Vault

# What is read and then written, one at a time in all processes that share a store: names for `Store.alone`.
STARTING: Final = "start"
PROJECTS: Final = "projects"
GRANTING: Final = "grants"
"""Whoever changes an app or a grant, and the subscriptions that hang on it."""
RESYNCING: Final = "resyncs"
"""Whoever starts a job that sends current state, looking whether there is one."""
SUBS: Final = "subs"


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one running server; `since` is when they were put together."""

    settings: Settings
    clock: Clock
    ids: Ids
    vault: Vault
    store: Store
    sender: Sender
    engine: Engine
    since: Moment = field(init=False)

    def __post_init__(self) -> None:
        """Note when it was."""
        object.__setattr__(self, "since", self.clock.now())
