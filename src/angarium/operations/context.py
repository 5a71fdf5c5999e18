"""Hold what operations work with; `app` wires it once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from angarium.clock import Clock
    from angarium.egress.contract import Sender
    from angarium.engine.contract import Engine
    from angarium.model.ids import Ids
    from angarium.settings import Settings
    from angarium.store.contract import Store
    from angarium.vault import Vault


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one running server."""

    settings: Settings
    clock: Clock
    ids: Ids
    vault: Vault
    store: Store
    sender: Sender
    engine: Engine
