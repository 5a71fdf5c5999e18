from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from angarium.cli.demo_cast import CAST
from angarium.cli.demo_events import EDITS, packaged
from tests.cli.running import Run, command, environment


def test_the_demo_ends_by_itself_with_all_delivered(run: Run) -> None:
    ran = run("demo", "--once", "--json", TMPDIR=".")
    assert ran.code == 0, ran.out
    summary = ran.documents[-1]
    assert (summary["kind"], summary["ok"]) == ("summary", True)
    assert summary["published"] == len(packaged()) + EDITS
    assert (summary["missing"], summary["unverified"], summary["out_of_order"]) == (0, 0, 0)
    assert summary["retried"] >= 3
    assert summary["folded"] >= EDITS - 1
    assert summary["waiting"] == summary["subscriptions"]["legacy"]["owed"]

    received = [document for document in ran.documents if document["kind"] == "received"]
    assert all(document["verified"] for document in received)
    assert {document["status"] for document in received} >= {200, 500}
    assert any(document["folded"] == EDITS - 1 for document in received)
    assert any(document["kind"] == "unanswered" for document in ran.documents)


def test_people_see_who_takes_part_and_what_it_came_to(run: Run, tmp_path: Path) -> None:
    ran = run("demo", "--once", TMPDIR=str(tmp_path))
    assert ran.code == 0, ran.out
    assert all(f"\n{part.name} " in ran.out and f"\n  {part.name} " in ran.out for part in CAST)
    assert "✓ all that could arrive has arrived" in ran.out
    assert "angarium serve" in ran.talk
    assert list(tmp_path.iterdir()) == []


def test_without_once_it_goes_on_until_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("demo"),
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    talk = ""
    while "angarium listen" not in talk:
        line = process.stderr.readline()
        assert line, "it ended too soon"
        talk += line
    assert "export ANGARIUM_URL=http://127.0.0.1:" in talk
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "✓ all that could arrive has arrived" in out
    assert list(tmp_path.iterdir()) == []
