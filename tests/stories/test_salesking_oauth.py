"""How an app of SalesKing's is granted access, over HTTP: the publisher's login, consent, code, token, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from tests.stories.calling import Project, event
from tests.stories.receiving import Hook, Receiver
from tests.stories.salesking import COMPANY, USER, Api, App
from tests.stories.salesking_login import KEY, LOGIN, SCOPE, Publisher, page_of, ticket_of
from tests.stories.serving import Server

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B.
_numbers = count(1)


@pytest.fixture
def publisher(shared: Server, receiver: Receiver) -> Iterator[Publisher]:
    """Return a publisher with a login of its own, and an app that wants something of its user."""
    project = Project(shared.client, f"oauth-{next(_numbers)}")
    project.create(dialect="salesking", settings={"login": {"url": LOGIN, "key": KEY}})
    yield Publisher(project, App(project, f"http://127.0.0.1:{receiver.port}"))
    assert shared.is_running, shared.told()
    project.client.call("DELETE", project.path).expect(204)


# -- all the way -------------------------------------------------------------------------------------------------------


def test_a_user_grants_an_app_access_and_is_heard_of(publisher: Publisher, hook: Hook) -> None:
    request = publisher.request(state="xyz")
    page = page_of(publisher.consent(request, publisher.assertion(request)), 200)
    for words in ("Reader asks for access", "jo@example.com", "hear of invoices (update)", "subs in your name"):
        assert words in page
    api = publisher.api(state="xyz")
    api.subscribe("invoice.update", hook)
    publisher.project.publish(event("i1", "invoice.update", tenant=COMPANY, data={"id": "i1"}))
    [pushed] = hook.wait_for(1)
    data = publisher.app.read(pushed)
    assert (data["user_id"], data["sub_domain"], data["access_token"]) == (USER, "729831939", api.token)
    assert api.call("GET", "users/current").expect(200)["user"]["email"] == "jo@example.com"


def test_a_token_is_told_as_oauth_says(publisher: Publisher) -> None:
    reply = publisher.exchange(publisher.code())
    token = reply.expect(200)
    assert token == {
        "access_token": token["access_token"],
        "token_type": "Bearer",
        "expires_in": 30 * 86_400,
        "scope": SCOPE,
    }
    assert reply.headers["cache-control"] == "no-store"


def test_the_old_way_has_all_of_it_in_the_query(publisher: Publisher) -> None:
    app, code = publisher.app, publisher.code(state=None, scope=None)
    query = f"client_id={app.id}&client_secret={app.secret}&redirect_uri={app.redirect_uri}&code={code}"
    token = publisher.get(f"/oauth/token?{query}").expect(200)
    assert "scope" not in token
    assert Api(app, token["access_token"]).call("GET", "subs").status == 200


def test_the_secret_may_be_in_the_form(publisher: Publisher) -> None:
    app = publisher.app
    reply = publisher.exchange(publisher.code(), headers={}, client_id=app.id, client_secret=app.secret)
    assert reply.expect(200)["access_token"]


def test_an_app_proves_with_pkce_that_the_code_is_its_own(publisher: Publisher) -> None:
    asked = {"code_challenge": create_s256_code_challenge(VERIFIER), "code_challenge_method": "S256"}
    code = publisher.code(**asked)
    for wrong in (None, "x" * 43, "short"):
        assert publisher.exchange(code, code_verifier=wrong).expect(400)["error"] == "invalid_grant"
    assert publisher.exchange(code, code_verifier=VERIFIER).expect(200)["access_token"]
    other = publisher.code()
    assert publisher.exchange(other, code_verifier=VERIFIER).expect(400)["error"] == "invalid_grant"


def test_a_publisher_with_a_page_of_its_own_makes_the_code(publisher: Publisher) -> None:
    document = {
        "app": publisher.app.id,
        "tenant": COMPANY,
        "user": USER,
        "scope": SCOPE,
        "code": True,
        "expires_in": 60,
    }
    made = publisher.project.post("grants", document, status=201)
    token = publisher.exchange(made["code"]).expect(200)
    assert token["expires_in"] == 60
    assert Api(publisher.app, token["access_token"]).call("GET", "subs").status == 200
    assert publisher.project.get(f"grants/{made['id']}")["is_pending"] is False


def test_the_user_s_permissions_go_with_the_grant(publisher: Publisher, hook: Hook) -> None:
    code = publisher.code(claims={"permissions": ["client.*"]}, scope=None)
    api = Api(publisher.app, publisher.exchange(code).expect(200)["access_token"])
    api.subscribe("invoice.update", hook)
    api.subscribe("client.update", hook)
    publisher.project.publish(
        event("i1", "invoice.update", tenant=COMPANY, data={"id": "i1"}),
        event("c1", "client.update", tenant=COMPANY, data={"id": "c1"}),
    )
    [pushed] = hook.wait_for(1)
    assert "client" in publisher.app.read(pushed)["obj"]


# -- asking ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        {"client_id": "app_1"},
        {"redirect_uri": "https://evil.example.com/"},
        {"redirect_uri": "https://app.example.com/back/"},
    ],
)
def test_nobody_is_sent_to_where_the_app_is_not(publisher: Publisher, query: dict[str, str]) -> None:
    page = page_of(publisher.authorize(**query), 400)
    assert "did not work" in page


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "clients:fly"}, "invalid_scope"),
        ({"scope": 'é"\\'}, "invalid_scope"),
        ({"code_challenge": "x" * 43}, "invalid_request"),
        ({"code_challenge": "x" * 43, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request"),
    ],
)
def test_what_an_app_asks_wrongly_it_is_told(publisher: Publisher, query: dict[str, str], error: str) -> None:
    reply = publisher.authorize(**query)
    assert reply.status == 302
    said = parse_qs(urlsplit(reply.headers["location"]).query)
    assert reply.headers["location"].startswith(publisher.app.redirect_uri)
    assert (said["error"], said["state"]) == ([error], ["s&1"])


def test_addresses_in_letters_of_any_language_lead_on(publisher: Publisher) -> None:
    project = publisher.project
    login = {"url": "https://例え.example/?ä=1", "key": KEY}
    project.client.call("PATCH", project.path, {"settings": {"login": login}}).expect(200)
    home = {"url": "https://例え.example/", "redirect_uri": "https://例え.example/zurück"}
    app = project.post("apps", {"name": "例え", **home}, status=201)
    reply = publisher.authorize(client_id=app["id"], redirect_uri=home["redirect_uri"])
    assert reply.status == 302, reply
    address, _, request = reply.headers["location"].partition("&request=")
    assert address == "https://xn--r8jz45g.example/?%C3%A4=1"
    consented = publisher.consent(request, publisher.assertion(request))
    assert "It lives at https://xn--r8jz45g.example." in page_of(consented, 200)
    assert "form-action 'self' https://xn--r8jz45g.example" in consented.headers["content-security-policy"]
    ticket = ticket_of(consented)
    assert publisher.answer(ticket).headers["location"].startswith("https://xn--r8jz45g.example/zur%C3%BCck?code=")


def test_without_a_login_an_app_is_sent_back(publisher: Publisher) -> None:
    publisher.project.client.call("PATCH", publisher.project.path, {"settings": {"login": None}}).expect(200)
    reply = publisher.authorize()
    assert parse_qs(urlsplit(reply.headers["location"]).query)["error"] == ["temporarily_unavailable"]


def test_a_parameter_comes_once(publisher: Publisher) -> None:
    assert publisher.get(f"/oauth/authorize?client_id={publisher.app.id}&client_id=x").status == 400


# -- who the user is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"key": "another key than the publisher's login has"},
        {"alg": "HS512"},
        {"aud": "another"},
        {"aud": ...},
        {"exp": 1},
        {"exp": ...},
        {"exp": int(time.time()) + 86_400},
        {"iat": int(time.time()) + 3600},
        {"iat": ...},
        {"jti": ...},
        {"sub": ...},
        {"sub": ""},
        {"tenant": ...},
        {"tenant": ["a"]},
        {"said_request": "another"},
        {"permissions": ["nonsense"]},
        {"permissions": "client.*"},
        {"email": "jo@example.com\r\n"},
        {"sub_domain": "a\0b"},
    ],
)
def test_an_assertion_that_does_not_hold_is_refused(publisher: Publisher, claims: dict[str, Any]) -> None:
    request = publisher.request()
    page_of(publisher.consent(request, publisher.assertion(request, **claims)), 400)


@pytest.mark.parametrize("assertion", ["", "nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."])
def test_what_is_no_assertion_is_refused(publisher: Publisher, assertion: str) -> None:
    page_of(publisher.consent(publisher.request(), assertion), 400)


def test_an_assertion_is_taken_once(publisher: Publisher) -> None:
    request = publisher.request()
    assertion = publisher.assertion(request)
    page_of(publisher.consent(request, assertion), 200)
    assert "used before" in page_of(publisher.consent(request, assertion), 400)


def test_numbers_name_users_and_tenants_too(publisher: Publisher) -> None:
    code = publisher.code(claims={"tenant": 7})
    api = Api(publisher.app, publisher.exchange(code).expect(200)["access_token"])
    assert api.call("GET", "companies/current").expect(200)["company"]["id"] == "7"


def test_a_request_of_another_project_is_unknown(publisher: Publisher, shared: Server) -> None:
    other = Project(shared.client, f"oauth-{next(_numbers)}")
    other.create(dialect="salesking", settings={"login": {"url": LOGIN, "key": KEY}})
    request = publisher.request()
    elsewhere = Publisher(other, publisher.app)
    page_of(elsewhere.consent(request, elsewhere.assertion(request)), 400)
    other.client.call("DELETE", other.path).expect(204)


# -- answering ---------------------------------------------------------------------------------------------------------


def test_a_user_may_refuse(publisher: Publisher) -> None:
    reply = publisher.answer(publisher.ticket(publisher.request()), "refuse")
    assert reply.status == 303
    assert parse_qs(urlsplit(reply.headers["location"]).query) == {"error": ["access_denied"], "state": ["s&1"]}
    assert publisher.project.all("grants") == []


def test_an_answer_is_taken_once(publisher: Publisher) -> None:
    ticket = publisher.ticket(publisher.request())
    assert publisher.answer(ticket).status == 303
    page_of(publisher.answer(ticket), 400)
    page_of(publisher.answer(ticket, "refuse"), 400)
    assert len(publisher.project.all("grants")) == 1


def test_an_answer_needs_what_was_asked(publisher: Publisher) -> None:
    request = publisher.request()
    page_of(publisher.answer("nonsense"), 400)
    page_of(publisher.answer(request), 400)  # Sealed by us, but no ticket.
    page_of(publisher.answer(publisher.ticket(request), "perhaps"), 400)


def test_a_name_shows_as_it_is_and_does_nothing(publisher: Publisher, receiver: Receiver) -> None:
    asked = {
        "name": "<script>alert(1)</script>",
        "url": "https://x.example.com",
        "redirect_uri": "https://x.example.com/b",
    }
    made = publisher.project.post("apps", asked, status=201)
    request = publisher.request(client_id=made["id"], redirect_uri=made["redirect_uri"])
    page = page_of(publisher.consent(request, publisher.assertion(request, email='"><b>')), 200)
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page


# -- the code ----------------------------------------------------------------------------------------------------------


def test_a_code_that_is_shown_twice_ends_the_grant(publisher: Publisher, hook: Hook) -> None:
    code = publisher.code()
    api = Api(publisher.app, publisher.exchange(code).expect(200)["access_token"])
    api.subscribe("invoice.update", hook)
    assert publisher.exchange(code).expect(400)["error"] == "invalid_grant"
    assert api.call("GET", "subs").status == 401
    assert publisher.project.all("subscriptions") == []


def test_a_code_is_its_app_s_alone(publisher: Publisher, receiver: Receiver) -> None:
    code = publisher.code()
    other = App(publisher.project, f"http://127.0.0.1:{receiver.port}")
    assert publisher.exchange(code, headers=other.basic()).expect(400)["error"] == "invalid_grant"
    assert publisher.exchange(code, redirect_uri="https://evil.example.com/").expect(400)["error"] == "invalid_grant"
    assert publisher.exchange(code, redirect_uri=None).expect(400)["error"] == "invalid_grant"
    assert publisher.exchange("nonsense").expect(400)["error"] == "invalid_grant"
    assert publisher.exchange("").expect(400)["error"] == "invalid_request"
    publisher.exchange(code).expect(200)


def test_an_app_that_names_no_redirect_uri_needs_none(publisher: Publisher) -> None:
    assert publisher.exchange(publisher.code(redirect_uri=None), redirect_uri=None).expect(200)
    assert publisher.exchange(publisher.code(redirect_uri=None)).expect(200)


def test_an_app_shows_its_secret(publisher: Publisher) -> None:
    code, app = publisher.code(), publisher.app
    for headers in (
        app.basic("wrong"),
        {"authorization": ""},
        {"authorization": "Basic %%%"},
        {"authorization": "Basic YQ=="},
    ):
        reply = publisher.exchange(code, headers=headers)
        assert reply.expect(401)["error"] == "invalid_client"
        assert reply.headers["www-authenticate"].startswith("Basic")
    wrong = {"client_id": "app_1", "client_secret": app.secret}
    assert publisher.exchange(code, headers={"authorization": ""}, **wrong).status == 401
    assert publisher.exchange(code, client_id="app_1").expect(400)["error"] == "invalid_request"
    assert app.post_form("/oauth/token", {"code": code}, app.basic()).expect(400)["error"] == "invalid_request"
    kind = {"code": code, "grant_type": "password"}
    assert app.post_form("/oauth/token", kind, app.basic()).expect(400)["error"] == "unsupported_grant_type"


def test_a_new_token_has_its_own_subs(publisher: Publisher, hook: Hook) -> None:
    first = publisher.api()
    first.subscribe("invoice.update", hook)
    second = publisher.api()
    assert second.call("GET", "subs").expect(200)["subs"] == []
    assert len(first.call("GET", "subs").expect(200)["subs"]) == 1


# -- its end, and what it stands for -----------------------------------------------------------------------------------


def test_an_app_gives_its_token_back(publisher: Publisher, hook: Hook) -> None:
    api, app = publisher.api(), publisher.app
    api.subscribe("invoice.update", hook)
    assert app.post_form("/oauth/revoke", {"token": api.token}).status == 401
    other = App(publisher.project, "https://other.example.com")
    assert other.post_form("/oauth/revoke", {"token": api.token}, other.basic()).status == 200
    assert api.call("GET", "subs").status == 200
    assert app.post_form("/oauth/revoke", {"token": api.token}, app.basic()).status == 200
    assert app.post_form("/oauth/revoke", {"token": api.token}, app.basic()).status == 200
    assert app.post_form("/oauth/revoke", {}, app.basic()).expect(400)["error"] == "invalid_request"
    assert api.call("GET", "subs").status == 401
    assert publisher.project.all("subscriptions") == []


def test_the_publisher_asks_what_a_token_stands_for(publisher: Publisher) -> None:
    api, app, project = publisher.api(), publisher.app, publisher.project
    key = project.post("keys", {"scope": "read"}, status=201)["key"]
    shown = {"authorization": f"Bearer {key}"}
    told = app.post_form("/oauth/introspect", {"token": api.token}, shown).expect(200)
    assert told["exp"] - told["iat"] >= 30 * 86_400
    assert {name: told[name] for name in told if name not in {"exp", "iat", "grant"}} == {
        "active": True,
        "scope": SCOPE,
        "client_id": app.id,
        "username": "jo@example.com",
        "token_type": "Bearer",
        "sub": USER,
        "tenant": COMPANY,
        "sub_domain": "729831939",
        "permissions": None,
    }
    assert app.post_form("/oauth/introspect", {"token": "nonsense"}, shown).expect(200) == {"active": False}
    assert app.post_form("/oauth/introspect", {"token": api.token}, app.basic()).expect(200)["active"] is True
    other = App(project, "https://other.example.com")
    assert other.post_form("/oauth/introspect", {"token": api.token}, other.basic()).expect(200) == {"active": False}


def test_only_the_publisher_and_the_app_may_ask(publisher: Publisher, shared: Server) -> None:
    api, app = publisher.api(), publisher.app
    for authorization, status in (("", 401), ("Bearer wrong", 401), (f"Bearer {api.token}", 401)):
        reply = app.post_form("/oauth/introspect", {"token": api.token}, {"authorization": authorization})
        assert reply.status == status, authorization
    other = shared.project(f"oauth-{next(_numbers)}")
    for project, scope in ((other, "manage"), (publisher.project, "publish")):
        key = project.post("keys", {"scope": scope}, status=201)["key"]
        shown = {"authorization": f"Bearer {key}"}
        assert app.post_form("/oauth/introspect", {"token": api.token}, shown).status == 403
    other.client.call("DELETE", other.path).expect(204)


def test_a_login_may_say_how_long_tokens_live(publisher: Publisher) -> None:
    change = {"settings": {"login": {"expires_in": 3600}}}
    publisher.project.client.call("PATCH", publisher.project.path, change).expect(200)
    assert publisher.exchange(publisher.code()).expect(200)["expires_in"] == 3600


def test_what_has_no_path_or_method_is_told_so(publisher: Publisher) -> None:
    assert publisher.get("/oauth/nothing").status == 404
    assert publisher.get("/oauth/revoke").status == 405
    for method in ("PUT", "HEAD"):
        reply = publisher.client.call(method, f"{publisher.base}/oauth/token", headers={"authorization": ""})
        assert (reply.status, set(reply.headers["allow"].split(", "))) == (405, {"GET", "POST"})


def test_looking_ahead_costs_nobody_their_code(publisher: Publisher) -> None:
    app, code = publisher.app, publisher.code()
    query = f"client_id={app.id}&client_secret={app.secret}&redirect_uri={app.redirect_uri}&code={code}"
    shown = {"authorization": "", "content-type": ""}
    assert publisher.client.call("HEAD", f"{publisher.base}/oauth/token?{query}", headers=shown).status == 405
    publisher.exchange(code).expect(200)


def test_an_app_only_changes_its_host_name(serve: Callable[..., Server], receiver: Receiver, hook: Hook) -> None:
    server = serve(root_project="sk")
    project = Project(server.client, "sk").create(dialect="salesking", settings={"login": {"url": LOGIN, "key": KEY}})
    app = App(project, f"http://127.0.0.1:{receiver.port}")
    app.base = ""
    publisher = Publisher(project, app)
    publisher.base = ""
    api = publisher.api()
    sub = api.subscribe("invoice.update", hook)
    assert api.call("GET", f"subs/{sub['id']}.json").expect(200)["links"][0]["href"].endswith(f"/api/subs/{sub['id']}")
    project.publish(event("i1", "invoice.update", tenant=COMPANY, data={"id": "i1"}))
    [pushed] = hook.wait_for(1)
    assert app.read(pushed)["obj"]["invoice"] == {"id": "i1"}
