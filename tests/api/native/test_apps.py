"""Apps and grants over HTTP, and subscriptions that hang on them."""

from __future__ import annotations

from typing import Any

import pytest

from angarium.errors import StoreAway
from angarium.model.subscription import Subscription, Version
from angarium.operations.binding import subscriptions_on
from angarium.operations.expiring import Expiry
from angarium.operations.projects import Projects
from angarium.operations.secrecy import open_options, open_secrets
from tests.api.native.serving import Native

APP = {"name": "Reader", "url": "https://app.example.com/hooks", "redirect_uri": "https://app.example.com/back"}
HOOK = "https://app.example.com/hooks/client"


class Shop:
    """A project of SalesKing's dialect with one app."""

    def __init__(self, native: Native, app: dict[str, Any]) -> None:
        self.native = native
        self.app = app

    @classmethod
    async def make(cls, native: Native) -> Shop:
        path = await native.project(dialect="salesking")
        return cls(native, (await native.call("POST", f"{path}/apps", APP)).expect(201))

    async def grant(self, **members: Any) -> dict[str, Any]:
        document = {"app": self.app["id"], "tenant": "c2ew4", "user": "c1339", "scope": "clients api/subs", **members}
        granted: dict[str, Any] = (await self.native.call("POST", "/v1/projects/p/grants", document)).expect(201)
        return granted

    async def subscribe(self, grant: dict[str, Any], **members: Any) -> Any:
        return await self.native.call("POST", "/v1/projects/p/subscriptions", terms(grant, **members))

    async def subscription(self, id_: str) -> Subscription:
        number = self.native.context.ids.number("sub_", id_)
        assert number is not None
        found = await self.native.store.subscription(number)
        assert found is not None
        return found

    def signs_with(self, subscription: Subscription) -> tuple[bytes, ...]:
        return open_secrets(self.native.context.vault, subscription, now_ms=self.native.clock.wall_ms)

    async def permitted(self, id_: str) -> tuple[str, ...] | None:
        """Return what the subscription's latest version is permitted."""
        number = (await self.subscription(id_)).number
        versions = await self.native.store.versions_of("p", "c2ew4")
        return [each for each in versions if each.subscription == number][-1].rule.permitted


def terms(grant: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "tenant": "c2ew4",
        "url": HOOK,
        "types": ["client.create"],
        "options": {"grant": grant["id"]},
        **members,
    }


@pytest.fixture
async def shop(native: Native) -> Shop:
    return await Shop.make(native)


async def test_an_app_is_made_listed_shown_and_deleted(native: Native) -> None:
    path = await native.project()
    made = (await native.call("POST", f"{path}/apps", APP)).expect(201)
    assert made == {"id": made["id"], "secret": made["secret"], **APP, "created_at": "2027-01-15T08:00:00Z"}
    assert made["id"].startswith("app_")
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert (await native.call("GET", f"{path}/apps/{made['id']}")).expect(200) == shown
    assert (await native.call("GET", f"{path}/apps")).expect(200)["data"] == [shown]
    assert (await native.call("DELETE", f"{path}/apps/{made['id']}")).expect(204) is None
    (await native.call("GET", f"{path}/apps/{made['id']}")).problem(404)
    (await native.call("DELETE", f"{path}/apps/{made['id']}")).problem(404)


async def test_an_app_keeps_the_secret_that_it_is_given(native: Native) -> None:
    path = await native.project()
    made = (await native.call("POST", f"{path}/apps", {**APP, "secret": "its own secret"})).expect(201)
    assert made["secret"] == "its own secret"
    assert (await native.call("POST", f"{path}/apps", {**APP, "secret": "short"})).fields() == ["secret"]


@pytest.mark.parametrize(
    "url", ["", "app", "ftp://x.y/", "https://u@x.y/", "https://x.y/#a", "https://x.y:0/", "https:///a", "https://x;y/"]
)
async def test_an_app_has_an_address_of_its_own(native: Native, url: str) -> None:
    path = await native.project()
    assert (await native.call("POST", f"{path}/apps", {**APP, "url": url})).fields() == ["url"]


async def test_another_project_s_app_is_none(native: Native, shop: Shop) -> None:
    await native.project("other")
    (await native.call("GET", f"/v1/projects/other/apps/{shop.app['id']}")).problem(404)
    grant = await shop.grant()
    (await native.call("GET", f"/v1/projects/other/grants/{grant['id']}")).problem(404)
    document = {"app": shop.app["id"], "user": "u"}
    assert (await native.call("POST", "/v1/projects/other/grants", document)).fields() == ["app"]


async def test_a_grant_is_made_listed_shown_and_revoked(native: Native, shop: Shop) -> None:
    made = await shop.grant(sub_domain="729831939", email="jo@example.com", permissions=["client.*"], expires_in=60)
    assert made == {
        "id": made["id"],
        "access_token": made["access_token"],
        "app": shop.app["id"],
        "tenant": "c2ew4",
        "user": "c1339",
        "email": "jo@example.com",
        "sub_domain": "729831939",
        "scope": "clients api/subs",
        "permissions": ["client.*"],
        "is_pending": False,
        "created_at": "2027-01-15T08:00:00Z",
        "expires_at": "2027-01-15T08:01:00Z",
    }
    shown = {name: value for name, value in made.items() if name != "access_token"}
    one = f"/v1/projects/p/grants/{made['id']}"
    assert (await native.call("GET", one)).expect(200) == shown
    assert (await native.call("GET", "/v1/projects/p/grants", app=shop.app["id"])).expect(200)["data"] == [shown]
    (await native.call("DELETE", one)).expect(204)
    (await native.call("GET", one)).problem(404)


async def test_a_grant_may_begin_with_a_code(shop: Shop) -> None:
    made = await shop.grant(code=True)
    assert made["code"]
    assert "access_token" not in made
    assert made["is_pending"] is True
    reply = await shop.subscribe(made)
    assert reply.fields() == ["options.grant"]


async def test_a_token_lives_thirty_days_or_as_the_project_says(native: Native, shop: Shop) -> None:
    assert (await shop.grant())["expires_at"] == "2027-02-14T08:00:00Z"
    login = {"url": "https://example.com/login", "key": "k" * 32, "expires_in": 3600}
    (await native.call("PATCH", "/v1/projects/p", {"settings": {"login": login}})).expect(200)
    assert (await shop.grant())["expires_at"] == "2027-01-15T09:00:00Z"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"scope": ""}, "scope"),
        ({"scope": "clients:fly"}, "scope"),
        ({"permissions": ["client"]}, "permissions[0]"),
        ({"expires_in": 0}, "expires_in"),
        ({"user": ""}, "user"),
        ({"app": "app_1"}, "app"),
        ({"code_challenge": "short"}, "code_challenge"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_a_grant_s_terms_are_checked(native: Native, shop: Shop, members: dict[str, Any], field: str) -> None:
    document = {"app": shop.app["id"], "tenant": "c2ew4", "user": "c1339", **members}
    assert (await native.call("POST", "/v1/projects/p/grants", document)).fields() == [field]


async def test_a_subscription_that_hangs_on_a_grant_signs_with_the_app_s_secret(shop: Shop) -> None:
    grant = await shop.grant(sub_domain="729831939")
    made = (await shop.subscribe(grant)).expect(201)
    assert made["options"] == {"grant": grant["id"], "include_channel": False}
    assert "secret" not in made
    found = await shop.subscription(made["id"])
    assert shop.signs_with(found) == (shop.app["secret"].encode(),)
    assert open_options(shop.native.context.vault, found) == {"access_token": grant["access_token"]}
    assert found.facts["company_id"] == "c2ew4"
    assert found.facts["user_id"] == "c1339"
    assert found.facts["sub_domain"] == "729831939"
    assert found.facts["expires_ms"] == shop.native.clock.wall_ms + 30 * 86_400_000


async def test_a_changed_subscription_stays_as_it_hangs(native: Native, shop: Shop) -> None:
    made = (await shop.subscribe(await shop.grant())).expect(201)
    path = f"/v1/projects/p/subscriptions/{made['id']}"
    before = await shop.subscription(made["id"])
    changed = (await native.call("PATCH", path, {"options": {"include_channel": True}})).expect(200)
    assert changed["options"]["include_channel"] is True
    after = await shop.subscription(made["id"])
    assert after.facts == before.facts
    assert shop.signs_with(after) == shop.signs_with(before)
    assert (await native.call("POST", f"{path}/secret/rotate", {})).fields() == ["secret"]


async def test_a_subscription_that_turns_to_another_dialect_lets_go_of_its_grant(native: Native, shop: Shop) -> None:
    made = (await shop.subscribe(await shop.grant())).expect(201)
    path = f"/v1/projects/p/subscriptions/{made['id']}"
    changed = (await native.call("PATCH", path, {"dialect": "standard"})).expect(200)
    assert changed["secret"].startswith("whsec_")
    found = await shop.subscription(made["id"])
    assert found.facts == {}
    assert found.sealed == {}
    assert len(found.secrets) == 1
    assert shop.app["secret"].encode() not in shop.signs_with(found)


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"options": {}}, "options.grant"),
        ({"options": {"grant": "grant_1"}}, "options.grant"),
        ({"tenant": "another"}, "options.grant"),
        ({"types": None}, "types"),
        ({"types": ["client.create", "client.update"]}, "types"),
        ({"types": ["client.*"]}, "types"),
        ({"types": ["invoice.create"]}, "types"),
        ({"url": "https://app.example.com/other"}, "url"),
        ({"url": "https://evil.example.com/hooks"}, "url"),
        ({"batch": {"max_events": 2}}, "batch.max_events"),
        ({"secret": "a secret of its own"}, "secret"),
    ],
)
async def test_what_is_not_the_app_s_to_ask_is_refused(shop: Shop, members: dict[str, Any], field: str) -> None:
    reply = await shop.subscribe(await shop.grant(), **members)
    assert reply.fields() == [field]


async def test_permissions_are_asked_when_events_match_and_change_at_once(native: Native, shop: Shop) -> None:
    grant = await shop.grant(permissions=["client.update"])
    made = (await shop.subscribe(grant)).expect(201)
    assert await shop.permitted(made["id"]) == ()
    native.engine.changes.clear()
    path = f"/v1/projects/p/grants/{grant['id']}"
    assert (await native.call("PATCH", path, {"permissions": ["client.*"]})).expect(200)["permissions"] == ["client.*"]
    assert await shop.permitted(made["id"]) == ("client.create",)
    assert native.engine.changes == [(await shop.subscription(made["id"])).number]
    (await native.call("PATCH", path, {"permissions": []})).expect(200)
    assert await shop.permitted(made["id"]) == ()
    assert (await native.call("PATCH", path, {"permissions": None})).expect(200)["permissions"] is None
    assert await shop.permitted(made["id"]) == ("client.create",)
    assert (await native.call("PATCH", path, {})).expect(200)["permissions"] is None


async def test_a_revoked_grant_ends_its_subscriptions_and_no_others(native: Native, shop: Shop) -> None:
    grant, other = await shop.grant(), await shop.grant()
    ended = [(await shop.subscribe(grant)).expect(201)["id"] for _ in range(3)]
    stays = (await shop.subscribe(other)).expect(201)["id"]
    (await native.call("DELETE", f"/v1/projects/p/grants/{grant['id']}")).expect(204)
    for id_ in ended:
        (await native.call("GET", f"/v1/projects/p/subscriptions/{id_}")).problem(404)
    (await native.call("GET", f"/v1/projects/p/subscriptions/{stays}")).expect(200)


async def test_an_expired_grant_ends_its_subscriptions(native: Native, shop: Shop) -> None:
    grant, later = await shop.grant(expires_in=60), await shop.grant(expires_in=3600)
    (await shop.subscribe(grant)).expect(201)
    stays = (await shop.subscribe(later)).expect(201)["id"]
    expiry = Expiry(native.context, Projects(native.context))
    native.clock.skip_ms(59_999)
    assert await expiry.sweep() == 0
    native.clock.skip_ms(1)
    assert await expiry.sweep() == 1
    (await native.call("GET", f"/v1/projects/p/grants/{grant['id']}")).problem(404)
    listed = (await native.call("GET", "/v1/projects/p/subscriptions")).expect(200)["data"]
    assert [each["id"] for each in listed] == [stays]


async def test_a_code_that_nobody_exchanged_goes(native: Native, shop: Shop) -> None:
    pending = await shop.grant(code=True)
    assert pending["expires_at"] == "2027-01-15T08:10:00Z"
    native.clock.skip_ms(600_000)
    assert await Expiry(native.context, Projects(native.context)).sweep() == 1
    (await native.call("GET", f"/v1/projects/p/grants/{pending['id']}")).problem(404)


async def test_a_rotated_secret_signs_the_next_push_alone(native: Native, shop: Shop) -> None:
    made = (await shop.subscribe(await shop.grant())).expect(201)
    await shop.grant(code=True)
    path = f"/v1/projects/p/apps/{shop.app['id']}/secret/rotate"
    rotated = (await native.call("POST", path)).expect(200)["secret"]
    assert rotated != shop.app["secret"]
    assert shop.signs_with(await shop.subscription(made["id"])) == (rotated.encode(),)
    assert (await native.call("POST", path, {"secret": "chosen by us"})).expect(200) == {"secret": "chosen by us"}
    assert shop.signs_with(await shop.subscription(made["id"])) == (b"chosen by us",)


async def test_a_grant_is_shown_as_changed_only_once_its_subscriptions_follow(
    native: Native, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await shop.grant()
    made = (await shop.subscribe(grant)).expect(201)
    one = f"/v1/projects/p/grants/{grant['id']}"

    async def change(*_: object, **__: object) -> None:
        raise StoreAway("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(native.store, "change", change)
        (await native.call("PATCH", one, {"permissions": []})).problem(503)
    assert (await native.call("GET", one)).expect(200)["permissions"] is None
    (await native.call("PATCH", one, {"permissions": []})).expect(200)
    assert await shop.permitted(made["id"]) == ()


async def test_a_deleted_app_takes_its_grants_and_subscriptions_along(native: Native, shop: Shop) -> None:
    grant = await shop.grant()
    made = (await shop.subscribe(grant)).expect(201)
    (await native.call("DELETE", f"/v1/projects/p/apps/{shop.app['id']}")).expect(204)
    (await native.call("GET", f"/v1/projects/p/grants/{grant['id']}")).problem(404)
    (await native.call("GET", f"/v1/projects/p/subscriptions/{made['id']}")).problem(404)


async def test_a_grant_without_subscriptions_knows_none(native: Native, shop: Shop) -> None:
    grant = await shop.grant()
    number = native.context.ids.number("grant_", grant["id"])
    assert number is not None
    found = await native.store.grant(number)
    assert found is not None
    assert await subscriptions_on(native.context, found) == []


async def test_a_login_s_key_is_never_read_back(native: Native) -> None:
    login = {"url": "https://example.com/login", "key": "k" * 32}
    path = await native.project(dialect="salesking", settings={"login": login})
    shown = (await native.call("GET", path)).expect(200)["settings"]["login"]
    assert shown == {"url": "https://example.com/login", "key": "********"}
    changed = await native.call("PATCH", path, {"settings": {"login": {"url": "https://example.com/in"}}})
    assert changed.expect(200)["settings"]["login"] == {"url": "https://example.com/in", "key": "********"}
    project = await native.store.project("p")
    assert project is not None
    assert "k" * 32 not in str(project.settings)


@pytest.mark.parametrize(
    ("login", "field"),
    [
        ({"url": "https://example.com"}, "settings.login.key"),
        ({"key": "k" * 32}, "settings.login.url"),
        ({"url": "nowhere", "key": "k" * 32}, "settings.login.url"),
        ({"url": "https://example.com/#in", "key": "k" * 32}, "settings.login.url"),
        ({"url": "https://example.com", "key": "short"}, "settings.login.key"),
        ({"url": "https://example.com", "key": "********"}, "settings.login.key"),
        ({"url": "https://example.com", "key": "k" * 32, "expires_in": 1}, "settings.login.expires_in"),
    ],
)
async def test_a_login_is_checked(native: Native, login: dict[str, Any], field: str) -> None:
    assert (await native.call("PUT", "/v1/projects/p", {"settings": {"login": login}})).fields() == [field]


async def test_only_those_who_manage_touch_apps_and_grants(native: Native, shop: Shop) -> None:
    for scope, tenant, expected in (
        ("read", None, 403),
        ("publish", None, 403),
        ("tenant", "c2ew4", 403),
        ("manage", None, 201),
    ):
        key = await native.make_key(scope, tenant=tenant)
        assert (await native.call("POST", "/v1/projects/p/apps", APP, key=key)).status == expected
    key = await native.make_key("tenant", tenant="c2ew4")
    (await native.call("GET", "/v1/projects/p/grants", key=key)).problem(403)


async def test_a_change_that_changes_nothing_writes_nothing(native: Native, shop: Shop) -> None:
    made = (await shop.subscribe(await shop.grant())).expect(201)
    before = await shop.subscription(made["id"])
    (await native.call("PATCH", f"/v1/projects/p/subscriptions/{made['id']}", {"name": ""})).expect(200)
    assert await shop.subscription(made["id"]) == before


class Meddling:
    """A store's `change`, before (or after) whose first writing of a subscription something else happens."""

    def __init__(self, native: Native, method: str, path: str, *, is_after: bool = False) -> None:
        self.native, self.method, self.path, self.is_after = native, method, path, is_after
        self.change = native.store.change

    async def __call__(self, subscription: Subscription, version: Version | None, *, revision: int) -> int | None:
        if revision == 0 and not self.is_after:
            await self.meddle()
        offset = await self.change(subscription, version, revision=revision)
        if revision == 0 and self.is_after:
            await self.meddle()
        return offset

    async def meddle(self) -> None:
        reply = await self.native.call(self.method, self.path)
        assert reply.status in {200, 204}, reply


async def test_a_secret_that_is_rotated_while_somebody_subscribes_signs(
    native: Native, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/projects/p/apps/{shop.app['id']}/secret/rotate"
    grant = await shop.grant()
    monkeypatch.setattr(native.store, "change", Meddling(native, "POST", path))
    made = (await shop.subscribe(grant)).expect(201)
    [signs_with] = shop.signs_with(await shop.subscription(made["id"]))
    assert signs_with != shop.app["secret"].encode()


@pytest.mark.parametrize("is_after", [False, True])
async def test_a_grant_that_ends_while_somebody_subscribes_leaves_nothing_behind(
    native: Native, shop: Shop, monkeypatch: pytest.MonkeyPatch, *, is_after: bool
) -> None:
    grant = await shop.grant()
    path = f"/v1/projects/p/grants/{grant['id']}"
    monkeypatch.setattr(native.store, "change", Meddling(native, "DELETE", path, is_after=is_after))
    assert (await shop.subscribe(grant)).fields() == ["options.grant"]
    assert (await native.call("GET", "/v1/projects/p/subscriptions")).expect(200)["data"] == []
