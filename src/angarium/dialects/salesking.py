"""Speak SalesKing's: one object a request, as a form with the single parameter `signed_request`.

The parameter is an HMAC-SHA256 in lower-case hexadecimal digits, a dot, and what was signed: JSON in base64url without
padding. The JSON is `{"obj", "company_id", "user_id", "sub_domain", "issued_at", "access_token", "expires",
"algorithm"}`. `obj` is made once of the event; the envelope around it (`issued_at`, the token, the app's secret as it
is now) is made anew with every attempt. It does not say what happened: receivers tell events apart by their address,
unless `include_channel` adds a member `channel`.

A subscription has one type, its channel, and hangs on a grant, whose user's rights are asked with every event. What the
server knows of the grant are its facts: `company_id`, `user_id`, `sub_domain`, `expires_ms`, `scope`, `permissions`.

Sources: SalesKing, "Push notifications" (27 March 2015); its SDK's `SignedRequest`.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
from msgspec.structs import replace

from angarium.core.addressing import parse
from angarium.core.granting import permitted
from angarium.core.judging import judge_by_status
from angarium.core.moments import format_us
from angarium.dialects.common import RESERVED, check_known, json_text, post
from angarium.dialects.dialect import Body, Dialect, Traits
from angarium.errors import FieldError
from angarium.model.subscription import Batch, Ordering, Policy, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.dialects.dialect import Item, Sealed, Signing
    from angarium.model.subscription import Rule
    from angarium.model.wire import Request

ACTIONS: Final = ("create", "update", "delete")
"""What may happen to each object."""
OBJECTS: Final = ("client", "contact", "invoice", "comment", "payment", "attachment")
ALGORITHM: Final = "HMAC-SHA256"

_CONTENT_TYPE: Final = "application/x-www-form-urlencoded"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def encode(sealed: Sealed, options: Mapping[str, Any]) -> Body:
    """Return what every attempt sends within its own envelope: JSON with `obj`."""
    return Body(encode_item(sealed.items[-1], options), _CONTENT_TYPE)


def encode_item(item: Item, options: Mapping[str, Any]) -> bytes:
    """Return one event as JSON: the object in its latest state, and its channel if that was asked for."""
    channel = b',"channel":' + json_text(item.event.type) if options.get("include_channel") else b""
    return b'{"obj":%b%b}' % (_obj(item), channel)


def sign(body: Body, signing: Signing) -> Request:
    """Return one attempt's request: the body in a new envelope, signed with the app's present secret."""
    secret = signing.secrets[0] if signing.secrets else b""
    content = b"signed_request=" + sign_request(secret, body.content[:-1] + b"," + _envelope(signing)[1:])
    return post(Body(content, body.content_type), replace(signing, url=address(signing.url, "")))


@lru_cache(maxsize=4096)
def address(url: str, _tenant: str) -> str:
    """Return where a url leads; it is kept as the app has written it, for that is how it knows its subscriptions."""
    return parse(url).url


def sign_request(secret: bytes, document: bytes) -> bytes:
    """Return a `signed_request` of a JSON text, which needs no percent-encoding."""
    payload = urlsafe_b64encode(document).rstrip(b"=")
    return b"%b.%b" % (hmac.digest(secret, payload, "sha256").hex().encode(), payload)


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dialect's options complete; `FieldError` for a member or value that it does not know."""
    check_known(options, ("grant", "include_channel"), dialect="salesking")
    grant = options.get("grant")
    if not isinstance(grant, str) or not grant:
        raise FieldError("options.grant", "is missing; name the grant, by its id, that the subscription hangs on")
    include_channel = options.get("include_channel", False)
    if not isinstance(include_channel, bool):
        raise FieldError("options.include_channel", "is neither true nor false")
    return {"grant": grant, "include_channel": include_channel}


def check_secret(_text: str, _options: Mapping[str, Any]) -> bytes:
    """Refuse: a subscription signs with its app's secret."""
    _refuse_secret()


def make_secret(_dice: bytes, _options: Mapping[str, Any]) -> tuple[bytes, str]:
    """Refuse, likewise."""
    _refuse_secret()


def narrow(rule: Rule, options: Mapping[str, Any]) -> Rule:
    """Return a rule with what the dialect can say, and the grant in the options' facts permits."""
    allowed = permitted(rule.types, options.get("scope"), options.get("permissions"))
    return replace(rule, sayable=tuple(f"*.{action}" for action in ACTIONS), permitted=allowed)


def _obj(item: Item) -> bytes:
    """Return the object as SalesKing's API represents it; data that does so already stays as it was published."""
    event = item.event
    data = (event.data if item.state is None else item.state) or b'{"id":%b}' % json_text(event.object_id)
    if data.lstrip()[:1] == b"{" and event.object in _members(data):
        return data
    return b'{%b:%b,"links":[]}' % (json_text(event.object), data)


def _envelope(signing: Signing) -> bytes:
    options = signing.options
    return json_text(
        {
            "company_id": options.get("company_id", ""),
            "user_id": options.get("user_id", ""),
            "sub_domain": options.get("sub_domain", ""),
            "issued_at": _moment(signing.sent_at_s),
            "access_token": options.get("access_token", ""),
            "expires": _moment(options.get("expires_ms", 0) // 1000),
            "algorithm": ALGORITHM,
        }
    )


def _moment(second: int) -> str:
    return format_us(second * 1_000_000)


def _refuse_secret() -> NoReturn:
    raise FieldError("secret", "is the app's, not the subscription's; POST …/apps/{app}/secret/rotate makes a new one")


SALESKING = Dialect(
    name="salesking",
    traits=Traits(
        actions={action: action for action in ACTIONS},
        allows_http=True,
        catalogue={name: {} for name in OBJECTS},
        is_fat=True,
        is_single=True,
    ),
    policy=Policy(
        ordering=Ordering.OBJECT,
        batch=Batch(),
        # The document says nothing of it: eight more attempts over about a day.
        retry=Retry((10, 60, 300, 1800, 7200, 14_400, 21_600, 43_200)),
    ),
    encode=encode,
    encode_item=encode_item,
    sign=sign,
    judge=judge_by_status,
    check_options=check_options,
    check_secret=check_secret,
    make_secret=make_secret,
    reserved_headers=RESERVED,
    narrow=narrow,
    address=address,
)
"""The dialect of SalesKing's apps."""
