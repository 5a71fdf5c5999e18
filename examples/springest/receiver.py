"""Keep a partner's copy of Springest's trainings: note the changes that are posted, then refetch or remove.

    python receiver.py --port 9005 --api-key KEY

What the document asks for, and where it is done here:

- import: get all trainings from the institute: `Copy.replace_institute` with what `_pages` brings
- update: get the training from the url of the change, and destroy: simply remove it: `Worker.work`
- the url has neither format nor key, so both are added: `Worker.get`

Changes are on disk before they are answered, so Springest need not send them again. Everything is in the standard
library of Python 3.11.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

TABLES = """
CREATE TABLE IF NOT EXISTS object (kind TEXT, id INTEGER, institute INTEGER, body TEXT, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS change (number INTEGER PRIMARY KEY, action TEXT, kind TEXT, id INTEGER, url TEXT);
"""
PAUSE_S = 5.0
"""How long to wait before the API is asked again when it did not answer."""
PAGE = 100


class Change(NamedTuple):
    """One change as it was posted; `number` is ours, in order of arrival."""

    number: int
    action: str
    kind: str
    id: int
    url: str


class Copy:
    """The objects as they are known, and the changes that are still to be looked into."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.executescript(TABLES)

    def note(self, changes: list[dict[str, Any]]) -> None:
        """Write posted changes down, all or none."""
        rows = [(change["action"], change["object"], change["id"], change.get("url", "")) for change in changes]
        with self._lock, self._database as database:
            database.executemany("INSERT INTO change (action, kind, id, url) VALUES (?, ?, ?, ?)", rows)

    def next(self) -> Change | None:
        """Return the oldest change that is still to be looked into."""
        with self._lock:
            found = self._database.execute(
                "SELECT number, action, kind, id, url FROM change ORDER BY number"
            ).fetchone()
        return Change(*found) if found else None

    def done(self, change: Change) -> None:
        """Forget a change that was looked into."""
        with self._lock, self._database as database:
            database.execute("DELETE FROM change WHERE number = ?", (change.number,))

    def put_off(self, change: Change) -> None:
        """Move a change behind all others. Each fetch brings the current state, so nothing old comes of it."""
        with self._lock, self._database as database:
            database.execute(
                "UPDATE change SET number = (SELECT max(number) + 1 FROM change) WHERE number = ?", (change.number,)
            )

    def put(self, kind: str, id_: int, body: Any) -> None:
        """Keep an object as it was fetched."""
        with self._lock, self._database as database:
            _put(database, kind, id_, body, institute=None)

    def remove(self, kind: str, id_: int) -> None:
        """Remove an object; one that is not there is removed already."""
        with self._lock, self._database as database:
            database.execute("DELETE FROM object WHERE kind = ? AND id = ?", (kind, id_))

    def replace_institute(self, id_: int, trainings: list[dict[str, Any]]) -> None:
        """Replace all trainings that came with an institute's last import."""
        with self._lock, self._database as database:
            database.execute("DELETE FROM object WHERE kind = 'training' AND institute = ?", (id_,))
            for training in trainings:
                _put(database, "training", training["id"], training, institute=id_)


def _put(database: sqlite3.Connection, kind: str, id_: int, body: Any, *, institute: int | None) -> None:
    database.execute(
        "INSERT INTO object (kind, id, institute, body) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " institute = coalesce(excluded.institute, institute), body = excluded.body",
        (kind, id_, institute, json.dumps(body)),
    )


class Worker(threading.Thread):
    """Look into the noted changes one after the other; a change whose call failed is tried again until it succeeds."""

    def __init__(self, copy: Copy, *, api_key: str) -> None:
        super().__init__(daemon=True)
        self.woken = threading.Event()
        self._copy, self._api_key = copy, api_key

    def run(self) -> None:
        """Work until there is nothing left, then sleep until something is noted."""
        while True:
            self.woken.clear()
            change = self._copy.next()
            if change is None:
                self.woken.wait()
                continue
            try:
                self._look_into(change)
            except (URLError, OSError, ValueError, KeyError) as error:
                print(f"{change.kind} {change.id}: {error}; will try again", flush=True)
                self._copy.put_off(change)
                time.sleep(PAUSE_S)

    def _look_into(self, change: Change) -> None:
        try:
            done = self.work(change)
        except HTTPError as error:
            if error.code != 404:
                raise
            self._copy.remove(change.kind, change.id)  # It was destroyed meanwhile; that change is still under way.
            done = "is not there any more"
        self._copy.done(change)
        print(f"{change.kind} {change.id}: {done}", flush=True)

    def work(self, change: Change) -> str:
        """Do what a change asks for; return what was done."""
        match change.action:
            case "import":
                trainings = [training for page in self._pages(change.url) for training in page]
                self._copy.replace_institute(change.id, trainings)
                return f"imported {len(trainings)} trainings"
            case "update":
                body = self.get(change.url)
                self._copy.put(change.kind, change.id, body)
                return f"fetched {json.dumps(body)}"
            case _:
                self._copy.remove(change.kind, change.id)
                return "removed"

    def _pages(self, institute: str) -> Iterator[list[dict[str, Any]]]:
        """Yield an institute's trainings, page by page."""
        offset = 0
        while True:
            answer = self.get(f"{institute}/trainings", size=PAGE, offset=offset)
            yield answer["trainings"]
            offset += len(answer["trainings"])
            if not answer["trainings"] or offset >= answer["meta"]["results"]:
                return

    def get(self, url: str, **query: int) -> Any:
        """Call the API: an address as it was pushed, with the format and our key."""
        address = f"{url}.json?{urlencode({'api_key': self._api_key, **query})}"
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"{url} is no address of the API")
        with urlopen(address, timeout=30) as response:
            return json.load(response)


class Receiver(ThreadingHTTPServer):
    """The server whose URL the partner shares with Springest."""

    def __init__(self, options: argparse.Namespace, copy: Copy, worker: Worker) -> None:
        super().__init__((options.host, options.port), Handler)
        self.copy, self.worker = copy, worker


class Handler(BaseHTTPRequestHandler):
    """One connection; what comes is written down and answered."""

    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        """Take a bundle of changes."""
        try:
            changes = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))["changes"]
            self.server.copy.note(changes)
        except (ValueError, TypeError, KeyError):
            return self._answer(400)
        self.server.worker.woken.set()
        print(f"changes: {json.dumps(changes)}", flush=True)
        return self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server calls it so
        """Keep still; what matters is printed."""


def main() -> None:
    """Read the options and receive until interrupted."""
    parser = argparse.ArgumentParser(description="Keep a copy of Springest's trainings.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=9005, help="the port to listen on; 0 takes a free one")
    parser.add_argument("--api-key", required=True, help="our key of Springest's API")
    parser.add_argument("--database", default="springest.db", help="the file to keep everything in")
    options = parser.parse_args()
    copy = Copy(options.database)
    worker = Worker(copy, api_key=options.api_key)
    worker.start()
    with Receiver(options, copy, worker) as receiver:
        print(f"receiving on http://{options.host}:{receiver.server_port}/", flush=True)
        receiver.serve_forever()


if __name__ == "__main__":
    main()
