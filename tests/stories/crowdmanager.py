"""Be an organisation that uses CROWDMANAGER's push service, as its own programs see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from tests.stories.calling import Project, Reply, event
from tests.stories.receiving import Hook, Received
from tests.stories.serving import Server
from tests.stories.waiting import eventually

JSON_API = "application/vnd.api+json"
PLAIN = "application/json"
SUBSCRIPTIONS = "pushservice/subscriptions"
EXPORT = "customerinsights/customerprofiles/export"
NOBODY = "http://no-such-host.invalid/hook"

_numbers = count(1)


class Organization:
    """An organisation as its own programs see CROWDMANAGER: a base url and an opaque key."""

    def __init__(self, project: Project, id_: str) -> None:
        self.project = project
        self.id = id_
        self.base = f"/p/{project.name}/v2/{quote(id_, safe='')}"
        self.key: str = project.post("keys", {"scope": "tenant", "tenant": id_}, status=201)["key"]

    def call(self, method: str, path: str, document: Any = None, *, key: str | None = None, **query: Any) -> Reply:
        """Make a call as the set-up guide says: the key as it is after `Basic`."""
        return self.ask(method, path, document, authorization=f"Basic {self.key if key is None else key}", **query)

    def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        authorization: str = "",
        content_type: str = JSON_API,
        accept: str = JSON_API,
        **query: Any,
    ) -> Reply:
        """Make a call with these headers."""
        headers = {"authorization": authorization, "content-type": content_type, "accept": accept}
        return self.project.client.call(method, f"{self.base}/{path}", document, body=body, headers=headers, **query)

    def subscribe(self, url: str, **members: Any) -> dict[str, Any]:
        """Subscribe to customer profiles; return what the answer shows."""
        wanted = {"event": "CustomerProfile", "url": url, **members}
        made: dict[str, Any] = self.call("POST", SUBSCRIPTIONS, {"subscriptions": wanted}).expect(201)["subscriptions"]
        return made

    def put(self, id_: str, **members: Any) -> Reply:
        """Change a subscription."""
        return self.call("PUT", f"{SUBSCRIPTIONS}/{id_}", {"subscriptions": members})

    def shown(self, id_: str) -> dict[str, Any]:
        """Return a subscription as it stands."""
        found: dict[str, Any] = self.call("GET", f"{SUBSCRIPTIONS}/{id_}").expect(200)["subscriptions"]
        return found

    def set_up(self, hook: Hook, **members: Any) -> str:
        """Subscribe, validate and enable; return the id."""
        id_: str = self.subscribe(f"{hook.url}?org={{org}}", **members)["id"]
        changed = self.put(id_, isEnabled=True, validationToken=token_of(hook)).expect(200)["subscriptions"]
        assert (changed["isEnabled"], changed["isValidated"]) == (True, True)
        return id_

    def happened(self, action: str, object_id: str | int = 49, **members: Any) -> dict[str, Any]:
        """Return an event of this organisation's."""
        return event(object_id, f"{members.pop('object', 'CustomerProfile')}.{action}", tenant=self.id, **members)


@contextmanager
def organized(server: Server) -> Iterator[Organization]:
    """Lend an organisation of a project of its own, and see that the server outlives what it is for."""
    project = Project(server.client, f"cm-{next(_numbers)}").create(dialect="crowdmanager")
    yield Organization(project, "7")
    assert server.is_running, server.told()
    project.client.call("DELETE", project.path).expect(204)


def token_of(hook: Hook) -> str:
    """Return the token that a receiver was last sent."""
    asked = [request for request in hook.requests if request.method == "GET"][-1]
    return parse_qs(urlsplit(asked.path).query)["ValidationToken"][0]


def pushes(hook: Hook) -> list[Received]:
    """Return the pushes that a receiver got, without the validations."""
    return [request for request in hook.requests if request.method == "POST"]


def items(hook: Hook) -> list[dict[str, Any]]:
    """Return the push items that a receiver got, in order."""
    return [item for request in pushes(hook) for item in request.json]


def wait_for_items(hook: Hook, number: int) -> list[dict[str, Any]]:
    """Wait until so many items have come; return all that have."""
    eventually(lambda: len(items(hook)) >= number, told=lambda: f"{hook.url} got {items(hook)}")
    return items(hook)


def error_of(reply: Reply, status: int) -> str:
    """Return what a refusal says."""
    [fault] = reply.expect(status)["errors"]
    assert fault["status"] == str(status)
    assert fault["title"]
    detail: str = fault["detail"]
    return detail
