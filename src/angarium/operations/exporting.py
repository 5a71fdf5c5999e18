"""Export historical customer profiles to a subscription of CROWDMANAGER's API: its own words around a job of ours.

An export sends what there is now, `add` by `add`, in the same form as live pushes; it runs until the last of them is
settled. The texts of its refusals are that system's, letter for letter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from angarium.core.moments import format_ms
from angarium.core.resyncing import moment_us_of
from angarium.engine.contract import EXPORT
from angarium.errors import Conflict, FieldError, NotFound
from angarium.operations.crowdmanager import PROFILE, event_of, flags_of
from angarium.operations.objects import check_objects_are_kept
from angarium.operations.resyncing import Resyncs, running_for
from angarium.store.contract import Page

if TYPE_CHECKING:
    from angarium.model.registry import Job
    from angarium.model.subscription import Subscription
    from angarium.operations.context import Context
    from angarium.operations.crowdmanager import Pushes
    from angarium.operations.reach import Reach

_PAGE: Final = 250
_REFUSED: Final = "Cannot start export historical CustomerProfiles for subscription <{}> "


class ExportAsked(Struct, frozen=True):
    """What is asked for; the moments are as they were sent."""

    subscription: str
    since: str | None = None
    until: str | None = None


class Export(Struct, frozen=True):
    """An export and how far it is."""

    job: Job
    subscription: str
    since: str | None
    until: str


class Exports:
    """Start exports, and tell how far they are."""

    def __init__(self, context: Context, pushes: Pushes) -> None:
        self._context = context
        self._pushes = pushes
        self._resyncs = Resyncs(context)

    async def start(self, reach: Reach, organization: str, asked: ExportAsked) -> Export:
        """Push an organisation's profiles to a subscription, those whose last event lies in a span of time.

        `FieldError`, `NotFound` and `Conflict` have the texts that CROWDMANAGER's document has.
        """
        subscription = await self._find(reach, organization, asked.subscription)
        _check_is_pushed_to(subscription, asked.subscription)
        now_ms = self._context.clock.now().wall_ms
        since_ms = None if asked.since is None else _moment_ms(asked.since, "since")
        until_ms = now_ms if asked.until is None else _moment_ms(asked.until, "until")
        until = asked.until or format_ms(now_ms)
        if since_ms is not None and since_ms > until_ms:
            raise FieldError(
                "",
                f"Invalid time frames for the export. Value of 'since' <{asked.since}> "
                f"cannot be after 'until' <{until}>.",
            )
        check_objects_are_kept(reach.served.project)
        spec = {"objects": [PROFILE], "from_ms": since_ms, "until_ms": until_ms, "since": asked.since, "until": until}
        return _shown(await self._start(reach, subscription, spec, asked.subscription), asked.subscription)

    async def status(self, reach: Reach, organization: str, id_: str) -> Export:
        """Return a subscription's newest export."""
        subscription = await self._find(reach, organization, id_)
        after: str | None = None
        while True:
            page = Page(limit=_PAGE, after=after)
            listing = await self._context.store.jobs(reach.project, page, tenant=organization)
            for job in listing.data:
                if job.kind == EXPORT and job.subscription == subscription.number:
                    return _shown(job, id_)
            after = listing.next
            if after is None:
                raise NotFound(f"Cannot find an export for subscription with id: {id_}")

    async def _find(self, reach: Reach, organization: str, id_: str) -> Subscription:
        unknown = NotFound(f"Cannot find {PROFILE} subscription with id: {id_[:80]}")
        try:
            found = await self._pushes.find(reach, organization, id_)
        except NotFound:
            raise unknown from None
        if event_of(found) != PROFILE:
            raise unknown
        return found

    async def _start(self, reach: Reach, subscription: Subscription, spec: dict[str, Any], id_: str) -> Job:
        try:
            return await self._resyncs.start(reach, EXPORT, spec, subscription)
        except Conflict as error:
            if await running_for(self._context, subscription) is None:
                raise
            raise Conflict(_REFUSED.format(id_) + "while other export task is running.") from error


def _check_is_pushed_to(subscription: Subscription, id_: str) -> None:
    flags = flags_of(subscription)
    if not flags.is_enabled:
        raise FieldError("", _REFUSED.format(id_) + "which is not enabled.")
    if not flags.is_validated:
        raise FieldError("", _REFUSED.format(id_) + "which is not validated.")


def _moment_ms(text: str, field: str) -> int:
    moment_us = moment_us_of(text)
    if moment_us is None:
        raise FieldError(field, f"is {text[:40]!r}, expected a moment such as 2023-01-01T09:00:00Z")
    return moment_us // 1000


def _shown(job: Job, id_: str) -> Export:
    until = job.spec.get("until") or format_ms(job.created_ms)
    return Export(job, id_, job.spec.get("since"), until)
