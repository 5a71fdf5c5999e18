from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.receiving import SECRET, Start
from tests.cli.running import Run


def _create(angarium: Run, *arguments: str) -> str:
    ran = angarium("subscriptions", "create", *arguments, "--json")
    assert ran.code == 0, ran.out
    return str(ran.document["id"])


def test_a_subscription_is_made_with_all_that_the_flags_say(angarium: Run) -> None:
    ran = angarium(
        *("subscriptions", "create", "http://127.0.0.1:9000/hook", "--json"),
        *("--types", "item.*,broadcast.delete", "--name", "warehouse", "--tenant", "7", "--secret", SECRET),
        *("--filter", '{"attributes": {"country": "NO"}}', "--header", "x-team: a", "--ordering", "strict"),
        *("--max-events", "100", "--max-wait", "1s", "--coalesce", "latest", "--max-in-flight", "3"),
        *("--rate", "10/s", "--retry", "5s,5m", "--timeout", "10s", "--with", '{"description": "of Oslo"}'),
    )
    made = ran.document
    assert (made["url"], made["types"], made["tenant"]) == (
        "http://127.0.0.1:9000/hook",
        ["item.*", "broadcast.delete"],
        "7",
    )
    assert (made["name"], made["description"], made["secret"]) == ("warehouse", "of Oslo", SECRET)
    assert (made["filter"], made["ordering"]) == ({"attributes": {"country": "NO"}}, "strict")
    assert list(made["headers"]) == ["x-team"]
    assert (made["batch"]["max_events"], made["batch"]["max_wait_ms"], made["batch"]["coalesce"]) == (
        100,
        1000,
        "latest",
    )
    assert (made["max_in_flight"], made["rate"], made["timeout_s"]) == (3, {"per_minute": 600}, 10)
    assert made["retry"]["delays_s"] == [5, 300]


def test_a_dialect_s_options_are_flags_too(angarium: Run, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k3y\n")
    made = _create(
        angarium,
        *("http://127.0.0.1:9000/push", "--dialect", "radiomanager", "--option", f"api_key=@{tmp_path}/key"),
        *("--option", "secret=s3=", "--option", "api_key_header=X-Key"),
    )
    shown = angarium("subscriptions", "show", made, "--json").document["options"]
    assert shown == {
        "api_key": "********",
        "api_key_header": "x-key",
        "secret": "********",
        "signature_header": "x-radiomanager-signature",
    }
    changed = angarium("subscriptions", "update", made, "--option", "secret=", "--json").document["options"]
    assert "secret" not in changed
    assert changed["api_key_header"] == "x-key"


def test_the_secret_is_shown_once_with_what_to_do_with_it(angarium: Run) -> None:
    ran = angarium("subscriptions", "create", "http://127.0.0.1:9000/hook")
    assert "whsec_" in ran.out
    assert "angarium receive --secret whsec_" in ran.talk
    subscription = ran.out.split()[1]
    assert "whsec_" not in angarium("subscriptions", "show", subscription).out


def test_they_are_listed_by_state(angarium: Run) -> None:
    one, two = (_create(angarium, f"http://127.0.0.1:900{number}/") for number in (1, 2))
    assert angarium("subscriptions", "pause", one).code == 0
    ran = angarium("subscriptions", "list", "--state", "paused", "--json")
    assert [each["id"] for each in ran.document["data"]] == [one]
    shown = angarium("subscriptions", "list").out
    assert one in shown
    assert two in shown


def test_a_page_names_the_flag_for_the_next(angarium: Run) -> None:
    for number in (1, 2):
        _create(angarium, f"http://127.0.0.1:900{number}/")
    first = angarium("subscriptions", "list", "--limit", "1")
    cursor = first.talk.split("--after ")[1].strip()
    second = angarium("subscriptions", "list", "--limit", "1", "--after", cursor)
    assert first.out.splitlines()[1].split()[0] != second.out.splitlines()[1].split()[0]


def test_an_empty_list_says_what_to_do(angarium: Run) -> None:
    ran = angarium("subscriptions", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "angarium subscriptions create" in ran.talk


def test_what_is_named_changes_and_the_rest_stays(angarium: Run) -> None:
    subscription = _create(angarium, "http://127.0.0.1:9000/", "--name", "a", "--rate", "10/s")
    changed = angarium(
        "subscriptions", "update", subscription, "--name", "b", "--to", "http://127.0.0.1:9001/", "--json"
    )
    assert (changed.document["name"], changed.document["url"]) == ("b", "http://127.0.0.1:9001/")
    assert changed.document["rate"] == {"per_minute": 600}
    assert (
        angarium("subscriptions", "update", subscription, "--with", '{"rate": null}', "--json").document["rate"] is None
    )


@pytest.mark.parametrize(
    ("verbs", "state"), [(["pause"], "paused"), (["disable"], "disabled"), (["pause", "resume"], "active")]
)
def test_its_state_is_changed(angarium: Run, verbs: list[str], state: str) -> None:
    subscription = _create(angarium, "http://127.0.0.1:9000/")
    for verb in verbs:
        ran = angarium("subscriptions", verb, subscription)
        assert (ran.code, ran.out.split()[0]) == (0, subscription)
    assert angarium("subscriptions", "show", subscription, "--json").document["state"] == state


def test_one_that_is_deleted_is_gone(angarium: Run) -> None:
    subscription = _create(angarium, "http://127.0.0.1:9000/")
    assert angarium("subscriptions", "delete", subscription).out == f"deleted {subscription}\n"
    ran = angarium("subscriptions", "show", subscription)
    assert ran.code == 1
    assert "404" in ran.talk


def test_a_test_event_arrives_verified(angarium: Run, receive: Start) -> None:
    receiver = receive("--secret", SECRET, "--json")
    subscription = _create(angarium, f"http://127.0.0.1:{receiver.port}/", "--secret", SECRET)
    assert angarium("subscriptions", "test", subscription).code == 0
    assert receiver.wait_for(1)[0]["verified"]


def test_a_rotated_secret_verifies_and_the_old_one_too_for_a_while(angarium: Run, receive: Start) -> None:
    first = angarium("subscriptions", "create", "http://127.0.0.1:9000/", "--json").document
    rotated = angarium("subscriptions", "rotate", first["id"], "--overlap", "2d", "--json").document
    assert rotated["secret"] != first["secret"]
    for secret in (first["secret"], rotated["secret"]):
        receiver = receive("--secret", secret, "--json")
        angarium("subscriptions", "update", first["id"], "--to", f"http://127.0.0.1:{receiver.port}/")
        angarium("subscriptions", "test", first["id"])
        assert receiver.wait_for(1)[0]["verified"]


def test_a_field_that_is_wrong_is_named(angarium: Run) -> None:
    ran = angarium("subscriptions", "create", "http://127.0.0.1:9000/", "--types", "item.*.x", "--json")
    error = ran.document["error"]
    assert (ran.code, error["code"], error["status"]) == (1, "invalid", 422)
    assert error["errors"][0]["field"].startswith("types")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--with", "[]"), "is no JSON object"),
        (("--with", "{"), "is no JSON"),
        (("--rate", "x"), "is no rate"),
        (("--retry", "5s,x"), "is no span"),
        (("--header", "x"), "is no header"),
        (("--option", "x"), "is no option"),
    ],
)
def test_what_cannot_be_read_is_said_before_the_server_is_asked(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    ran = run(
        "subscriptions",
        "create",
        "http://x/",
        *arguments,
        "--project",
        "p",
        "--json",
        ANGARIUM_URL="http://127.0.0.1:9",
    )
    assert ran.code == 1
    assert said in json.dumps(ran.document)
