from __future__ import annotations

import json
import socket
import time

import pytest

from angarium.cli import client as under_test
from angarium.cli.client import NDJSON, ApiClient, ApiProblem, Unreachable
from angarium.errors import FieldError
from tests.cli.scripted import Answer, script

PROBLEM = {"title": "Unprocessable", "detail": "url: is denied", "errors": [{"field": "url", "detail": "is denied"}]}


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_pauses", lambda: iter([0.0] * 5))


def test_a_request_carries_key_query_and_document() -> None:
    with script(Answer(201, b'{"id": "sub_1"}')) as server, ApiClient(f"{server.url}/below/", "secret") as client:
        assert client.send("POST", "/v1/x", {"name": "Grüße"}).value == {"id": "sub_1"}
        client.get("/v1/x", limit=5, after=None, from_="now")
    first, second = server.asked
    assert (first.method, first.path, first.headers["authorization"]) == ("POST", "/below/v1/x", "Bearer secret")
    assert first.headers["content-type"] == "application/json"
    assert first.body == '{"name": "Grüße"}'.encode()
    assert second.path == "/below/v1/x?limit=5&from=now"


def test_a_problem_is_raised_with_all_it_says() -> None:
    answer = Answer(422, json.dumps(PROBLEM).encode(), (("x-request-id", "req-7"),))
    with script(answer) as server, ApiClient(server.url) as client, pytest.raises(ApiProblem) as raised:
        client.send("POST", "/v1/x", {})
    problem = raised.value
    assert (problem.status, problem.detail, problem.request_id) == (422, "url: is denied", "req-7")
    assert problem.errors == PROBLEM["errors"]


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b'["no", "problem"]', b"", b"\xff"])
def test_an_answer_that_is_no_problem_document_is_a_problem_all_the_same(body: bytes) -> None:
    with script(Answer(502, body)) as server, ApiClient(server.url) as client, pytest.raises(ApiProblem) as raised:
        client.get("/v1/x")
    assert raised.value.status == 502


def test_nobody_there_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with ApiClient(url) as client, pytest.raises(Unreachable, match="connection refused"):
            client.get("/v1/x")


def test_a_publish_waits_for_a_server_that_has_answered_before(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with script(Answer(202, b"{}", (("connection", "close"),))) as server:
        client = ApiClient(server.url)
        client.publish("/v1/x", b"{}", content_type=NDJSON, key="k")
    with client, pytest.raises(Unreachable, match="connection refused"):
        client.publish("/v1/x", b"{}", content_type=NDJSON, key="k2")
    assert len(waited) == 5


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(FieldError, match="is no server's address"):
        ApiClient(url)


def test_an_answer_that_breaks_off_is_none() -> None:
    with script(Answer(is_cut=True)) as server, ApiClient(server.url) as client, pytest.raises(Unreachable):
        client.get("/v1/x")


def test_a_kept_connection_that_was_closed_is_opened_again_to_read() -> None:
    with script(Answer(200, b"1"), Answer(is_cut=True), Answer(200, b"2")) as server, ApiClient(server.url) as client:
        assert client.get("/v1/x").value == 1
        assert client.get("/v1/x").value == 2


def test_a_publish_is_repeated_under_its_key_until_its_answer_is_known() -> None:
    answers = Answer(503), Answer(409), Answer(is_cut=True), Answer(202, b'{"accepted": 1}')
    with script(*answers) as server, ApiClient(server.url) as client:
        assert client.publish("/v1/e", b"{}", content_type=NDJSON, key="k-1").value == {"accepted": 1}
    assert [asked.headers["idempotency-key"] for asked in server.asked] == ["k-1"] * 4
    assert {asked.body for asked in server.asked} == {b"{}"}


def test_a_publish_that_is_wrong_is_not_repeated() -> None:
    with script(Answer(422)) as server, ApiClient(server.url) as client, pytest.raises(ApiProblem):
        client.publish("/v1/e", b"{}", content_type=NDJSON, key="k-1")
    assert len(server.asked) == 1
