"""Register for notifications of a dashboard service, and take what it invokes.

    python receiver.py --port 9004 --service https://dashboards.example --country NO --event REGISTER --event INVOKE

What the document says, and where it is done here:

- send a POST with url, country and event; the answer holds the notification's id: `register`
- view all notifications: `registered` looks whether ours is there already, so that a restart does not double it
- whenever the event happens, the url is invoked: `Handler.do_POST`, for ids that are ours

Everything is in the standard library of Python 3.11.
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

EVENTS = ("REGISTER", "CHANGE", "DELETE", "INVOKE")


def register(notifications: str, *, url: str, country: str, event: str) -> str:
    """Subscribe to an event; return the id of the notification."""
    body = json.dumps({"url": url, "country": country, "event": event}).encode()
    made = _answer_of(Request(notifications, body, {"Content-Type": "application/json"}))
    return str(made["id"])


def registered(notifications: str, *, url: str, country: str) -> dict[str, str]:
    """Return the ids of what was registered before with this address and country, by event."""
    found = _answer_of(Request(notifications))
    return {
        notification["event"]: notification["id"]
        for notification in found
        if notification["url"] == url and notification.get("country", "") == country
    }


def _answer_of(request: Request) -> Any:
    with urlopen(request, timeout=30) as response:
        return json.load(response)


class Receiver(ThreadingHTTPServer):
    """The server that is invoked; `ids` are those of our notifications."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__((options.host, options.port), Handler)
        self.ids: set[str] = set()

    def register(self, options: argparse.Namespace) -> None:
        """Register what is not registered yet."""
        notifications = f"{options.service.rstrip('/')}/dashboard/v1/notifications"
        url = options.url or f"http://{options.host}:{self.server_port}/"
        before = registered(notifications, url=url, country=options.country)
        for event in options.event or EVENTS:
            id_ = before.get(event) or register(notifications, url=url, country=options.country, event=event)
            self.ids.add(id_)
            print(f"{event} in {options.country or 'all countries'} is notification {id_}", flush=True)


class Handler(BaseHTTPRequestHandler):
    """One connection; each invocation is four strings."""

    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        """Take an invocation."""
        try:
            invocation = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            id_, event = invocation["id"], invocation["event"]
            country, time = invocation["country"], invocation["time"]
        except (ValueError, TypeError, KeyError):
            return self._answer(400)
        if id_ not in self.server.ids:
            print(f"refused: notification {id_} is not ours", flush=True)
            return self._answer(404)
        print(f"{event} in {country or 'no country'} at {time}, by notification {id_}", flush=True)
        return self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server calls it so
        """Keep still; what matters is printed."""


def main() -> None:
    """Read the options, register, and receive until interrupted."""
    parser = argparse.ArgumentParser(description="Take the notifications of a dashboard service.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=9004, help="the port to listen on; 0 takes a free one")
    parser.add_argument("--url", default="", help="our address as the service reaches it, where it is another one")
    parser.add_argument("--service", required=True, help="the service's url")
    parser.add_argument("--country", default="", help="a country code in upper case; left out: all countries")
    parser.add_argument(
        "--event", action="append", choices=EVENTS, help="an event to register for; repeat; default all"
    )
    options = parser.parse_args()
    with Receiver(options) as receiver:
        receiver.register(options)
        print(f"receiving on http://{options.host}:{receiver.server_port}/", flush=True)
        receiver.serve_forever()


if __name__ == "__main__":
    main()
