"""Ask for one page of a list and show it; the flags that all lists take. What a row says is the commands' business."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from angarium.cli import reading
from angarium.cli.command import Session, option

Limit = Annotated[int, option("--limit", least=1, most=250, help="How many at most.")]
After = Annotated[str | None, option("--after", help="The cursor that the page before named.")]
Since = Annotated[str | None, option("--since", help="From when on: a moment, or a span back such as 2h.")]
Until = Annotated[str | None, option("--until", help="Until when: a moment, or a span back such as 5m.")]
Tenant = Annotated[str | None, option("--tenant", help="Only this tenant's.")]


def show_list(
    session: Session, path: str, *, columns: Mapping[str, str], empty: str, filters: Mapping[str, object]
) -> None:
    """Print one page: `columns` maps each heading to the member that it shows."""

    def people(page: dict[str, Any]) -> None:
        rows = ([item.get(name) for name in columns.values()] for item in page["data"])
        session.screen.table(list(columns), rows, empty=empty)
        if page.get("next"):
            session.screen.say(f"there are more: --after {page['next']}")

    session.show(session.client.get(path, **filters), people)


def window(since: str | None, until: str | None) -> dict[str, str | None]:
    """Return a list's `since` and `until`."""
    now = datetime.now(UTC)
    return {
        "since": reading.moment(since, field="--since", now=now),
        "until": reading.moment(until, field="--until", now=now),
    }
