"""Take the callbacks of a SalesKing app: check each `signed_request`, and keep the objects that it tells of.

    python receiver.py --port 9003 --secret APP_SECRET

What the document asks for, and where it is done here:

- the request has one parameter, `signed_request`: signature, dot, base64 URL encoded JSON: `opened`
- decode it with the app's secret, and believe it only when it is valid: `opened` returns None otherwise
- the payload does not name its channel, so each channel's subscription has a callback url of its own:
  subscribe `client.create` with the url `…/client.create`, and so on: `Handler.do_POST` reads the channel from the path

Everything is in the standard library of Python 3.11.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TABLE = (
    "CREATE TABLE IF NOT EXISTS object (company TEXT, kind TEXT, id TEXT, body TEXT, PRIMARY KEY (company, kind, id))"
)


def opened(signed_request: str, secret: str) -> dict[str, Any] | None:
    """Return the data of a `signed_request`; None when it was not signed with this app's secret.

    As the SDK's `SignedRequest` does: the first part is the lower-case hex HMAC-SHA256 of the second part's text.
    """
    signature, dot, payload = signed_request.partition(".")
    expected = hmac.new(secret.encode(), payload.encode(), "sha256").hexdigest()
    if not dot or not hmac.compare_digest(signature.encode(), expected.encode()):
        return None
    data: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return data if str(data.get("algorithm")).upper() == "HMAC-SHA256" else None


class Copy:
    """The objects as they were last told of, per company."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute(TABLE)

    def keep(self, company: str, kind: str, body: dict[str, Any], *, is_gone: bool) -> None:
        """Keep an object, or remove it; a repeated call changes nothing."""
        key = (company, kind, str(body["id"]))
        with self._lock, self._database as database:
            if is_gone:
                database.execute("DELETE FROM object WHERE company = ? AND kind = ? AND id = ?", key)
            else:
                database.execute("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?)", (*key, json.dumps(body)))


class Receiver(ThreadingHTTPServer):
    """The server that an app's callback urls lead to."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__((options.host, options.port), Handler)
        self.copy, self.secret = Copy(options.database), options.secret


class Handler(BaseHTTPRequestHandler):
    """One connection; what comes is believed or not, kept, and answered."""

    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        """Take what happened on the channel that the path ends with."""
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        channel = urlsplit(self.path).path.rpartition("/")[2]
        kind, _, action = channel.partition(".")
        try:
            data = opened(form["signed_request"][0], self.server.secret)
            if data is None:
                print("refused: the signed_request is not valid", flush=True)
                return self._answer(403)
            body = data["obj"][kind]
            self.server.copy.keep(data["company_id"], kind, body, is_gone=action == "delete")
        except (ValueError, TypeError, KeyError):
            return self._answer(400)
        print(f"{channel}: {json.dumps(body)}, seen by user {data['user_id']}", flush=True)
        return self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server calls it so
        """Keep still; what matters is printed."""


def main() -> None:
    """Read the options and receive until interrupted."""
    parser = argparse.ArgumentParser(description="Take the callbacks of a SalesKing app.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=9003, help="the port to listen on; 0 takes a free one")
    parser.add_argument("--secret", required=True, help="the app's secret")
    parser.add_argument("--database", default="salesking.db", help="the file to keep everything in")
    with Receiver(parser.parse_args()) as receiver:
        print(f"receiving on http://{receiver.server_name}:{receiver.server_port}/", flush=True)
        receiver.serve_forever()


if __name__ == "__main__":
    main()
