"""Take CROWDMANAGER's pushes for one organisation, validate the subscription, and pull what was missed.

    python receiver.py --port 9002 --api https://api.crowdmanager.io/v2/7 --key KEY

What the document and its set-up guide ask for, and where it is done here:

- a subscription has to be verified: a GET brings `Id` and `ValidationToken`, which is answered 200, and then a PUT
  hands the token in: `Handler.do_GET`, `Validation`
- whenever one object is included multiple times, its timestamp tells its actual state: `Copy.apply`
- after the last of ten attempts, changes have to be pulled: `pull`, each time this program starts
- the format is json:api or plain json, in UTF-8 or, for a url with `#OBSOLETE-CHARSET`, ISO 8859-2: `Handler.do_POST`

Everything is in the standard library of Python 3.11.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

FORMATS = ("application/vnd.api+json", "application/json")
TABLES = """
CREATE TABLE IF NOT EXISTS object (path TEXT PRIMARY KEY, event_time TEXT, kind TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS subscription (id TEXT PRIMARY KEY, cursor TEXT);
"""


class Copy:
    """The objects as they are known, by the path that each push item names; a removed one has no body."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.executescript(TABLES)

    def apply(self, items: list[dict[str, Any]]) -> list[str]:
        """Apply push items, all or none; return what each one did. What is older than what is known does nothing."""
        with self._lock, self._database as database:
            return [_apply(database, item) for item in items]

    def subscriptions(self) -> dict[str, str]:
        """Return the subscriptions that were validated here, with the cursor up to which each one's feed was read."""
        with self._lock:
            return dict(self._database.execute("SELECT id, cursor FROM subscription").fetchall())

    def remember(self, subscription: str, cursor: str = "") -> None:
        """Keep a subscription, and how far its feed was read."""
        with self._lock, self._database as database:
            database.execute("INSERT OR REPLACE INTO subscription VALUES (?, ?)", (subscription, cursor))


def _apply(database: sqlite3.Connection, item: dict[str, Any]) -> str:
    path, event_time = item["path"], datetime.fromisoformat(item["eventTime"]).astimezone(UTC).isoformat()
    found = database.execute("SELECT event_time FROM object WHERE path = ?", (path,)).fetchone()
    if found and datetime.fromisoformat(found[0]) > datetime.fromisoformat(event_time):
        return f"{item['operation']} {path}: old"
    value = item.get("value")
    body = value if isinstance(value, str) or value is None else json.dumps(value)
    database.execute(
        "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?)", (path, event_time, item.get("contentType"), body)
    )
    return f"{item['operation']} {path}: {'gone' if body is None else body}"


class Api:
    """CROWDMANAGER's API for one organisation; the key stands behind `Basic` as it is."""

    def __init__(self, base: str, key: str) -> None:
        self._base, self._key = base.rstrip("/"), key

    def call(self, method: str, path: str, document: Any = None) -> Any:
        """Make a call below `pushservice/subscriptions`; `HTTPError` when it is refused."""
        body = None if document is None else json.dumps(document).encode()
        headers = {"Authorization": f"Basic {self._key}", "Content-Type": FORMATS[0], "Accept": FORMATS[0]}
        request = Request(f"{self._base}/pushservice/subscriptions/{path}", body, headers, method=method)
        with urlopen(request, timeout=30) as response:
            return json.load(response)


class Validation(threading.Thread):
    """Hand a token in. It came while the subscription was being made, so the subscription may not be there yet."""

    def __init__(self, api: Api, copy: Copy, *, subscription: str, token: str) -> None:
        super().__init__(daemon=True)
        self._api, self._copy, self._subscription, self._token = api, copy, subscription, token

    def run(self) -> None:
        """Try for half a minute."""
        wanted = {"isEnabled": True, "isValidated": True, "validationToken": self._token}
        for _ in range(60):
            time.sleep(0.5)
            try:
                self._api.call("PUT", self._subscription, {"subscriptions": wanted})
            except HTTPError as error:
                if error.code != 404:
                    print(f"subscription {self._subscription}: {error}", flush=True)
                    return
            else:
                self._copy.remember(self._subscription)
                print(f"subscription {self._subscription}: validated and enabled", flush=True)
                return


def pull(api: Api, copy: Copy, subscription: str, cursor: str) -> None:
    """Read a subscription's feed from a cursor to its end; items that had been pushed do nothing again."""
    while True:
        page = api.call("GET", f"{subscription}/feed?{urlencode({'after': cursor} if cursor else {})}")
        if not page["data"]:
            return
        for said in copy.apply([item["body"] for item in page["data"]]):
            print(f"pulled: {said}", flush=True)
        cursor = page["next"]
        copy.remember(subscription, cursor)


class Receiver(ThreadingHTTPServer):
    """The server that a subscription's url leads to."""

    def __init__(self, options: argparse.Namespace, copy: Copy, api: Api) -> None:
        super().__init__((options.host, options.port), Handler)
        self.copy, self.api = copy, api


class Handler(BaseHTTPRequestHandler):
    """One connection: a validation, or a batch of push items."""

    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Take a validation token."""
        query = parse_qs(urlsplit(self.path).query)
        try:
            subscription, token = query["Id"][0], query["ValidationToken"][0]
        except KeyError:
            return self._answer(404)
        print(f"subscription {subscription}: validation token {token}", flush=True)
        Validation(self.server.api, self.server.copy, subscription=subscription, token=token).start()
        return self._answer(200)

    def do_POST(self) -> None:
        """Take a batch."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get_content_type() not in FORMATS:
            return self._answer(415)
        try:
            items = json.loads(body.decode(str(self.headers.get_content_charset("utf-8"))))
            done = self.server.copy.apply(items)
        except (LookupError, ValueError, TypeError):
            return self._answer(400)
        print(f"batch of {len(items)}", flush=True)
        for said in done:
            print(said, flush=True)
        return self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server calls it so
        """Keep still; what matters is printed."""


def main() -> None:
    """Read the options, pull what was missed, and receive until interrupted."""
    parser = argparse.ArgumentParser(description="Take CROWDMANAGER's pushes for one organisation.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=9002, help="the port to listen on; 0 takes a free one")
    parser.add_argument(
        "--api", required=True, help="the base of the organisation's API, https://…/v2/{organization-id}"
    )
    parser.add_argument("--key", required=True, help="the organisation's API key")
    parser.add_argument("--database", default="crowdmanager.db", help="the file to keep everything in")
    options = parser.parse_args()
    copy, api = Copy(options.database), Api(options.api, options.key)
    for subscription, cursor in copy.subscriptions().items():
        try:
            pull(api, copy, subscription, cursor)
        except URLError as error:
            print(f"subscription {subscription}: could not be pulled: {error}", flush=True)
    with Receiver(options, copy, api) as receiver:
        print(f"receiving on http://{options.host}:{receiver.server_port}/", flush=True)
        receiver.serve_forever()


if __name__ == "__main__":
    main()
