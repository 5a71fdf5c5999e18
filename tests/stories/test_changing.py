"""What a person changes takes effect at once: pause, resume, disable, delete, address, headers, secrets."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.stories.calling import Project, event
from tests.stories.receiving import OK, Answer, Hook
from tests.stories.verifying import is_signed
from tests.stories.waiting import eventually


def test_a_pause_keeps_what_is_owed_and_a_resume_sends_it(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)
    before = project.publish(event(1))
    hook.wait_for_ids(before)

    assert project.post(f"subscriptions/{made['id']}/pause", status=200)["state"] == "paused"
    waiting = project.publish(*(event(number) for number in range(20)))
    assert [item["id"] for item in project.feed(made["id"])] == before + waiting
    eventually(lambda: project.subscription(made["id"])["backlog"] == 20)
    assert hook.ids == before
    assert project.post(f"subscriptions/{made['id']}/resume", status=200)["state"] == "active"

    hook.wait_for_ids(waiting)
    assert sorted(hook.ids) == sorted(before + waiting)


def test_a_retrying_delivery_waits_out_a_pause(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, retry={"delays_s": [500] * 20})
    hook.always(Answer(500))
    [id_] = project.publish(event())
    hook.wait_for(1)

    project.post(f"subscriptions/{made['id']}/pause", status=200)
    eventually(lambda: hook.unanswered == 0)
    hook.always(OK)
    seen = len(hook.requests)
    [other] = project.publish(event())
    project.post(f"subscriptions/{made['id']}/resume", status=200)

    hook.wait_for_ids([id_, other])
    assert hook.ids[seen:] == [id_, other]


def test_what_a_person_disabled_owes_nothing_and_resumes_from_now(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)
    hook.always(Answer(500))
    [waiting] = project.publish(event(1))
    hook.wait_for(1)

    assert project.post(f"subscriptions/{made['id']}/disable", status=200)["state"] == "disabled"
    assert project.post("events", event(2))["matched"] == 0
    project.wait_for("cancelled", subscription=made["id"])
    hook.always(OK)
    seen = len(hook.requests)
    assert project.post(f"subscriptions/{made['id']}/resume", status=200)["state"] == "active"
    [after] = project.publish(event(3))

    hook.wait_for_ids([after])
    assert hook.ids[seen:] == [after]
    assert [item["id"] for item in project.feed(made["id"])] == [waiting, after]


def test_deleting_cancels_what_waits(project: Project, hooks: Callable[[], Hook]) -> None:
    doomed, other = hooks(), hooks()
    made = project.subscribe(doomed.url, max_in_flight=1)
    project.subscribe(other.url)
    doomed.always(Answer(500))
    project.publish(*(event(number) for number in range(10)))
    doomed.wait_for(1)

    reply = project.client.call("DELETE", f"{project.path}/subscriptions/{made['id']}")
    assert reply.status == 204
    eventually(lambda: doomed.unanswered == 0)
    doomed.always(OK)
    seen = len(doomed.requests)
    ids = project.publish(*(event(number) for number in range(10)))

    other.wait_for_ids(ids)
    assert project.client.call("GET", f"{project.path}/subscriptions/{made['id']}").status == 404
    assert project.client.call("GET", f"{project.path}/subscriptions/{made['id']}/feed").status == 404
    assert len(doomed.requests) == seen


def test_a_new_address_and_new_headers_hold_for_what_is_being_retried(
    project: Project, hooks: Callable[[], Hook]
) -> None:
    old, new = hooks(), hooks()
    made = project.subscribe(old.url, headers={"x-team": "old"}, retry={"delays_s": [50] * 50})
    old.always(Answer(500))
    ids = project.publish(*(event(number) for number in range(5)))
    old.wait_for_ids(ids)

    changed = project.change(made["id"], url=new.url, headers={"x-team": "new"})
    eventually(lambda: old.unanswered == 0)
    seen = len(old.requests)

    new.wait_for_ids(ids)
    assert changed["url"] == new.url
    assert {request.headers["x-team"] for request in old.requests} == {"old"}
    assert {request.headers["x-team"] for request in new.requests} == {"new"}
    assert all(is_signed(request, made["secret"]) for request in new.requests)
    assert len(old.requests) == seen


def test_new_types_hold_from_the_next_event_on(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, types=["item.create"])
    project.publish(event(1, "item.delete"))
    project.change(made["id"], types=["item.delete"])
    project.publish(event(2, "item.create"))
    [id_] = project.publish(event(3, "item.delete"))

    hook.wait_for_ids([id_])
    assert hook.ids == [id_]


def test_a_merge_patch_removes_what_is_null_and_leaves_the_rest(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, name="ours", description="first", rate={"per_minute": 600}, timeout_s=7)

    changed = project.change(made["id"], description=None, rate=None)

    assert (changed["name"], changed["timeout_s"], changed["url"]) == ("ours", 7, hook.url)
    assert not changed.get("description")
    assert changed["rate"] is None
    assert "secret" not in changed


def test_while_secrets_overlap_both_sign(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)

    rotated = project.post(f"subscriptions/{made['id']}/secret/rotate", {"overlap_s": 86_400}, status=200)
    project.publish(event())

    [request] = hook.wait_for(1)
    assert rotated["secret"] != made["secret"]
    assert len(request.headers["webhook-signature"].split()) == 2
    assert is_signed(request, made["secret"])
    assert is_signed(request, rotated["secret"])


def test_without_an_overlap_only_the_new_secret_signs_a_retry_too(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url, retry={"delays_s": [300] * 20})
    hook.always(Answer(500))
    [id_] = project.publish(event())
    hook.wait_for(1)

    rotated = project.post(f"subscriptions/{made['id']}/secret/rotate", {"overlap_s": 0}, status=200)
    eventually(lambda: hook.unanswered == 0)
    seen = len(hook.requests)
    hook.always(OK)
    project.wait_for("delivered", event=id_)

    for request in hook.requests[seen:]:
        assert is_signed(request, rotated["secret"])
        assert not is_signed(request, made["secret"])
    assert len(hook.requests) > seen


def test_rotating_under_load_leaves_no_request_that_does_not_verify(project: Project, hook: Hook) -> None:
    """A receiver that knows a secret from the moment it was answered verifies every request with one of its secrets."""
    made = project.subscribe(hook.url)
    secrets = [made["secret"]]
    is_over = threading.Event()
    ids: list[str] = []

    def publish() -> None:
        while not is_over.is_set():
            ids.extend(project.publish(*(event(number) for number in range(10))))

    publisher = threading.Thread(target=publish)
    publisher.start()
    for _ in range(5):
        hook.wait_for(len(hook.requests) + 20)
        rotated = project.post(f"subscriptions/{made['id']}/secret/rotate", {"overlap_s": 3600}, status=200)
        secrets.append(rotated["secret"])
    is_over.set()
    publisher.join()

    hook.wait_for_ids(ids)
    assert all(any(is_signed(request, secret) for secret in secrets) for request in hook.requests)
    assert is_signed(hook.requests[-1], secrets[-1])
