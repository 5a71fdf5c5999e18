from __future__ import annotations

import pytest

from angarium.cli.client import ApiProblem, Reply, Unreachable
from angarium.cli.failing import Failure, as_failure
from angarium.errors import (
    AngariumError,
    FieldError,
    NotFound,
    SettingsWrong,
    StoreAway,
    StoreDamaged,
    StoreInUse,
    StoreWrong,
)


def _problem(status: int, body: bytes = b"{}") -> ApiProblem:
    return ApiProblem("GET", "/v1/x", Reply(status, {"x-request-id": "req-7"}, body))


@pytest.mark.parametrize(
    ("error", "code", "exit_code", "advice"),
    [
        (Failure("a", why="b", fix="c", code="d", exit_code=7), "d", 7, "c"),
        (Unreachable("http://x", "connection refused"), "unreachable", 1, "angarium serve"),
        (FieldError("--rate", "is none"), "bad_input", 1, "correct it"),
        (SettingsWrong("ANGARIUM_X is unknown"), "bad_settings", 2, "correct them"),
        (NotFound("nothing"), "failed", 1, "try again"),
        (FileNotFoundError(2, "No such file or directory", "x.json"), "os", 1, "path"),
        (RuntimeError("oops"), "fault", 1, "--debug"),
        *((_problem(400), "malformed", 1, "--help"), (_problem(401), "unauthorized", 1, "ANGARIUM_API_KEY")),
        *((_problem(403), "forbidden", 1, "scope"), (_problem(404), "not_found", 1, "--project")),
        *((_problem(413), "too_large", 1, "256 KiB"), (_problem(422), "invalid", 1, "correct")),
        *((_problem(429), "throttled", 1, "--rate"), (_problem(503), "unavailable", 1, "try again")),
        *((_problem(500), "server_error", 1, "log"), (_problem(418), "server_error", 1, "log")),
    ],
)
def test_every_error_has_a_code_and_advice(error: Exception, code: str, exit_code: int, advice: str) -> None:
    failure = as_failure(error)
    assert (failure.code, failure.exit_code) == (code, exit_code)
    assert advice in failure.fix


def test_a_problem_s_fields_are_why() -> None:
    body = (
        b'{"detail": "two fields are wrong", "errors": [{"field": "url", "detail": "is denied"}, {"field": "types"}]}'
    )
    failure = as_failure(_problem(422, body))
    assert failure.what == "GET /v1/x was answered 422 (request req-7)"
    assert failure.why == "url: is denied; types: "
    assert failure.document()["error"]["request_id"] == "req-7"
    assert failure.document()["error"]["errors"][0] == {"field": "url", "detail": "is denied"}


@pytest.mark.parametrize(
    ("error", "code", "what"),
    [
        (StoreInUse("angarium.db is in use by process 7"), "store_in_use", "another process has the store"),
        (StoreDamaged("page 3 is not as it was written"), "store_damaged", "the store is damaged"),
        (StoreWrong("it is newer"), "store_wrong", "this is no store of this version"),
        (StoreAway("the disk is full"), "store_away", "the store cannot be had"),
    ],
)
def test_what_keeps_a_server_from_starting_says_what_to_do(error: AngariumError, code: str, what: str) -> None:
    failure = as_failure(error)
    assert (failure.what, failure.why, failure.code) == (what, str(error), code)
    assert failure.fix
