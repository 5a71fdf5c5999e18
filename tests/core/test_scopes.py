"""Hold which key may make which call: the whole table, and what is said of what a key cannot see."""

from __future__ import annotations

import pytest

from angarium.core.scopes import Call, check, may, tenant_of
from angarium.errors import Forbidden, NotFound
from angarium.model.registry import ApiKey, Scope

TABLE = {
    #                          publish read   manage tenant admin
    Call.PUBLISH:              (True,  False, False, False, True),
    Call.READ:                 (False, True,  True,  True,  True),
    Call.READ_CATALOGUE:       (False, True,  True,  True,  True),
    Call.READ_REGISTRY:        (False, True,  True,  False, True),
    Call.READ_KEYS:            (False, False, False, False, True),
    Call.MANAGE_SUBSCRIPTIONS: (False, False, True,  True,  True),
    Call.MANAGE_REGISTRY:      (False, False, True,  False, True),
    Call.MAKE_TENANT_KEY:      (False, False, True,  False, True),
    Call.MAKE_KEY:             (False, False, False, False, True),
    Call.CHANGE_PROJECT:       (False, False, False, False, True),
    Call.ADMIN:                (False, False, False, False, True),
}  # fmt: skip
SCOPES = (Scope.PUBLISH, Scope.READ, Scope.MANAGE, Scope.TENANT, Scope.ADMIN)
CASES = [(scope, call, allowed) for call, row in TABLE.items() for scope, allowed in zip(SCOPES, row, strict=True)]


def key(scope: Scope, *, project: str = "radio", tenant: str = "") -> ApiKey:
    return ApiKey(
        1,
        "key_1",
        b"",
        scope,
        0,
        project="" if scope is Scope.ADMIN else project,
        tenant="1" if scope is Scope.TENANT else tenant,
    )


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(Call)
    assert set(SCOPES) == set(Scope)


@pytest.mark.parametrize(("scope", "call", "allowed"), CASES)
def test_a_scope_has_its_calls_and_no_others(scope: Scope, call: Call, *, allowed: bool) -> None:
    assert may(key(scope), call) is allowed
    if allowed:
        check(key(scope), call, "radio")
        check(key(scope), call, "radio", "1")
    else:
        with pytest.raises(Forbidden) as caught:
            check(key(scope), call, "radio", "1")
        assert str(caught.value).startswith(f"a key of scope {scope.value} may not {call.value}; use one of scope ")
        assert "admin" in str(caught.value)


@pytest.mark.parametrize(("scope", "call", "allowed"), [case for case in CASES if case[0] is not Scope.ADMIN])
def test_another_project_does_not_exist(scope: Scope, call: Call, *, allowed: bool) -> None:
    with pytest.raises(NotFound, match="there is no project 'other' here"):
        check(key(scope), call, "other")


@pytest.mark.parametrize("call", [call for call in Call if TABLE[call][3]])
def test_another_tenant_does_not_exist_for_a_tenant_s_key(call: Call) -> None:
    with pytest.raises(NotFound, match="there is no tenant '2' here"):
        check(key(Scope.TENANT), call, "radio", "2")


@pytest.mark.parametrize("scope", [Scope.PUBLISH, Scope.READ, Scope.MANAGE])
def test_the_other_keys_of_a_project_know_all_its_tenants(scope: Scope) -> None:
    for call in Call:
        if may(key(scope), call):
            check(key(scope), call, "radio", "2")


def test_an_admin_key_knows_all_projects() -> None:
    for call in Call:
        check(key(Scope.ADMIN), call, "other", "2")
        check(key(Scope.ADMIN), call, "")


def test_what_concerns_all_projects_is_forbidden_to_the_rest() -> None:
    for scope in SCOPES[:-1]:
        with pytest.raises(Forbidden, match=r"may not do what concerns all projects; use one of scope admin$"):
            check(key(scope), Call.ADMIN, "")


def test_an_admin_key_of_one_project_stays_there() -> None:
    bound = ApiKey(1, "key_1", b"", Scope.ADMIN, 0, project="radio")
    check(bound, Call.CHANGE_PROJECT, "radio")
    with pytest.raises(NotFound):
        check(bound, Call.READ, "other")


@pytest.mark.parametrize(
    ("scope", "asked", "expected"),
    [
        (Scope.TENANT, None, "1"),
        (Scope.TENANT, "1", "1"),
        (Scope.MANAGE, None, None),
        (Scope.MANAGE, "2", "2"),
        (Scope.ADMIN, "2", "2"),
    ],
)
def test_a_left_out_tenant_is_the_key_s_own(scope: Scope, asked: str | None, expected: str | None) -> None:
    assert tenant_of(key(scope), asked) == expected


def test_a_tenant_s_key_cannot_ask_for_another() -> None:
    with pytest.raises(NotFound):
        tenant_of(key(Scope.TENANT), "2")
