"""The example receivers do what the document of their system advises, told by a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from examples.radiomanager.receiver import Allowance
from examples.salesking.receiver import opened
from tests.stories.calling import Client, Project, event
from tests.stories.running import Api, Example, api
from tests.stories.waiting import eventually

KEY = "the-key-of-the-station"
SECRET = "between us"

Run = Callable[..., Example]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Return what starts an example on a free port, or on the one that is given."""
    running: list[Example] = []

    def start(system: str, *options: str, port: str = "0") -> Example:
        running.append(Example(system, tmp_path, "--port", port, *options))
        return running[-1]

    yield start
    for example in running:
        example.close()


@pytest.fixture
def objects() -> Iterator[Api]:
    """Return the publisher's API."""
    with api() as lent:
        yield lent


# -- RadioManager ------------------------------------------------------------------------------------------------------


def _radio(project: Project, run: Run, objects: Api, *, quiet: str = "0.2", **options: str) -> Example:
    credentials = ("--key", KEY, "--secret", SECRET, "--station", "1")
    example = run("radiomanager", *credentials, "--api", objects.url, "--quiet", quiet)
    project.create(dialect="radiomanager")
    project.subscribe(example.url, tenant="1", options={"api_key": KEY, "secret": SECRET, **options})
    return example


def test_radiomanager_s_receiver_fetches_an_object_whose_burst_is_over_once(
    project: Project, run: Run, objects: Api
) -> None:
    objects.objects["/items/49"] = {"id": 49, "title": "News at nine"}
    example = _radio(project, run, objects, quiet="3")
    project.publish(*(event(49, "item.update", tenant="1") for _ in range(8)))
    example.says("item 49: fetched")
    assert example.said.count("item 49: update") == 8
    assert [(one.path, one.headers["api-key"]) for one in objects.fetched] == [("/items/49", KEY)]


def test_radiomanager_s_receiver_removes_what_is_deleted_and_fetches_what_is_recovered(
    project: Project, run: Run, objects: Api
) -> None:
    objects.objects["/programs/3"] = {"id": 3}
    example = _radio(project, run, objects)
    project.publish(event(3, "program.delete", tenant="1"))
    example.says("program 3: removed")
    project.publish(event(3, "program.recover", tenant="1"))
    example.says("program 3: fetched")
    project.publish(event(4, "program.update", tenant="1"))
    example.says("program 4: is not there any more")


@pytest.mark.parametrize("options", [{"api_key": "another"}, {"secret": "another"}])
def test_radiomanager_s_receiver_believes_only_its_key_and_secret(
    project: Project, run: Run, objects: Api, options: dict[str, str]
) -> None:
    example = _radio(project, run, objects, **options)
    project.publish(event(49, "item.update", tenant="1"))
    example.says("refused: ")
    assert "item 49" not in example.said


def test_radiomanager_s_receiver_believes_only_its_station(project: Project, run: Run, objects: Api) -> None:
    example = _radio(project, run, objects)
    project.subscribe(example.url, tenant="2", options={"api_key": KEY, "secret": SECRET})
    project.publish(event(49, "item.update", tenant="2"))
    example.says("refused: the station is not ours")


def test_radiomanager_s_receiver_waits_when_the_api_has_had_enough(project: Project, run: Run, objects: Api) -> None:
    objects.objects["/items/49"] = {"id": 49}
    objects.refusals["/items/49"] = [(429, {"Retry-After": "1"}), (503, {})]
    example = _radio(project, run, objects)
    project.publish(event(49, "item.update", tenant="1"))
    example.says("item 49: the API answered 429; will try again")
    example.says("item 49: the API answered 503; will try again")


def _headers(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


def test_radiomanager_s_receiver_keeps_within_the_limit_of_15_minutes() -> None:
    allowance = Allowance(100)
    assert allowance.opens_at(1000.0) == 1000.0
    for second in range(3):
        allowance.answered(200, _headers(X_RateLimit_Limit="3", X_RateLimit_Remaining="9"), 1000.0 + second)
    assert allowance.opens_at(1010.0) == 1900.0  # The first of three has left the window then.
    assert allowance.opens_at(1900.0) == 1900.0

    allowance.answered(429, _headers(Retry_After="120"), 2000.0)
    assert allowance.opens_at(2000.0) == 2120.0
    allowance.answered(200, _headers(X_RateLimit_Remaining="0", X_RateLimit_Reset="5000"), 3000.0)
    assert allowance.opens_at(3000.0) == 5000.0


def test_radiomanager_s_receiver_loses_nothing_when_it_ends(project: Project, run: Run, objects: Api) -> None:
    objects.refusals["/items/49"] = [(429, {"Retry-After": "3600"})]
    example = _radio(project, run, objects)
    project.publish(event(49, "item.update", tenant="1"))
    example.says("the API answered 429")
    example.close()
    objects.objects["/items/49"] = {"id": 49}
    again = run("radiomanager", "--key", KEY, "--station", "1", "--api", objects.url)
    again.says("item 49: fetched")


# -- CROWDMANAGER ------------------------------------------------------------------------------------------------------


class _Organization:
    """The API of organisation 7."""

    def __init__(self, project: Project) -> None:
        self.project = project.create(dialect="crowdmanager")
        self.key = project.post("keys", {"scope": "tenant", "tenant": "7"}, status=201)["key"]
        self._path = f"/p/{project.name}/v2/7"
        self.options = ("--api", f"http://127.0.0.1:{project.client.port}{self._path}", "--key", self.key)

    def register(self, url: str) -> None:
        """Register a subscription; a story waits neither two seconds for a batch nor ten attempts long."""
        body = json.dumps({"subscriptions": {"event": "CustomerProfile", "url": url}}).encode()
        headers = {"authorization": f"Basic {self.key}", "content-type": "application/vnd.api+json"}
        client = Client(self.project.client.port, "")
        client.call("POST", f"{self._path}/pushservice/subscriptions", body=body, headers=headers).expect(201)
        [made] = self.project.all("subscriptions")
        self.project.change(made["id"], batch={"max_wait_ms": 100}, retry={"delays_s": [1, 2]})

    def happens(self, action: str, **members: Any) -> None:
        """Let something happen to a profile."""
        url = "https://api.crowdmanager.io/v2/7/customerprofiles/12"
        self.project.publish(event(12, f"CustomerProfile.{action}", tenant="7", url=url, **members))


def test_crowdmanager_s_receiver_validates_its_subscription_and_takes_batches(project: Project, run: Run) -> None:
    organization = _Organization(project)
    example = run("crowdmanager", *organization.options)
    organization.register(example.url)
    example.says("validated and enabled")
    organization.happens("add", data={"fullName": "Ann"})
    example.says('add https://api.crowdmanager.io/v2/7/customerprofiles/12: {"fullName": "Ann"}')
    organization.happens("remove")
    example.says("remove https://api.crowdmanager.io/v2/7/customerprofiles/12: gone")


def test_crowdmanager_s_receiver_orders_by_event_time(project: Project, run: Run) -> None:
    organization = _Organization(project)
    example = run("crowdmanager", *organization.options)
    organization.register(example.url)
    example.says("validated and enabled")
    organization.happens("replace", data={"fullName": "Anne"}, occurred_at="2026-11-22T09:00:00Z")
    example.says("Anne")
    organization.happens("replace", data={"fullName": "Ann"}, occurred_at="2026-11-22T08:00:00Z")
    example.says("replace https://api.crowdmanager.io/v2/7/customerprofiles/12: old")


def test_crowdmanager_s_receiver_pulls_what_it_missed(project: Project, run: Run) -> None:
    organization = _Organization(project)
    example = run("crowdmanager", *organization.options)
    port = example.url.rstrip("/").rpartition(":")[2]
    organization.register(example.url)
    example.says("validated and enabled")
    example.close()
    organization.happens("add", data={"fullName": "Ann"})
    project.wait_for("exhausted")
    again = run("crowdmanager", *organization.options, port=port)
    again.says('pulled: add https://api.crowdmanager.io/v2/7/customerprofiles/12: {"fullName": "Ann"}')


# -- SalesKing ---------------------------------------------------------------------------------------------------------


def test_salesking_s_receiver_believes_what_its_app_s_secret_signed(project: Project, run: Run) -> None:
    project.create(dialect="salesking")
    app = project.post(
        "apps", {"name": "An app", "url": "http://127.0.0.1/", "redirect_uri": "http://127.0.0.1/"}, status=201
    )
    example = run("salesking", "--secret", app["secret"])
    app = project.post("apps", {"name": "Ours", "url": example.url, "redirect_uri": example.url}, status=201)
    example.close()
    example = run("salesking", "--secret", app["secret"], port=example.url.rstrip("/").rpartition(":")[2])
    asked = {"app": app["id"], "tenant": "1", "user": "2", "sub_domain": "3", "scope": "clients api/subs"}
    token = project.post("grants", asked, status=201)["access_token"]
    for action in ("create", "delete"):
        sub = {"sub": {"channel": f"client.{action}", "callback_url": f"{example.url}client.{action}"}}
        headers = {"authorization": f"Bearer {token}"}
        project.client.call("POST", f"/p/{project.name}/api/subs", sub, headers=headers).expect(201)
    project.publish(event("a1", "client.create", tenant="1", data={"id": "a1", "name": "Ann"}))
    example.says('client.create: {"id": "a1", "name": "Ann"}, seen by user 2')
    project.publish(event("a1", "client.delete", tenant="1"))
    example.says('client.delete: {"id": "a1", "name": "Ann"}')

    project.client.call("POST", f"{project.path}/apps/{app['id']}/secret/rotate").expect(200)
    project.publish(event("a2", "client.create", tenant="1", data={"id": "a2"}))
    example.says("refused: the signed_request is not valid")


VALID = (
    "5a7d2bcdd3f61db47f09ba128e24efe5911ee17d2499ab1d64a49d14032d3181"
    ".eyJoZWxsbyI6ImNvZGVyIiwiYWxnb3JpdGhtIjoiSE1BQy1TSEEyNTYifQ"
)
DOCUMENT_S = "60673142fdda45f3185cbd51c070596950a9178e20f785703723ad8e0ff04833.eyJrZXkiOiJ2YWx1ZSJ9"


@pytest.mark.parametrize(
    ("signed_request", "secret", "data"),
    [
        (VALID, "app-secret", {"hello": "coder", "algorithm": "HMAC-SHA256"}),
        (VALID, "another", None),
        (VALID.upper(), "app-secret", None),
        (VALID[:-1], "app-secret", None),
        (f"{VALID}=", "app-secret", None),
        ("", "app-secret", None),
        (DOCUMENT_S, "secret", None),  # Its signature is right, but it does not name the algorithm.
    ],
)
def test_salesking_s_receiver_decodes_as_the_sdk_does(
    signed_request: str, secret: str, data: dict[str, Any] | None
) -> None:
    assert opened(signed_request, secret) == data


# -- Dashboard ---------------------------------------------------------------------------------------------------------


def test_the_dashboard_s_receiver_registers_once_and_takes_its_invocations(project: Project, run: Run) -> None:
    project.create(dialect="dashboard")
    service = f"http://127.0.0.1:{project.client.port}/p/{project.name}"
    options = ("--service", service, "--country", "NO", "--event", "REGISTER", "--event", "INVOKE")
    example = run("dashboard", *options)
    port = example.url.rstrip("/").rpartition(":")[2]
    example.close()
    again = run("dashboard", *options, port=port)
    again.says("receiving on", times=2)
    assert len(project.all("subscriptions")) == 2
    norway = {"attributes": {"country": "NO"}, "occurred_at": "2024-02-23T06:23:00Z"}
    project.publish(event("1", "dashboard.create", **norway), event("1", "dashboard.update", **norway))
    project.publish(event("1", "dashboard.retrieve", **norway))
    again.says("REGISTER in NO at 20240223 06:23")
    again.says("INVOKE in NO at 20240223 06:23")
    assert "CHANGE" not in again.said


def test_the_dashboard_s_receiver_refuses_ids_that_are_not_its_own(project: Project, run: Run) -> None:
    project.create(dialect="dashboard")
    service = f"http://127.0.0.1:{project.client.port}/p/{project.name}"
    example = run("dashboard", "--service", service, "--event", "REGISTER")
    project.subscribe(example.url, types=["dashboard.update"])
    project.publish(event("1", "dashboard.update", attributes={"country": "NO"}))
    example.says("refused: notification")


# -- Springest ---------------------------------------------------------------------------------------------------------


def test_springest_s_receiver_refetches_or_removes(project: Project, run: Run, objects: Api) -> None:
    example = run("springest", "--api-key", "ours")
    project.create(dialect="springest")
    project.subscribe(example.url, batch={"max_wait_ms": 100})
    trainings = [{"id": 1, "name": "Knitting"}, {"id": 2, "name": "Sailing"}]
    objects.objects["/institutes/234234/trainings.json"] = {"trainings": trainings, "meta": {"results": 2}}
    objects.objects["/trainings/345345.json"] = {"id": 345345, "name": "Rowing"}
    project.publish(
        event(234234, "institute.import", url=f"{objects.url}/institutes/234234"),
        event(345345, "training.update", url=f"{objects.url}/trainings/345345"),
        event(34534, "training.destroy"),
    )
    example.says("institute 234234: imported 2 trainings")
    example.says('training 345345: fetched {"id": 345345, "name": "Rowing"}')
    example.says("training 34534: removed")
    assert [one.target for one in objects.fetched] == [
        "/institutes/234234/trainings.json?api_key=ours&size=100&offset=0",
        "/trainings/345345.json?api_key=ours",
    ]


def test_springest_s_receiver_looks_again_when_the_api_was_away(project: Project, run: Run, objects: Api) -> None:
    example = run("springest", "--api-key", "ours")
    project.create(dialect="springest")
    project.subscribe(example.url, batch={"max_wait_ms": 100})
    objects.refusals["/trainings/1.json"] = [(503, {})]
    objects.objects["/trainings/1.json"] = {"id": 1}
    project.publish(event(1, "training.update", url=f"{objects.url}/trainings/1"))
    example.says("training 1: HTTP Error 503")
    example.says("training 1: fetched")
    eventually(lambda: len(objects.fetched) == 2)
