"""The hot route and the ASGI route give the same answers, byte for byte."""

from __future__ import annotations

import re
from typing import Any

import pytest

from angarium.errors import StoreAway
from tests.api.fronting import EVENT, Caller, on_uvloop, request, serve

ARRAY = b"[" + EVENT + b"," + EVENT + b"]"

CASES: dict[str, dict[str, Any]] = {
    "one": {},
    "array": {"body": ARRAY},
    "ndjson": {"body": EVENT + b"\n" + EVENT + b"\n", "content_type": "application/x-ndjson"},
    "admin": {"key": "ang_admin"},
    "idempotent": {"idempotency_key": "k1"},
    "close": {"connection": "close"},
    "own request id": {"x_request_id": "mine"},
    "no key": {"key": None},
    "unknown key": {"key": "ang_wrong"},
    "no bearer": {"authorization": "Basic eDp5"},
    "reader": {"key": "ang_reader"},
    "other project's": {"key": "ang_other"},
    "no such project": {"key": "ang_admin", "project": "none"},
    "broken": {"body": b"{"},
    "empty": {"body": b""},
    "wrong type": {"content_type": "text/plain"},
    "missing field": {"body": b'{"object":"item"}'},
    "unknown field": {"body": b'{"object":"item","action":"update","object_id":"1","x":1}'},
    "empty idempotency key": {"idempotency_key": " "},
    "long idempotency key": {"idempotency_key": "k" * 256},
    "surrogate": {"body": b'{"object":"\\ud800","action":"update","object_id":"1"}'},
    "no utf-8": {"body": b'{"object":"\xff","action":"update","object_id":"1"}'},
}


def _alike(answer: bytes) -> bytes:
    """Leave out what is of one event alone."""
    return re.sub(rb"evt_[0-9a-f]{44}", b"evt_", answer)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@on_uvloop
async def test_both_ways_answer_the_same_bytes(case: dict[str, Any]) -> None:
    answers: dict[str, list[bytes]] = {}
    for way, path in [("hot", ""), ("asgi", "?")]:
        async with serve() as served:
            answers[way] = []
            for _ in range(2):  # When everything is to be loaded, and when it is in memory.
                caller = await Caller.to(served.port)
                given = {"x_request_id": "r", **case}
                plain = f"/v1/projects/{given.get('project', 'p')}/events"
                await caller.say(request(**given, path=plain + path))
                answers[way].append(_alike((await caller.raw())[2]))
                await caller.close()
            assert len(served.asgi) == (0 if way == "hot" else 2)
    assert answers["hot"] == answers["asgi"]


@pytest.mark.parametrize("path", ["", "?"], ids=["hot", "asgi"])
@on_uvloop
async def test_a_key_that_was_used_answers_as_before_or_refuses_another_body(path: str) -> None:
    async with serve() as served:
        caller = await Caller.to(served.port)
        whole = f"/v1/projects/p/events{path}"
        answers = []
        for body in (EVENT, EVENT, ARRAY):
            await caller.say(request(body, path=whole, idempotency_key="k1"))
            answers.append(await caller.answer())
        first, again, other = answers
        assert "idempotency-replayed" not in first[1]
        assert again[1]["idempotency-replayed"] == "true"
        assert again[2] == first[2]
        assert other[0] == 422
        assert len(served.engine.offered) == 1
        await caller.close()


@pytest.mark.parametrize("path", ["", "?"], ids=["hot", "asgi"])
@on_uvloop
async def test_a_tenant_over_its_project_s_rate_is_told_when_to_come_back(path: str) -> None:
    async with serve() as served:
        caller = await Caller.to(served.port)
        statuses = []
        for _ in range(3):
            await caller.say(request(project="slow", key="ang_admin", path=f"/v1/projects/slow/events{path}"))
            statuses.append(await caller.answer())
        assert [status for status, _, _ in statuses] == [202, 202, 429]
        assert 1 <= int(statuses[2][1]["retry-after"]) <= 60
        assert len(served.engine.offered) == 2
        await caller.close()


@pytest.mark.parametrize("path", ["", "?"], ids=["hot", "asgi"])
@on_uvloop
async def test_a_store_that_is_away_is_a_503_on_both_ways(path: str) -> None:
    async with serve() as served:
        served.store.error = StoreAway("the disk is full")
        caller = await Caller.to(served.port)
        await caller.say(request(path=f"/v1/projects/p/events{path}"))
        status, fields, _ = await caller.answer()
        assert (status, fields["retry-after"]) == (503, "2")
        await caller.close()
