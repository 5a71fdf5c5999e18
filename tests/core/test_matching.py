"""Hold which events are owed to whom: types, rules, versions, and the index over many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angarium.core.matching import EventView, Index, Tally, check_types, in_force, matcher
from angarium.errors import FieldError
from angarium.model.event import Event
from angarium.model.subscription import Owed, Rule, Version

EVENT = Event("radio", "1", "item", "49", "update", b'{"n":9007199254740993}', attributes=b'{"country":"NO"}')
OBJECTS = st.sampled_from(["item", "broadcast", "billing.invoice"])
ACTIONS = st.sampled_from(["create", "update", "delete"])
TYPES = st.one_of(
    st.just("*"),
    OBJECTS.map("{}.*".format),
    ACTIONS.map("*.{}".format),
    st.builds("{}.{}".format, OBJECTS, ACTIONS),
)
SOME = st.none() | st.lists(TYPES, max_size=2).map(tuple)
RULES = st.builds(
    Rule,
    st.lists(TYPES, max_size=3).map(tuple),
    st.sampled_from([b"", b'{"data":{"n":1}}', b'{"data":{"n":{"$gt":1}}}', b'{"object_id":"2"}']),
    sayable=SOME,
    permitted=SOME,
    needs_url=st.booleans(),
)
EVENTS = st.builds(
    Event,
    project=st.just("radio"),
    tenant=st.just("1"),
    object=OBJECTS,
    object_id=st.sampled_from(["1", "2"]),
    action=ACTIONS,
    data=st.sampled_from([b"", b'{"n":1}', b'{"n":2}']),
    url=st.sampled_from(["", "https://a/b"]),
)


def version(
    number: int = 1, from_offset: int = 1, *, owed: Owed = Owed.PUSH, types: tuple[str, ...] = (), pattern: bytes = b""
) -> Version:
    return Version(number, from_offset, owed, Rule(types, pattern), "standard")


@pytest.mark.parametrize(
    ("types", "object_", "action", "expected"),
    [
        ((), "item", "update", True),
        (("*",), "item", "update", True),
        (("item.*",), "item", "update", True),
        (("item.*",), "items", "update", False),
        (("*.update",), "item", "update", True),
        (("*.update",), "item", "delete", False),
        (("item.update",), "item", "update", True),
        (("item.update",), "item", "delete", False),
        (("item.update", "broadcast.*"), "broadcast", "delete", True),
        (("item.update", "broadcast.*"), "item", "delete", False),
        (("billing.invoice.*",), "billing.invoice", "update", True),
        (("billing.*",), "billing.invoice", "update", False),
        (("billing.invoice.update",), "billing.invoice", "update", True),
        (("*.update",), "billing.invoice", "update", True),
        (("Item.update",), "item", "update", False),
    ],
)
def test_types_have_wildcards(types: tuple[str, ...], object_: str, action: str, *, expected: bool) -> None:
    event = Event("radio", "1", object_, "49", action)
    assert matcher(Rule(check_types(list(types)) if types else ())).matches(event) is expected


@pytest.mark.parametrize("types", [["*"], ["a.*", "*.b", "a.b", "a-b_c.D9", "x.y.z"], ("a.b", "a.b"), ["a.b"] * 1000])
def test_types_are_taken_as_they_are_written(types: list[str]) -> None:
    assert check_types(types) == tuple(types)


@pytest.mark.parametrize(
    ("types", "field", "problem"),
    [
        ([], "types", "is empty"),
        ("item.*", "types", "is no array"),
        (None, "types", "is no array"),
        ({"a": 1}, "types", "is no array"),
        (["*", "a.b", "item"], "types[2]", "is 'item', expected *, object.*, *.action or object.action"),
        (["*.*"], "types[0]", "is '*.*'"),
        ([""], "types[0]", "is ''"),
        (["."], "types[0]", "is '.'"),
        (["a."], "types[0]", "is 'a.'"),
        ([".a"], "types[0]", "is '.a'"),
        (["a..b"], "types[0]", "is 'a..b'"),
        (["it*.update"], "types[0]", "is 'it*.update'"),
        (["item.up*"], "types[0]", "is 'item.up*'"),
        (["a.*.b"], "types[0]", "is 'a.*.b'"),
        (["a b.c"], "types[0]", "is 'a b.c'"),
        (["a.b\n"], "types[0]", r"is 'a.b\n'"),
        (["é.b"], "types[0]", "is 'é.b'"),
        ([1], "types[0]", "is no text"),
        ([None], "types[0]", "is no text"),
        (["a" * 129 + ".b"], "types[0]", "is 'aaa"),
        (["a." + "b" * 65], "types[0]", "is 'a.bbb"),
        (["a.b"] * 1001, "types", "has 1001 entries, expected at most 1000"),
    ],
)
def test_what_is_no_type_is_named(types: object, field: str, problem: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_types(types)
    assert caught.value.field == field
    assert problem in caught.value.detail


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (b'{"tenant":"1","object":"item","object_id":"49","action":"update","type":"item.update"}', True),
        (b'{"tenant":1}', False),
        (b'{"project":"radio"}', False),
        (b'{"attributes":{"country":"NO"}}', True),
        (b'{"attributes":{"country":"SE"}}', False),
        (b'{"data":{"n":9007199254740993}}', True),
        (b'{"data":{"n":9007199254740992}}', False),
        (b'{"actor":{"$exists":false},"url":{"$exists":false},"occurred_at":{"$exists":false}}', True),
        (b'{"$or":[{"type":"item.delete"},{"type":"item.update"}]}', True),
    ],
)
def test_a_pattern_looks_at_the_event(pattern: bytes, *, expected: bool) -> None:
    assert matcher(Rule((), pattern)).matches(EVENT) is expected


def test_types_and_pattern_must_both_match() -> None:
    pattern = b'{"attributes":{"country":"NO"}}'
    assert matcher(Rule(("item.*",), pattern)).matches(EVENT)
    assert not matcher(Rule(("broadcast.*",), pattern)).matches(EVENT)


def test_an_event_is_seen_whole() -> None:
    event = Event(
        "radio", "1", "item", "49", "update", b"[1]", "https://a/b", b'{"id":1}', b'{"c":"NO"}', 1_790_000_000_500_000
    )
    assert dict(EventView(event)) == {
        "tenant": "1",
        "object": "item",
        "object_id": "49",
        "action": "update",
        "type": "item.update",
        "data": [1],
        "url": "https://a/b",
        "actor": {"id": 1},
        "attributes": {"c": "NO"},
        "occurred_at": "2026-09-21T14:13:20.500Z",
    }
    assert len(EventView(event)) == 10
    assert len(EventView(EVENT)) == 7


def test_what_an_event_lacks_is_not_there() -> None:
    view = EventView(Event("radio", "1", "item", "49", "update"))
    assert set(view) == {"tenant", "object", "object_id", "action", "type"}
    assert view.get("data") is None
    assert view.get("project") is None


@pytest.mark.parametrize(
    ("data", "pattern", "expected"),
    [
        (b"1e400", b'{"data":{"$gt":5}}', True),
        (b"9" * 5000, b'{"data":{"$gt":5}}', True),
        (b"-" + b"9" * 5000, b'{"data":{"$gt":5}}', False),
        (b"null", b'{"data":null}', True),
        (b"no json", b'{"data":{"$exists":false}}', True),
        (b"[" * 5000, b'{"data":{"$exists":false}}', True),
    ],
)
def test_whatever_data_holds_matching_does_not_raise(data: bytes, pattern: bytes, *, expected: bool) -> None:
    event = Event("radio", "1", "item", "49", "update", data)
    assert matcher(Rule((), pattern)).matches(event) is expected


def test_equal_rules_are_one_matcher() -> None:
    first = matcher(Rule(("item.*",), b'{"data":1}'))
    assert matcher(Rule(("item.*",), b'{"data":1}')) is first
    assert matcher(Rule(("item.*",), b'{"data":2}')) is not first


def test_a_rule_that_cannot_be_compiled_raises() -> None:
    with pytest.raises(FieldError):
        matcher(Rule((), b'{"$x":1}'))


@pytest.mark.parametrize(
    ("offset", "expected"), [(0, None), (2, None), (3, 0), (4, 0), (6, 0), (7, 1), (8, 1), (9, 2), (10**9, 2)]
)
def test_the_version_in_force_is_the_last_that_has_begun(offset: int, expected: int | None) -> None:
    versions = [version(from_offset=3), version(from_offset=7), version(from_offset=9)]
    found = in_force(versions, offset)
    assert found == (None if expected is None else versions[expected])
    assert in_force([], offset) is None


def test_only_pushes_are_pushed() -> None:
    index = Index([version(1), version(2, owed=Owed.FEED), version(3, owed=Owed.NOTHING), version(4)])
    assert sorted(index.push(EVENT)) == [1, 4]
    assert index.count_push(EVENT) == 2


def test_nobody_is_owed_anything_by_an_empty_index() -> None:
    assert Index([]).push(EVENT) == ()
    assert Index([]).count_push(EVENT) == 0


def test_a_pattern_decides_for_all_who_share_it() -> None:
    norway, sweden = b'{"attributes":{"country":"NO"}}', b'{"attributes":{"country":"SE"}}'
    index = Index(
        [
            version(1, pattern=norway),
            version(2, types=("item.*",), pattern=norway),
            version(3, pattern=sweden),
            version(4),
            version(5, types=("broadcast.*",), pattern=norway),
        ]
    )
    assert sorted(index.push(EVENT)) == [1, 2, 4]
    assert index.count_push(EVENT) == 3


def test_a_hundred_thousand_subscriptions_of_one_rule_are_one_answer() -> None:
    index = Index(version(number) for number in range(100_000))
    first = index.push(EVENT)
    assert len(first) == index.count_push(EVENT) == 100_000
    assert index.push(replace(EVENT, object="broadcast", object_id="7")) is first


def test_more_types_than_are_remembered_are_still_answered() -> None:
    index = Index([version(number, types=(f"item.a{number}",)) for number in range(3)] + [version(9)])
    index._held = 1_999_990
    for number in range(20):
        event = Event("radio", "1", "item", "49", f"a{number}")
        assert sorted(index.push(event)) == ([number, 9] if number < 3 else [9])


@pytest.mark.parametrize(
    ("rule", "action", "url", "expected"),
    [
        (Rule(sayable=("*.update",)), "update", "", True),
        (Rule(sayable=("*.update",)), "recover", "", False),
        (Rule(sayable=()), "update", "", False),
        (Rule(("item.*",), permitted=("item.update",)), "update", "", True),
        (Rule(("item.*",), permitted=("item.update",)), "delete", "", False),
        (Rule(("item.delete",), permitted=("item.update",)), "update", "", False),
        (Rule(permitted=()), "update", "", False),
        (Rule(needs_url=True), "update", "", False),
        (Rule(needs_url=True), "update", "https://a/b", True),
        (Rule(needs_url=True), "delete", "", True),
        (Rule(sayable=("*.delete",), permitted=("item.*",), needs_url=True), "delete", "", True),
    ],
)
def test_what_cannot_be_said_or_is_not_permitted_is_not_owed(
    rule: Rule, action: str, url: str, *, expected: bool
) -> None:
    event = Event("radio", "1", "item", "49", action, url=url)
    assert matcher(rule).matches(event) is expected
    assert Index([Version(1, 1, Owed.PUSH, rule, "standard")]).push(event) == ((1,) if expected else ())


def test_a_rule_allows_what_its_types_do_not_ask_for() -> None:
    rule = matcher(Rule(("item.update",), b'{"attributes":{"country":"NO"}}', permitted=("*.update", "*.create")))
    assert rule.allows(replace(EVENT, action="create"))
    assert not rule.allows(replace(EVENT, action="delete"))
    assert not rule.allows(replace(EVENT, action="create", attributes=b'{"country":"SE"}'))


def test_what_cannot_be_said_is_counted_once_for_each_who_wanted_it() -> None:
    tally = Tally()
    mute = Rule(sayable=("*.update",))
    rules = [
        mute,
        replace(mute, types=("item.*",)),
        replace(mute, types=("broadcast.*",)),
        Rule(),
        Rule(needs_url=True),
    ]
    rules += [replace(mute, pattern=b'{"object_id":"49"}'), replace(mute, pattern=b'{"object_id":"50"}')]
    index = Index([Version(number, 1, Owed.PUSH, rule, "standard") for number, rule in enumerate(rules)], tally)
    recovered = replace(EVENT, action="recover")
    assert index.count_push(recovered) == 1
    assert tally.unsayable == 0
    assert index.push(recovered) == (3,)
    assert tally.unsayable == 4
    assert sorted(index.push(replace(recovered, url="https://a/b"))) == [3, 4]
    assert tally.unsayable == 7
    assert sorted(index.push(recovered)) == [3]
    assert tally.unsayable == 11


def test_what_is_not_permitted_is_not_counted_as_unsayable() -> None:
    tally = Tally()
    rule = Rule(sayable=("*.update",), permitted=("item.update",))
    assert Index([Version(1, 1, Owed.PUSH, rule, "standard")], tally).push(Event("p", "1", "item", "1", "delete")) == ()
    assert tally.unsayable == 0


@given(st.lists(RULES, max_size=6), st.lists(EVENTS, max_size=6))
def test_the_index_says_what_each_matcher_says(rules: list[Rule], events: list[Event]) -> None:
    versions = [Version(number, 1, Owed.PUSH, rule, "standard") for number, rule in enumerate(rules)]
    tally = Tally()
    index = Index(versions, tally)
    for event in events * 2:
        expected = [each.subscription for each in versions if matcher(each.rule).matches(event)]
        would = [replace(each.rule, sayable=None, needs_url=False) for each in versions]
        wanted = sum(matcher(rule).matches(event) for rule in would)
        before = tally.unsayable
        assert sorted(index.push(event)) == expected
        assert index.count_push(event) == len(expected)
        assert tally.unsayable - before == wanted - len(expected)


@given(st.lists(st.integers(1, 50), unique=True).map(sorted), st.integers(0, 60))
def test_versions_follow_one_another(offsets: list[int], offset: int) -> None:
    versions = [version(from_offset=each) for each in offsets]
    begun = [each for each in versions if each.from_offset <= offset]
    assert in_force(versions, offset) == (begun[-1] if begun else None)
