"""Changes that are only tried, and changes that come to nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.native.serving import Native

ALL = "/v1/projects/p/subscriptions"


@pytest.fixture(autouse=True)
async def _project(native: Native) -> None:
    await native.project()


async def patch(native: Native, id_: str, document: Any, *, dry_run: str) -> Any:
    return (await native.call("PATCH", f"{ALL}/{id_}", document, dry_run=dry_run)).expect(200)


async def test_a_dry_run_shows_the_change_and_makes_none(native: Native) -> None:
    made = await native.subscribe(types=["item.*"])
    changes = list(native.engine.changes)
    native.clock.skip_ms(1000)
    tried = await patch(native, made["id"], {"types": ["item.update"], "timeout_s": 5}, dry_run="true")
    assert (tried["types"], tried["timeout_s"]) == (["item.update"], 5)
    assert tried["updated_at"] > made["updated_at"]
    shown = (await native.call("GET", f"{ALL}/{made['id']}")).expect(200)
    assert (shown["types"], shown["updated_at"]) == (["item.*"], made["updated_at"])
    assert native.engine.changes == changes


async def test_a_dry_run_of_a_wrong_change_says_so(native: Native) -> None:
    made = await native.subscribe()
    reply = await native.call("PATCH", f"{ALL}/{made['id']}", {"url": "https://10.0.0.1/"}, dry_run="true")
    assert reply.fields() == ["url"]


@pytest.mark.parametrize("dry_run", ["true", "false"])
async def test_secret_values_that_are_given_again_change_nothing(native: Native, dry_run: str) -> None:
    made = await native.subscribe(
        dialect="radiomanager", headers={"x-team": "blue"}, options={"api_key": "k", "secret": "s"}
    )
    native.clock.skip_ms(1000)
    same = {"headers": {"X-Team": "blue"}, "options": {"api_key": "k", "secret": "s"}}
    assert (await patch(native, made["id"], same, dry_run=dry_run))["updated_at"] == made["updated_at"]
    other = {"options": {"api_key": "other"}}
    assert (await patch(native, made["id"], other, dry_run=dry_run))["updated_at"] > made["updated_at"]


async def test_a_dry_run_of_a_new_subscription_makes_none(native: Native) -> None:
    asked = {"url": "https://example.com/hook", "types": ["item.*"]}
    tried = (await native.call("POST", ALL, asked, dry_run="true")).expect(200)
    assert (tried["types"], tried["id"], "secret" in tried) == (["item.*"], "", False)
    assert (await native.call("GET", ALL)).expect(200)["data"] == []
    assert (await native.call("POST", ALL, {**asked, "types": ["x"]}, dry_run="true")).fields() == ["types[0]"]


PROJECT = {"objects": {"item": {"window": "start"}}, "settings": {"allow_http": True}}


async def test_a_dry_run_of_a_new_project_makes_none(native: Native) -> None:
    tried = (await native.call("PUT", "/v1/projects/new", PROJECT, dry_run="true")).expect(201)
    assert tried["objects"] == PROJECT["objects"]
    assert (await native.call("GET", "/v1/projects/new")).status == 404
    reply = await native.call("PUT", "/v1/projects/new", {"settings": {"ports": [0]}}, dry_run="true")
    assert reply.fields() == ["settings.ports[0]"]


async def test_a_dry_run_of_another_project_changes_nothing(native: Native) -> None:
    before = (await native.call("GET", "/v1/projects/p")).expect(200)
    native.clock.skip_ms(1000)
    tried = (await native.call("PUT", "/v1/projects/p", PROJECT, dry_run="true")).expect(200)
    assert tried["settings"] == {"allow_http": True}
    assert tried["updated_at"] > before["updated_at"]
    assert (await native.call("GET", "/v1/projects/p")).expect(200) == before


async def test_a_project_that_is_so_already_stays_as_it_is(native: Native) -> None:
    before = (await native.call("PUT", "/v1/projects/p", PROJECT)).expect(200)
    native.clock.skip_ms(1000)
    assert (await native.call("PUT", "/v1/projects/p", PROJECT)).expect(200) == before
    assert (await native.call("PATCH", "/v1/projects/p", {})).expect(200) == before
