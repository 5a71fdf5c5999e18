"""Hold the operations that the native API calls, and lend them to its routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import Request

from angarium.operations.apps import Apps
from angarium.operations.context import Context
from angarium.operations.deliveries import Deliveries
from angarium.operations.events import Events
from angarium.operations.feeds import Feeds
from angarium.operations.grants import Grants
from angarium.operations.jobs import Jobs
from angarium.operations.keys import Keys
from angarium.operations.objects import Objects
from angarium.operations.projects import Projects
from angarium.operations.resyncing import Resyncs
from angarium.operations.subscriptions import Subscriptions
from angarium.operations.tenants import Tenants

if TYPE_CHECKING:
    from angarium.operations.callers import Callers


@dataclass(frozen=True, slots=True)
class Operations:
    """All that may be asked for."""

    projects: Projects
    tenants: Tenants
    keys: Keys
    subscriptions: Subscriptions
    feeds: Feeds
    events: Events
    deliveries: Deliveries
    jobs: Jobs
    resyncs: Resyncs
    objects: Objects
    apps: Apps
    grants: Grants
    context: Context

    @classmethod
    def of(cls, context: Context, callers: Callers, projects: Projects) -> Operations:
        """Wire them."""
        deliveries = Deliveries(context)
        return cls(
            projects=projects,
            tenants=Tenants(context),
            keys=Keys(context, callers),
            subscriptions=Subscriptions(context),
            feeds=Feeds(context),
            events=Events(context),
            deliveries=deliveries,
            jobs=Jobs(context, deliveries),
            resyncs=Resyncs(context),
            objects=Objects(context),
            apps=Apps(context),
            grants=Grants(context),
            context=context,
        )


def _operations(request: Request) -> Operations:
    operations: Operations = request.app.state.operations
    return operations


Do = Annotated[Operations, Depends(_operations)]
"""A route's parameter through which it does what it was asked."""
