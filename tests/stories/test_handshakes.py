"""Where a project asks for it, a receiver must want to be pushed to before it is."""

from __future__ import annotations

import json

from tests.stories.calling import Project, event
from tests.stories.receiving import OK, Answer, Hook, Received
from tests.stories.verifying import is_signed
from tests.stories.waiting import eventually


def _echo(request: Received) -> Answer:
    document = request.json
    if document.get("type") == "verification":
        return Answer(body=json.dumps({"challenge": document["challenge"]}).encode())
    return OK


def test_a_challenge_must_come_back_before_anything_is_owed(project: Project, hook: Hook) -> None:
    project.create(settings={"verification": "challenge"})
    made = project.subscribe(hook.url)
    assert made["state"] == "unverified"
    hook.wait_for(1)
    eventually(lambda: hook.unanswered == 0)
    assert project.post("events", event(1))["matched"] == 0
    assert project.subscription(made["id"])["state"] == "unverified"
    seen = len(hook.requests)

    hook.answer = _echo
    project.client.call("POST", f"{project.path}/subscriptions/{made['id']}/verify")
    eventually(lambda: project.subscription(made["id"])["state"] == "active")
    [id_] = project.publish(event(2))

    project.wait_for("delivered", event=id_)
    asked, *pushed = hook.requests[seen:]
    assert (asked.method, asked.json["type"]) == ("POST", "verification")
    assert is_signed(asked, made["secret"])
    assert [request.id for request in pushed] == [id_]
    assert [item["id"] for item in project.feed(made["id"])] == [id_]


def test_each_handshake_has_a_challenge_of_its_own(project: Project, hook: Hook) -> None:
    project.create(settings={"verification": "challenge"})
    made = project.subscribe(hook.url)
    hook.wait_for(1)
    first = hook.requests[0].json["challenge"]
    hook.always(Answer(body=first.encode()))

    project.client.call("POST", f"{project.path}/subscriptions/{made['id']}/verify")

    hook.wait_for(2)
    eventually(lambda: hook.unanswered == 0)
    assert hook.requests[1].json["challenge"] != first
    assert project.subscription(made["id"])["state"] == "unverified"


def test_a_new_address_must_pass_its_handshake_or_nothing_is_changed(project: Project, hook: Hook) -> None:
    project.create(settings={"verification": "challenge"})
    hook.answer = _echo
    made = project.subscribe(hook.url)
    eventually(lambda: project.subscription(made["id"])["state"] == "active")
    path = f"{project.path}/subscriptions/{made['id']}"

    hook.always(OK)
    reply = project.client.call("PATCH", path, {"url": f"{hook.url}?elsewhere"})
    assert (reply.status, reply.json["errors"][0]["field"]) == (422, "url")
    assert project.subscription(made["id"])["url"] == hook.url
    hook.answer = _echo
    project.change(made["id"], url=f"{hook.url}?elsewhere")
    [id_] = project.publish(event())

    project.wait_for("delivered", event=id_)
    assert hook.requests[-1].path.endswith("?elsewhere")


def test_why_a_challenge_failed_is_told_without_what_is_secret_of_the_request(project: Project, hook: Hook) -> None:
    project.create(dialect="radiomanager", settings={"verification": "challenge"})
    hook.answer = lambda request: Answer(body=f"your key is {request.headers['api-key']}".encode())
    made = project.subscribe(hook.url, options={"api_key": "k3y-of-station-1"})
    assert (made["state"], "your key is ********" in made["reason"]) == ("unverified", True)


def test_the_cloudevents_handshake_asks_by_options(project: Project, hook: Hook) -> None:
    project.create(settings={"verification": "cloudevents"})
    made = project.subscribe(hook.url)
    hook.wait_for(1)
    eventually(lambda: hook.unanswered == 0)
    assert project.subscription(made["id"])["state"] == "unverified"

    hook.answer = lambda request: (
        Answer(headers={"WebHook-Allowed-Origin": request.headers["webhook-request-origin"]})
        if request.method == "OPTIONS"
        else OK
    )
    project.client.call("POST", f"{project.path}/subscriptions/{made['id']}/verify")
    eventually(lambda: project.subscription(made["id"])["state"] == "active")
    [id_] = project.publish(event())
    project.wait_for("delivered", event=id_)

    assert [request.method for request in hook.requests] == ["OPTIONS", "OPTIONS", "POST"]
    assert hook.requests[-1].headers["webhook-request-origin"] == hook.requests[0].headers["webhook-request-origin"]
