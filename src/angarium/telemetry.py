"""Say what happens: one wide event per happening, under a name that is declared here with its fields.

A name is `noun.past_verb`. What is emitted below the level in force costs a comparison. Secrets, bodies and keys are no
fields; bytes show as their length and digest. Numbers for `/metrics` are the engine's and the API's own.

Everything may import this module, so it loads structlog only when something is to be written.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import traceback
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from structlog.typing import Processor

DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
_OFF: Final = 100

LEVELS: Final = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
_WORDS: Final = {number: word for word, number in LEVELS.items()}


class Happening(NamedTuple):
    """What may happen: its name, how loud it is unless said otherwise, a sentence, and the fields that it may carry."""

    name: str
    level: int
    sentence: str
    fields: frozenset[str]


HAPPENINGS: Final[dict[str, Happening]] = {}


def _declare(name: str, level: int, sentence: str, fields: str) -> Happening:
    happening = Happening(name, level, sentence, frozenset(fields.split()))
    assert name not in HAPPENINGS, f"{name} is declared twice"
    HAPPENINGS[name] = happening
    return happening


# -- what may happen ---------------------------------------------------------------------------------------------------

SERVER_STARTED = _declare("server.started", INFO, "The server answers.", "url role store version took_ms")
SERVER_STOPPED = _declare("server.stopped", INFO, "The server has let go of everything.", "reason took_ms")
REQUEST_FAILED = _declare(
    "request.failed", ERROR, "A request met a fault of ours and got a 500.", "request_id method path error"
)
PUBLISH_ACCEPTED = _declare(
    "publish.accepted", DEBUG, "Events are on disk.", "project tenant events matched is_replay took_ms"
)
PUBLISH_REFUSED = _declare("publish.refused", DEBUG, "A publish was not accepted.", "project status detail request_id")
DELIVERY_ATTEMPTED = _declare(
    "delivery.attempted",
    DEBUG,
    "A delivery was sent once; louder when it failed.",
    "delivery subscription project tenant dialect attempt events status reason detail took_ms body_bytes verdict"
    " next_ms origin",
)
DELIVERY_EXHAUSTED = _declare(
    "delivery.exhausted",
    WARNING,
    "A delivery, or a range of what was never sent, was given up.",
    "delivery subscription project tenant attempts events status reason",
)
SUBSCRIPTION_CHANGED = _declare(
    "subscription.changed", INFO, "A subscription was made or changed.", "subscription project tenant status by"
)
SUBSCRIPTION_DISABLED = _declare(
    "subscription.disabled", WARNING, "We disabled a subscription.", "subscription project tenant reason status"
)
SUBSCRIPTION_DELETED = _declare(
    "subscription.deleted", INFO, "A subscription was deleted.", "subscription project tenant by"
)
LANE_FAILED = _declare(
    "lane.failed",
    WARNING,
    "A lane's receiver keeps failing; its breaker has closed in.",
    "subscription project tenant failures reason status error",
)
LANE_RECOVERED = _declare(
    "lane.recovered", INFO, "A failing lane's receiver is back.", "subscription project tenant failing_s backlog"
)
ENGINE_STARTED = _declare("engine.started", INFO, "The log is read again.", "entries opens behind took_ms")
ENGINE_STOPPED = _declare("engine.stopped", INFO, "Nothing more is sent.", "on_wire took_ms")
ENGINE_FAILED = _declare(
    "engine.failed", ERROR, "A part of the engine met a fault of ours.", "part subscription partition error"
)
PARTITIONS_CLAIMED = _declare(
    "partitions.claimed", INFO, "Partitions are served here now.", "partitions opens behind took_ms"
)
PARTITIONS_RELEASED = _declare(
    "partitions.released", INFO, "Partitions were left to other workers.", "partitions took_ms"
)
PARTITIONS_DROPPED = _declare(
    "partitions.dropped",
    WARNING,
    "All partitions were lost at once: nothing is sent until some are claimed anew.",
    "partitions",
)
SENDER_FAILED = _declare("sender.failed", ERROR, "The sender met a fault of ours.", "part error")
STORE_FAILED = _declare("store.failed", ERROR, "The store could not write or read.", "operation detail error pause_ms")
STORE_RECOVERED = _declare("store.recovered", INFO, "The store works again.", "operation away_ms")
JOB_STARTED = _declare("job.started", INFO, "A replay or resync runs.", "job kind project tenant subscription")
JOB_FINISHED = _declare(
    "job.finished", INFO, "A replay or resync has come to its end.", "job kind state total done failed skipped detail"
)
LOG_RETAINED = _declare("log.retained", INFO, "Retention has dropped what was old.", "rows before_ms took_ms")
KEY_MADE = _declare("key.made", INFO, "An API key was made.", "id scope project tenant")
KEY_DELETED = _declare("key.deleted", INFO, "An API key was deleted.", "id scope project tenant")
APP_CHANGED = _declare("app.changed", INFO, "An app was made, or its secret was rotated.", "app project by")
APP_DELETED = _declare("app.deleted", INFO, "An app was deleted with all its grants.", "app project by")
GRANT_CHANGED = _declare(
    "grant.changed", INFO, "A grant was made, fetched by its app, or changed.", "grant app project tenant by"
)
GRANT_REVOKED = _declare(
    "grant.revoked", INFO, "A grant ended, and its subscriptions with it.", "grant app project tenant reason by"
)
PROJECT_CHANGED = _declare("project.changed", INFO, "A project was made, replaced or deleted.", "project dialect by")
LIBRARY_WARNED = _declare("library.warned", WARNING, "A library has something to say.", "library detail error")


class Histogram:
    """Count how long something took, in seconds, by bounds that suit requests."""

    BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

    def __init__(self) -> None:
        self._counts = [0] * (len(self.BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one more."""
        self._counts[bisect_left(self.BOUNDS, seconds)] += 1
        self.total += seconds

    def cumulated(self) -> Sequence[tuple[str, int]]:
        """Return how many took at most so long, for each bound and for all, as Prometheus wants them."""
        labels = [*map(str, self.BOUNDS), "+Inf"]
        return list(zip(labels, accumulate(self._counts), strict=True))


# -- saying so ---------------------------------------------------------------------------------------------------------


class _Voice:
    """Where happenings go; silent until `configure`."""

    threshold: int = _OFF
    say: Callable[[str, dict[str, Any]], None]


_voice = _Voice()


def is_said(happening: Happening, *, level: int | None = None) -> bool:
    """Say whether emitting this would show; for callers whose fields cost something."""
    return (level or happening.level) >= _voice.threshold


def emit(happening: Happening, /, *, level: int | None = None, **fields: object) -> None:
    """Write one happening with its fields, unless it is below the level in force. Never raises."""
    level = level or happening.level
    if level < _voice.threshold:
        return
    _voice.say(happening.name, {"level": _WORDS.get(level, "info"), **fields})


def configure(*, level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Write happenings of this level and above to a stream (standard error): as `json`, `console` or `auto`.

    `auto` is console on a terminal, else JSON, one object a line. What libraries log as a warning or worse goes there
    as well.
    """
    stream = stream or sys.stderr
    as_json = form == "json" or (form == "auto" and not stream.isatty())
    _voice.say = _speaker(stream, as_json=as_json)
    _voice.threshold = LEVELS[level]
    root = logging.getLogger()
    root.handlers = [*(handler for handler in root.handlers if not isinstance(handler, _Listener)), _Listener()]


def silence() -> None:
    """Write nothing any more."""
    _voice.threshold = _OFF
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _Listener)]


class _Listener(logging.Handler):
    """Take what libraries log for our own voice."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        emit(LIBRARY_WARNED, level=record.levelno, library=record.name, detail=record.getMessage(), error=error)


def _speaker(stream: TextIO, *, as_json: bool) -> Callable[[str, dict[str, Any]], None]:
    import structlog  # noqa: PLC0415  takes 0.2 s to load, which client commands do without

    processors: list[Processor] = [structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"), _plain]
    if as_json:
        processors.append(structlog.processors.JSONRenderer(ensure_ascii=False, default=str))
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="at"))
    log = structlog.wrap_logger(structlog.PrintLogger(stream), processors=processors)

    def say(name: str, fields: dict[str, Any]) -> None:
        try:
            log.info(name, **fields)
        except (OSError, ValueError):
            return  # The stream is gone; delivering goes on.

    return say


def _plain(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put when and what first, leave out what is absent, show bytes as length and digest, errors with their place."""
    first = {name: fields[name] for name in ("at", "level", "event")}
    return first | {name: _shown(value) for name, value in fields.items() if value is not None}


def _shown(value: object) -> object:
    match value:
        case bytes():
            return f"<{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:12]}>"
        case BaseException():
            return "".join(traceback.format_exception(value)).rstrip()
        case _:
            return value
