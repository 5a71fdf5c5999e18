"""Ask a receiver whether it wants to be pushed to, as its dialect or its project demands, and keep what it answered.

A dialect that has a handshake of its own always uses that. What the others ask, and which answer is wanted, is decided
in `core.handshakes`.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from angarium.core.handshakes import REQUEST_ORIGIN, challenge_body, check_challenge, check_origin, origin_request
from angarium.core.masking import Masking
from angarium.core.policy import resolve
from angarium.dialects.dialect import Body, Signing
from angarium.dialects.registry import dialect as dialect_of
from angarium.errors import Conflict, FieldError
from angarium.model.subscription import Status, Subscription
from angarium.model.wire import NoResponse, Request, Response
from angarium.operations.secrecy import open_headers, open_options, open_secrets, seal_headers
from angarium.operations.terms import allows_http
from angarium.operations.writing import edit_subscription, find_subscription, owed_while

if TYPE_CHECKING:
    from angarium.dialects.dialect import Dialect
    from angarium.model.registry import Project
    from angarium.operations.context import Context
    from angarium.operations.reach import Reach

WAITS_MAX_S: Final = 10.0
"""How long a receiver may take to answer a handshake: somebody waits for it."""
IS_VALIDATED: Final = "is_validated"
"""Which of a subscription's facts says, where an older API needs it, that its receiver was verified."""

_TOKEN_BYTES: Final = 24


class Handshakes:
    """Verify subscriptions."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def verify(self, reach: Reach, id_: str) -> Subscription:
        """Start the handshake again: an unverified one turns active, or says why not; others stay as they are.

        `Conflict` when one that was verified before fails now: it stays as it is.
        """
        found = await find_subscription(self._context, reach, id_)
        if found.status is Status.DISABLED:
            raise Conflict(f"subscription {id_} is disabled; resume it, which starts the handshake as well")
        problem = await self.problem(reach.served.project, found)
        if problem is not None and found.status is not Status.UNVERIFIED:
            raise Conflict(f"{found.url} {problem}; subscription {id_} stays {found.status}")
        return await self.conclude(reach, found, problem)

    async def conclude(self, reach: Reach, asked: Subscription, problem: str | None) -> Subscription:
        """Write what a handshake has brought, unless the subscription has another address or state by now."""
        now_ms = self._context.clock.now().wall_ms

        async def edit(present: Subscription) -> Subscription:
            if present.url != asked.url or present.status is not asked.status:
                return present
            if problem is not None:
                return replace(present, reason=problem) if present.status is Status.UNVERIFIED else present
            named = self.named(reach.served.project, present)
            if present.status is not Status.UNVERIFIED:
                return named
            if IS_VALIDATED in named.facts:  # So an older API will show it from now on.
                named = replace(named, facts={**named.facts, IS_VALIDATED: True})
            owed = owed_while(Status.ACTIVE, present.kind)
            return replace(named, status=Status.ACTIVE, owed=owed, reason="", resumed_ms=now_ms)

        return await edit_subscription(self._context, reach, asked.id, edit)

    async def check_address(self, project: Project, wanted: Subscription) -> None:
        """Raise `FieldError` unless the receiver at a changed address wants to be pushed to."""
        problem = await self.problem(project, wanted)
        if problem is not None:
            raise FieldError("url", f"{wanted.url} {problem}; nothing was changed")

    async def problem(self, project: Project, subscription: Subscription) -> str | None:
        """Ask a subscription's receiver; return what is wrong with its answer (None: nothing, or not asked)."""
        dialect = dialect_of(subscription.dialect)
        if not is_verified(project, subscription.kind, dialect):
            return None
        if dialect.handshake is not None:
            return await self.ask(project, subscription, secrets.token_urlsafe(_TOKEN_BYTES))
        if project.settings["verification"] == "cloudevents":
            return await self._ask_origin(project, subscription)
        return await self._ask_challenge(project, subscription)

    async def ask(self, project: Project, subscription: Subscription, token: str) -> str | None:
        """Ask a receiver as its dialect does, with a token; return what is wrong with its answer (None: nothing)."""
        dialect = dialect_of(subscription.dialect)
        assert dialect.handshake is not None, "its dialect has a handshake"
        address = dialect.address(subscription.url, subscription.tenant)
        handshake = dialect.handshake(address, subscription.external_id or str(subscription.number), token)
        answer = await self._post(project, subscription, handshake.request)
        return handshake.check(answer) if isinstance(answer, Response) else _silence(answer)

    def named(self, project: Project, subscription: Subscription) -> Subscription:
        """Have each delivery name the origin that the receiver has allowed, where that was asked."""
        dialect = dialect_of(subscription.dialect)
        is_asked = is_verified(project, subscription.kind, dialect) and dialect.handshake is None
        if not is_asked or project.settings["verification"] != "cloudevents":
            return subscription
        number, given = subscription.number, {REQUEST_ORIGIN: self._origin()}
        named = seal_headers(self._context.vault, number, given)
        return replace(subscription, headers={**subscription.headers, **named})

    async def _ask_challenge(self, project: Project, subscription: Subscription) -> str | None:
        now_ms, challenge = self._context.clock.now().wall_ms, secrets.token_urlsafe(32)
        signing = Signing(
            url=subscription.url,
            message_id=f"verification_{secrets.token_hex(16)}",
            sent_at_s=now_ms // 1000,
            attempt=1,
            secrets=open_secrets(self._context.vault, subscription, now_ms=now_ms),
            headers=open_headers(self._context.vault, subscription),
            options={**subscription.all_options, **open_options(self._context.vault, subscription)},
        )
        body = Body(challenge_body(challenge), "application/json")
        answer = await self._post(project, subscription, dialect_of(subscription.dialect).sign(body, signing))
        if not isinstance(answer, Response):
            return _silence(answer)
        problem = check_challenge(answer, challenge)
        return problem and check_challenge(self._masked(subscription, answer), challenge)

    def _masked(self, subscription: Subscription, answer: Response) -> Response:
        """Return an answer that may be shown: some receivers echo the request, with what is secret of it."""
        vault = self._context.vault
        secrets_ = (*open_headers(vault, subscription).values(), *open_options(vault, subscription).values())
        return replace(answer, body=Masking(secrets_).mask(answer.body))

    async def _ask_origin(self, project: Project, subscription: Subscription) -> str | None:
        headers = open_headers(self._context.vault, subscription)
        headers.pop(REQUEST_ORIGIN, None)
        request = origin_request(subscription.url, self._origin())
        request = replace(request, headers=(*request.headers, *headers.items()))
        answer = await self._post(project, subscription, request)
        return check_origin(answer, self._origin()) if isinstance(answer, Response) else _silence(answer)

    async def _post(self, project: Project, subscription: Subscription, request: Request) -> Response | NoResponse:
        answered: asyncio.Future[Response | NoResponse] = asyncio.get_running_loop().create_future()

        def done(answer: Response | NoResponse) -> None:
            if not answered.done():  # Whoever asked may have gone.
                answered.set_result(answer)

        dialect = dialect_of(subscription.dialect)
        self._context.sender.post(
            request,
            timeout_s=min(WAITS_MAX_S, resolve(dialect.policy, subscription.overrides).timeout_s),
            allow_http=allows_http(project, dialect),
            owner=f"{subscription.project}/{subscription.tenant}",
            done=done,
            ports=frozenset(project.settings.get("ports", ())),
        )
        return await answered

    def _origin(self) -> str:
        """Return the DNS name that stands for this sender."""
        return urlsplit(self._context.settings.url).hostname or "angarium"


def is_verified(project: Project, kind: str, dialect: Dialect) -> bool:
    """Say whether the receivers of such subscriptions are asked before they are pushed to."""
    is_asked = dialect.handshake is not None or project.settings.get("verification", "none") != "none"
    return kind == "push" and is_asked


def _silence(answer: NoResponse) -> str:
    return f"did not answer the handshake ({answer.reason.value}{f': {answer.detail}' if answer.detail else ''})"
