"""Name what was measured, beside what was to be reached, and show it as a row of a Markdown table."""

from __future__ import annotations

from typing import NamedTuple

HEAD = "| figure | target | reached | |\n|---|---|---|---|"


class Figure(NamedTuple):
    """One measured number. `target` is the bound, `is_at_least` which side of it is good; `note` tells of its parts."""

    name: str
    reached: float
    target: float | None = None
    unit: str = ""
    is_at_least: bool = False
    note: str = ""

    @property
    def is_good(self) -> bool:
        """Say whether the target was reached."""
        if self.target is None:
            return True
        return self.reached >= self.target if self.is_at_least else self.reached <= self.target

    def row(self) -> str:
        """Return it as a row."""
        sign = "≥" if self.is_at_least else "≤"
        target = "" if self.target is None else f"{sign} {_shown(self.target)}{self.unit}"
        mark = "" if self.is_good else " ✗"
        return f"| {self.name} | {target} | {_shown(self.reached)}{self.unit}{mark} | {self.note} |"


def _shown(number: float) -> str:
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"
