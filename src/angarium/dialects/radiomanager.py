"""Speak RadioManager's Push API: one event a message, eight members, a key in a header, an HMAC where a secret is set.

A message says what has happened to which object; the receiver fetches it. `job_id` is made of the event's place in the
log: it grows from message to message of a station, and is the same on every retry. What is sent by a resync is `create`
with `"resync": true`.

Sources: RadioManager, "Push API"; contract sections 2.1 to 2.7; decisions 4, 9, 14 and 17. The document leaves the
HMAC's header, digest and input to its support: lower-case hexadecimal HMAC-SHA256 of the body.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from angarium.core.headers import check_header
from angarium.core.judging import judge_by_status
from angarium.core.vocabulary import narrowed
from angarium.dialects.common import JSON, RESERVED, check_known, json_id, json_text, make_no_secret, post, text_option
from angarium.dialects.dialect import Body, Dialect, Traits
from angarium.errors import FieldError
from angarium.model.delivery import TEST_OFFSET, Throttled
from angarium.model.event import PARTITIONS
from angarium.model.subscription import Batch, Ordering, Policy, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from angarium.dialects.dialect import Item, Sealed, Signing
    from angarium.model.delivery import Outcome
    from angarium.model.subscription import Rule
    from angarium.model.wire import Request, Response

ACTIONS = {action: action for action in ("create", "update", "delete", "recover")}
CATALOGUE: Mapping[str, Mapping[str, Any]] = {
    "program": {},
    "presenter": {},
    "contact": {},
    "campaign": {"window": "start"},
    "broadcast": {"window": "start"},
    "item": {"window": "start"},
}
"""The six models in the order of a resync: what is referred to comes before what refers to it."""

_OPTIONS = ("api_key", "api_key_header", "secret", "signature_header")
_API_KEY_HEADER = "api-key"
_SIGNATURE_HEADER = "x-radiomanager-signature"
_VALUE_MAX = 4096
_WAIT_S_MAX = 86_400.0
_NULL = b"null"


class _Actor(Struct, gc=False):
    """Who did it."""

    user_id: Raw = Raw(_NULL)
    api_id: Raw = Raw(_NULL)


_decode_actor = msgspec.json.Decoder(_Actor).decode
_decode_text = msgspec.json.Decoder(str).decode


def encode(sealed: Sealed, options: Mapping[str, Any]) -> Body:
    """Return a delivery's body: its one event, or the last one of what was sealed in another dialect."""
    return Body(encode_item(sealed.items[-1], options), JSON)


def encode_item(item: Item, _options: Mapping[str, Any]) -> bytes:
    """Return one event as a message."""
    event = item.event
    user_id, api_id = _actor_ids(event.actor) if event.actor else (_NULL, _NULL)
    return (
        b'{"action":%b,"model":%b,"model_id":%b,"job_id":%d,"resync":%b,"station_id":%b,"user_id":%b,"api_id":%b}'
        % (
            json_text(ACTIONS.get(event.action, event.action)),
            json_text(event.object),
            json_id(event.object_id),
            _job_id(item),
            b"true" if item.is_resync else b"false",
            json_id(event.tenant),
            user_id,
            api_id,
        )
    )


def sign(body: Body, signing: Signing) -> Request:
    """Return one attempt's request, with the station's key and, where a secret is set, the body's HMAC."""
    options = signing.options
    own = [(options["api_key_header"], options["api_key"])]
    if secret := options.get("secret"):
        own.append((options["signature_header"], hmac.digest(secret.encode(), body.content, "sha256").hex()))
    return post(body, signing, own)


def judge(response: Response, now_s: float) -> Outcome:
    """Say what the receiver did; one that throttles may name the second at which it takes messages again."""
    outcome = judge_by_status(response, now_s)
    if isinstance(outcome, Throttled) and outcome.retry_after_s is None:
        return replace(outcome, retry_after_s=_until_reset_s(response, now_s))
    return outcome


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options complete; `FieldError` for one that is unknown or no header, and without `api_key`."""
    check_known(options, _OPTIONS, dialect="radiomanager")
    if not options.get("api_key"):
        raise FieldError("options.api_key", "is missing; give the key that the receiver expects from its station")
    checked = {
        "api_key": text_option(options, "api_key", "", length_max=_VALUE_MAX),
        "api_key_header": text_option(options, "api_key_header", _API_KEY_HEADER, length_max=128).lower(),
        "signature_header": text_option(options, "signature_header", _SIGNATURE_HEADER, length_max=128).lower(),
    }
    _check_header("api_key_header", checked["api_key_header"])
    _check_header("signature_header", checked["signature_header"])
    _check_header("api_key", checked["api_key_header"], checked["api_key"])
    if checked["signature_header"] == checked["api_key_header"]:
        raise FieldError("options.signature_header", "is the header of the key; choose another")
    if options.get("secret"):
        checked["secret"] = text_option(options, "secret", "", length_max=_VALUE_MAX)
    return checked


def check_secret(_text: str, _options: Mapping[str, Any]) -> NoReturn:
    """Raise `FieldError` that says where this dialect keeps its secret."""
    raise FieldError("secret", "is given, but the radiomanager dialect takes it as options.secret; put it there")


def narrow(rule: Rule, _options: Mapping[str, Any]) -> Rule:
    """Return a rule with what RadioManager has no word for left out."""
    return narrowed(rule, ACTIONS)


def _job_id(item: Item) -> int:
    # A test is not in the log. Its job comes before all real ones, for receivers that hold what is older for a repeat.
    return item.partition if item.offset >= TEST_OFFSET else item.offset * PARTITIONS + item.partition


@lru_cache(maxsize=1024)  # The users of a station are few.
def _actor_ids(actor: bytes) -> tuple[bytes, bytes]:
    """Return the user's and the API key's number; null where the actor names none."""
    found = _decode_actor(actor)
    return _number(bytes(found.user_id)), _number(bytes(found.api_id))


def _number(text: bytes) -> bytes:
    plain = _decode_text(text) if text[:1] == b'"' else text.decode()
    as_json = json_id(plain)
    return _NULL if as_json[:1] == b'"' else as_json


def _until_reset_s(response: Response, now_s: float) -> float | None:
    """Return the seconds until `X-RateLimit-Reset`, in seconds since the epoch; None when it makes no sense."""
    text = next((value for name, value in response.headers if name == "x-ratelimit-reset"), "")
    wait_s = float(text) - now_s if text.isascii() and text.isdigit() and len(text) <= 12 else 0.0
    return wait_s if 0 < wait_s <= _WAIT_S_MAX else None


def _check_header(option: str, name: str, value: str = "") -> None:
    try:
        check_header(name, value, reserved=RESERVED)
    except FieldError as error:
        raise FieldError(f"options.{option}", error.detail) from error


RADIOMANAGER = Dialect(
    name="radiomanager",
    traits=Traits(
        actions=ACTIONS,
        allows_http=True,
        catalogue=CATALOGUE,
        secret_options=("api_key", "secret"),
        header_options=("api_key_header", "signature_header"),
        is_single=True,
        asks_window=True,
    ),
    policy=Policy(
        ordering=Ordering.OBJECT,
        batch=Batch(),
        retry=Retry((10, 60, 300, 1800, 7200, 14_400, 21_600, 43_200)),  # Not documented: eight over about a day.
    ),
    encode=encode,
    encode_item=encode_item,
    sign=sign,
    judge=judge,
    check_options=check_options,
    check_secret=check_secret,
    make_secret=make_no_secret,
    reserved_headers=RESERVED,
    narrow=narrow,
)
"""RadioManager's Push API, by Pluxbox."""
