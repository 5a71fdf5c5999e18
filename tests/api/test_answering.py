"""The older APIs while the store is away: each says so in its own words, and when to come again."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest

from angarium.api.older import MODULES
from angarium.errors import StoreAway
from angarium.model.registry import Project
from angarium.operations.callers import Callers
from angarium.operations.projects import Projects
from tests.api.native.serving import make_context

PATHS = {
    "crowdmanager": "/v2/7/pushservice/subscriptions",
    "dashboard": "/dashboard/v1/notifications",
    "salesking": "/api/subs",
}


async def _away(*_: object, **__: object) -> Any:
    raise StoreAway("there is no room on the disk")


@pytest.mark.parametrize("dialect", sorted(MODULES))
async def test_each_says_when_it_is_worth_coming_again(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context()
    await context.store.put_project(Project("old", dialect, 1, 1))
    projects = Projects(context)
    app = import_module(MODULES[dialect]).build(context, Callers(context), projects)
    scope = {
        "type": "http",
        "method": "GET",
        "path": PATHS[dialect],
        "headers": [(b"authorization", b"Bearer some-key")],
        "query_string": b"",
        "root_path": "",
        "served": await projects.find("old"),
    }
    for call in ("key_of", "grant_of", "subscriptions"):
        monkeypatch.setattr(context.store, call, _away)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(happening: Any) -> None:
        sent.append(happening)

    await app(scope, receive, send)

    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"retry-after"] == b"2"
    assert "there is no room on the disk" in json.dumps(json.loads(sent[1]["body"]))
