"""Merge a change into a document: JSON Merge Patch, RFC 7396, section 2."""

from __future__ import annotations

from typing import Any


def merge(document: Any, patch: Any) -> Any:  # noqa: ANN401  any JSON
    """Return the document with the patch applied: objects are merged, null removes, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
