"""Secrets at rest, one process per store, and what an operator asks of a running server."""

from __future__ import annotations

import json
import stat
from base64 import b64decode
from collections.abc import Callable

from tests.stories.calling import Client, event
from tests.stories.receiving import Hook
from tests.stories.serving import KEY, Server


def _everything_kept(server: Server) -> dict[str, bytes]:
    """Return the store's files, its log and the server's output aside."""
    return {path.name: path.read_bytes() for path in server.folder.iterdir() if path.name.startswith("angarium.db")}


def test_no_secret_can_be_read_in_the_store_s_files(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve()
    project = server.project()
    made = project.subscribe(hook.url, headers={"x-password": "a-header-value-to-hide"})
    given = project.subscribe(hook.url, secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    rotated = project.post(f"subscriptions/{given['id']}/secret/rotate", {"overlap_s": 60}, status=200)
    key = project.post("keys", {"scope": "read"}, status=201)["key"]
    project.publish(event())
    hook.wait_for(2)

    hidden = [made["secret"], given["secret"], rotated["secret"], key, KEY, "a-header-value-to-hide"]
    raw = [b64decode(secret.removeprefix("whsec_")) for secret in hidden[:3]]
    for moment in ("running", "stopped"):
        for name, content in _everything_kept(server).items():
            for secret in [text.removeprefix("whsec_").encode() for text in hidden] + raw:
                assert secret not in content, f"{secret!r} in {name} of a server that is {moment}"
        if moment == "running":
            assert server.stop() == 0
    assert all(secret not in server.told() for secret in hidden)


def test_secrets_and_header_values_are_not_shown_again(serve: Callable[..., Server], hook: Hook) -> None:
    project = serve().project()
    made = project.subscribe(hook.url, headers={"x-password": "a-header-value-to-hide"})
    project.post("keys", {"scope": "read"}, status=201)
    project.publish(event())
    [delivery] = project.wait_for("delivered")

    assert hook.requests[0].headers["x-password"] == "a-header-value-to-hide"
    for shown in (
        project.subscription(made["id"]),
        project.all("subscriptions"),
        project.all("keys"),
        project.change(made["id"], name="x"),
        delivery,
    ):
        text = json.dumps(shown)
        assert made["secret"] not in text
        assert "a-header-value-to-hide" not in text
        assert '"key":' not in text


def test_the_key_of_secrets_is_kept_beside_the_store_for_its_owner_only(serve: Callable[..., Server]) -> None:
    server = serve()

    [key] = [path for path in server.folder.iterdir() if path.name.endswith(".key")]

    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(b64decode(key.read_text())) == 32


def test_another_secret_key_than_the_store_s_is_refused(serve: Callable[..., Server]) -> None:
    server = serve()
    assert server.stop() == 0
    other = Server(server.folder, secret_key="bm90IHRoZSBrZXkgb2YgdGhpcyBzdG9yZSwgcmVhbGx5ISE=")

    process = other.spawn()

    assert process.wait(timeout=60) != 0
    assert "secret key" in other.told().lower()
    assert "Traceback" not in other.told()


def test_a_second_process_on_the_same_store_is_refused(serve: Callable[..., Server]) -> None:
    server = serve()
    second = Server(server.folder)

    process = second.spawn()

    assert process.wait(timeout=60) != 0
    assert "in use" in second.told().lower()
    assert "Traceback" not in second.told()
    assert server.client.call("GET", "/readyz").status == 200


def test_a_taken_address_is_said_in_a_sentence(serve: Callable[..., Server], tmp_path_factory: object) -> None:
    server = serve()
    second = Server(server.folder, listen=f"127.0.0.1:{server.port}", store=f"sqlite:///{server.folder / 'second.db'}")

    process = second.spawn()

    assert process.wait(timeout=60) != 0
    assert str(server.port) in second.told()
    assert "Traceback" not in second.told()


def test_the_first_start_shows_an_admin_key_once(serve: Callable[..., Server]) -> None:
    server = serve(admin_key="")
    keys = [word.strip(".,\"'") for word in server.told().split() if word.strip(".,\"'").startswith("key_")]
    candidates = {word for word in server.told().replace("=", " ").split() if len(word) >= 24}
    works = [key for key in {*keys, *candidates} if _opens(server, key)]
    assert len(works) == 1
    assert server.stop() == 0
    told = len(server.told())

    server.start()

    assert _opens(server, works[0])
    assert works[0] not in server.told()[told:]


def _opens(server: Server, key: str) -> bool:
    return Client(server.port, key).call("GET", "/v1/projects").status == 200


def test_everything_is_there_after_a_restart(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve()
    project = server.project()
    made = project.subscribe(hook.url, types=["item.*"], filter={"data": {"n": {"$gt": 0}}}, rate={"per_minute": 6000})
    ids = project.publish(event(1, data={"n": 1}), event(2, data={"n": 2}))
    project.wait_for("delivered", number=2)
    before = project.subscription(made["id"])
    assert server.stop() == 0

    server.start()

    assert project.subscription(made["id"]) == before
    assert [item["id"] for item in project.feed(made["id"])] == ids
    assert {delivery["state"] for delivery in project.deliveries()} == {"delivered"}
    [later] = project.publish(event(3, data={"n": 3}))
    hook.wait_for_ids([later])
    assert sorted(hook.ids) == sorted([*ids, later])


def test_a_server_tells_how_it_is(serve: Callable[..., Server], hook: Hook) -> None:
    server = serve()
    project = server.project()
    project.subscribe(hook.url)
    project.publish(event())
    project.wait_for("delivered")
    anyone = Client(server.port, "")

    assert anyone.call("GET", "/healthz").status == 200
    assert anyone.call("GET", "/readyz").status == 200
    metrics = anyone.call("GET", "/metrics").body.decode()
    assert "angarium_" in metrics
    document = anyone.call("GET", "/openapi.json").expect(200)
    assert document["openapi"].startswith("3.1")
    assert document["webhooks"]
    assert "/v1/projects/{project}/events" in document["paths"]
    assert anyone.call("GET", "/docs").status == 200
    assert anyone.call("GET", "/v1/addresses").status == 200
