"""The 'Dashboard' service's API while the store is away: what it says then, and what it counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import pytest

from angarium.api.dashboard import build
from angarium.errors import StoreAway
from angarium.model.registry import Project
from angarium.operations.callers import Callers
from angarium.operations.dashboard import PER_HOUR
from angarium.operations.projects import Projects
from angarium.store.memory import MemoryStore
from tests.api.native.serving import FakeClock, make_context

ALL = "/dashboard/v1/notifications"
BODY = {"url": "https://example.com/", "event": "REGISTER"}


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    document: Any


class Service:
    """The API over the memory store, called as an application."""

    def __init__(self) -> None:
        self.context = make_context()
        self._projects = Projects(self.context)
        self._app = build(self.context, Callers(self.context), self._projects)

    @property
    def store(self) -> MemoryStore:
        return cast("MemoryStore", self.context.store)

    async def call(self, method: str, path: str, document: Any = None, *, client: str = "192.0.2.1") -> Answer:
        body = b"" if document is None else json.dumps(document).encode()
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [],
            "query_string": b"",
            "root_path": "",
            "client": (client, 1),
            "served": await self._projects.find("d"),
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def send(happening: Any) -> None:
            sent.append(happening)

        await self._app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        content = b"".join(each.get("body", b"") for each in sent[1:])
        return Answer(sent[0]["status"], headers, json.loads(content) if content else None)


@pytest.fixture
async def service() -> Service:
    service = Service()
    await service.store.put_project(Project("d", "dashboard", 1, 1))
    return service


async def _fail(*_: Any, **__: Any) -> Any:
    raise StoreAway("there is no room on the disk")


async def test_a_store_that_is_away_is_said_in_the_status(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await service.call("POST", ALL, BODY)).status == 201
    cast("FakeClock", service.context.clock).skip_ms(7_500)
    known = {"version": "v1", "uptime": 7}
    assert (await service.call("GET", "/dashboard/v1/status/")).document == {
        "notification_db": 200, "webhooks": 1, **known,
    }  # fmt: skip
    monkeypatch.setattr(service.store, "subscriptions", _fail)
    assert (await service.call("GET", "/dashboard/v1/status/")).document == {
        "notification_db": 503, "webhooks": None, **known,
    }  # fmt: skip


async def test_deleting_is_204_even_then_and_all_else_is_503(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in ("subscription_called", "subscriptions", "change"):
        monkeypatch.setattr(service.store, call, _fail)
    assert await service.call("DELETE", f"{ALL}/1") == (204, {}, None)
    for answer in (await service.call("GET", ALL), await service.call("POST", ALL, BODY)):
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert answer.document == {"message": "there is no room on the disk"}


async def test_one_address_may_register_a_thousand_an_hour(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as away:
        away.setattr(service.store, "change", _fail)
        assert (await service.call("POST", ALL, BODY)).status == 503
    for _ in range(PER_HOUR):
        assert (await service.call("POST", ALL, BODY)).status == 201
    refused = await service.call("POST", ALL, BODY)
    assert (refused.status, refused.headers["retry-after"]) == (429, "3600")
    assert (await service.call("POST", ALL, BODY, client="192.0.2.2")).status == 201
    cast("FakeClock", service.context.clock).skip_ms(3_600_000)
    assert (await service.call("POST", ALL, BODY)).status == 201
