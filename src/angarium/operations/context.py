"""Hold what operations work with; `app` wires it once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from angarium.clock import Clock, Moment
    from angarium.egress.contract import Sender
    from angarium.engine.contract import Engine
    from angarium.model.ids import Ids
    from angarium.settings import Settings
    from angarium.store.contract import Store
    from angarium.vault import Vault


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one running server; `since` is when they were put together.

    Whoever changes an app or a grant holds `granting` while reading and writing it; whoever starts a job that sends
    current state holds `resyncing` while looking whether there is one.
    """

    settings: Settings
    clock: Clock
    ids: Ids
    vault: Vault
    store: Store
    sender: Sender
    engine: Engine
    since: Moment = field(init=False)
    granting: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    resyncing: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Note when it was."""
        object.__setattr__(self, "since", self.clock.now())
