"""Start several `angarium serve` on one PostgreSQL database, some that answer and some that deliver."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.stories.calling import Project
from tests.stories.serving import Server

SECRET_KEY = base64.b64encode(bytes(range(32))).decode()


class Several:
    """Processes that share a database; `apis` answer, `workers` deliver."""

    def __init__(self, folder: Path, database: str) -> None:
        self._folder, self._database = folder, database
        self._servers: list[Server] = []
        self.apis: list[Server] = []
        self.workers: list[Server] = []

    def start(self, *, apis: int, workers: int, **settings: str) -> Several:
        """Start so many of each, and wait until all are ready."""
        self.apis += [self.make("api", **settings) for _ in range(apis)]
        self.workers += [self.make("worker", **settings) for _ in range(workers)]
        for server in self._servers:
            server.start()
        return self

    def start_all(self, number: int, **settings: str) -> Several:
        """Start so many that answer and deliver."""
        self.apis += [self.make("all", **settings) for _ in range(number)]
        self.workers = self.apis
        for server in self.apis:
            server.start()
        return self

    def start_together(self, *, apis: int, **settings: str) -> Several:
        """Start some that answer at the same moment, and wait until all are ready."""
        self.apis += [self.make("api", **settings) for _ in range(apis)]
        with ThreadPoolExecutor(apis) as pool:
            for started in [pool.submit(api.start) for api in self.apis]:
                started.result()
        return self

    def make(self, role: str, **settings: str) -> Server:
        """Return one more, which has not been started."""
        folder = self._folder / f"{role}-{len(self._servers) + 1}"
        folder.mkdir()
        given = {"store": self._database, "secret_key": SECRET_KEY, "role": role, **settings}
        self._servers.append(Server(folder, **given))
        return self._servers[-1]

    def project(self, name: str = "stories") -> tuple[Project, ...]:
        """Return a project as each API has it, made at the first."""
        first, *others = self.apis
        return first.project(name), *(Project(other.client, name) for other in others)

    def told(self) -> str:
        """Return the end of what each has said."""
        return "\n".join(f"--- {server.folder.name}\n{server.told()}" for server in self._servers)

    def close(self) -> None:
        """End all, however they are."""
        for server in self._servers:
            server.close()
