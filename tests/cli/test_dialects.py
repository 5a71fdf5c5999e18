"""What the server sends in each dialect is what `angarium receive` and `angarium verify` expect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.receiving import Start
from tests.cli.running import Run

RADIO = {"api_key": "k3y", "secret": "s3cret"}
CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("radiomanager", RADIO, ["--api-key", "k3y", "--secret", "s3cret", "--station", "1"]),
    ("springest", {"url_base": "http://api.springest.nl"}, []),
    ("dashboard", {}, []),
    ("crowdmanager", {}, []),
]
OBJECTS = {"radiomanager": "item", "springest": "training", "dashboard": "dashboard", "crowdmanager": "Consent"}


@pytest.mark.parametrize(("dialect", "options", "expected"), CASES, ids=lambda value: str(value)[:12])
def test_what_is_pushed_is_recognised_and_right(
    angarium: Run,
    target: dict[str, str],
    receive: Start,
    dialect: str,
    options: dict[str, Any],
    expected: list[str],
) -> None:
    assert angarium("projects", "create", target["ANGARIUM_PROJECT"], "--dialect", dialect).code == 0
    receiver = receive(*expected, "--json")
    url, more = f"http://127.0.0.1:{receiver.port}/hook", json.dumps({"options": options})
    made = angarium("subscriptions", "create", url, "--tenant", "1", "--with", more, "--json")
    assert made.code == 0, made.out
    handshakes = 1 if dialect == "crowdmanager" else 0
    ran = angarium("publish", f"{OBJECTS[dialect]}.update", "49", "--tenant", "1", "--data", '{"n": 1}', "--json")
    assert (ran.code, ran.document.get("matched")) == (0, 1), ran.out

    verified = True if expected else None  # The others prove nothing.
    got = receiver.wait_for(1 + handshakes)[-1]

    assert (got["dialect"], got["verified"], got["fault"]) == (dialect, verified, None)
    verify = angarium("verify", *expected, "--json", given=json.dumps(got))
    assert (verify.code, verify.document["dialect"], verify.document["verified"]) == (0, dialect, verified)
