"""Show a request's body as people read it: decoded, and in the order in which it counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from angarium.core.checking import read_json, recognise
from angarium.core.proving import SignedRequest, read_signed_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def lines(body: bytes, headers: Mapping[str, str]) -> Sequence[str]:
    """Return a body in lines; header names are in lower case. What cannot be read better stays as it came."""
    match recognise(body, headers):
        case "salesking" if isinstance(request := read_signed_request(body), SignedRequest):
            return [_written(request.document)]
        case "crowdmanager":
            items = [item for item in read_json(body, headers) if isinstance(item, dict)]
            return [_push_item(item) for item in sorted(items, key=lambda item: str(item.get("eventTime")))]
        case "springest" if isinstance(changes := read_json(body, headers)["changes"], list):
            return [_written(change) for change in changes]
        case _:
            return [body.decode(errors="replace")]


def _push_item(item: Mapping[str, Any]) -> str:
    words = [item.get(name) for name in ("eventTime", "operation", "contentType", "path", "value")]
    return " ".join(word if isinstance(word, str) else _written(word) for word in words)


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
