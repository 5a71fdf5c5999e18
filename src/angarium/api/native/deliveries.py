"""Route what is asked of events, deliveries and jobs."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Body, Query
from starlette.requests import Request
from starlette.responses import Response

from angarium.api.native import shown
from angarium.api.native.described import described
from angarium.api.native.models import DeliveryAsked, DeliveryFilter, DeliveryPage, EventFilter, JobQuery, Nothing
from angarium.api.native.parts import Do, Operations
from angarium.api.native.registry import page_of
from angarium.api.native.routing import InReach, NativeRoute, gatekeeper, json_response
from angarium.api.native.streaming import stream_response, wants_stream
from angarium.core.scopes import Call
from angarium.model.registry import Job
from angarium.operations.deliveries import Asked, Named
from angarium.operations.requests import request_of
from angarium.operations.windows import read_window

router = APIRouter(route_class=NativeRoute, strict_content_type=False)

_PROJECT = "/v1/projects/{project}"
_DELIVERIES = _PROJECT + "/deliveries"
_DELIVERY = _DELIVERIES + "/{delivery}"
_JOBS = _PROJECT + "/jobs"
_JOB = _JOBS + "/{job}"


# -- events ------------------------------------------------------------------------------------------------------------


@router.get(_PROJECT + "/events", **described(Call.READ, "Events", shows="EventList"))
async def list_events(do: Do, reach: InReach, query: Annotated[EventFilter, Query()]) -> Response:
    """List events, the newest first."""
    found = await do.events.listed(
        reach,
        page_of(query),
        tenant=query.tenant,
        object_=query.object,
        object_id=query.object_id,
        action=query.action,
        window=read_window(query.since, query.until),
    )
    return json_response(shown.listing(found, partial(shown.event, do.context.ids)))


@router.get(_PROJECT + "/events/{event}", **described(Call.READ, "Events", shows="EventWithDeliveries"))
async def get_event(do: Do, reach: InReach, event: str) -> Response:
    """Show an event with its deliveries."""
    found = await do.events.get(reach, event)
    deliveries = await do.deliveries.of_event(reach, found)
    document = shown.event(do.context.ids, found)
    return json_response({**document, "deliveries": [shown.delivery(each) for each in deliveries]})


# -- deliveries --------------------------------------------------------------------------------------------------------


@router.get(_DELIVERIES, **described(Call.READ, "Deliveries", shows="DeliveryList", streams="Delivery"))
async def list_deliveries(
    request: Request, do: Do, reach: InReach, query: Annotated[DeliveryPage, Query()]
) -> Response:
    """List deliveries, the newest first; as a stream (`Accept: text/event-stream`), each whenever it changes."""
    asked = _asked(query)
    if not wants_stream(request):
        return json_response(shown.listing(await do.deliveries.listed(reach, asked, page_of(query)), shown.delivery))
    return stream_response(
        request,
        do.deliveries.changes(reach, asked),
        shown=lambda named: ("", shown.delivery(named)),
        still_may=lambda: gatekeeper(request).caller(request),
    )


@router.post(
    _DELIVERIES + "/redeliver",
    **described(Call.MANAGE_SUBSCRIPTIONS, "Deliveries", shows="Job", status=202, problems=(409,)),
)
async def redeliver_many(
    do: Do,
    reach: InReach,
    query: Annotated[DeliveryFilter, Query()],
    asked: Annotated[DeliveryAsked, Body()],
) -> Response:
    """Send all settled deliveries again that the filters choose; they may stand in the query or in the body."""
    filters = {**asked.given(), **query.model_dump(exclude_none=True)}
    return json_response(await _job(do, await do.jobs.redeliver_many(reach, Asked(**filters))), 202)


@router.get(_DELIVERY, **described(Call.READ, "Deliveries", shows="DeliveryWithAttempts"))
async def get_delivery(do: Do, reach: InReach, delivery: str) -> Response:
    """Show a delivery with its attempts."""
    found = await do.deliveries.get(reach, delivery)
    return json_response(shown.delivery_with_attempts(found, _requests(do, found.named)))


@router.post(
    _DELIVERY + "/redeliver",
    **described(Call.MANAGE_SUBSCRIPTIONS, "Deliveries", shows="DeliveryOrJob", status=202, problems=(409,)),
)
async def redeliver(do: Do, reach: InReach, delivery: str, _: Nothing) -> Response:
    """Send a delivery again, with the same id and body; one that stands for a range is replayed, as a job."""
    found = await do.jobs.redeliver(reach, delivery)
    if isinstance(found, Job):
        return json_response(await _job(do, found), 202)
    return json_response(shown.delivery(await do.deliveries.named(found)), 202)


def _asked(query: DeliveryFilter) -> Asked:
    return Asked(query.subscription, query.tenant, query.state, query.event, query.since, query.until)


def _requests(do: Operations, named: Named) -> shown.Requests:
    def request(number: int, at_ms: int) -> shown.Document | None:
        sent = request_of(do.context, named, attempt=number, at_ms=at_ms)
        return None if sent is None else {"method": sent.method, "url": sent.url, "headers": dict(sent.headers)}

    return request


# -- jobs --------------------------------------------------------------------------------------------------------------


@router.get(_JOBS, **described(Call.READ, "Jobs", shows="JobList"))
async def list_jobs(do: Do, reach: InReach, query: Annotated[JobQuery, Query()]) -> Response:
    """List jobs, the newest first."""
    found = await do.jobs.listed(reach, page_of(query), tenant=query.tenant)
    data = [await _job(do, each) for each in found.data]
    return json_response({"data": data, "next": found.next, "prev": found.prev})


@router.get(_JOB, **described(Call.READ, "Jobs", shows="Job"))
async def get_job(do: Do, reach: InReach, job: str) -> Response:
    """Show how far a job is."""
    return json_response(await _job(do, await do.jobs.get(reach, job)))


@router.post(_JOB + "/cancel", **described(Call.MANAGE_SUBSCRIPTIONS, "Jobs", shows="Job", problems=(409,)))
async def cancel_job(do: Do, reach: InReach, job: str, _: Nothing) -> Response:
    """Cancel a job: what it has not begun is not begun any more."""
    return json_response(await _job(do, await do.jobs.cancel(reach, job)))


async def _job(do: Operations, job: Job) -> shown.Document:
    return shown.job(job, await do.jobs.subscription_of(job))
