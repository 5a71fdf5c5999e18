"""Follow a subscription's feed and post each event to a local program, as it would have been pushed: no tunnel."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from angarium.cli import reading
from angarium.cli.client import ApiProblem, Unreachable
from angarium.cli.command import Session, client_command, option
from angarium.core.signing import SYMMETRIC_PREFIX, Scheme, check_secret, sign
from angarium.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Sequence

_WAIT_S = 20
_PAUSE_S = 2.0
_PAGE = 100
_TIMEOUT_S = 15


class Item(msgspec.Struct, frozen=True):
    """One event of a feed; its body stays the bytes that came."""

    cursor: str
    id: str
    type: str
    body: msgspec.Raw
    occurred_at: str | None = None


class Page(msgspec.Struct, frozen=True):
    """A page of a feed, and the cursor to go on from."""

    data: list[Item]
    next: str | None = None


class Wanted(NamedTuple):
    """What is followed, from where, and how far; `is_kept`: the subscription is there afterwards too."""

    subscription: str
    is_kept: bool
    after: str | None
    at_most: int | None


@client_command(
    "listen",
    examples=(
        "angarium listen --types 'item.*' --forward http://localhost:3000/hook",
        "angarium listen --subscription sub_2b7 --forward http://localhost:3000/hook --secret whsec_…",
    ),
)
def listen(
    session: Session,
    forward: Annotated[str | None, option(help="Post each event there; left out: only show it.")] = None,
    subscription: Annotated[str | None, option(help="Whose feed; left out: one is made for now.")] = None,
    types: Annotated[list[str] | None, option(help="Without --subscription: the event types.")] = None,
    tenant: Annotated[str | None, option(help="Without --subscription: the tenant.")] = None,
    secret: Annotated[list[str] | None, option(help="Sign with whsec_… or whsk_…, or @file; repeat.")] = None,
    after: Annotated[str | None, option(help="Go on from this cursor; left out: from now.")] = None,
    from_start: Annotated[bool, option("--from-start", help="Begin with the oldest that is kept.")] = False,
    count: Annotated[int | None, option(least=1, help="End after so many events.")] = None,
) -> None:
    """Follow a feed and post each event to a local program: no tunnel, no public address."""
    secrets = [_kept(text) for text in reading.secrets(secret, field="--secret")]
    local = Local(forward, secrets) if forward else None
    with _followed(session, subscription, types, tenant) as followed:
        if subscription and not after and not from_start:
            after = _skip(session, followed)
        _follow(session, Wanted(followed, subscription is not None, after, count), local)


@contextmanager
def _followed(session: Session, given: str | None, types: list[str] | None, tenant: str | None) -> Iterator[str]:
    """Lend the subscription to follow: the given one, or one that ends with this command."""
    if given is not None:
        yield given
        return
    asked = {"kind": "pull", "name": "angarium listen", "types": reading.words(types), "tenant": tenant}
    document = {name: value for name, value in asked.items() if value is not None}
    made = session.client.send("POST", session.path("subscriptions"), document).value["id"]
    try:
        yield made
    finally:
        session.client.send("DELETE", session.path("subscriptions", made))


def _skip(session: Session, subscription: str) -> str | None:
    """Return the cursor behind all that there is."""
    cursor: str | None = None
    while True:
        page = _read(session, subscription, after=cursor, limit=250, wait_s=0)
        cursor = page.next or cursor
        if not page.data:
            return cursor


def _follow(session: Session, wanted: Wanted, local: Local | None) -> None:
    cursor, left = wanted.after, wanted.at_most
    session.screen.say(f"listening to {wanted.subscription} (Ctrl-C ends it)")
    try:
        while left is None or left > 0:
            page = _patiently(session, wanted.subscription, cursor, limit=min(_PAGE, left or _PAGE))
            for item in page.data:
                _pass_on(session, item, local)
                cursor = item.cursor
            cursor = page.next or cursor
            left = None if left is None else left - len(page.data)
    finally:
        if cursor and wanted.is_kept:
            session.screen.say(f"to go on from here: --subscription {wanted.subscription} --after {cursor}")


def _patiently(session: Session, subscription: str, cursor: str | None, *, limit: int) -> Page:
    """Return the next page, however long the server is away."""
    is_told = False
    while True:
        try:
            return _read(session, subscription, after=cursor, limit=limit, wait_s=_WAIT_S)
        except (Unreachable, ApiProblem) as error:
            if isinstance(error, ApiProblem) and error.status != 503:
                raise
            if not is_told:
                session.screen.say(f"the server is away ({error}); waiting for it", style="yellow")
            is_told = True
            time.sleep(_PAUSE_S)


def _read(session: Session, subscription: str, **query: Any) -> Page:  # noqa: ANN401  any member of a query
    reply = session.client.get(session.path("subscriptions", subscription, "feed"), **query)
    return msgspec.json.decode(reply.body, type=Page)


def _pass_on(session: Session, item: Item, local: Local | None) -> None:
    body = bytes(item.body)
    answer = local.post(item.id, body) if local else None
    if session.screen.is_json:
        head = {"cursor": item.cursor, "id": item.id, "type": item.type, "occurred_at": item.occurred_at}
        result = {"status": answer.status, "error": answer.error} if answer else {"status": None, "error": None}
        session.screen.document(msgspec.json.encode({**head, **result, "body": item.body}))
        return
    shown = f"  {answer.status or answer.error}" if answer else ""
    style = "" if answer is None else "green" if answer.is_accepted else "red"
    session.screen.line(f"{item.occurred_at or ''}  {item.type}  {item.id}  {len(body)} bytes{shown}", style=style)


class Answered(NamedTuple):
    """What the local program did."""

    status: int | None
    error: str | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether it answered 2xx."""
        return self.status is not None and 200 <= self.status <= 299


class Local:
    """The local program that events are posted to, one after the other."""

    def __init__(self, url: str, secrets: Sequence[bytes]) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise FieldError("--forward", f"{url!r} is no address; write http://localhost:3000/hook")
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = connect(parts.hostname, parts.port, timeout=_TIMEOUT_S)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._secrets = secrets

    def post(self, message_id: str, body: bytes) -> Answered:
        """Post a body with Standard Webhooks' headers, signed where there is a secret to sign with."""
        try:
            self._connection.request("POST", self._path, body, dict(self._headers(message_id, body)))
            response = self._connection.getresponse()
            response.read()
        except (OSError, HTTPException) as error:
            return Answered(None, str(error) or type(error).__name__)
        finally:
            self._connection.close()
        return Answered(response.status)

    def _headers(self, message_id: str, body: bytes) -> Mapping[str, str]:
        sent_at_s = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "angarium-listen",
            "webhook-id": message_id,
            "webhook-timestamp": str(sent_at_s),
        }
        if self._secrets:
            signature = sign(self._secrets, message_id=message_id, sent_at_s=sent_at_s, body=body)
            headers["webhook-signature"] = signature
        return headers


def _kept(text: str) -> bytes:
    return check_secret(text, Scheme.V1 if text.startswith(SYMMETRIC_PREFIX) else Scheme.V1A)
