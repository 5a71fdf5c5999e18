"""Be a publisher with a login of its own, and the browser of one of its users, whom an app sends to grant it access.

Authlib is the app's side, so that two who have not talked about it understand each other.
"""

from __future__ import annotations

import re
import secrets
import time
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authlib.oauth2.rfc6749.parameters import (
    parse_authorization_code_response,
    prepare_grant_uri,
    prepare_token_request,
)
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.stories.calling import Client, Project, Reply
from tests.stories.salesking import COMPANY, FORM, USER, Api, App

KEY = "the login's key, known to the publisher alone"
LOGIN = "https://login.example.com/in?from=angarium"
SCOPE = "invoices:update api/subs"


class Publisher:
    """The publisher with its login, and one user's browser."""

    def __init__(self, project: Project, app: App) -> None:
        self.project = project
        self.app = app
        self.client = Client(project.client.port, "")
        self.base = f"/p/{project.name}"

    def authorize(self, **query: Any) -> Reply:
        """Follow the link by which an app sends its user here."""
        given = {
            "client_id": self.app.id,
            "redirect_uri": self.app.redirect_uri,
            "scope": SCOPE,
            "state": "s&1",
            **query,
        }
        uri = prepare_grant_uri("", given.pop("client_id") or "", given.pop("response_type", "code"), **given)
        return self.get(f"/oauth/authorize{uri}")

    def get(self, path: str) -> Reply:
        return self.client.call("GET", f"{self.base}{path}", headers={"authorization": "", "content-type": ""})

    def request(self, **query: Any) -> str:
        """Return the request that the publisher's login is shown."""
        reply = self.authorize(**query)
        assert reply.status == 302, reply
        location = reply.headers["location"]
        assert location.startswith(f"{LOGIN}&request=")
        return parse_qs(urlsplit(location).query)["request"][0]

    def assertion(self, request: str, *, key: str = KEY, alg: str = "HS256", **claims: Any) -> str:
        now_s = int(time.time())
        said = {
            "sub": USER,
            "tenant": COMPANY,
            "email": "jo@example.com",
            "sub_domain": "729831939",
            "permissions": None,
            "request": request,
            "aud": self.project.name,
            "iat": now_s,
            "exp": now_s + 60,
            "jti": secrets.token_hex(8),
            **claims,
        }
        said = {name.removeprefix("said_"): value for name, value in said.items() if value is not ...}
        return jwt.encode({"alg": alg}, said, OctKey.import_key(key), algorithms=[alg])

    def consent(self, request: str, assertion: str) -> Reply:
        """Come from the login."""
        return self.get(f"/oauth/consent?request={request}&assertion={assertion}")

    def ticket(self, request: str, **claims: Any) -> str:
        return ticket_of(self.consent(request, self.assertion(request, **claims)))

    def answer(self, ticket: str, answer: str = "allow") -> Reply:
        return self.app.post_form("/oauth/consent", {"ticket": ticket, "answer": answer})

    def code(self, *, state: str | None = "s&1", claims: dict[str, Any] | None = None, **query: Any) -> str:
        """Go all the way to the code."""
        ticket = self.ticket(self.request(state=state, **query), **(claims or {}))
        reply = self.answer(ticket)
        assert reply.status == 303, reply
        location = reply.headers["location"]
        assert location.startswith(self.app.redirect_uri)
        said: dict[str, str] = parse_authorization_code_response(location, state=state)
        return said["code"]

    def exchange(self, code: str, *, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
        given = {"redirect_uri": self.app.redirect_uri, **fields}
        body = prepare_token_request("authorization_code", code=code, **given)
        sent = {"content-type": FORM, **(self.app.basic() if headers is None else headers)}
        return self.client.call("POST", f"{self.base}/oauth/token", body=body.encode(), headers=sent)

    def api(self, **query: Any) -> Api:
        """Return the API as the app calls it whom the user has granted access."""
        return Api(self.app, self.exchange(self.code(**query)).expect(200)["access_token"])


def page_of(reply: Reply, status: int) -> str:
    """Return the page that a browser is shown."""
    assert reply.status == status, reply
    assert reply.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cache-control"] == "no-store"
    return reply.body.decode()


def ticket_of(reply: Reply) -> str:
    """Return the ticket that a page asking for consent holds."""
    page = page_of(reply, 200)
    found = re.search(r'name="ticket" value="([^"]+)"', page)
    assert found, page
    return unescape(found[1])
