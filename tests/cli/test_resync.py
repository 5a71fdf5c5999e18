from __future__ import annotations

import json

import pytest

from tests.cli.receiving import SECRET, Process, Start
from tests.cli.running import Run

OBJECTS = json.dumps({"item": {"window": "start"}, "note": {}})


@pytest.fixture
def receiver(receive: Start) -> Process:
    return receive("--secret", SECRET, "--json")


@pytest.fixture
def subscription(angarium: Run, target: dict[str, str], receiver: Process) -> str:
    """Return a subscription of a project with two items, one of them next week's, and a note."""
    created = angarium("projects", "create", target["ANGARIUM_PROJECT"], "--objects", OBJECTS)
    assert created.code == 0, created.talk
    for id_, start in (("1", "2026-11-22T09:00:00Z"), ("2", "2026-12-01T09:00:00Z")):
        angarium("publish", "item.create", id_, "--data", json.dumps({"start": start}))
    angarium("publish", "note.create", "3", "--data", '"x"')
    ran = angarium("subscriptions", "create", f"http://127.0.0.1:{receiver.port}/", "--secret", SECRET, "--json")
    return str(ran.document["id"])


def test_a_resync_is_watched_to_its_end(angarium: Run, subscription: str) -> None:
    ran = angarium("resync", subscription, "--from", "2026-11-22", "--until", "2026-11-23")
    assert (ran.code, ran.out.split()[1:]) == (0, ["done:", "2", "of", "2"])
    ran = angarium("subscriptions", "resync", subscription, "--objects", "item", "--json")
    assert (ran.code, ran.document["kind"], ran.document["done"]) == (0, "resync", 2)
    assert ran.document["id"] in angarium("jobs", "list").out


def test_receivers_are_told_who_asked_and_who_watches_what_was_skipped(
    angarium: Run, subscription: str, receiver: Process
) -> None:
    angarium("publish", "item.create", "4")
    ran = angarium("resync", subscription, "--objects", "item", "--actor", '{"user_id": 7}')
    assert (ran.code, ran.out.split()[1:]) == (0, ["done:", "2", "of", "2,", "1", "skipped"])
    bodies = [json.loads(each["body"]) for each in receiver.wait_for(3)]
    assert [body.get("actor") for body in sorted(bodies, key=lambda body: str(body["object_id"]))] == [
        {"user_id": 7},
        {"user_id": 7},
        None,
    ]


def test_a_resync_that_cannot_be_says_why(angarium: Run, subscription: str) -> None:
    ran = angarium("resync", subscription, "--objects", "jingle")
    assert (ran.code, "objects[0]" in ran.talk, "item, note" in ran.talk) == (1, True, True)
    ran = angarium("resync", subscription, "--from", "soon")
    assert (ran.code, "--from" in ran.talk) == (1, True)


def test_objects_are_listed_and_shown_as_they_stand(angarium: Run, subscription: str) -> None:
    assert subscription
    listed = angarium("objects", "list", "item", "--limit", "1")
    assert "2026-11-22T09:00:00Z" in listed.out
    assert "there are more: --after" in listed.talk
    shown = angarium("objects", "show", "item", "2", "--json").document
    assert (shown["action"], shown["data"]) == ("create", {"start": "2026-12-01T09:00:00Z"})
    assert "no jingle here" in angarium("objects", "list", "jingle").talk
    assert angarium("objects", "show", "item", "9").code == 1
