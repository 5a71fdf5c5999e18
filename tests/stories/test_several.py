"""Several processes on one database: whatever one is asked holds in all, and each event is delivered once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from angarium.core.partitioning import partition_of
from tests.store.databases import Databases
from tests.stories.calling import Client, Project, event, server_sent
from tests.stories.receiving import OK, Answer, Hook
from tests.stories.serving import Server
from tests.stories.several import Several
from tests.stories.waiting import eventually

SECOND_S = 1.0
"""So long after a change was answered a request on old terms may still start, anywhere."""

_numbers = count(1)


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    lent = Databases()
    yield lent
    asyncio.run(lent.close())


@pytest.fixture(scope="module")
def several(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Several]:
    """Return two processes that answer and two that deliver."""
    dsn = asyncio.run(databases.lend())
    several = Several(tmp_path_factory.mktemp("several"), dsn).start(apis=2, workers=2)
    yield several
    several.close()


@pytest.fixture
def projects(several: Several) -> tuple[Project, ...]:
    """Return one project as the first API has it, and as the second has it."""
    return several.project(f"story-{next(_numbers)}")


def _tenants(project: Project, number: int) -> list[str]:
    """Return tenants whose partitions are spread evenly, so that each worker has some."""
    found: dict[int, str] = {}
    for name in map(str, count()):
        found.setdefault(partition_of(project.name, name) * number // 256, name)
        if len(found) == number:
            return list(found.values())
    raise AssertionError


# -- what one is told, the others know ---------------------------------------------------------------------------------


def test_what_is_published_at_one_is_delivered_once_to_who_subscribed_at_another(
    projects: tuple[Project, ...], hook: Hook
) -> None:
    one, other = projects
    tenants = _tenants(one, 8)
    for tenant in tenants:
        assert one.post("events", event(tenant=tenant))["matched"] == 0
        other.subscribe(hook.url, tenant=tenant)
        assert one.post("events", event(tenant=tenant))["matched"] == 1
    ids = [id_ for number in range(40) for tenant in tenants for id_ in one.publish(event(number, tenant=tenant))]

    hook.wait_for_ids(ids)
    eventually(lambda: len(other.deliveries(state="delivered")) == len(ids) + len(tenants))
    assert set(hook.counted.values()) == {1}
    assert len(hook.requests) == len(ids) + len(tenants)


@pytest.mark.parametrize("share", range(4))
def test_a_pause_is_kept_by_whoever_delivers(
    projects: tuple[Project, ...], hooks: Callable[[], Hook], share: int
) -> None:
    one, other = projects
    tenant, paused, beside = _tenants(one, 4)[share], hooks(), hooks()
    id_ = one.subscribe(paused.url, tenant=tenant)["id"]
    other.subscribe(beside.url, tenant=tenant)
    beside.wait_for_ids(one.publish(event(tenant=tenant)))
    one.post(f"subscriptions/{id_}/pause", status=200)
    time.sleep(SECOND_S)

    before = len(paused.requests)
    ids = other.publish(*(event(number, tenant=tenant) for number in range(10)))
    beside.wait_for_ids(ids)
    assert len(paused.requests) == before
    eventually(lambda: other.subscription(id_)["backlog"] == 10)

    other.post(f"subscriptions/{id_}/resume", status=200)
    paused.wait_for_ids(ids)


def test_a_new_address_is_taken_by_whoever_delivers(projects: tuple[Project, ...], hooks: Callable[[], Hook]) -> None:
    one, other = projects
    for tenant in _tenants(one, 4):
        old, new = hooks(), hooks()
        made = one.subscribe(old.url, tenant=tenant)
        old.wait_for_ids(other.publish(event(tenant=tenant)))
        other.change(made["id"], url=new.url)
        time.sleep(SECOND_S)

        new.wait_for_ids(one.publish(event(tenant=tenant)))
        assert len(old.requests) == 1


def test_a_key_that_is_deleted_at_one_is_refused_at_the_other(projects: tuple[Project, ...]) -> None:
    one, other = projects
    made = one.post("keys", {"scope": "publish"}, status=201)
    clients = [Client(each.client.port, made["key"]) for each in projects]
    path = f"{one.path}/events"
    assert [client.call("POST", path, event()).status for client in clients] == [202, 202]

    reply = other.client.call("DELETE", f"{other.path}/keys/{made['id']}")

    assert reply.status == 204
    eventually(lambda: [client.call("POST", path, event()).status for client in clients] == [401, 401])


def test_settings_of_a_project_hold_at_the_other_too(projects: tuple[Project, ...]) -> None:
    one, other = projects
    assert other.post("events", event("1", "anything.happened"))["accepted"] == 1

    one.create(objects={"item": {"actions": ["update"]}})

    path = f"{other.path}/events"
    eventually(lambda: other.client.call("POST", path, event("1", "anything.happened")).status == 422)


# -- sending again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", range(4))
def test_tests_and_redeliveries_are_sent_by_whoever_owns_the_partition(
    projects: tuple[Project, ...], hook: Hook, share: int
) -> None:
    one, other = projects
    tenant = _tenants(one, 4)[share]
    made = one.subscribe(hook.url, tenant=tenant)
    reply = other.client.call("POST", f"{other.path}/subscriptions/{made['id']}/test")
    assert reply.status == 202, reply
    assert hook.wait_for(1)[0].headers["angarium-test"] == "true"
    [id_] = one.publish(event(tenant=tenant))
    [delivery] = other.wait_for("delivered", event=id_)

    other.post(f"deliveries/{delivery['id']}/redeliver")

    *_, first, second = hook.wait_for(3)
    assert (first.id, first.body) == (second.id, second.body)
    eventually(lambda: len(one.delivery(delivery["id"])["attempts"]) == 2)
    assert one.wait_for("delivered", event=id_)[0]["id"] == delivery["id"]


def test_many_deliveries_are_sent_again_whoever_owns_their_partitions(
    projects: tuple[Project, ...], hook: Hook
) -> None:
    one, other = projects
    tenants = _tenants(one, 6)
    hook.always(Answer(422))
    for tenant in tenants:
        one.subscribe(hook.url, tenant=tenant, retry={"delays_s": []})
    ids = [id_ for tenant in tenants for id_ in other.publish(*(event(n, tenant=tenant) for n in range(5)))]
    one.wait_for("exhausted", number=len(ids))
    hook.always(OK)

    job = other.post("deliveries/redeliver", {"state": "exhausted"})

    eventually(lambda: one.get(f"jobs/{job['id']}")["state"] == "done", told=lambda: one.get(f"jobs/{job['id']}"))
    assert one.get(f"jobs/{job['id']}")["done"] == len(ids)
    assert sorted(hook.ids) == sorted(ids * 2)
    assert len(one.deliveries(state="delivered")) == len(ids)


def test_a_job_that_is_cancelled_at_another_stops(projects: tuple[Project, ...], hook: Hook) -> None:
    one, other = projects
    made = one.subscribe(hook.url)
    ids = one.publish(*(event(number) for number in range(900)))  # More than are sent again at once.
    hook.wait_for_ids(ids)
    eventually(lambda: len(one.deliveries(state="delivered")) == len(ids))
    gate = threading.Event()
    hook.always(Answer(gate=gate))
    job = one.post("deliveries/redeliver", {"subscription": made["id"]})
    hook.wait_for(len(ids) + 1)

    reply = other.client.call("POST", f"{other.path}/jobs/{job['id']}/cancel")

    assert reply.status == 200, reply
    assert one.get(f"jobs/{job['id']}")["state"] == "cancelled"
    gate.set()
    eventually(lambda: not one.deliveries(state="retrying"))
    assert one.get(f"jobs/{job['id']}")["state"] == "cancelled"
    assert len(hook.requests) < 2 * len(ids)


# -- views -------------------------------------------------------------------------------------------------------------


def test_who_is_failing_is_listed_whoever_delivers(projects: tuple[Project, ...], hooks: Callable[[], Hook]) -> None:
    one, other = projects
    tenants = _tenants(one, 4)
    made = {}
    for tenant in tenants:
        hook = hooks().always(Answer(500))
        made[one.subscribe(hook.url, tenant=tenant, retry={"delays_s": [1] * 100})["id"]] = hook
        one.subscribe(hooks().url, tenant=tenant)
        other.publish(event(tenant=tenant))

    eventually(lambda: {each["id"] for each in other.all("subscriptions", state="failing", limit=3)} == set(made))
    first, *others = made
    assert other.subscription(first)["failing_since"]
    assert other.subscription(first)["backlog"] == 1

    made[first].always(OK)
    eventually(lambda: {each["id"] for each in one.all("subscriptions", state="failing")} == set(others))
    eventually(lambda: one.subscription(first)["backlog"] == 0)


def test_a_feed_that_waits_is_told_by_a_publish_elsewhere(projects: tuple[Project, ...]) -> None:
    one, other = projects
    made = one.subscribe(kind="pull")
    path = f"subscriptions/{made['id']}/feed"
    after = other.get(path)["next"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: other.get(path, after=after, wait_s=30))
        [id_] = one.publish(event())
        page = waiting.result()
    assert [item["id"] for item in page["data"]] == [id_]


def test_a_stream_tells_of_deliveries_whoever_made_them(projects: tuple[Project, ...], hook: Hook) -> None:
    one, other = projects
    tenants = _tenants(one, 6)
    for tenant in tenants:
        one.subscribe(hook.url, tenant=tenant)
    told: set[str] = set()
    with one.client.stream(f"{one.path}/deliveries", headers={"accept": "text/event-stream"}) as response:
        response.readline()
        ids = [other.publish(event(tenant=tenant))[0] for tenant in tenants]
        for shown in server_sent(response):
            told.add(shown["event"])
            if told == set(ids):
                break


# -- workers come and go -----------------------------------------------------------------------------------------------


@contextmanager
def _load(projects: tuple[Project, ...], tenants: list[str]) -> Iterator[list[str]]:
    """Publish at all APIs until it is left; yield the ids of what was accepted."""
    ids: list[str] = []
    is_over = threading.Event()

    def publish(project: Project) -> None:
        for number in count():
            if is_over.is_set():
                return
            ids.extend(project.publish(event(number, tenant=tenants[number % len(tenants)])))

    with ThreadPoolExecutor(len(projects)) as pool:
        publishing = [pool.submit(publish, project) for project in projects]
        try:
            yield ids
        finally:
            is_over.set()
            wait(publishing)
            for each in publishing:
                each.result()


def _subscribe_all(project: Project, hook: Hook) -> list[str]:
    tenants = _tenants(project, 12)
    for tenant in tenants:
        project.subscribe(hook.url, tenant=tenant)
    return tenants


def _partitions(worker: Server) -> int:
    lines = worker.client.call("GET", "/metrics").body.decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("angarium_partitions ")).split()[1]))


def _has_settled(project: Project, ids: list[str]) -> None:
    eventually(lambda: len(project.deliveries(state="delivered")) == len(ids))
    assert project.deliveries(state="retrying") == []


def test_a_worker_that_is_stopped_under_load_loses_and_repeats_nothing(
    several: Several, projects: tuple[Project, ...], hook: Hook
) -> None:
    tenants = _subscribe_all(projects[0], hook)
    one, other = several.workers
    with _load(projects, tenants) as ids:
        hook.wait_for(200)
        assert other.stop() == 0
        eventually(lambda: _partitions(one) == 256)
        hook.wait_for(len(hook.requests) + 200)
        other.start()
        eventually(lambda: (_partitions(one), _partitions(other)) == (128, 128))
        hook.wait_for(len(hook.requests) + 200)
    hook.wait_for_ids(ids)
    _has_settled(projects[1], ids)
    assert set(hook.counted.values()) == {1}


def test_a_worker_that_is_killed_repeats_at_most_what_was_on_the_wire(
    several: Several, projects: tuple[Project, ...], hook: Hook
) -> None:
    tenants = _subscribe_all(projects[0], hook)
    one, other = several.workers
    with _load(projects, tenants) as ids:
        hook.wait_for(200)
        other.kill()
        eventually(lambda: _partitions(one) == 256)
        hook.wait_for(len(hook.requests) + 200)
        other.start()
        eventually(lambda: (_partitions(one), _partitions(other)) == (128, 128))
    hook.wait_for_ids(ids)
    _has_settled(projects[1], ids)
    repeated = [id_ for id_, times in hook.counted.items() if times > 1]
    assert max(hook.counted.values()) <= 2
    assert len(repeated) <= 512


# -- processes that do both --------------------------------------------------------------------------------------------


def test_processes_that_both_answer_and_deliver_share_the_work(
    databases: Databases, tmp_path: Path, hooks: Callable[[], Hook]
) -> None:
    several = Several(tmp_path, asyncio.run(databases.lend())).start_all(2)
    try:
        one, other = several.project()
        eventually(lambda: [_partitions(worker) for worker in several.workers] == [128, 128])
        tenants, subscribed = _tenants(one, 6), {}
        for number, tenant in enumerate(tenants):
            subscribed[tenant] = (one, other)[number % 2].subscribe(hooks().url, tenant=tenant)["id"]
        with _load((one, other), tenants) as ids:
            eventually(lambda: len(one.deliveries(state="delivered")) >= 100)
        _has_settled(other, ids)
        for tenant, id_ in subscribed.items():
            other.post(f"subscriptions/{id_}/pause", status=200)
            time.sleep(SECOND_S)
            one.publish(*(event(number, tenant=tenant) for number in range(3)))
        for id_ in subscribed.values():
            eventually(lambda: [each.subscription(id_)["backlog"] for each in (one, other)] == [3, 3])  # noqa: B023  called at once
            job = one.post(f"subscriptions/{id_}/replay", {})
            one.post(f"subscriptions/{id_}/resume", status=200)
            eventually(lambda: other.get(f"jobs/{job['id']}")["state"] == "done")  # noqa: B023  called at once
    finally:
        several.close()


# -- the start ---------------------------------------------------------------------------------------------------------


def test_processes_that_start_together_agree_on_one_admin_key(databases: Databases, tmp_path: Path) -> None:
    several = Several(tmp_path, asyncio.run(databases.lend(is_empty=True)))
    try:
        several.start_together(apis=3, admin_key="")
        keys = [line.split()[2] for api in several.apis for line in api.told().splitlines() if "admin key" in line]
        assert len(keys) == 1
        assert [Client(api.port, keys[0]).call("GET", "/v1/projects").status for api in several.apis] == [200] * 3
        [id_] = Project(Client(several.apis[0].port, keys[0]), "p").create().publish(event())
        assert Client(several.apis[2].port, keys[0]).call("GET", f"/v1/projects/p/events/{id_}").status == 200
    finally:
        several.close()


def test_another_secret_key_than_the_database_s_is_refused(several: Several) -> None:
    stranger = several.make("api", secret_key="A" * 43 + "=")
    assert stranger.spawn().wait(60) != 0
    assert "not the one this store was made with" in stranger.told()
    assert stranger.folder.name not in [server.folder.name for server in several.apis]
