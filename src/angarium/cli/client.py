"""Speak to the HTTP API over one kept connection. What is asked for, and how it is shown, is the commands' business."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

from angarium.errors import AngariumError, FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

JSON = "application/json"
NDJSON = "application/x-ndjson"

_REPEATS_MAX = 5
_PAUSE_MAX_S = 10.0
_OK = range(200, 300)


class ApiProblem(AngariumError):
    """The server answered other than 2xx, with `application/problem+json` where it could."""

    def __init__(self, method: str, path: str, reply: Reply) -> None:
        document = reply.problem()
        self.method, self.path, self.status = method, path, reply.status
        self.title = str(document.get("title", ""))
        self.detail = str(document.get("detail", "")) or reply.body[:200].decode(errors="replace")
        self.errors: list[dict[str, Any]] = [fault for fault in document.get("errors", []) if isinstance(fault, dict)]
        self.request_id = reply.headers.get("x-request-id")
        super().__init__(f"{method} {path}: {reply.status} {self.title} {self.detail}".strip())


class Unreachable(AngariumError):
    """No whole answer came from the server."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.url, self.reason = url, reason


class Reply(NamedTuple):
    """What the server answered; header names in lower case, the body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def value(self) -> Any:  # noqa: ANN401  JSON
        """The body, parsed; None when there is none."""
        return json.loads(self.body) if self.body else None

    def problem(self) -> dict[str, Any]:
        """Return the problem document, empty where the body is none."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


class ApiClient:
    """Ask one server, with one key."""

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 30) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise FieldError("url", f"{url!r} is no server's address; write it as http://127.0.0.1:8080")
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self.url = url.rstrip("/")
        self._connection = connect(parts.hostname, parts.port, timeout=timeout_s)
        self._prefix = parts.path.rstrip("/")
        self._key = key
        self._is_used = False
        self._is_known = False  # A server has answered here, and so may come back.

    def __enter__(self) -> Self:
        """Return the client itself, to be closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, path: str, **query: object) -> Reply:
        """Get a resource; members of `query` that are None are left out."""
        return self.request("GET", with_query(path, query))

    def send(self, method: str, path: str, document: object = None) -> Reply:
        """Send a JSON document, or nothing."""
        body = b"" if document is None else json.dumps(document, ensure_ascii=False).encode()
        return self.request(method, path, body=body, content_type=JSON if body else None)

    def publish(self, path: str, body: bytes, *, content_type: str, key: str) -> Reply:
        """Post events, and again as long as nobody knows whether they arrived: the idempotency key makes that safe."""
        headers = {"idempotency-key": key}
        for pause_s in _pauses():
            try:
                return self.request("POST", path, body=body, content_type=content_type, headers=headers)
            except ApiProblem as problem:
                if problem.status not in {409, 503}:
                    raise
            except Unreachable as unreachable:
                if "refused" in unreachable.reason and not self._is_known:  # Nothing listens there: waiting hides it.
                    raise
            time.sleep(pause_s)
        return self.request("POST", path, body=body, content_type=content_type, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make one request; `ApiProblem` for any answer but 2xx, `Unreachable` for none."""
        whole = {"accept": f"{JSON}, application/problem+json", **(headers or {})}
        if self._key:
            whole["authorization"] = f"Bearer {self._key}"
        if content_type:
            whole["content-type"] = content_type
        reply = self._exchange(method, path, body, whole)
        self._is_known = True
        if reply.status not in _OK:
            raise ApiProblem(method, path, reply)
        return reply

    def _exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        was_used, self._is_used = self._is_used, True
        try:
            return self._attempt(method, path, body, headers)
        except (OSError, HTTPException) as error:
            self._connection.close()
            # A kept connection may have been closed meanwhile; what only reads can be asked for again.
            if was_used and method == "GET" and not isinstance(error, TimeoutError):
                self._is_used = False
                return self._exchange(method, path, body, headers)
            raise Unreachable(self.url, _reason(error)) from error
        except KeyboardInterrupt:
            self._connection.close()  # Half an exchange is on it; what is said at the end needs another.
            raise

    def _attempt(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        self._connection.request(method, self._prefix + path, body=body or None, headers=dict(headers))
        response = self._connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, fields, response.read())


def with_query(path: str, query: Mapping[str, object]) -> str:
    """Return a path with its query; members that are None are left out."""
    given = {name.rstrip("_"): value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def segment(text: str) -> str:
    """Return text as one segment of a path."""
    return quote(text, safe="")


def _pauses() -> Iterator[float]:
    return (min(0.5 * 2**number, _PAUSE_MAX_S) for number in range(_REPEATS_MAX))


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return f"it broke off or does not speak HTTP ({type(error).__name__})"
