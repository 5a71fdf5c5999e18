"""Hold how a project's objects are checked, and what a catalogue says of types."""

from __future__ import annotations

from typing import Any

import pytest

from angarium.core.catalogue import Catalogue, Schema, Template, check_objects, is_url
from angarium.errors import FieldError
from angarium.model.registry import Project

ACTIONS = {"create": "create", "update": "update", "delete": "delete"}


def catalogue(named: dict[str, Any], /, **own: Any) -> Catalogue:
    return Catalogue.of(Project("radio", "standard", 0, 0, named), **own)


def refused(objects: object, actions: dict[str, str] | None = None) -> FieldError:
    with pytest.raises(FieldError) as caught:
        check_objects(objects, actions=actions)
    return caught.value


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"item": {}}, {"item": {}}),
        ({"item": None}, {"item": {}}),
        ({"item": {"window": None, "actions": ["update"]}}, {"item": {"actions": ["update"]}}),
        (
            {
                "billing.invoice": {
                    "window": "start",
                    "url": "https://api.example.com/{tenant}/{object}/{object_id}",
                    "schema": {"type": "object"},
                    "enforce": True,
                }
            },
            {
                "billing.invoice": {
                    "window": "start",
                    "url": "https://api.example.com/{tenant}/{object}/{object_id}",
                    "schema": {"type": "object"},
                    "enforce": True,
                }
            },
        ),
        ({"item": {"schema": False}}, {"item": {"schema": False}}),
        ({"item": {"enforce": False}}, {"item": {"enforce": False}}),
    ],
)
def test_objects_are_kept_as_given(objects: object, expected: dict[str, Any]) -> None:
    assert check_objects(objects) == expected


@pytest.mark.parametrize(
    ("objects", "field", "problem"),
    [
        (["item"], "objects", "is an array, expected an object such as"),
        ("item", "objects", "is a text"),
        ({f"o{number}": {} for number in range(1001)}, "objects", "names 1001 objects, expected at most 1000"),
        ({"it em": {}}, "objects.it em", "is 'it em', expected letters"),
        ({"": {}}, "objects.", "is ''"),
        ({"a" * 129: {}}, "objects." + "a" * 129, "128 at most"),
        ({"item": 5}, "objects.item", "is a number, expected an object with actions, window, url, schema, enforce"),
        ({"item": {"colour": 1}}, "objects.item.colour", "is unknown; known here are actions, window, url"),
        ({"item": {"actions": "update"}}, "objects.item.actions", "is a text, expected an array"),
        ({"item": {"actions": []}}, "objects.item.actions", "is an array, expected an array such as"),
        ({"item": {"actions": ["a", "b.c"]}}, "objects.item.actions[1]", "is 'b.c', expected letters"),
        ({"item": {"actions": [1]}}, "objects.item.actions[0]", "is a number, expected letters"),
        ({"item": {"window": 5}}, "objects.item.window", "is a number, expected the name of a member"),
        ({"item": {"window": ""}}, "objects.item.window", "is '', expected the name"),
        ({"item": {"url": 5}}, "objects.item.url", "is a number, expected an address"),
        ({"item": {"url": "/items"}}, "objects.item.url", "is '/items', expected such as https://"),
        (
            {"item": {"url": "https://a/{id}"}},
            "objects.item.url",
            "asks for {id}, expected {tenant}, {object}, {object_id}",
        ),
        ({"item": {"url": "https://a/{}"}}, "objects.item.url", "asks for {}"),
        ({"item": {"schema": 5}}, "objects.item.schema", "is a number, expected a JSON Schema"),
        ({"item": {"schema": {"type": "thing"}}}, "objects.item.schema", "is no JSON Schema that can be compiled"),
        ({"item": {"schema": {"pattern": "("}}}, "objects.item.schema", "is no JSON Schema that can be compiled"),
        ({"item": {"schema": {"$ref": "https://a.example/b"}}}, "objects.item.schema", "lies outside the schema"),
        ({"item": {"schema": {"$ref": "file:///etc/passwd"}}}, "objects.item.schema", "lies outside the schema"),
        ({"item": {"schema": {"description": "x" * 262_144}}}, "objects.item.schema", "is larger than 262144 bytes"),
        ({"item": {"enforce": 1, "schema": True}}, "objects.item.enforce", "is a number, expected true or false"),
        ({"item": {"enforce": True}}, "objects.item.enforce", "is true, but there is no schema"),
    ],
)
def test_what_makes_no_catalogue_is_named(objects: object, field: str, problem: str) -> None:
    error = refused(objects)
    assert error.field == field
    assert problem in error.detail


def test_actions_must_be_among_the_dialect_s() -> None:
    assert check_objects({"item": {"actions": ["update"]}}, actions=ACTIONS) == {"item": {"actions": ["update"]}}
    error = refused({"item": {"actions": ["update", "archive"]}}, ACTIONS)
    assert error.field == "objects.item.actions[1]"
    assert error.detail == "is 'archive', which the dialect lacks; it has create, update, delete"


HOOKS = {"create": "update", "update": "update", "recover": "update", "delete": "destroy", "import": "import"}


def test_actions_may_be_said_in_the_dialect_s_own_words() -> None:
    named = {"training": {"actions": ["update", "destroy"]}, "partner": {"actions": ["create"]}}
    assert check_objects(named, actions=HOOKS) == named
    compiled = catalogue(named, actions=HOOKS)
    for action in ("create", "update", "recover"):
        assert compiled.type_of("training", action).action == action
    assert compiled.type_of("training", "destroy").action == "delete"
    assert compiled.type_of("training", "destroy").action is compiled.type_of("training", "delete").action
    with pytest.raises(FieldError, match="action: is 'import', which training does not have; it has create, update"):
        compiled.type_of("training", "import")
    with pytest.raises(FieldError, match="action: is 'update', which partner does not have; it has create"):
        compiled.type_of("partner", "update")
    error = refused({"training": {"actions": ["archive"]}}, HOOKS)
    assert error.detail == (
        "is 'archive', which the dialect lacks; it has create, update, recover, delete, import, destroy"
    )


def test_words_are_translated_and_unknown_ones_left_alone() -> None:
    compiled = catalogue({}, actions=HOOKS)
    assert [compiled.canonical(word) for word in ("destroy", "update", "archive")] == ["delete", "update", "archive"]
    assert catalogue({}).canonical("destroy") == "destroy"


def test_what_a_project_leaves_out_of_an_object_is_its_dialect_s() -> None:
    own = {"item": {"window": "start", "actions": ["create"]}, "program": {}}
    compiled = catalogue({"item": {"url": "https://a/{object_id}"}, "story": {}}, objects=own, actions=ACTIONS)
    assert compiled.objects == ("item", "story")
    assert (compiled.window("item"), compiled.window("story")) == ("start", "")
    assert (compiled.with_action("create"), compiled.with_action("update")) == (("item", "story"), ("story",))
    assert catalogue({"item": {"window": "from"}}, objects=own).window("item") == "from"
    assert catalogue({}, objects=own).objects == ("item", "program")


@pytest.mark.parametrize(
    ("objects", "own", "type_", "problem"),
    [
        ({}, {}, ("item", "archive"), None),
        ({}, {}, ("it em", "archive"), "object: is 'it em', expected letters"),
        ({}, {}, ("item", "arch ive"), "action: is 'arch ive', expected letters"),
        ({"item": {}}, {}, ("item", "archive"), None),
        ({"item": {}}, {}, ("Item", "archive"), "object: is 'Item', which project radio does not name; it has item;"),
        ({"item": {"actions": ["x"]}}, {}, ("item", "x"), None),
        ({"item": {"actions": ["x"]}}, {}, ("item", "y"), "action: is 'y', which item does not have; it has x"),
        ({"item": {"actions": ["x"]}, "b": {}}, {}, ("b", "y"), None),
        ({}, {"actions": ACTIONS}, ("item", "update"), None),
        (
            {},
            {"actions": ACTIONS},
            ("item", "archive"),
            "action: is 'archive', which item does not have; it has create,",
        ),
        ({"item": {}}, {"actions": ACTIONS}, ("item", "archive"), "action: is 'archive'"),
        ({"item": {"actions": ["update"]}}, {"actions": ACTIONS}, ("item", "create"), "action: is 'create'"),
        ({}, {"objects": {"client": {}}}, ("client", "x"), None),
        ({}, {"objects": {"client": {}}}, ("item", "x"), "which project radio does not name; it has client;"),
        ({"item": {}}, {"objects": {"client": {}}}, ("item", "x"), None),
        ({"item": {}}, {"objects": {"client": {}}}, ("client", "x"), "it has item;"),
        ({f"o{number}": {} for number in range(25)}, {}, ("x", "y"), "o18, o19 and 5 more;"),
    ],
)
def test_what_a_project_names_may_be_published(
    objects: dict[str, Any], own: dict[str, Any], type_: tuple[str, str], problem: str | None
) -> None:
    compiled = catalogue(objects, **own)
    if problem is None:
        assert (compiled.type_of(*type_).object, compiled.type_of(*type_).action) == type_
    else:
        with pytest.raises(FieldError) as caught:
            compiled.type_of(*type_)
        assert problem in str(caught.value)


def test_a_type_is_always_the_same_value() -> None:
    compiled = catalogue({})
    first = compiled.type_of("item", "update")
    assert compiled.type_of("an item"[3:], "update") is first


def test_more_types_than_are_remembered_are_still_known() -> None:
    compiled = catalogue({})
    for number in range(10_001):
        assert compiled.type_of("item", f"a{number}").action == f"a{number}"
    assert len(compiled._memo) == 1


def test_a_catalogue_lists_its_objects_and_their_windows() -> None:
    compiled = catalogue({"item": {"window": "start"}, "broadcast": {}})
    assert compiled.objects == ("item", "broadcast")
    assert (compiled.window("item"), compiled.window("broadcast"), compiled.window("x")) == ("start", "", "")
    assert catalogue({}).objects == ()


def test_a_schema_is_there_only_when_it_is_enforced() -> None:
    compiled = catalogue({"a": {"schema": True}, "b": {"schema": True, "enforce": True}})
    assert compiled.type_of("a", "x").schema is None
    assert compiled.type_of("b", "x").schema is not None


@pytest.mark.parametrize(
    ("schema", "data", "field"),
    [
        ({"type": "object"}, b"[]", "data"),
        ({"required": ["a"]}, b"{}", "data"),
        ({"properties": {"a": {"items": {"maximum": 5}}}}, b'{"a":[1,6]}', "data.a[1]"),
        ({"properties": {"n": {"maximum": 2**53}}}, b'{"n":9007199254740993}', "data.n"),
        ({"properties": {"n": {"type": "string"}}}, b'{"n":1e400}', "data.n"),
        ({"properties": {"t": {"const": "x"}}}, b'{"t":"%b"}' % (b"y" * 5000), "data.t"),
    ],
)
def test_what_breaks_a_schema_is_named_by_its_path(schema: dict[str, Any], data: bytes, field: str) -> None:
    with pytest.raises(FieldError) as caught:
        Schema(schema, field="schema").check(data)
    assert caught.value.field == field
    assert caught.value.detail.startswith("breaks the object's schema: ")
    assert len(caught.value.detail) < 400


def test_what_fits_a_schema_passes() -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"]}
    Schema(schema, field="schema").check(b'{"a":123456789012345678901234567890}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a/{tenant}/{object}/{object_id}", "https://a/t%201/item/%C3%A6%2F9%3F%7Bx%7D"),
        ("https://a?id={object_id}&again={object_id}", "https://a?id=%C3%A6%2F9%3F%7Bx%7D&again=%C3%A6%2F9%3F%7Bx%7D"),
        ("https://a/fixed", "https://a/fixed"),
    ],
)
def test_an_address_is_filled_in(text: str, expected: str) -> None:
    filled = Template(text, field="url").fill(tenant="t 1", object_="item", object_id="æ/9?{x}")
    assert filled == expected
    assert is_url(filled)


@pytest.mark.parametrize(
    "text",
    [
        "http://a",
        "HTTPS://A.example:8443/b?c=d#e",
        "https://a/æ",
        "https://user@a/{b}",
        "https://[::1]/",
        "https://a?b",
    ],
)
def test_addresses_look_like_this(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize(
    "text", ["", "a", "//a/b", "https://", "https:///a", "https://a b", "https://a/\u2028", "data:,x"]
)
def test_other_texts_are_no_addresses(text: str) -> None:
    assert not is_url(text)
