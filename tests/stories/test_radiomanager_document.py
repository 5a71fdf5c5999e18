"""What RadioManager's Push API document says, by sentence (docs/reference/compatibility.md)."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.stories.calling import Project, event
from tests.stories.receiving import Answer, Hook
from tests.stories.waiting import eventually

MODELS = ("program", "presenter", "contact", "campaign", "broadcast", "item")
KEY = "the-key-of-the-station"
WINDOW = {"from": "2026-11-22T00:00:00Z", "until": "2026-11-22T23:59:59Z"}


@pytest.fixture
def radio(project: Project) -> Project:
    return project.create(dialect="radiomanager")


def _set_up(radio: Project, url: str, *, models: tuple[str, ...] = MODELS, tenant: str = "1", **options: Any) -> str:
    """Fill in a station's settings; return the subscription's id."""
    types = [f"{model}.*" for model in models]
    made = radio.subscribe(url, tenant=tenant, types=types, options={"api_key": KEY, **options})
    return str(made["id"])


def _change(object_id: int = 49, type_: str = "item.update", *, tenant: str = "1", **members: Any) -> dict[str, Any]:
    return event(object_id, type_, tenant=tenant, **members)


def _resync(radio: Project, subscription: str, **asked: Any) -> dict[str, Any]:
    id_ = radio.post(f"subscriptions/{subscription}/resync", asked)["id"]
    eventually(lambda: radio.get(f"jobs/{id_}")["state"] != "running", told=lambda: radio.get(f"jobs/{id_}"))
    job: dict[str, Any] = radio.get(f"jobs/{id_}")
    assert job["state"] == "done", job
    return job


def test_a_change_is_posted_to_the_push_url(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url)
    radio.publish(_change())
    [request] = hook.wait_for(1)
    assert request.method == "POST"
    assert request.path == hook.url.removeprefix(f"http://{request.headers['host']}")


def test_the_push_settings_are_a_station_s_own(radio: Project, hook: Hook, hooks: Callable[[], Hook]) -> None:
    other = hooks()
    _set_up(radio, hook.url, tenant="1")
    _set_up(radio, other.url, tenant="2")
    radio.publish(_change(1, tenant="1"), _change(2, tenant="2"))
    hook.wait_for(1)
    other.wait_for(1)
    assert [(body["station_id"], body["model_id"]) for body in hook.bodies] == [(1, 1)]
    assert [(body["station_id"], body["model_id"]) for body in other.bodies] == [(2, 2)]


@pytest.mark.parametrize("url", ["http://push.example.com/radio", "https://push.example.com/radio"])
def test_the_push_url_may_be_http_or_https(radio: Project, url: str) -> None:
    id_ = _set_up(radio, url)
    assert radio.subscription(id_)["url"] == url


def test_an_api_key_header_holds_the_key_of_the_settings(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url)
    radio.publish(_change())
    [request] = hook.wait_for(1)
    assert request.headers["api-key"] == KEY


def test_a_secret_adds_an_hmac_of_the_body(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url, secret="between us")
    radio.publish(_change())
    [request] = hook.wait_for(1)
    expected = hmac.new(b"between us", request.body, "sha256").hexdigest()
    assert request.headers["x-radiomanager-signature"] == expected
    assert request.headers["api-key"] == KEY


def test_without_a_secret_the_api_key_stands_alone(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url)
    radio.publish(_change())
    [request] = hook.wait_for(1)
    assert "x-radiomanager-signature" not in request.headers


@pytest.mark.parametrize("model", MODELS)
def test_six_models_can_be_monitored_for_changes(radio: Project, hook: Hook, model: str) -> None:
    _set_up(radio, hook.url, models=(model,))
    radio.publish(*(_change(7, f"{other}.update") for other in MODELS))
    radio.wait_for("delivered")
    assert [body["model"] for body in hook.bodies] == [model]


def test_there_are_six_models_and_no_more(radio: Project) -> None:
    radio.post("events", _change(1, "listener.create"), status=422)


def test_every_change_of_any_object_triggers_a_message(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url)
    radio.publish(*(_change(number, f"{model}.update") for model in MODELS for number in (1, 2, 1)))
    hook.wait_for(18)
    radio.wait_for("delivered", number=18)
    seen = sorted((body["model"], body["model_id"]) for body in hook.bodies)
    assert seen == sorted((model, number) for model in MODELS for number in (1, 2, 1))


def test_there_are_four_actions(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url)
    for action in ("create", "update", "delete", "recover"):
        radio.publish(_change(49, f"item.{action}"))
    hook.wait_for(4)
    assert [body["action"] for body in hook.bodies] == ["create", "update", "delete", "recover"]
    radio.post("events", _change(49, "item.retrieve"), status=422)


def test_messages_are_sent_asynchronously(radio: Project, hook: Hook) -> None:
    gate = threading.Event()
    hook.always(Answer(gate=gate))
    _set_up(radio, hook.url)
    radio.publish(_change())  # It is answered while the receiver still keeps silent.
    hook.wait_for(1)
    assert hook.unanswered == 1
    gate.set()
    radio.wait_for("delivered")


def test_a_resync_sends_creates_only_and_replays_no_action(radio: Project, hook: Hook) -> None:
    subscription = _set_up(radio, hook.url)
    for action in ("create", "update", "update", "delete", "recover"):
        radio.publish(_change(1, f"program.{action}", data={"name": action}))
    radio.publish(_change(2, "program.create", data={}), _change(2, "program.delete"))
    radio.wait_for("delivered", number=7)

    _resync(radio, subscription, **WINDOW)

    resent = hook.bodies[7:]
    assert [(body["model"], body["model_id"]) for body in resent] == [("program", 1)]  # 2 is deleted.
    assert [(body["action"], body["resync"]) for body in resent] == [("create", True)]
    assert not any(body["resync"] for body in hook.bodies[:7])


def test_a_resync_is_triggered_by_the_user_who_asked(radio: Project, hook: Hook) -> None:
    subscription = _set_up(radio, hook.url)
    radio.publish(_change(1, "program.create", data={}, actor={"user_id": 3, "api_id": None}))
    radio.wait_for("delivered")
    _resync(radio, subscription, actor={"user_id": 7}, **WINDOW)
    assert [body["user_id"] for body in hook.bodies] == [3, 7]


def test_a_resync_sends_all_programs_presenters_and_contacts(radio: Project, hook: Hook) -> None:
    subscription = _set_up(radio, hook.url)
    radio.publish(*(_change(n, f"{model}.create", data={}) for model in MODELS[:3] for n in (1, 2, 3)))
    radio.wait_for("delivered", number=9)
    _resync(radio, subscription, **WINDOW)
    resent = sorted((body["model"], body["model_id"]) for body in hook.bodies[9:])
    assert resent == sorted((model, n) for model in MODELS[:3] for n in (1, 2, 3))


def test_a_resync_sends_the_selected_models_only(radio: Project, hook: Hook) -> None:
    subscription = _set_up(radio, hook.url, models=("program", "item"))
    radio.publish(*(_change(1, f"{model}.create", data={"start": "2026-11-22T09:00:00Z"}) for model in MODELS))
    radio.wait_for("delivered", number=2)
    _resync(radio, subscription, **WINDOW)
    assert [body["model"] for body in hook.bodies[2:]] == ["program", "item"]


def test_a_resync_prompts_for_a_window(radio: Project) -> None:
    subscription = _set_up(radio, "http://push.example.com/")
    problem = radio.post(f"subscriptions/{subscription}/resync", {}, status=422)
    assert [error["field"] for error in problem["errors"]] == ["from"]


def test_a_resync_sends_items_broadcasts_and_campaigns_that_start_in_the_window(radio: Project, hook: Hook) -> None:
    starts = (
        "2026-11-21T23:59:59Z",
        "2026-11-22T00:00:00Z",  # Both ends are within.
        "2026-11-22T12:00:00+02:00",
        "2026-11-22T23:59:59Z",
        "2026-11-23T00:30:00+01:00",  # 23:30 of the day before: moments are compared, not their text.
        "2026-11-23T00:00:00Z",
    )
    subscription = _set_up(radio, hook.url)
    windowed = ("item", "broadcast", "campaign")
    radio.publish(
        *(_change(n, f"{model}.create", data={"start": start}) for model in windowed for n, start in enumerate(starts))
    )
    radio.wait_for("delivered", number=18)

    _resync(radio, subscription, **WINDOW)

    resent = sorted((body["model"], body["model_id"]) for body in hook.bodies[18:])
    assert resent == sorted((model, number) for model in windowed for number in (1, 2, 3, 4))


def test_each_message_is_one_json_object(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url)
    radio.publish(*(_change(number) for number in range(1, 6)))
    requests = hook.wait_for(5)
    assert {request.headers["content-type"] for request in requests} == {"application/json"}
    assert all(isinstance(request.json, dict) for request in requests)


def test_a_message_does_not_hold_the_object(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url)
    radio.publish(_change(49, data={"title": "News at nine"}))
    [request] = hook.wait_for(1)
    assert b"News" not in request.body


def test_the_example_body_member_for_member(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url)
    radio.publish(_change(49, "item.update", actor={"user_id": 1, "api_id": None}))
    [request] = hook.wait_for(1)
    members = json.loads(request.body, object_pairs_hook=list)
    job = dict(members)["job_id"]
    assert isinstance(job, int)
    assert members == [
        ("action", "update"),
        ("model", "item"),
        ("model_id", 49),
        ("job_id", job),
        ("resync", False),
        ("station_id", 1),
        ("user_id", 1),
        ("api_id", None),
    ]


# -- where the document is silent --------------------------------------------------------------------------------------


def test_a_job_id_grows_with_every_message_and_stays_on_retries(radio: Project, hook: Hook) -> None:
    hook.script(Answer(500), Answer(424), Answer(200))
    _set_up(radio, hook.url)
    for number in (1, 2, 3):
        radio.publish(_change(number))
        radio.wait_for("delivered", number=number)
    jobs = [body["job_id"] for body in hook.bodies]
    assert jobs[0] == jobs[1] == jobs[2] < jobs[3] < jobs[4]
    assert len({request.body for request in hook.requests[:3]}) == 1


def test_a_user_and_an_api_key_that_are_not_known_are_null(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url)
    radio.publish(_change())
    radio.publish(_change(actor={"api_id": 12}))
    hook.wait_for(2)
    assert [(body["user_id"], body["api_id"]) for body in hook.bodies] == [(None, None), (None, 12)]


def test_the_names_of_both_headers_can_be_chosen(radio: Project, hook: Hook) -> None:
    _set_up(radio, hook.url, secret="between us", api_key_header="x-api-key", signature_header="x-hmac")
    radio.publish(_change())
    [request] = hook.wait_for(1)
    assert request.headers["x-api-key"] == KEY
    assert request.headers["x-hmac"] == hmac.new(b"between us", request.body, "sha256").hexdigest()
    assert not {"api-key", "x-radiomanager-signature"} & set(request.headers)


def test_changes_of_one_object_arrive_in_order(radio: Project, hook: Hook) -> None:
    hook.script(Answer(500), Answer(200))
    _set_up(radio, hook.url)
    radio.publish(*(_change(49, f"item.{action}") for action in ("create", "update", "delete", "recover")))
    radio.wait_for("delivered", number=4)
    assert [body["action"] for body in hook.bodies[1:]] == ["create", "update", "delete", "recover"]


def test_a_resync_sends_what_is_referred_to_first(radio: Project, hook: Hook) -> None:
    subscription = _set_up(radio, hook.url)
    data = {"start": "2026-11-22T09:00:00Z"}
    radio.publish(*(_change(1, f"{model}.create", data=data) for model in reversed(MODELS)))
    radio.wait_for("delivered", number=6)
    radio.change(subscription, ordering="strict")
    _resync(radio, subscription, **WINDOW)
    assert tuple(body["model"] for body in hook.bodies[6:]) == MODELS
