"""Hold what a request in each dialect has to look like, and what is said where it does not."""

from __future__ import annotations

import json
from hmac import digest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.checking import DIALECTS, Checked, Expected, Found, check, recognise
from angarium.core.verifying import Fault, Problem, Verified
from angarium.dialects.salesking import sign_request
from tests.core.test_verifying import BODY as STANDARD
from tests.core.test_verifying import NOW_S, WHSEC, headers

# The founding documents' own examples.
MESSAGE: dict[str, Any] = {
    "action": "update",
    "model": "item",
    "model_id": 49,
    "job_id": 28428,
    "resync": False,
    "station_id": 1,
    "user_id": 1,
    "api_id": None,
}
CHANGES: list[dict[str, Any]] = [
    {"action": "import", "object": "institute", "id": 234234, "url": "http://api.springest.nl/institutes/234234"},
    {"action": "update", "object": "training", "id": 345345, "url": "http://api.springest.nl/trainings/345345"},
    {"action": "destroy", "object": "training", "id": 34534},
]
INVOCATION = {"id": "17388271632813271", "country": "NO", "event": "REGISTER", "time": "20240223 06:23"}
PUSH_ITEM: dict[str, Any] = {
    "operation": "add",
    "path": "https://api.crowdmanager.io/v2/7/customerprofiles/1",
    "eventTime": "2026-11-22T08:59:58Z",
    "value": '{"displayName":"Ada"}',
    "contentType": "CustomerProfile",
}
LATER = {**PUSH_ITEM, "operation": "remove", "eventTime": "2026-11-22T08:59:58.001Z", "value": None}


def look(document: object, expected: Expected = Expected(), **headers: str) -> Found:  # noqa: B008  frozen
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return check(body, {name.replace("_", "-"): text for name, text in headers.items()}, expected, now_s=NOW_S)


def fault(found: Found) -> Fault | None:
    return found.fault if isinstance(found, Problem) else None


@pytest.mark.parametrize(
    ("document", "dialect"),
    [
        (MESSAGE, "radiomanager"),
        ([PUSH_ITEM, LATER], "crowdmanager"),
        ({"changes": CHANGES}, "springest"),
        (INVOCATION, "dashboard"),
        (b"signed_request=" + sign_request(b"s", b'{"algorithm":"HMAC-SHA256"}'), "salesking"),
    ],
)
def test_each_system_s_requests_are_recognised_and_in_form_and_unproven_without_a_secret(
    document: object, dialect: str
) -> None:
    assert look(document) == Checked(dialect, ("form",), is_proven=False)


def test_standard_webhooks_are_verified_as_ever() -> None:
    assert recognise(STANDARD, headers()) == "standard"
    found = check(STANDARD, headers(), Expected(secrets=(WHSEC,)), now_s=NOW_S)
    assert isinstance(found, Verified)
    assert fault(look({"id": "evt_1"})) == Fault.MISSING_HEADER


@pytest.mark.parametrize("dialect", ["radiomanager", "crowdmanager", "springest", "dashboard"])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"null", b"[]", b"{}", b"7"])
def test_what_is_no_such_body_is_bad_form(dialect: str, body: bytes) -> None:
    assert fault(look(body, Expected(dialect))) == Fault.BAD_FORM


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["add", "update", "destroy"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MESSAGE, *PUSH_ITEM]), inner),
    max_leaves=10,
)
CHANGED = st.tuples(
    st.sampled_from([MESSAGE, PUSH_ITEM, INVOCATION, *CHANGES]), st.dictionaries(st.sampled_from([*MESSAGE]), JSON)
).map(lambda parts: {**parts[0], **parts[1]})
DOCUMENTS = st.one_of(JSON, CHANGED, st.lists(CHANGED), st.builds(dict, changes=st.lists(CHANGED)))
BODIES = st.one_of(st.binary(), DOCUMENTS.map(lambda document: json.dumps(document).encode()))


@given(
    body=st.one_of(BODIES, st.binary().map(lambda text: b"signed_request=" + text)),
    headers=st.dictionaries(st.sampled_from(["api-key", "content-type", "x-radiomanager-signature"]), st.text()),
    dialect=st.sampled_from(["", *DIALECTS]),
    secrets=st.sampled_from([(), ("s",), ("s", "ü")]),
    api_key=st.sampled_from(["", "abc"]),
)
def test_whatever_comes_is_told_right_or_wrong(
    body: bytes, headers: dict[str, str], dialect: str, secrets: tuple[str, ...], api_key: str
) -> None:
    found = check(body, headers, Expected(dialect, secrets, api_key, "1"), now_s=NOW_S)
    assert isinstance(found, Problem | Checked)


# -- RadioManager ------------------------------------------------------------------------------------------------------


def test_a_message_is_proven_by_its_key_its_hmac_and_its_station() -> None:
    body = json.dumps(MESSAGE).encode()
    mac = digest(b"s3cret", body, "sha256").hex()
    expected = Expected("radiomanager", ("s3cret",), "abc", "1")
    found = look(body, expected, Api_Key="abc", X_RadioManager_Signature=mac)
    assert found == Checked("radiomanager", ("form", "api key", "signature", "station"), is_proven=True)
    assert look(body, Expected(api_key="abc"), api_key="abc") == Checked(
        "radiomanager", ("form", "api key"), is_proven=True
    )


@pytest.mark.parametrize(
    ("expected", "wrong"),
    [
        (Expected(api_key="other"), Fault.WRONG_KEY),
        (Expected(api_key="abc", secrets=("s",)), Fault.MISSING_HEADER),
        (Expected(api_key="abc", station="2"), Fault.OTHER_TENANT),
        (Expected(api_key="abc", api_key_header="X-Key"), Fault.MISSING_HEADER),
    ],
)
def test_a_message_for_another_receiver_is_told(expected: Expected, wrong: Fault) -> None:
    assert fault(look(MESSAGE, expected, api_key="abc")) == wrong


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"action": "created"}, 'action of the body is "created"'),
        ({"job_id": "28428"}, "job_id"),
        ({"resync": 0}, "resync"),
        ({"model": None}, "model"),
        ({"user_id": 1.5}, "user_id"),
        ({"model_id": True}, "model_id"),
    ],
)
def test_a_wrong_member_of_a_message_is_named(changes: dict[str, Any], said: str) -> None:
    found = look({**MESSAGE, **changes})
    assert isinstance(found, Problem)
    assert (found.fault, said in found.detail) == (Fault.BAD_FORM, True)


@pytest.mark.parametrize("name", MESSAGE)
def test_a_message_has_all_eight_members(name: str) -> None:
    found = look({member: value for member, value in MESSAGE.items() if member != name}, Expected("radiomanager"))
    assert isinstance(found, Problem)
    assert f"has no {name}" in found.detail


# -- SalesKing ---------------------------------------------------------------------------------------------------------


def _signed(document: object, secret: str = "app-secret") -> bytes:
    return b"signed_request=" + sign_request(secret.encode(), json.dumps(document).encode())


@pytest.mark.parametrize(
    ("issued_at", "wrong"),
    [
        ("2027-01-15T08:00:00Z", None),
        ("2027-01-15T07:55:00Z", None),
        ("2027-01-15T07:54:59Z", Fault.STALE),
        ("2027-01-15T08:05:01Z", Fault.FUTURE),
        (None, None),
    ],
)
def test_a_signed_request_is_proven_by_its_hmac_while_it_is_fresh(issued_at: str | None, wrong: Fault | None) -> None:
    document = {"issued_at": issued_at, "algorithm": "HMAC-SHA256"}
    body = _signed(document)
    found = check(body, {}, Expected(secrets=("app-secret",)), now_s=1_800_000_000)
    assert fault(found) == wrong
    assert wrong or found == Checked("salesking", ("form", "signature", "algorithm"), is_proven=True)


def test_a_signed_request_under_another_secret_is_told() -> None:
    found = look(_signed({"algorithm": "HMAC-SHA256"}), Expected(secrets=("other",)))
    assert fault(found) == Fault.WRONG_SECRET
    assert fault(look(b"signed_request=x", Expected("salesking"))) == Fault.BAD_FORM


# -- those without a proof ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([LATER, PUSH_ITEM], "push item 2 is not after"),
        ([PUSH_ITEM, PUSH_ITEM], "push item 2 is not after"),
        ([{**PUSH_ITEM, "operation": "delete"}], "operation of push item 1"),
        ([PUSH_ITEM, {**LATER, "eventTime": "yesterday"}], "eventTime of push item 2"),
        ([{**PUSH_ITEM, "value": 7}], "value of push item 1"),
        ([PUSH_ITEM, "x"], "push item 2 is no object"),
    ],
)
def test_a_wrong_push_item_is_named(items: list[Any], said: str) -> None:
    found = look(items, Expected("crowdmanager"))
    assert isinstance(found, Problem)
    assert (found.fault, said in found.detail) == (Fault.BAD_FORM, True)


def test_a_push_in_the_obsolete_charset_is_read_in_it() -> None:
    body = json.dumps([{**PUSH_ITEM, "value": '"Łódź"'}], ensure_ascii=False).encode("iso-8859-2")
    found = look(body, Expected("crowdmanager"), content_type="application/json; charset=iso-8859-2")
    assert found == Checked("crowdmanager", ("form",), is_proven=False)
    assert fault(look(body, Expected("crowdmanager"))) == Fault.BAD_FORM


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({**CHANGES[1], "action": "create"}, "action of change 1"),
        ({**CHANGES[1], "id": None}, "id of change 1"),
        ({**CHANGES[1], "url": "http://api.springest.nl/trainings/1.json"}, "extension or a query"),
        ({**CHANGES[1], "url": "http://api.springest.nl/trainings/1?api_key=x"}, "extension or a query"),
        ({**CHANGES[2], "url": "http://api.springest.nl/trainings/1"}, "is a destroy, but has a url"),
        ({"action": "update", "object": "training", "id": 1}, "has no url"),
    ],
)
def test_a_wrong_change_is_named(change: dict[str, Any], said: str) -> None:
    found = look({"changes": [change]})
    assert isinstance(found, Problem)
    assert (found.fault, said in found.detail) == (Fault.BAD_FORM, True)


def test_one_id_changes_once_in_a_bundle() -> None:
    found = look({"changes": [CHANGES[1], CHANGES[2], CHANGES[1]]})
    assert isinstance(found, Problem)
    assert "training 345345 changes twice" in found.detail


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": 7}, "id"),
        ({"event": "INVOCATION"}, "event"),
        ({"time": "23.02.2024"}, "time"),
        ({"country": None}, "country"),
    ],
)
def test_an_invocation_is_four_texts(changes: dict[str, Any], said: str) -> None:
    found = look({**INVOCATION, **changes})
    assert isinstance(found, Problem)
    assert (found.fault, f"{said} of the body" in found.detail) == (Fault.BAD_FORM, True)
    assert look({**INVOCATION, "time": "2024-02-23T06:23:00Z"}) == Checked("dashboard", ("form",), is_proven=False)
