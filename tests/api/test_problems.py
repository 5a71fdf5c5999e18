"""Problems: the right status for each of our errors, what a client may do about it, and nothing of our own faults."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from angarium import errors
from angarium.api import problems
from angarium.errors import AngariumError

NOT_OVER_HTTP = {errors.ListenFailed, errors.SecretKeyWrong, errors.SettingsWrong, errors.StoreInUse, errors.StoreWrong}


def test_each_error_that_a_request_can_meet_has_its_status() -> None:
    family = {kind for kind in AngariumError.__subclasses__() if kind.__module__ == errors.__name__}
    assert family - NOT_OVER_HTTP == set(problems.STATUS)


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (errors.Unauthorized("no key"), 401, ("www-authenticate", "Bearer")),
        (errors.RateExceeded("too fast", retry_after_s=7), 429, ("retry-after", "7")),
        (errors.Busy("full", retry_after_s=1), 503, ("retry-after", "1")),
        (errors.StoreAway("the disk is full"), 503, ("retry-after", "2")),
    ],
)
def test_a_client_is_told_what_to_do(error: AngariumError, status: int, header: tuple[str, str]) -> None:
    reply = problems.problem(error)
    assert reply.status == status
    assert header in reply.headers
    assert ("content-type", "application/problem+json") in reply.headers


def test_a_field_at_fault_is_named() -> None:
    reply = problems.problem(errors.FieldError("events[2].object_id", "is missing"))
    assert json.loads(reply.body) == {
        "type": "about:blank",
        "title": HTTPStatus(422).phrase,
        "status": 422,
        "detail": "events[2].object_id: is missing",
        "errors": [{"field": "events[2].object_id", "detail": "is missing"}],
    }


def test_a_fault_of_ours_tells_nothing_of_itself() -> None:
    reply = problems.problem(RuntimeError("secret thing"))
    assert reply.status == 500
    assert b"secret" not in reply.body
