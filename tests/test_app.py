"""A whole server: what it keeps between two starts, what it refuses to start with, and how it ends."""

from __future__ import annotations

import base64
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from angarium import app
from angarium.errors import ListenFailed, SecretKeyWrong, StoreInUse
from angarium.settings import Address, Settings
from tests.serving import KEY, call, running

EVENT = {"object": "item", "action": "update", "object_id": "1"}


def test_what_was_accepted_is_there_after_a_restart_under_the_same_id(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        call(server, "PUT", "/v1/projects/p", {})
        [id_] = call(server, "POST", "/v1/projects/p/events", EVENT).json["ids"]
        place = server.context.ids.place(id_)
    with running(tmp_path) as server:
        assert server.context.ids.place(id_) == place
        [second] = call(server, "POST", "/v1/projects/p/events", EVENT).json["ids"]
        assert second > id_ or second[4:16] == id_[4:16]


def test_the_admin_key_is_made_once_and_works(tmp_path: Path) -> None:
    with running(tmp_path, admin_key="") as server:
        key = server.admin_key
        assert key is not None
        assert call(server, "PUT", "/v1/projects/p", {}, key=key).status == 201
    with running(tmp_path, admin_key="") as server:
        assert server.admin_key is None
        assert call(server, "GET", "/v1/projects/p", key=key).status == 200


def test_with_an_operator_s_key_none_is_made(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.admin_key is None
        assert call(server, "PUT", "/v1/projects/p", {}).status == 201


def test_the_secret_key_lies_beside_the_store_for_its_owner_only(tmp_path: Path) -> None:
    with running(tmp_path):
        assert (tmp_path / "angarium.db.key").stat().st_mode & 0o777 == 0o600


def test_another_secret_key_is_refused(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    with (
        pytest.raises(SecretKeyWrong, match="not the one this store was made with"),
        running(tmp_path, secret_key=bytes(32)),
    ):
        pass


def test_a_store_whose_secret_key_is_gone_gets_no_new_one(tmp_path: Path) -> None:
    key = tmp_path / "angarium.db.key"
    with running(tmp_path):
        kept = key.read_bytes()
    key.unlink()
    with pytest.raises(SecretKeyWrong, match="is missing"), running(tmp_path):
        pass
    assert not key.exists()
    with running(tmp_path, secret_key=base64.b64decode(kept)) as server:
        assert call(server, "GET", "/readyz").status == 200


def test_a_store_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        with pytest.raises(StoreInUse), running(tmp_path):
            pass
        assert call(server, "GET", "/readyz").status == 200


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (Address("192.0.2.1", 8080), "does not have that address"),
        (Address("no.such.host.invalid", 8080), "has no address"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_explained(tmp_path: Path, address: Address, said: str) -> None:
    with pytest.raises(ListenFailed, match=said), running(tmp_path, listen=address):
        pass


def test_a_taken_port_is_explained_and_nothing_stays_open(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Address("127.0.0.1", taken.getsockname()[1])
        with (
            pytest.raises(ListenFailed, match=f"--listen 127.0.0.1:{address.port + 1}"),
            running(tmp_path, listen=address),
        ):
            pass
    with running(tmp_path) as server:
        assert call(server, "GET", "/healthz").status == 200


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert app._connections_max(Settings()) == 128
        app._allow_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _process(folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        "PATH": os.environ["PATH"],
        "ANGARIUM_STORE": f"sqlite:///{folder / 'angarium.db'}",
        "ANGARIUM_LISTEN": "127.0.0.1:0",
        **{f"ANGARIUM_{name.upper()}": text for name, text in settings.items()},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "angarium", "serve", "--log-level", "warning"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_says_where_it_is_and_ends_cleanly_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    with _process(tmp_path) as process:
        assert process.stdout is not None
        first, second, third = (process.stdout.readline() for _ in range(3))
        assert first.startswith("API        http://127.0.0.1:")
        assert second.strip().endswith("/docs")
        assert third.startswith("admin key  ang_")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with _process(tmp_path, admin_key=KEY, stop_s="600") as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        process.stdout.readline()
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"POST /v1/projects/p/events HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
            slow.sendall(b"1")
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) in {0, 128 + signal.SIGTERM}


def test_what_keeps_it_from_starting_is_said_in_three_lines(tmp_path: Path) -> None:
    with running(tmp_path), _process(tmp_path) as process:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert [line.split(":")[0].strip() for line in err.splitlines()] == ["error", "why", "fix"]
        assert "Traceback" not in err
