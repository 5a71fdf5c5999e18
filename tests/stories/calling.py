"""Call the HTTP API as any program would, with the standard library alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.stories.waiting import eventually

_TIMEOUT_S = 60


class Reply(NamedTuple):
    """What the server answered; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)

    def expect(self, status: int) -> Any:
        """Return the parsed body (None when empty) of an answer with this status; fail with the answer otherwise."""
        assert self.status == status, f"{self.status}, expected {status}: {self.body[:2000].decode(errors='replace')}"
        return self.json if self.body else None


class Client:
    """One caller with one key; every call has a connection of its own."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key

    def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        """Make one call, with a document as JSON or a body as it is."""
        with self._response(method, path, document, body=body, headers=headers, query=query) as response:
            return Reply(response.status, _lower(response), response.read())

    @contextmanager
    def stream(self, path: str, *, headers: Mapping[str, str], **query: Any) -> Iterator[HTTPResponse]:
        """Lend an answer that is read while it comes."""
        with self._response("GET", path, None, body=None, headers=headers, query=query) as response:
            yield response

    @contextmanager
    def _response(
        self,
        method: str,
        path: str,
        document: Any,
        *,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        query: Mapping[str, Any],
    ) -> Iterator[HTTPResponse]:
        content = json.dumps(document).encode() if document is not None else body
        given = {"authorization": f"Bearer {self.key}", "content-type": "application/json", **(headers or {})}
        sent = {name: value for name, value in given.items() if value}
        chosen = {name: value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(chosen)}" if chosen else path
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_S)) as connection:
            connection.request(method, target, content, sent)
            yield connection.getresponse()


def server_sent(response: HTTPResponse) -> Iterator[Any]:
    """Yield the data of each server-sent event as it comes, parsed; end when the stream does."""
    data = ""
    while line := response.readline().decode():
        if line.startswith("data:"):
            data += line.removeprefix("data:").strip()
        elif data and not line.strip():
            yield json.loads(data)
            data = ""


def _lower(response: HTTPResponse) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


class Project:
    """One project, as the stories use it."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.path = f"/v1/projects/{name}"

    def create(self, **members: Any) -> Project:
        """Create it, or replace it."""
        reply = self.client.call("PUT", self.path, members)
        assert reply.status in {200, 201}, reply
        return self

    def get(self, path: str, **query: Any) -> Any:
        """Return what stands below it."""
        return self.client.call("GET", f"{self.path}/{path}", **query).expect(200)

    def post(self, path: str, document: Any = None, *, status: int = 202, **query: Any) -> Any:
        """Ask for something below it."""
        return self.client.call("POST", f"{self.path}/{path}", document, **query).expect(status)

    def publish(self, *events: Mapping[str, Any]) -> list[str]:
        """Publish some events as one array, a single one as itself; return their ids."""
        answer = self.post("events", list(events) if len(events) > 1 else events[0])
        assert answer["accepted"] == len(events) == len(answer["ids"]), answer
        ids: list[str] = answer["ids"]
        return ids

    def subscribe(self, url: str | None = None, **members: Any) -> dict[str, Any]:
        """Subscribe; return the subscription as the answer shows it, with its secret."""
        document = members if url is None else {"url": url, **members}
        made: dict[str, Any] = self.post("subscriptions", document, status=201)
        return made

    def subscription(self, id_: str) -> dict[str, Any]:
        """Return a subscription as it stands."""
        found: dict[str, Any] = self.get(f"subscriptions/{id_}")
        return found

    def change(self, id_: str, **members: Any) -> dict[str, Any]:
        """Change a subscription's members."""
        reply = self.client.call(
            "PATCH",
            f"{self.path}/subscriptions/{id_}",
            members,
            headers={"content-type": "application/merge-patch+json"},
        )
        changed: dict[str, Any] = reply.expect(200)
        return changed

    def pages(self, path: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
        """Yield the pages of a list, from its beginning to its end."""
        after: str | None = None
        while True:
            page = self.get(path, after=after, **query)
            yield page["data"]
            after = page["next"]
            if after is None:
                return

    def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Return a whole list."""
        return [item for page in self.pages(path, **query) for item in page]

    def deliveries(self, **filters: Any) -> list[dict[str, Any]]:
        """Return all deliveries that the filters choose, the newest first."""
        return self.all("deliveries", limit=250, **filters)

    def wait_for(self, state: str, *, number: int = 1, **filters: Any) -> list[dict[str, Any]]:
        """Wait until so many of the chosen deliveries are in a state; return them with their attempts."""
        eventually(
            lambda: len(self.deliveries(state=state, **filters)) >= number,
            told=lambda: f"expected {number} {state} of {filters}, found {self.deliveries(**filters)}",
        )
        return [self.delivery(listed["id"]) for listed in self.deliveries(state=state, **filters)]

    def delivery(self, id_: str) -> dict[str, Any]:
        """Return a delivery with its attempts."""
        found: dict[str, Any] = self.get(f"deliveries/{id_}")
        return found

    def feed(self, subscription: str, *, limit: int = 250, after: str | None = None) -> list[dict[str, Any]]:
        """Return all that a feed holds behind a cursor, page by page."""
        items: list[dict[str, Any]] = []
        while True:
            page = self.get(f"subscriptions/{subscription}/feed", after=after, limit=limit)
            if not page["data"]:
                return items
            items += page["data"]
            after = page["next"]


def event(object_id: str | int = "1", type_: str = "item.update", **members: Any) -> dict[str, Any]:
    """Return an event to publish."""
    object_, action = type_.split(".")
    return {"object": object_, "action": action, "object_id": str(object_id), **members}
