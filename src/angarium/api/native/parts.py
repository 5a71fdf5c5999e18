"""Hold the operations that the native API calls, and lend them to its routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import Request

from angarium.operations.keys import Keys
from angarium.operations.projects import Projects
from angarium.operations.subscriptions import Subscriptions
from angarium.operations.tenants import Tenants

if TYPE_CHECKING:
    from angarium.operations.callers import Callers
    from angarium.operations.context import Context


@dataclass(frozen=True, slots=True)
class Operations:
    """All that may be asked for."""

    projects: Projects
    tenants: Tenants
    keys: Keys
    subscriptions: Subscriptions

    @classmethod
    def of(cls, context: Context, callers: Callers, projects: Projects) -> Operations:
        """Wire them."""
        return cls(
            projects=projects,
            tenants=Tenants(context),
            keys=Keys(context, callers),
            subscriptions=Subscriptions(context),
        )


def _operations(request: Request) -> Operations:
    operations: Operations = request.app.state.operations
    return operations


Do = Annotated[Operations, Depends(_operations)]
"""A route's parameter through which it does what it was asked."""
