"""Say whose things one caller may touch, and find the thing that an id names among them.

What lies outside is not there: an id of another project or tenant is answered as one that was never given out.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from angarium.core.accepting import NAME_MAX, TENANT
from angarium.core.scopes import tenant_of
from angarium.errors import FieldError
from angarium.model.registry import ApiKey
from angarium.operations.projects import Served

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Reach(Struct, frozen=True):
    """One caller in one project."""

    served: Served
    caller: ApiKey

    @property
    def project(self) -> str:
        """Return the project's name."""
        return self.served.project.name

    @property
    def by(self) -> str:
        """Return who asks, for the log."""
        return self.caller.id

    def holds(self, *, project: str, tenant: str) -> bool:
        """Say whether something of a tenant lies within reach."""
        return project == self.project and self.filter(None) in {None, tenant}

    def filter(self, tenant: str | None) -> str | None:
        """Return whose things a list shows when these are asked for, None for all; `NotFound` for another's."""
        return tenant_of(self.caller, tenant)

    def owner(self, tenant: str | None) -> str:
        """Return whose something new is; `NotFound` for another's."""
        owner = self.filter(tenant)
        return TENANT if owner is None else owner


def check_tenant(name: str, *, field: str = "tenant") -> str:
    """Return a tenant's name; `FieldError` unless events may name it so."""
    if not 1 <= len(name) <= NAME_MAX:
        raise FieldError(field, f"is {len(name)} characters long, expected 1 to {NAME_MAX}")
    if _CONTROL.search(name):
        raise FieldError(field, "holds a control character; leave it out")
    return name
