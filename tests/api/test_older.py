"""The way to the older APIs: which requests are theirs, and what their faults are answered with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from angarium.api.older import MODULES, OlderApis
from angarium.dialects.registry import DIALECTS
from angarium.model.registry import Project
from angarium.operations.callers import Callers
from angarium.operations.projects import Projects
from tests.api.fronting import FakeEngine, HeldStore, make_context


class Answer(NamedTuple):
    status: int
    document: Any


@pytest.fixture
async def older() -> OlderApis:
    return await make()


async def make(*, modules: Mapping[str, str] | None = None, **settings: Any) -> OlderApis:
    store = HeldStore()
    context = await make_context(store, FakeEngine(), **settings)
    await store.put_project(Project("old", "standard", 1, 1))
    given = {"standard": "tests.api.echoing"} if modules is None else modules
    return OlderApis(context, Callers(context), Projects(context), modules=given)


async def ask(older: OlderApis, path: str, method: str = "GET") -> Answer:
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}
    status, body = 0, b""

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(happening: Any) -> None:
        nonlocal status, body
        status = happening.get("status", status)
        body += happening.get("body", b"")

    await older(scope, receive, send)
    return Answer(status, json.loads(body))


async def test_a_project_s_own_api_is_below_its_name(older: OlderApis) -> None:
    assert older.takes("/p/old/given/a/b")
    assert await ask(older, "/p/old/given/a/b") == (200, ["old", "/p/old", "a/b"])


async def test_a_prefix_that_comes_twice_is_taken_off_once(older: OlderApis) -> None:
    assert await ask(older, "/p/old/given/p/old/given/x") == (200, ["old", "/p/old", "p/old/given/x"])


@pytest.mark.parametrize("path", ["/p/nobody/given/x", "/p//given/x", "/p/", "/p/a%20b/x"])
async def test_a_project_that_is_none_is_not_found(older: OlderApis, path: str) -> None:
    status, document = await ask(older, path)
    assert status == 404
    assert "there is no project" in document["detail"]


async def test_a_project_whose_dialect_has_no_api_says_where_to_go() -> None:
    status, document = await ask(await make(modules={}), "/p/old/given/x")
    assert status == 404
    assert document["detail"].endswith("which has no API of its own; use /v1/projects/old")


async def test_without_a_root_project_only_the_prefix_is_taken(older: OlderApis) -> None:
    assert not any(map(older.takes, ("/given/x", "/", "/v1/projects", "/v2/7/pushservice", "/pp/old")))


async def test_the_root_project_has_all_that_the_native_api_has_not() -> None:
    older = await make(root_project="old")
    assert await ask(older, "/given/x") == (200, ["old", "", "x"])
    assert older.takes("/v2/7/pushservice/subscriptions")
    assert older.takes("/p/p/given/x")
    assert not any(map(older.takes, ("/v1/projects", "/v1", "/v1/nothing", "/docs", "/openapi.json", "/", "/portal")))


async def test_a_root_project_that_does_not_exist_yet_is_not_found() -> None:
    assert (await ask(await make(root_project="later"), "/given/x")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/p/old/missing", 404, "nothing there"),
        ("GET", "/p/old/nowhere", 404, "404: Not Found"),
        ("GET", "/p/old/missing/", 404, "404: Not Found"),
        ("POST", "/p/old/missing", 405, "405: Method Not Allowed"),
        ("GET", "/p/old/broken", 500, "a fault here"),
    ],
)
async def test_what_goes_wrong_is_said_in_that_system_s_words(
    older: OlderApis, method: str, path: str, status: int, said: str
) -> None:
    assert await ask(older, path, method) == (status, {"echo": said})


@pytest.mark.parametrize("dialect", MODULES)
async def test_each_dialect_with_an_api_of_its_own_answers(dialect: str) -> None:
    assert dialect in DIALECTS
    older = await make(modules={"standard": MODULES[dialect]})
    status, document = await ask(older, "/p/old/nowhere")
    assert status == 404
    assert document
