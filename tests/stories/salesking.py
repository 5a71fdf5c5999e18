"""Call SalesKing's API as its apps do, with the standard library alone, and read what they are sent."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode, urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tests.stories.calling import Client, Project, Reply
from tests.stories.receiving import Hook, Received

COMPANY = "c2ew4mSlCr4lENabxfpGMl"
USER = "c1339KSlCr4lENabxfpGMl"
FORM = "application/x-www-form-urlencoded"


class App:
    """An app of a third party, with what its registration gave it."""

    def __init__(self, project: Project, url: str, *, redirect_uri: str = "https://app.example.com/back") -> None:
        made = project.post("apps", {"name": "Reader", "url": url, "redirect_uri": redirect_uri}, status=201)
        self.project = project
        self.id: str = made["id"]
        self.secret: str = made["secret"]
        self.redirect_uri = redirect_uri
        self.base = f"/p/{project.name}"

    def granted(self, **members: Any) -> Api:
        """Have a user grant it access; return the API as it calls it since."""
        document = {"app": self.id, "tenant": COMPANY, "user": USER, "sub_domain": "729831939", **members}
        grant = self.project.post("grants", document, status=201)
        return Api(self, grant["access_token"], grant["id"])

    def read(self, request: Received, *, secret: str | None = None) -> Any:
        """Read a push as SalesKing's SDK does: check the signature and the algorithm, return the data."""
        assert request.method == "POST"
        assert request.headers["content-type"] == FORM
        [(name, value)] = parse_qsl(request.body.decode("ascii"), strict_parsing=True)
        assert name == "signed_request"
        signature, payload = value.split(".")
        key = (self.secret if secret is None else secret).encode()
        assert signature == hmac.new(key, payload.encode(), "sha256").hexdigest()
        data = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert data["algorithm"].upper() == "HMAC-SHA256"
        return data

    def basic(self, secret: str | None = None) -> dict[str, str]:
        """Return the header that shows its id and secret."""
        shown = f"{self.id}:{self.secret if secret is None else secret}"
        return {"authorization": f"Basic {b64encode(shown.encode()).decode()}"}

    def post_form(self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> Reply:
        """Post form fields."""
        body = urlencode(fields).encode()
        given = {"authorization": "", "content-type": FORM, **(headers or {})}
        return self.project.client.call("POST", f"{self.base}{path}", body=body, headers=given)


class Api:
    """SalesKing's API, called with one access token."""

    def __init__(self, app: App, token: str, grant: str = "") -> None:
        self.app = app
        self.token = token
        self.grant = grant
        self.client = Client(app.project.client.port, token)

    def call(self, method: str, path: str, document: Any = None, **more: Any) -> Reply:
        """Make one call."""
        return self.client.call(method, f"{self.app.base}/api/{path}", document, **more)

    def subscribe(self, channel: str, hook: Hook | str) -> dict[str, Any]:
        """Subscribe to a channel; return the sub."""
        url = hook if isinstance(hook, str) else hook.url
        reply = self.call("POST", "subs", {"sub": {"channel": channel, "callback_url": url}})
        sub: dict[str, Any] = reply.expect(201)["sub"]
        return sub
