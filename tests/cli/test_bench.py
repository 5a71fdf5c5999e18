from __future__ import annotations

from tests.cli.running import Run


def test_it_says_how_many_events_a_second_and_how_late(angarium: Run) -> None:
    ran = angarium("bench", "--events", "200", "--connections", "4", "--port", "0", "--json")
    measured = ran.document
    assert (ran.code, measured["events"], measured["missing"], measured["repeated"]) == (0, 200, 0, 0)
    assert measured["accepted_per_s"] > 0
    assert measured["delivered_per_s"] > 0
    assert 0 < measured["p50_ms"] <= measured["p99_ms"]


def test_arrays_at_a_rate_are_measured_too(angarium: Run) -> None:
    ran = angarium("bench", "--events", "100", "--batch", "10", "--rate", "200/s", "--port", "0")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()] == ["accepted", "delivered", "latency"]
    assert "in one process" in ran.talk


def test_a_server_that_may_not_send_here_is_told_how(run: Run, angarium: Run) -> None:
    ran = angarium("bench", "--events", "1", "--host", "127.0.0.1", "--port", "900", "--json")
    assert ran.document["error"]["code"] in {"blocked", "os"}
    assert ran.code == 1
