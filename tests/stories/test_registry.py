"""Projects, tenants and keys: made, shown, changed, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from tests.stories.calling import Client, Project, event
from tests.stories.receiving import Hook
from tests.stories.serving import Server
from tests.stories.waiting import eventually

_numbers = count(1)


@pytest.fixture
def unmade(shared: Server) -> Iterator[Project]:
    """Return a project that does not exist yet."""
    project = Project(shared.client, f"registry-{next(_numbers)}")
    yield project
    shared.client.call("DELETE", project.path)


def test_a_project_is_created_once_and_replaced_after(unmade: Project) -> None:
    call = unmade.client.call
    assert call("GET", unmade.path).status == 404

    made = call("PUT", unmade.path, {"objects": {"item": {}}}).expect(201)
    replaced = call("PUT", unmade.path, {"settings": {"retention_days": 7}}).expect(200)

    assert made["dialect"] == replaced["dialect"] == "standard"
    assert "item" in made["objects"]
    assert "item" not in replaced["objects"]
    assert call("GET", unmade.path).expect(200)["settings"]["retention_days"] == 7
    assert unmade.name in call("GET", "/v1/projects", limit=250).body.decode()


def test_publishing_to_no_project_is_a_404(unmade: Project) -> None:
    assert unmade.client.call("POST", f"{unmade.path}/events", event()).status == 404
    assert unmade.client.call("GET", unmade.path).status == 404


def test_a_deleted_project_is_gone_with_all_that_it_had(unmade: Project, hook: Hook) -> None:
    unmade.create()
    unmade.subscribe(hook.url)
    key = unmade.post("keys", {"scope": "read"}, status=201)["key"]
    unmade.publish(event())
    hook.wait_for(1)

    unmade.client.call("DELETE", unmade.path).expect(204)

    assert unmade.client.call("GET", unmade.path).status == 404
    assert unmade.client.call("POST", f"{unmade.path}/events", event()).status == 404
    assert Client(unmade.client.port, key).call("GET", unmade.path).status == 401
    unmade.create()
    assert unmade.all("subscriptions") == []
    assert unmade.post("events", event())["matched"] == 0


@pytest.mark.parametrize("name", ["Ünder", "a b", "a/b", "..", "x" * 300, "%00"])
def test_a_project_s_name_must_fit_a_path(shared: Server, name: str) -> None:
    reply = shared.client.call("PUT", f"/v1/projects/{quote(name, safe='%')}", {})
    assert reply.status in {404, 405, 422}, reply


def test_a_tenant_comes_into_being_with_its_first_event_or_before(project: Project) -> None:
    project.client.call("PUT", f"{project.path}/tenants/1201", {}).expect(201)
    project.client.call("PUT", f"{project.path}/tenants/1201", {}).expect(200)
    project.publish(event(tenant="1202"))

    made = project.subscribe(kind="pull", tenant="1202")
    assert made["tenant"] == "1202"


def test_an_expired_or_revoked_key_opens_nothing(project: Project) -> None:
    brief = project.post("keys", {"scope": "read", "expires_in": 1}, status=201)
    lasting = project.post("keys", {"scope": "read", "name": "for the dashboard"}, status=201)

    def status(key: dict[str, Any]) -> int:
        return Client(project.client.port, key["key"]).call("GET", f"{project.path}/events").status

    assert status(lasting) == 200
    eventually(lambda: status(brief) == 401)
    assert lasting["id"] in [listed["id"] for listed in project.all("keys")]
    project.client.call("DELETE", f"{project.path}/keys/{lasting['id']}").expect(204)
    assert status(lasting) == 401
    assert lasting["id"] not in [listed["id"] for listed in project.all("keys")]


def test_a_manager_makes_keys_for_tenants_only(project: Project) -> None:
    manager = Client(project.client.port, project.post("keys", {"scope": "manage"}, status=201)["key"])

    made = manager.call("POST", f"{project.path}/keys", {"scope": "tenant", "tenant": "1", "expires_in": 60}).expect(
        201
    )

    assert Client(project.client.port, made["key"]).call("GET", f"{project.path}/subscriptions").status == 200
    for scope in ("admin", "manage", "publish", "read"):
        assert manager.call("POST", f"{project.path}/keys", {"scope": scope}).status == 403
