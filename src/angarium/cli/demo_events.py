"""Give the demo its events: those that GitHub itself shows in its documentation, and a burst of edits of one issue."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

EDITS = 20

_ISSUE_ID = 327883527


def packaged() -> list[dict[str, Any]]:
    """Return the events that come with the package, in its order."""
    text = files("angarium").joinpath("data/github-events.ndjson").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def burst(number: int) -> list[dict[str, Any]]:
    """Return edits of one issue, as fast as somebody who saves after each word; `number` tells the bursts apart."""
    opened = next(event for event in packaged() if (event["object"], event["action"]) == ("issues", "opened"))
    return [
        {
            **opened,
            "action": "edited",
            "object_id": str(_ISSUE_ID + number),
            "data": {**opened["data"], "action": "edited", "issue": _retitled(opened["data"]["issue"], edit)},
        }
        for edit in range(1, EDITS + 1)
    ]


def _retitled(issue: dict[str, Any], edit: int) -> dict[str, Any]:
    return {**issue, "title": f"{issue['title']}, edit {edit} of {EDITS}"}
