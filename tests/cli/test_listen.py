from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from tests.cli.receiving import SECRET, Start
from tests.cli.running import Ran, Run, command, environment


def _pull(angarium: Run, events: int) -> str:
    """Make a subscription with so many events in its feed."""
    subscription = angarium("subscriptions", "create", "--pull", "--types", "item.*", "--json").document["id"]
    for number in range(events):
        assert angarium("publish", "item.update", str(number), "--data", f'{{"n": {number}.0}}').code == 0
    return str(subscription)


def _bodies(ran: Ran) -> list[str]:
    return [document["body"]["object_id"] for document in ran.documents]


def test_a_feed_is_posted_to_a_local_program_signed_byte_for_byte(angarium: Run, receive: Start) -> None:
    receiver = receive("--secret", SECRET, "--json")
    subscription = _pull(angarium, 2)
    ran = angarium(
        *("listen", "--subscription", subscription, "--from-start", "--count", "2", "--json"),
        *("--forward", f"http://127.0.0.1:{receiver.port}/hook?a=1", "--secret", SECRET),
    )
    assert (ran.code, [document["status"] for document in ran.documents]) == (0, [200, 200])
    got = receiver.wait_for(2)
    assert [(each["verified"], each["path"]) for each in got] == [(True, "/hook?a=1")] * 2
    assert [each["headers"]["webhook-id"] for each in got] == [document["id"] for document in ran.documents]
    assert '"n": 1.0' in got[1]["body"] or '"n":1.0' in got[1]["body"]


def test_it_goes_on_from_a_cursor(angarium: Run) -> None:
    subscription = _pull(angarium, 3)
    first = angarium("listen", "--subscription", subscription, "--from-start", "--count", "1", "--json")
    cursor = first.documents[0]["cursor"]
    assert f"--after {cursor}" in first.talk
    rest = angarium("listen", "--subscription", subscription, "--after", cursor, "--count", "2", "--json")
    assert _bodies(first) + _bodies(rest) == ["0", "1", "2"]


def test_without_a_subscription_one_is_made_for_as_long_as_it_listens(
    angarium: Run, target: dict[str, str], tmp_path: Path
) -> None:
    listening = subprocess.Popen(
        command("listen", "--types", "item.*", "--json"),
        cwd=tmp_path,
        env=environment(**target),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listening.stdout is not None
    assert listening.stderr is not None
    assert "listening to sub_" in listening.stderr.readline()
    angarium("publish", "item.update", "49")
    assert json.loads(listening.stdout.readline())["type"] == "item.update"
    listening.send_signal(signal.SIGINT)
    talk = listening.communicate(timeout=30)[1]
    assert listening.returncode == 130
    assert "to go on" not in talk
    assert angarium("subscriptions", "list", "--json").document["data"] == []


def test_a_local_program_that_is_away_is_shown(angarium: Run) -> None:
    subscription = _pull(angarium, 1)
    ran = angarium(
        *("listen", "--subscription", subscription, "--from-start", "--count", "1", "--json"),
        *("--forward", "127.0.0.1:9"),
    )
    assert ran.documents[0]["status"] is None
    assert "refused" in ran.documents[0]["error"]


def test_a_cursor_that_is_none_is_an_error(angarium: Run) -> None:
    subscription = _pull(angarium, 1)
    ran = angarium("listen", "--subscription", subscription, "--after", "nonsense", "--count", "1")
    assert ran.code == 1
    assert "422" in ran.talk
