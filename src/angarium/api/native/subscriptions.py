"""Route what is asked of subscriptions: making, changing, switching, verifying, trying and reading them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from angarium.api.native import shown
from angarium.api.native.described import described
from angarium.api.native.models import (
    DryRunQuery,
    FeedQuery,
    Nothing,
    ReplayAsked,
    ResyncAsked,
    RotationAsked,
    SubscriptionAsked,
    SubscriptionChange,
    SubscriptionQuery,
)
from angarium.api.native.parts import Do
from angarium.api.native.registry import page_of
from angarium.api.native.routing import InReach, NativeRoute, gatekeeper, json_response
from angarium.api.native.streaming import stream_response, wants_stream
from angarium.core.scopes import Call
from angarium.operations import resyncing
from angarium.operations.examples import send_example

router = APIRouter(route_class=NativeRoute, strict_content_type=False)

_ALL = "/v1/projects/{project}/subscriptions"
_ONE = _ALL + "/{subscription}"
_TAG = "Subscriptions"


@router.post(_ALL, **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="Subscription", status=201, also=200))
async def create_subscription(
    do: Do, reach: InReach, asked: SubscriptionAsked, query: Annotated[DryRunQuery, Query()]
) -> Response:
    """Subscribe. The secret is shown here and nowhere else. A dry run is answered 200, and nothing is made."""
    given = asked.given()
    tenant, secret = given.pop("tenant", None), given.pop("secret", None)
    if query.dry_run:
        tried = await do.subscriptions.preview_new(reach, given, tenant=tenant, secret=secret)
        return json_response(shown.subscription(tried))
    made = await do.subscriptions.create(reach, given, tenant=tenant, secret=secret)
    return json_response(shown.subscription(made), 201)


@router.get(_ALL, **described(Call.READ, _TAG, shows="SubscriptionList"))
async def list_subscriptions(do: Do, reach: InReach, query: Annotated[SubscriptionQuery, Query()]) -> Response:
    """List subscriptions, the newest first."""
    found = await do.subscriptions.listed(reach, page_of(query), tenant=query.tenant, state=query.state)
    return json_response(shown.listing(found, shown.subscription))


@router.get(_ONE, **described(Call.READ, _TAG, shows="Subscription"))
async def get_subscription(do: Do, reach: InReach, subscription: str) -> Response:
    """Show a subscription, its policy resolved."""
    return json_response(shown.subscription(await do.subscriptions.get(reach, subscription)))


@router.patch(_ONE, **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="Subscription"))
async def patch_subscription(
    do: Do, reach: InReach, subscription: str, asked: SubscriptionChange, query: Annotated[DryRunQuery, Query()]
) -> Response:
    """Change a subscription (JSON Merge Patch)."""
    change = do.subscriptions.preview if query.dry_run else do.subscriptions.change
    return json_response(shown.subscription(await change(reach, subscription, asked.given())))


@router.delete(_ONE, **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, status=204))
async def delete_subscription(do: Do, reach: InReach, subscription: str) -> Response:
    """Delete a subscription: it is owed nothing any more."""
    await do.subscriptions.delete(reach, subscription)
    return Response(status_code=204)


@router.post(_ONE + "/pause", **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="Subscription", problems=(409,)))
async def pause_subscription(do: Do, reach: InReach, subscription: str, _: Nothing) -> Response:
    """Send nothing until it is resumed; what is owed waits."""
    return json_response(shown.subscription(await do.subscriptions.pause(reach, subscription)))


@router.post(_ONE + "/resume", **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="Subscription", problems=(409,)))
async def resume_subscription(do: Do, reach: InReach, subscription: str, _: Nothing) -> Response:
    """Send what has waited; one that was disabled starts from now."""
    return json_response(shown.subscription(await do.subscriptions.resume(reach, subscription)))


@router.post(_ONE + "/disable", **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="Subscription"))
async def disable_subscription(do: Do, reach: InReach, subscription: str, _: Nothing) -> Response:
    """Owe it nothing new; what waits is cancelled."""
    return json_response(shown.subscription(await do.subscriptions.disable(reach, subscription)))


@router.post(_ONE + "/verify", **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="Subscription", problems=(409,)))
async def verify_subscription(do: Do, reach: InReach, subscription: str, _: Nothing) -> Response:
    """Start the handshake again."""
    return json_response(shown.subscription(await do.subscriptions.verify(reach, subscription)))


@router.post(_ONE + "/secret/rotate", **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="NewSecret"))
async def rotate_secret(do: Do, reach: InReach, subscription: str, asked: RotationAsked) -> Response:
    """Make a new secret, shown here and nowhere else; both sign until the overlap ends."""
    secret = await do.subscriptions.rotate(reach, subscription, overlap_s=asked.overlap_s, secret=asked.secret)
    return json_response({"secret": secret})


# -- what is sent, sent again and pulled -------------------------------------------------------------------------------


@router.post(
    _ONE + "/test", **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="Delivery", status=202, problems=(409,))
)
async def try_subscription(do: Do, reach: InReach, subscription: str, _: Nothing) -> Response:
    """Send one example event, marked as a test, to this subscription only."""
    sent = await send_example(do.context, reach, subscription)
    return json_response(shown.delivery(await do.deliveries.named(sent)), 202)


@router.post(_ONE + "/replay", **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="Job", status=202, problems=(409,)))
async def replay(do: Do, reach: InReach, subscription: str, asked: ReplayAsked) -> Response:
    """Send past events again, in their order, with the same ids."""
    job = await do.jobs.replay(reach, subscription, from_=asked.from_, until=asked.until, state=asked.state)
    return json_response(shown.job(job, await do.jobs.subscription_of(job)), 202)


@router.post(_ONE + "/resync", **described(Call.MANAGE_SUBSCRIPTIONS, _TAG, shows="Job", status=202, problems=(409,)))
async def resync(do: Do, reach: InReach, subscription: str, asked: ResyncAsked) -> Response:
    """Send objects as they stand, as if they had just been created; nothing is deleted."""
    wanted = resyncing.ResyncAsked(asked.from_, asked.until, asked.objects, asked.actor)
    job = await do.resyncs.resync(reach, subscription, wanted)
    return json_response(shown.job(job, await do.jobs.subscription_of(job)), 202)


@router.get(_ONE + "/feed", **described(Call.READ, "Feeds", shows="FeedPage", streams="FeedEntry", problems=(410,)))
async def read_feed(
    request: Request, do: Do, reach: InReach, subscription: str, query: Annotated[FeedQuery, Query()]
) -> Response:
    """Read what was or would be pushed, in the log's order; `Accept: text/event-stream` streams it as it comes."""
    if wants_stream(request):
        after = request.headers.get("last-event-id") or query.after
        return stream_response(
            request,
            await do.feeds.stream(reach, subscription, after=after),
            shown=lambda entry: (entry.cursor, shown.feed_entry(entry)),
            still_may=lambda: gatekeeper(request).caller(request),
        )
    page = await do.feeds.page(reach, subscription, after=query.after, limit=query.limit, wait_s=query.wait_s)
    return json_response({"data": [shown.feed_entry(entry) for entry in page.data], "next": page.next})
