"""Keep what the tests have seen, to be shown at their end: bounds are held by tests, figures are for the pages."""

from __future__ import annotations

SEEN: list[str] = []


def note(story: str, **figures: object) -> None:
    """Keep a story's figures."""
    SEEN.append(f"{story}: " + ", ".join(f"{name.replace('_', ' ')} {_short(seen)}" for name, seen in figures.items()))


def _short(seen: object) -> str:
    return f"{seen:.2f}" if isinstance(seen, float) else str(seen)
