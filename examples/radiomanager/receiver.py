"""Keep a copy of a RadioManager station's objects, told by its push messages and fetched through its API.

    python receiver.py --port 9001 --key KEY --station 1 --api https://radiomanager.io/api/v2

What the document asks of a receiver, and where it is done here:

- verify that a request comes from RadioManager and the correct station: `Receiver.refusal`
- handle multiple updates on the same object shortly after each other as one: `Copy.note` waits until it is quiet
- fetch the object through the API, within the API's rate limit: `Fetcher` and its `Allowance`

A message is on disk before it is answered, so nothing is lost when this program ends. Everything is in the standard
library of Python 3.11.
"""

from __future__ import annotations

import argparse
import hmac
import json
import sqlite3
import threading
import time
from collections import deque
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

WINDOW_S = 15 * 60
"""RadioManager's API counts requests in windows of 15 minutes."""

TABLE = """
CREATE TABLE IF NOT EXISTS object (
    model TEXT, id INTEGER, job_id INTEGER, action TEXT, since REAL, due REAL, body TEXT, PRIMARY KEY (model, id)
)
"""


class Change(NamedTuple):
    """An object that changed: `job_id` grows with every message, so the highest one is the last word."""

    model: str
    model_id: int
    job_id: int
    action: str


class Copy:
    """The objects as they are known, and which of them are to be fetched when (`due`, in seconds since 1970)."""

    def __init__(self, path: str, *, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute(TABLE)

    def note(self, change: Change, *, now: float) -> bool:
        """Write a change down, to be fetched once its object has been quiet, at the latest after ten such whiles.

        A message that is older than what is known, or came before, changes nothing: False.
        """
        with self._lock, self._database as database:
            found = database.execute(
                "SELECT job_id, since FROM object WHERE model = ? AND id = ?", (change.model, change.model_id)
            ).fetchone()
            if found and found[0] >= change.job_id:
                return False
            since = found[1] if found and found[1] is not None else now
            due = min(now + self._quiet_s, since + 10 * self._quiet_s)
            database.execute(
                "INSERT INTO object (model, id, job_id, action, since, due) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET"
                " job_id = excluded.job_id, action = excluded.action, since = excluded.since, due = excluded.due",
                (change.model, change.model_id, change.job_id, change.action, since, due),
            )
            return True

    def next(self) -> tuple[float, Change] | None:
        """Return what is to be fetched first, and when."""
        with self._lock:
            found = self._database.execute(
                "SELECT due, model, id, job_id, action FROM object WHERE due IS NOT NULL ORDER BY due LIMIT 1"
            ).fetchone()
        return (found[0], Change(*found[1:])) if found else None

    def keep(self, change: Change, body: str | None) -> None:
        """Keep what was fetched (None: the object is gone); if it has changed meanwhile, it stays due."""
        with self._lock, self._database as database:
            database.execute(
                "UPDATE object SET body = ?, since = NULL, due = NULL WHERE model = ? AND id = ? AND job_id = ?",
                (body, change.model, change.model_id, change.job_id),
            )

    def put_off(self, change: Change, until: float) -> None:
        """Try this object again later."""
        with self._lock, self._database as database:
            database.execute(
                "UPDATE object SET due = ? WHERE model = ? AND id = ? AND job_id = ?",
                (until, change.model, change.model_id, change.job_id),
            )


class Allowance:
    """How many requests may go out now: `limit` in any 15 minutes, and none before the API wants them again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: deque[float] = deque()
        self._not_before = 0.0

    def opens_at(self, now: float) -> float:
        """Return when the next request may go out: now, or later."""
        while self._used and self._used[0] <= now - WINDOW_S:
            self._used.popleft()
        full_until = self._used[0] + WINDOW_S if len(self._used) >= self._limit else now
        return max(now, full_until, self._not_before)

    def answered(self, status: int, headers: Message, now: float) -> None:
        """Count a request, and learn from its answer."""
        self._used.append(now)
        limit = headers.get("X-RateLimit-Limit", "")
        if limit.isdigit() and int(limit) > 0:
            self._limit = int(limit)
        if status == 429 or headers.get("X-RateLimit-Remaining") == "0":
            self._not_before = now + _pause_s(headers, now)


def _pause_s(headers: Message, now: float) -> float:
    """Return how long to keep still: `Retry-After` in seconds, else until `X-RateLimit-Reset`, else a minute."""
    retry_after, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    if retry_after.isdigit():
        return float(retry_after)
    return max(0.0, float(reset) - now) if reset.isdigit() else 60.0


class Fetcher(threading.Thread):
    """Fetch what is due, one object at a time, as fast as the API allows."""

    def __init__(self, copy: Copy, allowance: Allowance, *, api: str, api_key: str) -> None:
        super().__init__(daemon=True)
        self.woken = threading.Event()
        self._copy, self._allowance, self._api, self._api_key = copy, allowance, api.rstrip("/"), api_key

    def run(self) -> None:
        """Sleep until something is due and allowed; fetch it; and again."""
        while True:
            self.woken.clear()
            found, now = self._copy.next(), time.time()
            starts_at = max(found[0], self._allowance.opens_at(now)) if found else now + 60
            if found and starts_at <= now:
                self._bring(found[1])
            else:
                self.woken.wait(starts_at - now)

    def _bring(self, change: Change) -> None:
        name = f"{change.model} {change.model_id}"
        if change.action == "delete":
            self._copy.keep(change, None)
            print(f"{name}: removed", flush=True)
            return
        address = f"{self._api}/{change.model}s/{change.model_id}"
        status, headers, body = _get(Request(address, headers={"api-key": self._api_key}))
        now = time.time()
        if status:
            self._allowance.answered(status, headers, now)
        if status == 200:
            self._copy.keep(change, body)
            print(f"{name}: fetched {body}", flush=True)
        elif status == 404:
            self._copy.keep(change, None)  # It was deleted meanwhile; the message that says so may still be under way.
            print(f"{name}: is not there any more", flush=True)
        else:
            self._copy.put_off(change, now + (0 if status == 429 else 30))
            print(f"{name}: the API answered {status or 'nothing'}; will try again", flush=True)


def _get(request: Request) -> tuple[int, Message, str]:
    """Make a request; return its status (0 when there was no answer), headers and body."""
    try:
        with urlopen(request, timeout=15) as response:
            return response.status, response.headers, response.read().decode()
    except HTTPError as error:
        return error.code, error.headers, ""
    except (URLError, OSError):
        return 0, Message(), ""


class Receiver(ThreadingHTTPServer):
    """The server that RadioManager's "Push url" leads to."""

    def __init__(self, options: argparse.Namespace, copy: Copy, fetcher: Fetcher) -> None:
        super().__init__((options.host, options.port), Handler)
        self.copy, self.fetcher = copy, fetcher
        self._key, self._secret, self._station = options.key, options.secret, options.station

    def refusal(self, headers: Message, body: bytes) -> str | None:
        """Say why a request is not believed; None when it is."""
        if not _is_same(headers.get("api-key", ""), self._key):
            return "the api-key is not ours"
        if self._secret:
            expected = hmac.new(self._secret.encode(), body, "sha256").hexdigest()
            if not _is_same(headers.get("x-radiomanager-signature", ""), expected):
                return "the signature does not match the body"
        if json.loads(body)["station_id"] != self._station:
            return "the station is not ours"
        return None


def _is_same(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


class Handler(BaseHTTPRequestHandler):
    """One connection; what comes is believed or not, written down, and answered."""

    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        """Take a message."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if reason := self.server.refusal(self.headers, body):
                print(f"refused: {reason}", flush=True)
                return self._answer(403, reason)
            message: dict[str, Any] = json.loads(body)
            change = Change(message["model"], message["model_id"], message["job_id"], message["action"])
        except (ValueError, TypeError, KeyError):
            return self._answer(400, "this is no push message")
        is_new = self.server.copy.note(change, now=time.time())
        self.server.fetcher.woken.set()
        resync = ", resync" if message.get("resync") else ""
        print(f"{change.model} {change.model_id}: {change.action}{resync}{'' if is_new else ', old'}", flush=True)
        return self._answer(200, "")

    def _answer(self, status: int, reason: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(reason)))
        self.end_headers()
        self.wfile.write(reason.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server calls it so
        """Keep still; what matters is printed."""


def main() -> None:
    """Read the options and receive until interrupted."""
    options = _options()
    copy = Copy(options.database, quiet_s=options.quiet)
    fetcher = Fetcher(copy, Allowance(options.limit), api=options.api, api_key=options.api_key or options.key)
    fetcher.start()
    with Receiver(options, copy, fetcher) as receiver:
        print(f"receiving on http://{options.host}:{receiver.server_port}/", flush=True)
        receiver.serve_forever()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Keep a copy of a RadioManager station's objects.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=9001, help="the port to listen on; 0 takes a free one")
    parser.add_argument("--key", required=True, help='the "Key" of the station\'s push settings')
    parser.add_argument("--secret", default="", help="the secret of the push settings, where one is set")
    parser.add_argument("--station", type=int, required=True, help="the station whose messages are believed")
    parser.add_argument("--api", default="https://radiomanager.io/api/v2", help="where objects are fetched")
    parser.add_argument("--api-key", default="", help="the key to fetch with, where it is another one")
    parser.add_argument("--quiet", type=float, default=2.0, help="seconds that an object is to be quiet before a fetch")
    parser.add_argument("--limit", type=int, default=100, help="requests in 15 minutes, until the API says how many")
    parser.add_argument("--database", default="radiomanager.db", help="the file to keep everything in")
    return parser.parse_args()


if __name__ == "__main__":
    main()
