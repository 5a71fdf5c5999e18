"""RadioManager's Push API as its document tells it: settings per station, eight members, a key, an HMAC, four actions.

*Manual Resync* has its own stories, in `test_resync`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from tests.stories.calling import Project, event
from tests.stories.receiving import Answer, Hook, Received
from tests.stories.serving import Server
from tests.stories.waiting import eventually

MODELS = ("program", "broadcast", "item", "presenter", "contact", "campaign")
KEY, SECRET = "k3y-of-station-1", "s3cret"
MEMBERS = ["action", "model", "model_id", "job_id", "resync", "station_id", "user_id", "api_id"]

_numbers = count(1)


@pytest.fixture
def radio(shared: Server) -> Iterator[Project]:
    """Return a project of RadioManager's dialect."""
    project = Project(shared.client, f"radio-{next(_numbers)}").create(dialect="radiomanager")
    yield project
    project.client.call("DELETE", project.path).expect(204)


def station(project: Project, hook: Hook, *models: str, tenant: str | int = 1, **options: str) -> dict[str, Any]:
    """Fill in a station's settings: push url, key, perhaps a secret, and which models."""
    types = [f"{model}.*" for model in models or MODELS]
    return project.subscribe(hook.url, tenant=tenant, types=types, options={"api_key": KEY, **options})


def signature(request: Received, secret: str = SECRET) -> str:
    return hmac.digest(secret.encode(), request.body, "sha256").hex()


def test_the_document_s_own_example_arrives_member_for_member(radio: Project, hook: Hook) -> None:
    station(radio, hook)
    radio.publish(event(49, "item.update", tenant="1", actor={"user_id": 1, "api_id": None}))

    [request] = hook.wait_for(1)

    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    assert list(request.json) == MEMBERS
    job_id = request.json["job_id"]
    assert request.body == (
        b'{"action":"update","model":"item","model_id":49,"job_id":%d,"resync":false,'
        b'"station_id":1,"user_id":1,"api_id":null}' % job_id
    )


def test_every_mutation_of_all_six_models_triggers_a_message_of_its_own(radio: Project, hook: Hook) -> None:
    station(radio, hook)
    mutations = [f"{model}.{action}" for model in MODELS for action in ("create", "update", "delete", "recover")]
    radio.publish(*(event(number, type_, tenant=1) for number, type_ in enumerate(mutations)))

    hook.wait_for(len(mutations))

    assert sorted(f"{body['model']}.{body['action']}" for body in hook.bodies) == sorted(mutations)
    assert all(isinstance(body, dict) for body in hook.bodies)


def test_what_is_no_model_or_no_mutation_is_not_published(radio: Project) -> None:
    for type_ in ("jingle.update", "item.import", "item.updated"):
        radio.post("events", event(1, type_, tenant=1), status=422)


def test_only_the_models_that_are_selected_trigger_messages(radio: Project, hook: Hook) -> None:
    station(radio, hook, "item", "broadcast")
    radio.publish(*(event(1, f"{model}.update", tenant=1) for model in MODELS), event(2, "item.delete", tenant=1))

    hook.wait_for(3)

    assert sorted((body["model"], body["action"]) for body in hook.bodies) == [
        ("broadcast", "update"),
        ("item", "delete"),
        ("item", "update"),
    ]


def test_radiomanager_identifies_itself_with_the_key_and_signs_when_there_is_a_secret(
    radio: Project, hooks: Callable[[], Hook]
) -> None:
    plain, signed = hooks(), hooks()
    station(radio, plain)
    station(radio, signed, secret=SECRET)
    radio.publish(event(49, tenant=1))

    [bare] = plain.wait_for(1)
    [request] = signed.wait_for(1)

    assert bare.headers["api-key"] == request.headers["api-key"] == KEY
    assert "x-radiomanager-signature" not in bare.headers
    assert request.headers["x-radiomanager-signature"] == signature(request)
    assert request.body == bare.body


def test_the_headers_may_be_called_otherwise(radio: Project, hook: Hook) -> None:
    station(radio, hook, api_key_header="X-Api-Key", secret=SECRET, signature_header="X-Hmac")
    radio.publish(event(49, tenant=1))
    [request] = hook.wait_for(1)
    assert (request.headers["x-api-key"], request.headers["x-hmac"]) == (KEY, signature(request))
    assert "api-key" not in request.headers


def test_key_and_secret_are_settings_that_are_never_shown_again_and_can_be_changed(radio: Project, hook: Hook) -> None:
    made = station(radio, hook, secret=SECRET)
    found = radio.subscription(made["id"])
    assert KEY not in str(found)
    assert SECRET not in str(found)
    radio.publish(event(1, tenant=1))
    hook.wait_for(1)

    radio.change(made["id"], options={"api_key": "another-key"})
    radio.publish(event(2, tenant=1))

    second = hook.wait_for(2)[1]
    assert second.headers["api-key"] == "another-key"
    assert second.headers["x-radiomanager-signature"] == signature(second)


def test_a_key_that_the_receiver_echoes_is_not_kept(radio: Project, hook: Hook) -> None:
    made = radio.subscribe(hook.url, tenant=1, options={"api_key": KEY}, headers={"x-team": "the-blue-ones"})
    hook.script(Answer(500, body=f"no: api-key {KEY}, x-team the-blue-ones".encode()), Answer(200, body=KEY.encode()))
    radio.publish(event(49, tenant=1))
    [delivery] = radio.wait_for("delivered", subscription=made["id"])
    answers = [attempt["response"]["body"] for attempt in delivery["attempts"]]
    assert answers == ["no: api-key ********, x-team ********", "********"]


def test_without_a_key_there_is_no_connection_to_the_push_api(radio: Project, hook: Hook) -> None:
    problem = radio.post("subscriptions", {"url": hook.url, "tenant": 1}, status=422)
    assert [fault["field"] for fault in problem["errors"]] == ["options.api_key"]


def test_a_station_hears_of_its_own_objects_only(radio: Project, hooks: Callable[[], Hook]) -> None:
    one, other = hooks(), hooks()
    station(radio, one, tenant=1)
    station(radio, other, tenant="2")
    radio.publish(event(1, tenant=1), event(2, tenant="2"), event(3, tenant=2), event(4, tenant="1"))
    for hook, expected in ((one, {(1, 1), (1, 4)}), (other, {(2, 2), (2, 3)})):
        hook.wait_for(2)
        assert {(body["station_id"], body["model_id"]) for body in hook.bodies} == expected


def test_a_message_says_who_did_it_a_user_or_an_api_key_or_nobody(radio: Project, hook: Hook) -> None:
    station(radio, hook)
    radio.publish(
        event(1, tenant=1, actor={"user_id": 7}),
        event(2, tenant=1, actor={"user_id": None, "api_id": 12}),
        event(3, tenant=1),
    )
    hook.wait_for(3)
    found = {body["model_id"]: (body["user_id"], body["api_id"]) for body in hook.bodies}
    assert found == {1: (7, None), 2: (None, 12), 3: (None, None)}


def test_a_retry_is_the_same_message_and_the_next_has_a_higher_job_id(radio: Project, hook: Hook) -> None:
    station(radio, hook, secret=SECRET)
    hook.script(Answer(500), Answer(424), Answer(200))
    radio.publish(event(49, tenant=1))
    hook.wait_for(3)
    radio.publish(event(49, tenant=1), event(50, tenant=1))
    hook.wait_for(5)

    first, second, third, *later = hook.requests
    assert first.body == second.body == third.body
    assert first.headers["x-radiomanager-signature"] == third.headers["x-radiomanager-signature"]
    job_ids = [first.json["job_id"], *sorted(request.json["job_id"] for request in later)]
    assert job_ids == sorted(set(job_ids))


def test_several_updates_of_one_object_come_one_by_one_in_their_order(radio: Project, hook: Hook) -> None:
    station(radio, hook)
    for number in range(5):
        radio.publish(event(49, tenant=1, actor={"user_id": number}))
    hook.wait_for(5)
    assert [body["user_id"] for body in hook.bodies] == [0, 1, 2, 3, 4]


def test_a_receiver_without_rights_is_not_hammered(radio: Project, hook: Hook) -> None:
    made = station(radio, hook)
    hook.script(Answer(403), Answer(200))
    radio.publish(event(49, tenant=1))
    radio.wait_for("delivered", subscription=made["id"])
    assert len(hook.requests) == 2


def test_one_that_throttles_is_waited_for(radio: Project, hook: Hook) -> None:
    station(radio, hook)
    hook.script(Answer(429, {"retry-after": "1"}), Answer(200))
    radio.publish(event(49, tenant=1))
    first, second = hook.wait_for(2)
    assert second.at_s - first.at_s >= 1
    eventually(lambda: not hook.unanswered)


def test_a_station_may_take_standard_webhooks_of_the_same_events(radio: Project, hooks: Callable[[], Hook]) -> None:
    old, new = hooks(), hooks()
    station(radio, old)
    radio.subscribe(new.url, tenant=1, dialect="standard")
    [id_] = radio.publish(event(49, tenant=1, data={"title": "News"}))
    [message] = old.wait_for(1)
    [request] = new.wait_for(1)
    assert message.json["model_id"] == 49
    assert (request.id, request.json["type"], request.json["data"]) == (id_, "item.update", {"title": "News"})
