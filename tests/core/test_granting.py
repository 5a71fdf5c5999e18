"""Hold what grants allow, and which addresses are an app's own."""

from __future__ import annotations

import pytest

from angarium.core.granting import calls, hears, lies_within, permits, permitted, plural, read_scope
from angarium.errors import FieldError

APP = "https://my-site.com/app"


def test_a_scope_without_names_means_all_of_them() -> None:
    assert read_scope("clients api/clients:create,update") == {
        "clients": {"create", "read", "update", "delete"},
        "api/clients": {"create", "update"},
    }


def test_contexts_that_come_twice_add_up() -> None:
    assert read_scope("clients:create clients:destroy") == {"clients": {"create", "delete"}}


@pytest.mark.parametrize(
    "text", ["", "  ", "clients:", "clients:fly", "clients:create,", ":create", "api/", "a b:c", "x" * 5000]
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match="scope"):
        read_scope(text)


@pytest.mark.parametrize(
    ("scope", "type_", "expected"),
    [
        (None, "client.create", True),
        ("clients", "client.delete", True),
        ("clients:create,update,delete", "client.update", True),
        ("clients:create", "client.update", False),
        ("clients:destroy", "client.delete", True),
        ("api/clients", "client.create", False),  # The scope of calls does not listen.
        ("invoices:update api/subs", "invoice.update", True),
        ("invoices", "client.update", False),
        ("companies", "company.update", True),
        ("client", "client.update", True),
    ],
)
def test_a_scope_says_what_its_app_hears_of(scope: str | None, type_: str, *, expected: bool) -> None:
    assert hears(scope, type_) is expected


@pytest.mark.parametrize(
    ("scope", "name", "expected"),
    [(None, "create", True), ("api/subs", "delete", True), ("api/subs:read", "create", False), ("subs", "read", False)],
)
def test_a_scope_says_which_calls_its_app_may_make(scope: str | None, name: str, *, expected: bool) -> None:
    assert calls(scope, "subs", name) is expected


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        (None, True),
        (["*"], True),
        (["invoice.*"], True),
        (["*.delete"], True),
        (["invoice.delete"], True),
        (["invoice.update", "client.*"], False),
        ([], False),
    ],
)
def test_a_user_s_permissions_say_what_may_be_told(permissions: list[str] | None, *, expected: bool) -> None:
    assert permits(permissions, "invoice.delete") is expected


def test_both_the_scope_and_the_permissions_must_allow_a_type() -> None:
    types = ("client.create", "client.delete", "invoice.create")
    assert permitted(types, "clients", ["*.create"]) == ("client.create",)
    assert permitted(types, None, None) == types


@pytest.mark.parametrize(
    ("object_", "expected"),
    [
        ("client", "clients"),
        ("company", "companies"),
        ("day", "days"),
        ("tax", "taxes"),
        ("address", "addresses"),
        ("y", "ys"),
    ],
)
def test_a_scope_names_objects_in_the_plural(object_: str, expected: str) -> None:
    assert plural(object_) == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://my-site.com/app",
        "https://my-site.com/app/",
        "https://my-site.com/app/hook",
        "https://my-site.com/app/hook?client=1&x=..",
        "https://my-site.com:443/app/hook",
        "HTTPS://MY-SITE.com/app/hook",
        "https://my-site.com/app/a..b/.well-known",
    ],
)
def test_what_lies_below_the_app_is_its_own(url: str) -> None:
    assert lies_within(url, APP)


@pytest.mark.parametrize(
    "url",
    [
        "http://my-site.com/app/hook",
        "https://my-site.com:8443/app/hook",
        "https://other-site.com/app/hook",
        "https://my-site.com.evil.com/app",
        "https://my-site.com/application",
        "https://my-site.com/",
        "https://my-site.com/APP/hook",
        "https://my-site.com/app/../hook",
        "https://my-site.com/app/./hook",
        "https://my-site.com/app/%2e%2e/hook",
        "https://my-site.com/app/%2E./hook",
        "https://my-site.com/app/%252e%252e/hook",
        "https://my-site.com/app/x%2f..%2fhook",
        "https://my-site.com/app/..;/hook",
        "https://my-site.com/app/..%5chook",
        "https://my-site.com/app\\..\\hook",
        "https://my-site.com\\@evil.com/app",
        "https://user@my-site.com/app/hook",
        "https://my-site.com@evil.com/app/hook",
        "https://my-site.com/app/hook#part",
        "https://my-site.com:x/app",
        "https://[::1/app",
        "ftp://my-site.com/app",
        "/app/hook",
        "",
    ],
)
def test_what_lies_elsewhere_or_might_is_not(url: str) -> None:
    assert not lies_within(url, APP)


def test_an_app_at_the_root_of_its_site_has_all_of_it() -> None:
    for root in ("https://my-site.com", "https://my-site.com/"):
        assert lies_within("https://my-site.com", root)
        assert lies_within("https://my-site.com/hook", root)
        assert not lies_within("https://my-site.com.evil.com/hook", root)


def test_an_app_without_a_url_has_no_addresses() -> None:
    assert not lies_within("https://my-site.com/app", "")
