"""Publish without rest, and keep every answer: which ids were answered 202, what else was answered, and how soon."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import count
from typing import NamedTuple

from tests.stories.calling import Project, event

PUBLISHERS = 4
PAUSE_S = 0.02
TIMEOUT_S = 60


class Answered(NamedTuple):
    """What a publish was answered, and between which monotonic moments; status 0 stands for a broken connection."""

    status: int
    began_s: float
    ended_s: float
    retry_after: str

    @property
    def took_s(self) -> float:
        """Return how long it waited."""
        return self.ended_s - self.began_s


class Load:
    """Publishers that never rest: each sends one event, then ten, of one tenant after the other.

    They are given ports, of which each prefers its own and uses the next that takes its connection, as a balancer does.
    """

    def __init__(self, project: Project, ports: Sequence[int], tenants: Sequence[str]) -> None:
        self.accepted: dict[str, str] = {}
        """The tenants of the events that were answered 202, by their ids."""
        self.answers: list[Answered] = []
        self._project, self._ports, self._tenants = project, ports, tenants
        self._numbers = count()
        self._is_over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Publish all the while."""
        with ThreadPoolExecutor(PUBLISHERS) as pool:
            ends = [pool.submit(self._publish_on, number) for number in range(PUBLISHERS)]
            try:
                yield
            finally:
                self._is_over.set()
            for end in ends:
                end.result()

    def statuses(self, *, since_s: float = 0.0) -> Counter[int]:
        """Return how often each status was answered to what was asked since a moment."""
        return Counter(each.status for each in list(self.answers) if each.began_s >= since_s)

    def first_accepted_s(self, *, since_s: float) -> float | None:
        """Return the moment of the first 202 to what was asked since a moment."""
        return min((a.ended_s for a in list(self.answers) if a.status == 202 and a.began_s >= since_s), default=None)

    def _publish_on(self, number: int) -> None:
        preferred = number % len(self._ports)
        ports = [*self._ports[preferred:], *self._ports[:preferred]]
        connections = {port: HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S) for port in ports}
        for turn in count():
            if self._is_over.wait(PAUSE_S):
                break
            self._publish(connections, 10 if turn % 2 else 1)
        for connection in connections.values():
            connection.close()

    def _publish(self, connections: Mapping[int, HTTPConnection], events: int) -> None:
        numbers = [next(self._numbers) for _ in range(events)]
        tenant = self._tenants[numbers[0] % len(self._tenants)]
        body = json.dumps([event(number % 500, tenant=tenant, data={"n": number}) for number in numbers])
        connection = self._connected(connections)
        if connection is None:
            return
        began_s = time.monotonic()
        try:
            connection.request("POST", f"{self._project.path}/events", body, self._headers())
            response = connection.getresponse()
            answer = response.read()
        except (OSError, HTTPException):
            connection.close()
            self.answers.append(Answered(0, began_s, time.monotonic(), ""))
            return
        if response.status == 202:
            self.accepted |= dict.fromkeys(json.loads(answer)["ids"], tenant)
        retry_after = response.getheader("retry-after") or ""
        self.answers.append(Answered(response.status, began_s, time.monotonic(), retry_after))

    def _connected(self, connections: Mapping[int, HTTPConnection]) -> HTTPConnection | None:
        """Return the first connection that can be had."""
        for connection in connections.values():
            if connection.sock is not None and _is_ended(connection.sock):
                connection.close()
            try:
                if connection.sock is None:
                    connection.connect()
            except OSError:
                continue
            return connection
        return None

    def _headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self._project.client.key}", "content-type": "application/json"}


def _is_ended(connection: socket.socket) -> bool:
    """Say whether the server has closed a connection on which nothing is asked, as any client looks before it asks."""
    return bool(select.select([connection], [], [], 0)[0])
