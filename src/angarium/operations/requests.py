"""Make again, to be looked at, the request that an attempt sent: its headers without secrets.

Requests are not kept. What is shown is what the subscription, as it is now, sends at that moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from angarium.core.policy import resolve
from angarium.dialects.dialect import Body, Item, Sealed, Signing
from angarium.dialects.registry import dialect as dialect_of
from angarium.model.delivery import Open, Origin
from angarium.model.event import Event, Kind
from angarium.operations.secrecy import open_headers, open_secrets
from angarium.operations.terms import MASK, own_headers

if TYPE_CHECKING:
    from angarium.model.subscription import Subscription
    from angarium.model.wire import Request
    from angarium.operations.context import Context
    from angarium.operations.deliveries import Named


def request_of(context: Context, named: Named, *, attempt: int, at_ms: int) -> Request | None:
    """Return what an attempt sent, secret values masked and without its body; None when there is nobody to ask."""
    subscription = named.subscription
    if subscription is None or not subscription.url:
        return None
    dialect = dialect_of(subscription.dialect)
    body = Body(b"", _content_type(subscription, named))
    signing = Signing(
        url=subscription.url,
        message_id=_message_id(subscription, named),
        sent_at_s=at_ms // 1000,
        attempt=attempt,
        secrets=open_secrets(context.vault, subscription, now_ms=at_ms),
        headers=open_headers(context.vault, subscription),
        options={**subscription.all_options, **dict.fromkeys(subscription.sealed, MASK)},
        is_replay=_is_replay(named),
        is_test=named.delivery.origin is Origin.TEST,
    )
    nothing = {**subscription.all_options, **dict.fromkeys(subscription.sealed, "")}
    sent, unsigned = dialect.sign(body, signing), dialect.sign(body, replace(signing, secrets=(), options=nothing))
    return replace(sent, headers=_masked(sent, unsigned, subscription))


def _masked(sent: Request, unsigned: Request, subscription: Subscription) -> tuple[tuple[str, str], ...]:
    """Return the headers with the values masked that a secret has a share in, or that the subscription added."""
    public = set(unsigned.headers)
    own = own_headers(subscription)
    return tuple((name, value if (name, value) in public and name not in own else MASK) for name, value in sent.headers)


def _is_batch(subscription: Subscription, named: Named) -> bool:
    policy = resolve(dialect_of(subscription.dialect).policy, subscription.overrides)
    return bool(named.delivery.members) or policy.batch.max_events > 1


def _message_id(subscription: Subscription, named: Named) -> str:
    return named.id if _is_batch(subscription, named) else named.events[-1]


def _is_replay(named: Named) -> bool:
    is_replayed = named.last is not None and named.last.kind is Kind.REPLAY
    return is_replayed or named.delivery.origin is Origin.REDELIVER


def _content_type(subscription: Subscription, named: Named) -> str:
    """Return the content type of a delivery's body, which depends on its dialect's options alone."""
    if isinstance(named.delivery, Open) and named.delivery.content_type:
        return named.delivery.content_type
    item = Item(named.events[-1], Event("", "", "object", "1", "update"), 0, 0, 0)
    sealed = Sealed(named.id, (item,), 0, _is_batch(subscription, named))
    return dialect_of(subscription.dialect).encode(sealed, subscription.all_options).content_type
