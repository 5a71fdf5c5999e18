"""Whatever is sent to SalesKing's API and its OAuth, the answer is never a fault of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving import Running, call, running

FORM = "application/x-www-form-urlencoded"
SECRET = "the app's own secret"
LOGIN = {"url": "https://login.example.com/in", "key": "k" * 32}
NAMES = [
    "client_id", "client_secret", "redirect_uri", "scope", "state", "response_type", "code", "code_challenge",
    "code_challenge_method", "code_verifier", "grant_type", "token", "request", "assertion", "ticket", "answer",
    "access_token", "page", "per_page", "sub", "sub[channel]", "sub[callback_url]", "channel", "callback_url",
]  # fmt: skip
KNOWN = [
    "client.create", "https://app.example.com/hook", "https://app.example.com/back", "code", "S256", "x" * 43, "allow",
    "authorization_code", "clients api/subs", "a.b.c", "\0", "\ud800", "é", "eyJhbGciOiJIUzI1NiJ9.e30.", "99999999999",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(KNOWN), st.text(max_size=20))
FIELDS = st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=8)
PATHS = st.sampled_from([
    "api/subs", "api/subs/channels", "api/subs/x", "api/users/current", "api/companies/current", "oauth/authorize",
    "oauth/consent", "oauth/token", "oauth/revoke", "oauth/introspect", "oauth/", "", "api/subs/%00", "api/subs.json/",
])  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str, str]]:
    """Lend a server with an app, and its id and a token."""
    folder: Path = tmp_path_factory.mktemp("salesking")
    with running(folder) as server:
        call(server, "PUT", "/v1/projects/sk", {"dialect": "salesking", "settings": {"login": LOGIN}})
        app = {
            "name": "a",
            "url": "https://app.example.com",
            "redirect_uri": "https://app.example.com/back",
            "secret": SECRET,
        }
        made = call(server, "POST", "/v1/projects/sk/apps", app).json
        grant = call(server, "POST", "/v1/projects/sk/grants", {"app": made["id"], "user": "u"}).json
        yield server, made["id"], grant["access_token"]


def ask(server: Running, method: str, target: str, body: bytes, token: str, content_type: str) -> int:
    """Return the status of what is asked with a body as it is."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, target, body, {**headers, "content-type": content_type})
        return connection.getresponse().status


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    path=PATHS,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]),
    query=FIELDS,
    fields=FIELDS,
    is_form=st.booleans(),
    is_app_s=st.booleans(),
)
def test_nothing_that_is_asked_breaks_the_server(
    server: tuple[Running, str, str],
    path: str,
    method: str,
    query: dict[str, str],
    fields: dict[str, str],
    *,
    is_form: bool,
    is_app_s: bool,
) -> None:
    served, app, token = server
    if is_app_s:
        query, fields = {**query, "client_id": app}, {**fields, "client_id": app, "client_secret": SECRET}
    target = f"/p/sk/{path}?{urlencode(query, errors='surrogatepass')}"
    body = urlencode(fields, errors="surrogatepass") if is_form else json.dumps({"sub": fields, **fields})
    status = ask(served, method, target, body.encode(), "" if is_app_s else token, FORM if is_form else "")
    assert status < 500, (method, target, body)


@pytest.mark.parametrize("path", ["api/subs", "oauth/token", "oauth/consent", "oauth/introspect"])
@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[1]", b"null", b'{"sub":', b'{"sub":[]}', b"sub[channel]=%00", b"sub[channel]=%ff", b"&=" * 200],
)
def test_no_body_breaks_the_server(server: tuple[Running, str, str], path: str, body: bytes) -> None:
    served, _, token = server
    assert 400 <= ask(served, "POST", f"/p/sk/{path}", body, token, FORM) < 500
