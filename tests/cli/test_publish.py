from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Ran, Run
from tests.cli.scripted import Answer, Script, script

ACCEPTED = Answer(202, b'{"accepted": 1, "ids": ["evt_1"], "matched": 2}')


def _publish(run: Run, server: Script, *arguments: str, given: str = "") -> Ran:
    return run("publish", *arguments, "--project", "demo", "--url", server.url, given=given)


def _sent(server: Script) -> list[bytes]:
    return [line for asked in server.asked for line in asked.body.split(b"\n")]


def test_an_event_is_published_from_flags_and_its_data_stays_as_it_was_written(run: Run) -> None:
    data = '{"b": 1.10, "a": 12345678901234567890, "b": "\\u00fc"}'
    with script(ACCEPTED) as server:
        ran = _publish(run, server, "item.update", "49", "--tenant", "1", "--data", data)
    assert (ran.code, ran.out) == (0, "accepted evt_1; 2 to be delivered\n")
    head = b'{"object": "item", "action": "update", "object_id": "49", "tenant": "1", "data": '
    assert _sent(server) == [head + data.encode() + b"}"]
    assert server.asked[0].path == "/v1/projects/demo/events"
    assert server.asked[0].headers["idempotency-key"]


def test_who_did_it_and_its_attributes_are_published_as_they_were_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "who.json").write_text('{"user_id": 7}\n')
    with script(ACCEPTED) as server:
        arguments = ("dashboard.create", "1", "--actor", "@who.json", "--attributes", '{"country":  "NO"}')
        assert _publish(run, server, *arguments).code == 0
    head = b'{"object": "dashboard", "action": "create", "object_id": "1", '
    assert _sent(server) == [head + b'"actor": {"user_id": 7}, "attributes": {"country":  "NO"}}']


def test_nobody_who_listens_is_said(run: Run) -> None:
    with script(Answer(202, b'{"accepted": 1, "ids": ["evt_1"], "matched": 0}')) as server:
        ran = _publish(run, server, "item.update", "49")
    assert ran.code == 0
    assert "nobody has subscribed" in ran.talk


def test_a_file_is_published_in_one_request_line_by_line(run: Run, tmp_path: Path) -> None:
    lines = ['{"object": "a.b", "action": "c", "object_id": 1}', '{"object": "d"}']
    (tmp_path / "events.ndjson").write_text("\n".join(lines) + "\n\n")
    with script(ACCEPTED) as server:
        ran = _publish(run, server, "--file", "events.ndjson", "--json")
    assert ran.document == {"accepted": 1, "matched": 2, "ids": ["evt_1"]}
    assert [asked.body.decode().split("\n") for asked in server.asked] == [lines]


def test_standard_input_is_published_for_a_tenant_and_repeated_to_a_count(run: Run) -> None:
    with script(ACCEPTED) as server:
        _publish(
            run, server, "--file", "-", "--tenant", "7", "--count", "1001", given='{"object": "a"}\n{"object": "b"}\n'
        )
    assert [len(asked.body.split(b"\n")) for asked in server.asked] == [1000, 1]
    assert json.loads(_sent(server)[2]) == {"object": "a", "tenant": "7"}
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert keys[1] == f"{keys[0]}-1"


def test_at_a_rate_each_goes_alone(run: Run) -> None:
    with script(ACCEPTED) as server:
        ran = _publish(run, server, "item.update", "49", "--count", "3", "--rate", "100/s", "--json")
    assert ran.document["accepted"] == 3
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("arguments", "given", "code", "said"),
    [
        ((), "", 2, "no object and no action and no object_id"),
        (("item", "49"), "", 1, "'item' has no action"),
        (("item.update",), "", 2, "no object_id"),
        (("item.update", "49", "--data", "{x}"), "", 1, "is no JSON"),
        (("--file", "-"), "\n\n", 1, "holds no event"),
        (("--file", "-", "--tenant", "1"), '{"object": "a"}\nx\n', 1, "line 2 is no JSON"),
        (("--file", "-", "--tenant", "1"), "[]\n", 1, "line 1 is no JSON object"),
        (("--file", "none.ndjson"), "", 1, "none.ndjson"),
    ],
)
def test_what_cannot_be_published_is_said_before_anything_is_sent(
    run: Run, arguments: tuple[str, ...], given: str, code: int, said: str
) -> None:
    with script(ACCEPTED) as server:
        ran = _publish(run, server, *arguments, given=given)
    assert ran.code == code
    assert said in ran.talk
    assert server.asked == []
