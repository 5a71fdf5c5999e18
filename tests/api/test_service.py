"""Health, readiness, metrics, and the frame around every answer, over a real server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from angarium.errors import StoreAway
from tests.serving import Running, call, running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as server:
        yield server


def test_a_running_server_is_healthy_and_ready(server: Running) -> None:
    assert call(server, "GET", "/healthz").json == {"status": "ok"}
    reply = call(server, "GET", "/readyz")
    assert (reply.status, reply.json) == (200, {"status": "ready"})
    assert reply.headers["cache-control"] == "no-store"


def test_a_store_that_cannot_be_written_makes_it_unready_and_says_why(server: Running) -> None:
    async def fail(name: str, value: bytes) -> None:
        raise StoreAway(f"{name} of {len(value)} bytes finds no room on the disk")

    server.context.store.put_meta = fail  # type: ignore[method-assign]  # a full disk that fits into a test
    reply = call(server, "GET", "/readyz")
    assert reply.status == 503
    assert reply.headers["retry-after"] == "1"
    assert "no room on the disk" in reply.json["causes"][0]
    assert reply.json["detail"] == reply.json["causes"][0]
    assert call(server, "GET", "/healthz").status == 200


def test_who_may_not_send_is_not_ready_unless_it_only_answers(server: Running) -> None:
    server.context.store.owner.may_send = lambda: False  # type: ignore[method-assign]  # a session that was lost
    reply = call(server, "GET", "/readyz")
    assert (reply.status, len(reply.json["causes"])) == (503, 1)
    assert "nothing is sent" in reply.json["detail"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/version"])
def test_only_reading_is_allowed_there(server: Running, path: str) -> None:
    reply = call(server, "DELETE", path)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    head = call(server, "HEAD", path)
    assert (head.status, head.body) == (200, b"")


def test_metrics_count_what_was_published(server: Running) -> None:
    event = {"object": "item", "action": "update", "object_id": "1"}
    assert call(server, "PUT", "/v1/projects/p", {}).status == 201
    assert call(server, "POST", "/v1/projects/p/events", [event, event]).status == 202
    assert call(server, "POST", "/v1/projects/p/events", {}).status == 422
    reply = call(server, "GET", "/metrics", key=None)
    lines = dict(line.rsplit(" ", 1) for line in reply.body.decode().splitlines() if not line.startswith("#"))
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert float(lines["angarium_events_accepted_total"]) == 2
    assert float(lines["angarium_publishes_accepted_total"]) == 1
    assert float(lines["angarium_publishes_refused_total"]) == 1
    assert float(lines["angarium_publish_seconds_count"]) == 1
    assert float(lines["process_resident_memory_bytes"]) > 1e6


def test_every_metric_of_ours_has_a_name_and_a_sentence(server: Running) -> None:
    from angarium.api.metrics import SENTENCES  # noqa: PLC0415  as the server does

    helps = [line for line in call(server, "GET", "/metrics").body.decode().splitlines() if line.startswith("# HELP")]
    ours = {line.split()[2].removeprefix("angarium_") for line in helps if "angarium_" in line} - {"build_info"}
    assert ours == set(SENTENCES)


@pytest.mark.parametrize("path", ["/healthz", "/v1/projects", "/no/such/thing", "/v1/projects/p/events?x=1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_answer_has_its_request_s_name_and_no_server_s(server: Running, path: str, method: str) -> None:
    given = call(server, method, path, headers={"x-request-id": "mine-1"}).headers
    made = call(server, method, path, headers={"x-request-id": "not good\t"}).headers
    assert given["x-request-id"] == "mine-1"
    assert made["x-request-id"].startswith("req_")
    assert "server" not in given
    assert given["date"].endswith("GMT")


def test_a_fault_of_ours_is_a_problem_without_its_text(server: Running) -> None:
    async def fail(name: str) -> Any:
        raise RuntimeError(f"secret of {name}")

    server.context.store.project = fail  # type: ignore[method-assign]  # a fault that cannot be had otherwise
    event = {"object": "item", "action": "update", "object_id": "1"}
    reply = call(server, "POST", "/v1/projects/unknown/events", event)
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert json.loads(reply.body)["title"] == "Internal Server Error"


def test_the_program_has_no_more_files_open_after_many_connections(server: Running) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  names only

    call(server, "GET", "/healthz")
    before = open_files()
    for _ in range(20):
        call(server, "GET", "/healthz")
    assert open_files() <= before + 5
