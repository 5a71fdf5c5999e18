"""Say how a run is to be made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class Options(NamedTuple):
    """What the command line asked for."""

    seconds: float = 10.0
    scale: float = 1.0
    tenants: int = 16
    folder: Path | None = None
    profile: Path | None = None

    def stage(self) -> dict[str, Any]:
        """Return what a stage is to be set with."""
        return {"folder": self.folder, "profile": self.profile}
