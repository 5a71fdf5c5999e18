"""Say why a command failed, in three lines: what happened, why, what to do. Finding out is the commands' business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from angarium.cli.client import ApiProblem, Unreachable
from angarium.errors import (
    AngariumError,
    FieldError,
    ListenFailed,
    SecretKeyWrong,
    SettingsWrong,
    StoreAway,
    StoreDamaged,
    StoreInUse,
    StoreUnfinished,
    StoreWrong,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED = 1
MISUSED = 2
INTERRUPTED = 130


class Failure(AngariumError):
    """A command's end without success. `code` is from a closed set that `--json` shows; `exit_code` is not 0."""

    def __init__(
        self,
        what: str,
        *,
        why: str,
        fix: str,
        code: str = "failed",
        exit_code: int = FAILED,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{what}: {why}; {fix}")
        self.what, self.why, self.fix = what, why, fix
        self.code = code
        self.exit_code = exit_code
        self.details = details or {}

    def lines(self) -> Sequence[str]:
        """Return what is shown to people."""
        return (f"error: {self.what}", f"  why: {self.why}", f"  fix: {self.fix}")

    def document(self) -> dict[str, Any]:
        """Return what is shown to programs."""
        error = {"code": self.code, "what": self.what, "why": self.why, "fix": self.fix, **self.details}
        return {"error": error}


def as_failure(error: Exception) -> Failure:
    """Return any exception as a failure with advice."""
    match error:
        case Failure():
            return error
        case ApiProblem():
            return _problem(error)
        case Unreachable():
            return _unreachable(error)
        case FieldError():
            return Failure(
                f"{error.field or 'the input'} is wrong", why=error.detail, fix="correct it", code="bad_input"
            )
        case SettingsWrong():
            return Failure(
                "the settings are wrong", why=str(error), fix="correct them", code="bad_settings", exit_code=MISUSED
            )
        case AngariumError():
            what, fix, code = _SERVING.get(type(error), ("this could not be done", "see why; then try again", "failed"))
            return Failure(what, why=str(error), fix=fix, code=code)
        case OSError():
            why = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
            return Failure("the system refused", why=why, fix="check the path, the port and the permissions", code="os")
        case _:
            return _unexpected(error)


_SERVING = {
    StoreInUse: ("another process has the store", "stop it, or start with --store sqlite:///other.db", "store_in_use"),
    StoreAway: ("the store cannot be had", "find out what is wrong with it: angarium doctor", "store_away"),
    StoreDamaged: ("the store is damaged", "put a copy of the file back; nothing was changed in it", "store_damaged"),
    StoreWrong: (
        "this is no store of this version",
        "name another with --store, or do what is said above",
        "store_wrong",
    ),
    StoreUnfinished: ("the store is an unfinished copy", "go on with angarium store copy", "store_unfinished"),
    SecretKeyWrong: ("the secret key does not fit", "give the key that the store was made with", "secret_key"),
    ListenFailed: ("the address cannot be listened on", "free it, or name another with --listen", "listen"),
}


def _unexpected(error: Exception) -> Failure:
    return Failure(
        "angarium has a fault here",
        why=f"{type(error).__name__}: {error}",
        fix="run it again with --debug, and report the traceback that it shows",
        code="fault",
    )


def _unreachable(error: Unreachable) -> Failure:
    return Failure(
        f"no answer from {error.url}",
        why=error.reason,
        fix="start it with: angarium serve; or name another with --url or ANGARIUM_URL",
        code="unreachable",
    )


_ADVICE = {
    400: ("malformed", "correct the request; see --help"),
    401: ("unauthorized", "give a valid key with --key or ANGARIUM_API_KEY; make one with: angarium keys create"),
    403: ("forbidden", "use a key with a wider scope: angarium keys create --scope manage"),
    404: ("not_found", "check the id and --project; see what there is with the list command"),
    409: ("conflict", "look at its present state with the show command"),
    410: ("gone", "start again without a cursor"),
    413: ("too_large", "send less at once: an event has at most 256 KiB, a request 8 MiB"),
    422: ("invalid", "correct what is named; see --help"),
    429: ("throttled", "wait and try again, or publish more slowly with --rate"),
    503: ("unavailable", "try again in a moment; ask the server with: angarium doctor"),
}


def _problem(error: ApiProblem) -> Failure:
    code, fix = _ADVICE.get(
        error.status, ("server_error", "look at the server's log, and ask it with: angarium doctor")
    )
    faults = "; ".join(f"{fault.get('field', '')}: {fault.get('detail', '')}" for fault in error.errors)
    request = f" (request {error.request_id})" if error.request_id else ""
    return Failure(
        f"{error.method} {error.path} was answered {error.status}{request}",
        why=faults or error.detail or error.title,
        fix=fix,
        code=code,
        details={"status": error.status, "errors": error.errors, "request_id": error.request_id},
    )
