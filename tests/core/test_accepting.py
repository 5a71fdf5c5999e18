"""Hold what a publish may be, what its events become, and what is said of one that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from angarium.core.accepting import Form, accept, form_of
from angarium.core.catalogue import Catalogue
from angarium.errors import AngariumError, FieldError, Malformed, TooLarge, UnsupportedType
from angarium.model.event import Event
from angarium.model.registry import Project

ANY = Catalogue.of(Project("radio", "standard", 0, 0))
THIN = {"object": "item", "action": "update", "object_id": "49"}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def one(body: bytes, catalogue: Catalogue = ANY) -> Event:
    (event,) = accept(body, Form.JSON, project="radio", catalogue=catalogue)
    return event


def published(**members: Any) -> bytes:
    return json.dumps(THIN | members).encode()


def refused(body: bytes, form: Form = Form.JSON, catalogue: Catalogue = ANY) -> FieldError:
    with pytest.raises(FieldError) as caught:
        accept(body, form, project="radio", catalogue=catalogue)
    return caught.value


# -- what is read ------------------------------------------------------------------------------------------------------


def test_an_event_is_read_whole() -> None:
    body = (
        b'{"tenant": "1", "object": "item", "action": "update", "object_id": "49",\n'
        b' "data": {"title": "News at nine", "start": "2026-11-22T09:00:00Z"}, "url": "https://api.example.com/items/49",\n'
        b' "actor": {"user_id": 1, "api_id": null}, "attributes": {"country": "NO"},'
        b' "occurred_at": "2026-11-22T08:59:58Z"}\n'
    )
    assert one(body) == Event(
        project="radio",
        tenant="1",
        object="item",
        object_id="49",
        action="update",
        data=b'{"title": "News at nine", "start": "2026-11-22T09:00:00Z"}',
        url="https://api.example.com/items/49",
        actor=b'{"user_id": 1, "api_id": null}',
        attributes=b'{"country": "NO"}',
        occurred_us=1_795_337_998_000_000,
    )


def test_only_three_members_are_needed() -> None:
    assert one(published()) == Event("radio", "default", "item", "49", "update")


def test_null_stands_for_an_absent_member() -> None:
    body = published(tenant=None, url=None, actor=None, attributes=None, occurred_at=None)
    assert one(body) == Event("radio", "default", "item", "49", "update")


def test_null_is_data() -> None:
    assert one(published(data=None)).data == b"null"


def test_an_array_and_lines_are_read_in_order() -> None:
    members = [THIN | {"object_id": str(number)} for number in range(3)]
    events = tuple(Event("radio", "default", "item", str(number), "update") for number in range(3))
    array = json.dumps(members).encode()
    assert accept(array, Form.JSON, project="radio", catalogue=ANY) == events
    assert accept(b"\n\t " + array + b"\r\n", Form.JSON, project="radio", catalogue=ANY) == events
    lines = [json.dumps(each).encode() for each in members]
    for body in (b"\n".join(lines), b"\r\n".join(lines) + b"\r\n", b"\n \n\n".join(lines) + b"\n\n"):
        assert accept(body, Form.NDJSON, project="radio", catalogue=ANY) == events


@pytest.mark.parametrize(
    "data",
    [
        b"9007199254740993",
        b"123456789012345678901234567890.123456789012345678901234567890",
        b"1e400",
        b"-0.0",
        b'{"b" : 1,\n  "a":1.10, "b":2}',
        b'"\\u00e6\\/\\ud83d\\ude00 \\u0000"',
        '"æøå 😀"'.encode(),
        b"[]",
        b"false",
        b'" surrounded "',
        b"[" * 63 + b"]" * 63,
    ],
)
def test_data_stays_byte_for_byte(data: bytes) -> None:
    body = b'{"object":"item","action":"update","object_id":"49","data": \t\r\n%b \n}'
    assert one(body % data).data == data
    (event,) = accept(b"[ %b ]" % (body % data), Form.JSON, project="radio", catalogue=ANY)
    assert event.data == data


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b'"49"', "49"),
        (b"49", "49"),
        (b"-0", "-0"),
        (b"1.50", "1.50"),
        (b"1e3", "1e3"),
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
        (b'"a b/c?\\u00e6\\"\\\\"', 'a b/cæ"\\'.replace("/c", "/c?")),
        ('"æ\u2028\u00a0"'.encode(), "æ\u2028\u00a0"),
        (b'"%b"' % (b"x" * 256), "x" * 256),
        (b'" "', " "),
    ],
)
def test_ids_are_texts_or_numbers_as_written(written: bytes, expected: str) -> None:
    event = one(b'{"object":"item","action":"update","object_id":%b,"tenant":%b}' % (written, written))
    assert event.object_id == expected
    assert event.tenant == expected


@pytest.mark.parametrize("object_", ["item", "billing.invoice", "Item_2-x", "a" * 128])
def test_any_well_spelt_type_may_be_published(object_: str) -> None:
    event = one(published(object=object_, action="x-2_Y"))
    assert event.type == f"{object_}.x-2_Y"


def test_names_may_be_escaped() -> None:
    assert one(b'{"obj\\u0065ct":"it\\u0065m","action":"update","object_id":"49"}') == one(published())


def test_of_two_members_of_one_name_the_last_one_counts() -> None:
    assert one(b'{"object":"x","object":"item","action":"update","object_id":"1","object_id":"49"}') == one(published())


def test_an_object_s_own_address_is_filled_in_where_the_event_has_none() -> None:
    catalogue = Catalogue.of(Project("radio", "standard", 0, 0, {"item": {"url": "https://a/{tenant}/{object_id}"}}))
    assert one(published(tenant="1", object_id="æ/9"), catalogue).url == "https://a/1/%C3%A6%2F9"
    assert one(published(url="http://b"), catalogue).url == "http://b"


@given(JSON_VALUES, st.dictionaries(st.text(), JSON_VALUES, max_size=3), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_whatever_json_is_published_stays_as_it_is(
    data: object, attributes: dict[str, Any], separators: tuple[str, str]
) -> None:
    parts = [json.dumps(each, separators=separators, ensure_ascii=False) for each in (data, attributes)]
    body = f'{{"object":"item","data":{parts[0]},"attributes":{parts[1]},"action":"update","object_id":"49"}}'
    try:
        event = one(body.encode("utf-8", "surrogatepass"))
    except Malformed:
        assert any("\ud800" <= letter <= "\udfff" for letter in body)
    else:
        assert (event.data, event.attributes) == (parts[0].encode(), parts[1].encode())


@given(st.lists(st.sampled_from([*'"\\ud83eDn0019.-+[]{},: tfN/', "\\ud83d", "\\ude00", "true"])).map("".join))
def test_data_is_taken_when_it_is_json_and_only_then(text: str) -> None:
    def fail(found: str) -> object:
        raise ValueError(found)

    try:
        value = json.loads(text, parse_constant=fail)
        is_json = json.dumps(value, ensure_ascii=False).encode() is not None
    except (ValueError, RecursionError):
        is_json = False
    try:
        event = one(b'{"object":"item","action":"update","object_id":"49","data":%b}' % text.encode())
    except AngariumError:
        assert not is_json
    else:
        assert event.data == text.strip().encode()
        assert is_json


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "field", "problem"),
    [
        ({"colour": 1}, "colour", "is unknown; an event has object, action, object_id, tenant, data"),
        ({"object": 5}, "object", "is a number, expected a text"),
        ({"object": None}, "object", "is null, expected a text"),
        ({"object": ""}, "object", "is '', expected letters"),
        ({"object": "it em"}, "object", "is 'it em', expected letters"),
        ({"object": "item."}, "object", "is 'item.', expected letters"),
        ({"object": "item\n"}, "object", r"is 'item\n', expected letters"),
        ({"object": "*"}, "object", "is '*', expected letters"),
        ({"object": "a" * 129}, "object", "128 at most"),
        ({"action": ["update"]}, "action", "is an array, expected a text"),
        ({"action": "up.date"}, "action", "is 'up.date', expected letters"),
        ({"action": "a" * 65}, "action", "64 at most"),
        ({"object_id": ""}, "object_id", "is empty"),
        ({"object_id": None}, "object_id", "is null, expected a text or a number"),
        ({"object_id": True}, "object_id", "is true, expected a text or a number"),
        ({"object_id": {}}, "object_id", "is an object, expected a text or a number"),
        ({"object_id": "x" * 257}, "object_id", "is 257 characters long, expected at most 256"),
        ({"object_id": "a\x00b"}, "object_id", "holds the control character U+0000"),
        ({"tenant": "a\x1fb"}, "tenant", "holds the control character U+001F"),
        ({"tenant": "a\x9f"}, "tenant", "holds the control character U+009F"),
        ({"tenant": ""}, "tenant", "is empty"),
        ({"tenant": []}, "tenant", "is an array, expected a text or a number"),
        ({"url": 5}, "url", "is a number, expected a text"),
        ({"url": ""}, "url", "is '', expected an address"),
        ({"url": "/items/49"}, "url", "is '/items/49', expected an address such as https://"),
        ({"url": "ftp://a/b"}, "url", "expected an address"),
        ({"url": "javascript:alert(1)"}, "url", "expected an address"),
        ({"url": "https://a/b c"}, "url", "expected an address"),
        ({"url": "https://a/\n"}, "url", "expected an address"),
        ({"url": "https:///b"}, "url", "expected an address"),
        ({"url": "https://a/" + "b" * 2039}, "url", "is 2049 characters long, expected at most 2048"),
        ({"actor": "me"}, "actor", "is a text, expected an object"),
        ({"actor": 5}, "actor", "is a number, expected an object"),
        ({"attributes": []}, "attributes", "is an array, expected an object"),
        ({"occurred_at": 5}, "occurred_at", "is a number, expected a text"),
        ({"occurred_at": "yesterday"}, "occurred_at", "'yesterday' is no moment; write it as RFC 3339"),
        ({"occurred_at": "2026-02-30T00:00:00Z"}, "occurred_at", "is on no calendar"),
    ],
)
def test_a_wrong_member_is_named(members: dict[str, Any], field: str, problem: str) -> None:
    error = refused(published(**members))
    assert error.field == field
    assert problem in error.detail
    array = json.dumps([THIN, THIN, THIN | members]).encode()
    lines = b"\n\n".join([published(), published(), published(**members)])
    for body, form in ((array, Form.JSON), (lines, Form.NDJSON)):
        error = refused(body, form)
        assert error.field == f"events[2].{field}"
        assert problem in error.detail


@pytest.mark.parametrize("missing", ["object", "action", "object_id"])
def test_a_missing_member_is_named(missing: str) -> None:
    members = {name: value for name, value in THIN.items() if name != missing}
    error = refused(json.dumps(members).encode())
    assert error.field == missing
    assert "is missing; an event needs object, action, object_id" in error.detail


@pytest.mark.parametrize(
    ("body", "form", "field", "problem"),
    [
        (b"5", Form.JSON, "", "is a number, expected an event"),
        (b'"x"', Form.JSON, "", "is a text, expected an event"),
        (b" null", Form.JSON, "", "is null, expected an event"),
        (b"[]", Form.JSON, "", "is an empty array"),
        (b" [ ] ", Form.JSON, "", "is an empty array"),
        (b"[[]]", Form.JSON, "events[0]", "is an array, expected an event"),
        (b"[" + published() + b",7]", Form.JSON, "events[1]", "is a number, expected an event"),
        (b"", Form.NDJSON, "", "holds no line"),
        (b" \n\r\n", Form.NDJSON, "", "holds no line"),
        (b"[" + published() + b"]", Form.NDJSON, "events[0]", "is an array, expected an event"),
        (b'{"object":5,"object":"a","action":"b","object_id":1}', Form.JSON, "", "is no event"),
    ],
)
def test_what_is_json_but_no_event_is_refused(body: bytes, form: Form, field: str, problem: str) -> None:
    error = refused(body, form)
    assert error.field == field
    assert problem in error.detail


@pytest.mark.parametrize(
    ("body", "form", "problem"),
    [
        (b"", Form.JSON, "the body is no JSON: it is empty"),
        (b"{", Form.JSON, "the body is no JSON: it ends too early"),
        (b"[{]", Form.JSON, "the body is no JSON:"),
        (published() + b"x", Form.JSON, "trailing characters"),
        (published() + b"\n" + published(), Form.JSON, "trailing characters"),
        (b"object=item", Form.JSON, "the body is no JSON"),
        (b'{"data":NaN}', Form.JSON, "JSON has neither NaN nor Infinity"),
        (b'[{"data":[-Infinity]}]', Form.JSON, "JSON has neither NaN nor Infinity"),
        (b'{"data":"\\ud800"}', Form.JSON, r"begins \ud800, half of a surrogate pair"),
        (b'{"tenant":"\\udfff!"}', Form.JSON, r"begins \udfff, half of a surrogate pair"),
        (b'{"data":"\x00"}', Form.JSON, "invalid character"),
        (b'{"tenant":"a\x00"}', Form.JSON, "invalid character"),
        (b'{"data":"\xff"}', Form.JSON, "the body is no UTF-8: byte 9 is 0xff"),
        (b'{"data":"\xed\xa0\x80"}', Form.JSON, "the body is no UTF-8"),
        (b"\xef\xbb\xbf" + published(), Form.JSON, "byte order mark"),
        (published() + b"\n\n{]\n", Form.NDJSON, "line 3 is no JSON"),
        (published() + published(), Form.NDJSON, "line 1 is no JSON: trailing characters"),
    ],
)
def test_what_is_no_json_is_malformed(body: bytes, form: Form, problem: str) -> None:
    with pytest.raises(Malformed) as caught:
        accept(body, form, project="radio", catalogue=ANY)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"object":"item","action":"update","object_id":"49","data":%b}' % (b"[" * 64 + b"]" * 64), ""),
        (b"[" + published() + b',{"data":%b}]' % (b'{"a":' * 64 + b"1" + b"}" * 64), "events[1]"),
        (b"[%b]" % (b"[" * 5000 + b"]" * 5000), ""),
        (b'{"data":%b}' % (b"[" * 5000), ""),
        (b"[" * 5000, ""),
    ],
)
def test_what_nests_too_deep_is_refused(body: bytes, field: str) -> None:
    error = refused(body)
    assert error.field == field
    assert "nests deeper than 64 levels" in error.detail


def test_an_event_may_have_256_kib() -> None:
    largest = published(data="x" * (256 * 1024 - len(published(data=""))))
    assert one(largest + b" " * 99).data[1:-1] == b"x" * (len(largest) - len(published(data="")))
    with pytest.raises(TooLarge, match="the body has 262145 bytes, expected at most 262144 for an event"):
        one(largest.replace(b"xx", b"xxx", 1))
    with pytest.raises(TooLarge, match=r"events\[1\] has 262145 bytes"):
        accept(b"[%b, %b]" % (largest, largest.replace(b"xx", b"xxx", 1)), Form.JSON, project="radio", catalogue=ANY)
    with pytest.raises(TooLarge, match="line 2 has 262145 bytes"):
        accept(b"%b\n%b" % (largest, largest.replace(b"xx", b"xxx", 1)), Form.NDJSON, project="radio", catalogue=ANY)


def test_a_request_may_have_8_mib() -> None:
    filled = published() + b" " * (8 * 1024 * 1024 - len(published()))
    assert one(filled).object_id == "49"
    with pytest.raises(TooLarge, match="the body has 8388609 bytes, expected at most 8388608"):
        one(filled + b" ")


def test_an_array_may_have_a_thousand_events() -> None:
    body = b"[%b]" % b",".join([published()] * 1000)
    assert len(accept(body, Form.JSON, project="radio", catalogue=ANY)) == 1000
    with pytest.raises(TooLarge, match="the array has 1001 events, expected at most 1000"):
        accept(body.replace(b"[", b"[" + published() + b","), Form.JSON, project="radio", catalogue=ANY)


def test_there_may_be_ten_thousand_lines() -> None:
    body = b"\n".join([published()] * 10_000)
    assert len(accept(body, Form.NDJSON, project="radio", catalogue=ANY)) == 10_000
    with pytest.raises(TooLarge, match="the body has 10001 events, expected at most 10000"):
        accept(body + b"\n" + published(), Form.NDJSON, project="radio", catalogue=ANY)


def test_only_the_project_s_own_objects_may_be_published() -> None:
    catalogue = Catalogue.of(Project("radio", "standard", 0, 0, {"item": {"actions": ["update"]}, "broadcast": {}}))
    assert one(published(), catalogue).type == "item.update"
    error = refused(published(object="story"), catalogue=catalogue)
    assert error.field == "object"
    assert "'story', which project radio does not name; it has item, broadcast" in error.detail
    error = refused(b"[" + published(action="delete") + b"]", catalogue=catalogue)
    assert error.field == "events[0].action"
    assert "'delete', which item does not have; it has update" in error.detail


def test_an_action_in_the_dialect_s_own_word_is_kept_canonical() -> None:
    words = {"create": "REGISTER", "update": "CHANGE", "delete": "DELETE", "retrieve": "INVOKE"}
    catalogue = Catalogue.of(Project("dash", "dashboard", 0, 0), actions=words, objects={"dashboard": {}})
    for canonical, own in words.items():
        for word in (canonical, own):
            assert one(published(object="dashboard", action=word), catalogue).type == f"dashboard.{canonical}"
    error = refused(published(object="dashboard", action="register"), catalogue=catalogue)
    assert error.detail == "is 'register', which dashboard does not have; it has create, update, delete, retrieve"


def test_data_that_breaks_an_enforced_schema_is_refused() -> None:
    schema = {"type": "object", "properties": {"lines": {"items": {"type": "integer"}}}}
    catalogue = Catalogue.of(
        Project("radio", "standard", 0, 0, {"item": {"schema": schema, "enforce": True}, "free": {"schema": schema}})
    )
    assert one(published(data={"lines": [1, 2]}), catalogue).data == b'{"lines": [1, 2]}'
    assert one(published(), catalogue).data == b""
    assert one(published(object="free", data={"lines": ["x"]}), catalogue).type == "free.update"
    error = refused(published(data={"lines": [1, "x"]}), catalogue=catalogue)
    assert error.field == "data.lines[1]"
    assert '"x" is not of type "integer"' in error.detail


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode), st.sampled_from(Form))
@example(b'{"":', Form.JSON)
@example(b'{"object": 1, "data": ', Form.JSON)
def test_whatever_comes_gets_an_error_of_ours(body: bytes, form: Form) -> None:
    with pytest.raises(AngariumError):
        accept(body, form, project="radio", catalogue=ANY)


# -- content types -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", Form.JSON),
        ("Application/JSON; charset=UTF-8", Form.JSON),
        ('application/json;charset="utf-8"', Form.JSON),
        ("", Form.JSON),
        ("application/x-ndjson", Form.NDJSON),
        (" application/x-ndjson ; charset=utf-8", Form.NDJSON),
        ("application/ndjson", Form.NDJSON),
        ("application/jsonl", Form.NDJSON),
    ],
)
def test_a_content_type_names_a_form(content_type: str, expected: Form) -> None:
    assert form_of(content_type) is expected


@pytest.mark.parametrize(
    ("content_type", "problem"),
    [
        ("text/plain", "the content type is 'text/plain', expected application/json or application/x-ndjson"),
        ("application/x-www-form-urlencoded", "expected application/json"),
        ("application/cloudevents+json", "expected application/json"),
        ("json", "expected application/json"),
        ("application/json; charset=iso-8859-1", "the body is in 'iso-8859-1', expected utf-8"),
        ("application/json; charset=", "the body is in '', expected utf-8"),
    ],
)
def test_another_content_type_is_unsupported(content_type: str, problem: str) -> None:
    with pytest.raises(UnsupportedType) as caught:
        form_of(content_type)
    assert problem in str(caught.value)
