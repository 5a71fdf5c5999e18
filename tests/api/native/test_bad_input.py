"""Whatever is sent, the answer is a problem that says what is wrong, and never a fault of ours."""

from __future__ import annotations

import asyncio
import json

import pytest

from angarium.errors import StoreAway
from tests.api.native.serving import Native

ALL = "/v1/projects/p/subscriptions"


@pytest.fixture(autouse=True)
async def _project(native: Native) -> None:
    await native.project()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "ends too early"),
        (b"{'url': 1}", 400, "is no JSON"),
        (b'{"url": NaN}', 400, "NaN"),
        (b'{"timeout_s": Infinity}', 400, "Infinity"),
        (b'{"timeout_s": 1e999}', 400, "out of range"),
        (b'{"name": "\\ud800"}', 400, "surrogate"),
        (b'{"name": "\xff"}', 400, "UTF-8"),
        (b'{"name": "\xed\xa0\x80"}', 400, "UTF-8"),
        (b"\xef\xbb\xbf{}", 400, "byte order mark"),
        (b"nonsense", 400, "is no JSON"),
        (b"[]", 422, ""),
        (b"5", 422, ""),
        (b'"text"', 422, ""),
        (b"null", 422, ""),
        (b"[" * 100_000, 422, "nests deeper"),
        (b'{"filter":' + b'{"a":' * 100 + b"1" + b"}" * 101, 422, "nests deeper"),
        (b'{"name": "a\\u0000b", "url": "https://a.example"}', 422, "U+0000"),
        (b'{"headers": {"a\\u0000": "b"}, "url": "https://a.example"}', 422, "U+0000"),
        (b'{"filter": {"data": ["x", "\\u0000"]}, "url": "https://a.example"}', 422, "filter.data[1]"),
        (b'{"max_in_flight": ' + b"9" * 5000 + b"}", 400, "out of range"),
        (b'{"url": "' + b"x" * 1_100_000 + b'"}', 413, "1048576"),
        (b"", 422, "url"),
        (b"   ", 422, "url"),
    ],
)
async def test_a_body_that_is_wrong_is_explained(native: Native, body: bytes, status: int, words: str) -> None:
    problem = (await native.call("POST", ALL, body=body)).problem(status)
    assert words in json.dumps(problem, ensure_ascii=False)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "", "application/json; charset=latin-1"])
async def test_another_content_type_is_refused(native: Native, content_type: str) -> None:
    reply = await native.call("POST", ALL, body=b'{"url": "https://a.example"}', headers={"content-type": content_type})
    reply.problem(415)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=utf-8"]
)
async def test_the_right_content_type_may_be_written_as_one_likes(native: Native, content_type: str) -> None:
    reply = await native.call("POST", ALL, body=b'{"url": "https://a.example"}', headers={"content-type": content_type})
    reply.expect(201)


async def test_a_change_may_come_as_merge_patch_or_json(native: Native) -> None:
    path = f"{ALL}/{(await native.subscribe())['id']}"
    for content_type in ("application/merge-patch+json", "application/json"):
        reply = await native.call("PATCH", path, {"name": content_type}, headers={"content-type": content_type})
        assert reply.expect(200)["name"] == content_type
    (await native.call("PATCH", path, {}, headers={"content-type": "application/json-patch+json"})).problem(415)
    (await native.call("POST", ALL, {}, headers={"content-type": "application/merge-patch+json"})).problem(415)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/projects/", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/projects/p/stats", 404),
        ("GET", "/v1/projects/p/nothing", 404),
        ("GET", "/v1/audit", 404),
        ("POST", "/v1/projects", 405),
        ("PUT", ALL, 405),
        ("PATCH", "/v1/projects/p/keys", 405),
        ("GET", f"{ALL}/sub_%00", 404),
        ("GET", f"{ALL}/%ff%fe", 404),
        ("GET", f"{ALL}/{'x' * 3000}", 404),
        ("GET", f"{ALL}/sub_{'0' * 44}", 404),
        ("GET", f"{ALL}/sub_{'f' * 44}", 404),
        ("GET", f"{ALL}/sub_%D9%A1{'0' * 43}", 404),
        ("GET", "/v1/projects/%00", 404),
        ("GET", "/v1/projects/p/deliveries/dlv_" + "e" * 44, 404),
        ("GET", "/v1/projects/p/events/evt_" + "3" * 44, 404),
    ],
)
async def test_what_is_not_there_is_a_problem_too(native: Native, method: str, path: str, status: int) -> None:
    reply = await native.call(method, path)
    reply.problem(status)
    if status == 405:
        assert reply.headers["allow"]


@pytest.mark.parametrize("query", ["limit=1&limit=zero", "limit=", "limit=1e3", "limit=%00", "a%00=1", "after=%FF"])
async def test_a_query_that_is_wrong_is_a_problem(native: Native, query: str) -> None:
    (await native.call("GET", f"{ALL}?{query}")).problem(422)


async def test_a_request_is_named_as_it_asks_or_anew(native: Native) -> None:
    named = await native.call("GET", "/v1/projects", headers={"x-request-id": "mine-1"})
    assert named.headers["x-request-id"] == "mine-1"
    for name in ("has space", "x" * 200, ""):
        anew = await native.call("GET", "/v1/projects", headers={"x-request-id": name})
        assert anew.headers["x-request-id"].startswith("req_")


async def test_a_store_that_is_away_is_said_with_when_to_repeat(
    native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> object:
        raise StoreAway("the disk is full; make room")

    monkeypatch.setattr(native.store, "subscriptions", away)
    reply = await native.call("GET", ALL)
    assert "disk is full" in reply.problem(503)["detail"]
    assert int(reply.headers["retry-after"]) >= 1


async def test_a_fault_of_ours_tells_nothing_of_itself(native: Native, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("secret thing")

    monkeypatch.setattr(native.store, "subscriptions", broken)
    assert "secret" not in str((await native.call("GET", ALL)).problem(500))


async def test_many_calls_at_once_are_answered(native: Native) -> None:
    replies = await asyncio.gather(*(native.subscribe(name=str(number)) for number in range(50)))
    assert len({each["id"] for each in replies}) == 50
