from __future__ import annotations

from tests.cli.running import Run


def test_a_project_is_made_shown_listed_and_deleted(angarium: Run) -> None:
    objects = '{"item": {"window": "start"}}'
    made = angarium(
        "projects", "create", "radio", "--objects", objects, "--settings", '{"retention_days": 7}', "--json"
    )
    assert made.code == 0
    assert made.document["objects"]["item"]["window"] == "start"
    assert made.document["settings"]["retention_days"] == 7
    assert "radio" in angarium("projects", "show", "radio").out
    assert "radio" in angarium("projects", "list").out
    assert angarium("projects", "delete", "radio").out == "deleted radio\n"
    assert angarium("projects", "show", "radio").code == 1


def test_a_new_project_says_what_to_do_next(angarium: Run) -> None:
    assert "angarium subscriptions create" in angarium("projects", "create", "next").talk


def test_a_key_does_what_its_scope_says_until_it_is_deleted(angarium: Run) -> None:
    made = angarium("keys", "create", "--scope", "publish", "--json").document
    event = ("publish", "item.update", "49", "--key", made["key"])
    assert angarium(*event).code == 0
    refused = angarium("subscriptions", "list", "--key", made["key"], "--json")
    assert (refused.code, refused.document["error"]["code"]) == (1, "forbidden")
    assert made["id"] in angarium("keys", "list").out
    assert made["key"] not in angarium("keys", "list", "--json").out
    assert angarium("keys", "delete", made["id"]).out == f"deleted {made['id']}\n"
    unknown = angarium(*event)
    assert unknown.code == 1
    assert "401" in unknown.talk
    assert "ANGARIUM_API_KEY" in unknown.talk


def test_a_tenant_s_key_ends_by_itself(angarium: Run) -> None:
    ran = angarium("keys", "create", "--scope", "tenant", "--tenant", "1201", "--expires-in", "1h", "--json")
    assert ran.document["tenant"] == "1201"
    assert ran.document["expires_at"]


def test_the_doctor_finds_the_server_and_its_key_well(angarium: Run) -> None:
    ran = angarium("doctor", "--resolve", "localhost", "--json")
    found = {check["subject"]: check["level"] for check in ran.document["checks"]}
    assert (found["server"], found["skew"], found["api key"]) == ("ok", "ok", "ok")
