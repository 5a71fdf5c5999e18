"""List the dialects: a new one is a file and a line here."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from angarium.dialects.crowdmanager import CROWDMANAGER
from angarium.dialects.dashboard import DASHBOARD
from angarium.dialects.radiomanager import RADIOMANAGER
from angarium.dialects.salesking import SALESKING
from angarium.dialects.springest import SPRINGEST
from angarium.dialects.standard import STANDARD
from angarium.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.dialects.dialect import Dialect

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (STANDARD, RADIOMANAGER, CROWDMANAGER, SALESKING, DASHBOARD, SPRINGEST)}
)
"""All dialects, by name."""


def dialect(name: str) -> Dialect:
    """Return the dialect of a name; `FieldError('dialect', …)` lists those there are."""
    try:
        return DIALECTS[name]
    except KeyError:
        raise FieldError("dialect", f"{name!r} is unknown; expected one of {', '.join(sorted(DIALECTS))}") from None
