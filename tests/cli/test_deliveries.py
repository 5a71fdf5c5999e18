from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.cli.receiving import SECRET, Start
from tests.cli.running import Run, command, environment

WAIT_S = 30


def _until(angarium: Run, *arguments: str, state: str) -> dict[str, Any]:
    """Return the one delivery that a list shows, once it is in this state."""
    ends_at = time.monotonic() + WAIT_S
    data: list[dict[str, Any]] = []
    while time.monotonic() < ends_at:
        data = angarium("deliveries", "list", *arguments, "--json").document["data"]
        if len(data) == 1 and data[0]["state"] == state:
            return data[0]
    raise AssertionError(f"no delivery became {state}: {data}")


def _subscribe(angarium: Run, url: str, *arguments: str) -> str:
    ran = angarium("subscriptions", "create", url, "--secret", SECRET, *arguments, "--json")
    assert ran.code == 0, ran.out
    return str(ran.document["id"])


def test_an_event_is_published_delivered_and_shown(angarium: Run, receive: Start) -> None:
    receiver = receive("--secret", SECRET, "--json")
    subscription = _subscribe(angarium, f"http://127.0.0.1:{receiver.port}/hook", "--types", "item.*")
    published = angarium("publish", "item.update", "49", "--data", '{"title": "News at nine"}', "--json").document
    assert published["matched"] == 1
    got = receiver.wait_for(1)[0]
    assert (got["verified"], got["headers"]["webhook-id"]) == (True, published["ids"][0])
    delivery = _until(angarium, "--subscription", subscription, state="delivered")

    event = angarium("events", "show", published["ids"][0])
    assert "News at nine" in event.out
    assert delivery["id"] in event.out
    assert published["ids"][0] in angarium("events", "list", "--object", "item", "--since", "1h").out

    shown = angarium("deliveries", "show", delivery["id"])
    assert "delivered" in shown.out
    assert "accepted" in shown.out
    assert delivery["id"] in angarium("deliveries", "list", "--event", published["ids"][0]).out


def test_one_that_was_given_up_is_delivered_again(angarium: Run, receive: Start) -> None:
    failing = receive("--status", "500", "--json")
    subscription = _subscribe(angarium, f"http://127.0.0.1:{failing.port}/", "--retry", "1s,1s")
    angarium("publish", "item.update", "49")
    delivery = _until(angarium, "--subscription", subscription, state="exhausted")
    assert len({each["headers"]["webhook-id"] for each in failing.wait_for(3)}) == 1

    well = receive("--secret", SECRET, "--json")
    angarium("subscriptions", "update", subscription, "--to", f"http://127.0.0.1:{well.port}/")
    assert angarium("deliveries", "redeliver", delivery["id"]).out == f"{delivery['id']} is sent again\n"
    again = well.wait_for(1)[0]
    assert again["verified"]
    assert again["headers"]["webhook-id"] == failing.documents[0]["headers"]["webhook-id"]
    assert again["body"] == failing.documents[0]["body"]


def test_nothing_is_delivered_again_without_a_choice(angarium: Run) -> None:
    ran = angarium("deliveries", "redeliver")
    assert (ran.code, ran.talk.splitlines()[0]) == (2, "error: nothing was chosen to be delivered again")


def test_a_replay_is_watched_to_its_end(angarium: Run, receive: Start) -> None:
    receiver = receive("--secret", SECRET, "--json")
    subscription = _subscribe(angarium, f"http://127.0.0.1:{receiver.port}/")
    ids = [angarium("publish", "item.update", str(number), "--json").document["ids"][0] for number in range(3)]
    receiver.wait_for(3)
    ran = angarium("replay", subscription, "--since", "1h")
    assert (ran.code, ran.out.split()[1:]) == (0, ["done:", "3", "of", "3"])
    again = receiver.wait_for(6)[3:]
    assert [each["headers"]["webhook-id"] for each in again] == ids
    assert {(each["verified"], each["again"]) for each in again} == {(True, True)}
    job = ran.out.split()[0]
    assert job in angarium("jobs", "list").out
    assert angarium("jobs", "show", job, "--json").document["state"] == "done"


def test_a_replay_goes_on_without_anybody_watching_until_it_is_cancelled(angarium: Run, receive: Start) -> None:
    receiver = receive("--json")
    subscription = _subscribe(angarium, f"http://127.0.0.1:{receiver.port}/")
    angarium("publish", "item.update", "49")
    receiver.wait_for(1)
    angarium("subscriptions", "pause", subscription)
    ran = angarium("subscriptions", "replay", subscription, "--since", "1h", "--no-wait")
    job = ran.out.split()[0]
    assert f"angarium jobs show {job}" in ran.out
    assert angarium("jobs", "cancel", job, "--json").document["state"] == "cancelled"


def test_ctrl_c_ends_the_watching_not_the_replay(
    angarium: Run, target: dict[str, str], receive: Start, tmp_path: Path
) -> None:
    receiver = receive("--json")
    subscription = _subscribe(angarium, f"http://127.0.0.1:{receiver.port}/")
    angarium("publish", "item.update", "49")
    receiver.wait_for(1)
    angarium("subscriptions", "pause", subscription)
    watching = subprocess.Popen(
        command("replay", subscription, "--since", "1h"),
        cwd=tmp_path,
        env=environment(**target),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    ends_at = time.monotonic() + WAIT_S
    while not angarium("jobs", "list", "--json").document["data"]:
        assert time.monotonic() < ends_at, "no job has begun"
    time.sleep(0.5)
    watching.send_signal(signal.SIGINT)
    talk = watching.communicate(timeout=30)[1]
    job = angarium("jobs", "list", "--json").document["data"][0]
    assert (watching.returncode, job["state"]) == (130, "running")
    assert f"angarium jobs show {job['id']}" in talk
    assert f"angarium jobs cancel {job['id']}" in talk
    angarium("subscriptions", "resume", subscription)
    assert receiver.wait_for(2)[1]["again"]
