from __future__ import annotations

import base64
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from angarium.cli.doctor_checks import key_path, store_path
from angarium.settings import load
from angarium.vault import Vault
from tests.cli.running import Run
from tests.cli.scripted import Answer, script

NOBODY = "http://127.0.0.1:9"


def _checks(run: Run, *arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    ran = run("doctor", "--resolve", "localhost", "--json", *arguments, **{"ANGARIUM_URL": NOBODY, **variables})
    return ran.code, {check["subject"]: check for check in ran.document["checks"]}


def test_a_new_machine_is_well_but_has_no_server_yet(run: Run) -> None:
    code, checks = _checks(run)
    assert code == 1
    assert {name for name, check in checks.items() if check["level"] != "ok"} <= {"server", "open files", "disk"}
    assert checks["server"]["fix"].startswith("angarium serve")
    assert "will be made" in checks["store"]["found"]
    assert "localhost resolved" in checks["names"]["found"]


def test_people_read_a_line_a_check_and_its_remedy(run: Run) -> None:
    ran = run("doctor", "--resolve", "localhost", ANGARIUM_URL=NOBODY)
    lines = ran.out.splitlines()
    assert lines[0] == "ok    settings    all can be read"
    assert lines[-2].startswith("warn  server")
    assert lines[-1].split()[0] == "fix:"


def test_wrong_settings_are_all_told(run: Run) -> None:
    ran = run("doctor", "--json", ANGARIUM_LISTEN="x", ANGARIUM_RETENTION_DAYS="0")
    assert ran.code == 2
    assert [check["subject"] for check in ran.document["checks"]] == ["settings", "settings"]


def test_a_folder_that_is_missing_is_a_failure(run: Run, tmp_path: Path) -> None:
    code, checks = _checks(run, ANGARIUM_STORE=f"sqlite:///{tmp_path}/none/angarium.db")
    assert (code, checks["store"]["level"], checks["store"]["fix"]) == (2, "fail", f"mkdir -p {tmp_path}/none")


def test_a_file_that_is_no_store_is_a_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "angarium.db").write_text("something else, and longer than a header of SQLite's")
    code, checks = _checks(run)
    assert (code, checks["store"]["found"]) == (2, "angarium.db is no SQLite file")


@pytest.mark.parametrize(("mode", "level"), [("wal", "ok"), ("delete", "warn")])
def test_a_store_has_a_write_ahead_log(run: Run, tmp_path: Path, mode: str, level: str) -> None:
    with closing(sqlite3.connect(tmp_path / "angarium.db")) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute("PRAGMA user_version = 1")
    assert _checks(run)[1]["store"]["level"] == level


def test_a_store_without_its_key_is_a_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "angarium.db").touch()
    assert _checks(run)[1]["secret key"]["level"] == "fail"
    assert (
        _checks(run, ANGARIUM_SECRET_KEY="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")[1]["secret key"]["level"]
        == "ok"
    )


@pytest.mark.parametrize(("mode", "level"), [(0o600, "ok"), (0o640, "fail"), (0o604, "fail")])
def test_a_key_that_others_may_read_is_a_failure(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, level: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = key_path(load())
    path.touch()
    path.chmod(mode)
    found = _checks(run)[1]["secret key"]
    assert found["level"] == level
    assert found["fix"] == ("" if level == "ok" else f"chmod 600 {path}")


@pytest.mark.parametrize(
    ("allowed", "level"),
    [
        ("127.0.0.0/8:9000-9100", "ok"),
        ("10.1.2.3/32:443", "ok"),
        ("10.0.0.0/8:443", "warn"),
        ("169.254.0.0/16:80", "fail"),
        ("0.0.0.0/0:443", "fail"),
    ],
)
def test_what_is_opened_to_deliveries_is_looked_at(run: Run, allowed: str, level: str) -> None:
    assert _checks(run, ANGARIUM_EGRESS_ALLOW=allowed)[1]["egress"]["level"] == level


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({"ANGARIUM_LISTEN": "127.0.0.1:8080", "ANGARIUM_ADMIN_KEY": "let-me-in"}, "ok"),
        ({"ANGARIUM_LISTEN": "0.0.0.0:8080", "ANGARIUM_ADMIN_KEY": "let-me-in"}, "fail"),
        ({"ANGARIUM_LISTEN": "0.0.0.0:8080", "ANGARIUM_ADMIN_KEY": "x" * 32}, "warn"),
        ({"ANGARIUM_LISTEN": "0.0.0.0:8080", "ANGARIUM_TRUSTED_PROXIES": "10.0.0.1"}, "ok"),
    ],
)
def test_who_can_reach_the_server_is_looked_at(run: Run, variables: dict[str, str], level: str) -> None:
    assert _checks(run, **variables)[1]["listen"]["level"] == level


def test_another_program_on_the_port_is_told_from_ours(run: Run) -> None:
    with script(Answer(404, b"not here")) as other:
        code, checks = _checks(run, "--url", other.url)
    assert (code, checks["server"]["level"]) == (2, "fail")
    assert "another program" in checks["server"]["found"]


def test_a_server_that_is_not_ready_says_why(run: Run) -> None:
    detail = json.dumps({"title": "Unavailable", "detail": "the store cannot be written"}).encode()
    with script(Answer(200), Answer(503, detail), Answer(200)) as server:
        code, checks = _checks(run, "--url", server.url, "--key", "k")
    assert (code, checks["server"]["found"]) == (2, "is not ready: the store cannot be written")
    assert checks["api key"]["level"] == "ok"


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (403, "ok"), (401, "fail")])
def test_the_key_is_tried(run: Run, status: int, level: str) -> None:
    with script(Answer(200), Answer(200), Answer(status)) as server:
        _, checks = _checks(run, "--url", server.url, "--key", "k")
    assert checks["api key"]["level"] == level
    assert server.asked[-1].headers["authorization"] == "Bearer k"


def test_a_clock_far_from_the_server_s_is_a_failure(run: Run) -> None:
    with script(Answer(200, headers=(("date", "Sun, 22 Nov 2020 09:00:00 GMT"),))) as server:
        _, checks = _checks(run, "--url", server.url)
    assert checks["skew"]["level"] == "fail"


def test_the_paths_are_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "ANGARIUM_STORE", "sqlite:////var/lib/angarium/angarium.db")
    assert store_path(load()) == Path("/var/lib/angarium/angarium.db")


def test_a_folder_in_the_store_s_place_is_a_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "angarium.db").mkdir()
    code, checks = _checks(run)
    assert (code, checks["store"]["found"]) == (2, "angarium.db is a folder, expected a file")


def _made(run: Run, tmp_path: Path, statement: str, *values: object) -> None:
    """Make a store, and change it by hand."""
    assert run("store", "migrate").code == 0
    with closing(sqlite3.connect(tmp_path / "angarium.db")) as database, database:
        database.execute(statement, values)


def test_the_secret_key_is_tried_on_what_the_store_holds(run: Run, tmp_path: Path) -> None:
    ours, other = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
    _made(run, tmp_path, "INSERT INTO meta VALUES ('vault', ?)", Vault(b"\1" * 32).check_value())
    assert _checks(run, ANGARIUM_SECRET_KEY=ours)[1]["contents"]["found"].endswith("which the secret key opens")
    code, checks = _checks(run, ANGARIUM_SECRET_KEY=other)
    assert (code, checks["contents"]["level"]) == (2, "fail")
    assert checks["contents"]["found"] == "the secret key is not the one this store was made with"
    assert "start with that ANGARIUM_SECRET_KEY" in checks["contents"]["fix"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("INSERT INTO migration VALUES (99, '0099_later.sql', x'00')", "newer than this program's last"),
        ("DROP TABLE migration", "another program's tables"),
    ],
)
def test_a_store_that_no_server_would_start_on_is_a_failure(
    run: Run, tmp_path: Path, statement: str, said: str
) -> None:
    _made(run, tmp_path, statement)
    code, checks = _checks(run)
    assert (code, said in checks["contents"]["found"], bool(checks["contents"]["fix"])) == (2, True, True)
