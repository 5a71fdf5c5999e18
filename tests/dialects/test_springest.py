"""Hold Springest's bundles byte for byte, with the example of its document, and which change of an object is left."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from angarium import __version__
from angarium.core.coalescing import fold
from angarium.core.deciding import Retry, decide, is_hopeless
from angarium.core.matching import matcher
from angarium.core.policy import resolve
from angarium.dialects.dialect import Body
from angarium.dialects.springest import SPRINGEST, encode, encode_item
from angarium.errors import FieldError
from angarium.model.delivery import Accepted, Outcome, Refused, Silent, Throttled
from angarium.model.event import Entry, Event
from angarium.model.subscription import Coalesce, Ordering, Rule
from angarium.model.wire import Reason, Request, Response
from tests.dialects.vectors import NOON_S, batch, item, signing, single

SEED = {  # The document's example, in its order.
    "changes": [
        {
            "action": "import",
            "object": "institute",
            "id": 234234,
            "url": "http://api.springest.nl/institutes/234234",
        },
        {"action": "update", "object": "training", "id": 345345, "url": "http://api.springest.nl/trainings/345345"},
        {"action": "destroy", "object": "training", "id": 34534},
    ]
}
EVENTS = (
    Event("s", "1", "institute", "234234", "import", url="http://api.springest.nl/institutes/234234"),
    Event("s", "1", "training", "345345", "update", url="http://api.springest.nl/trainings/345345"),
    Event("s", "1", "training", "34534", "delete", url="http://api.springest.nl/trainings/34534"),
)
TRAINING = EVENTS[1]
BUNDLE = (
    b'{"changes":[{"action":"import","object":"institute","id":234234,'
    b'"url":"http://api.springest.nl/institutes/234234"},{"action":"update","object":"training","id":345345,'
    b'"url":"http://api.springest.nl/trainings/345345"},{"action":"destroy","object":"training","id":34534}]}'
)


def said(event: Event, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode_item(item(event), SPRINGEST.check_options(options)))
    return found


def test_the_document_s_example_comes_out_member_for_member() -> None:
    body = encode(batch(*EVENTS), {})
    assert body == Body(BUNDLE, "application/json")
    expected = [list(change.items()) for change in SEED["changes"]]
    assert [list(change.items()) for change in json.loads(body.content)["changes"]] == expected


def test_one_change_is_an_array_too() -> None:
    assert json.loads(encode(single(EVENTS[2]), {}).content) == {"changes": SEED["changes"][2:]}


@pytest.mark.parametrize(
    ("action", "word"),
    [
        ("create", "update"),
        ("update", "update"),
        ("recover", "update"),
        ("delete", "destroy"),
        ("import", "import"),
    ],
)
def test_a_change_shall_include_type_of_action(action: str, word: str) -> None:
    change = said(replace(TRAINING, action=action))
    assert change["action"] == word
    assert ("url" in change) == (word != "destroy")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://api.springest.nl/trainings/1234", "http://api.springest.nl/trainings/1234"),
        ("http://api.springest.nl/trainings/1234.json", "http://api.springest.nl/trainings/1234"),
        ("http://api.springest.nl/trainings/1234.XML", "http://api.springest.nl/trainings/1234"),
        ("https://x.nl/trainings/1234.json?api_key=abc", "https://x.nl/trainings/1234"),
        ("https://x.nl/trainings/1234?api_key=abc#top", "https://x.nl/trainings/1234"),
        ("https://x.nl/trainings/1234#top?", "https://x.nl/trainings/1234"),
        ("https://x.nl/trainings/v1.2", "https://x.nl/trainings/v1.2"),
        ("https://x.nl/a.json/1234", "https://x.nl/a.json/1234"),
        ("https://x.nl/.json", "https://x.nl/.json"),
        ("https://api.json", "https://api.json"),
        ("https://api.json?api_key=abc", "https://api.json"),
    ],
)
def test_the_url_shall_not_include_the_format_extension_and_api_key(url: str, expected: str) -> None:
    assert said(replace(TRAINING, url=url))["url"] == expected
    assert said(replace(TRAINING, url=url), url_base="https://other.nl")["url"] == expected


def test_an_event_without_a_url_has_one_below_the_base() -> None:
    bare = replace(TRAINING, url="")
    assert said(bare, url_base="https://api.springest.de/")["url"] == "https://api.springest.de/trainings/345345"
    assert said(replace(bare, object_id="a/b"), url_base="https://x.de/v1")["url"] == "https://x.de/v1/trainings/a%2Fb"
    assert "url" not in said(bare)


def test_ids_that_are_no_numbers_stay_texts() -> None:
    assert said(replace(TRAINING, object_id="a-1"))["id"] == "a-1"


# -- which change of an object is left ---------------------------------------------------------------------------------


def left(*actions: str) -> list[str]:
    """Return the changes that are left of one institute's."""
    entries = [Entry(0, offset, 0, replace(EVENTS[0], action=action)) for offset, action in enumerate(actions, start=1)]
    shown = fold(entries, SPRINGEST.policy.batch.coalesce, SPRINGEST.traits.outlasts)
    return [said(entry.event)["action"] for entry, _ in shown if entry.event is not None]


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ("update", "update"),
        ("update update", "update"),
        ("update delete", "destroy"),
        ("delete create", "update"),
        ("import update", "import"),
        ("update import", "import"),
        ("import create update recover", "import"),
        ("import delete", "destroy"),
        ("delete import", "import"),
        ("import delete update", "update"),
        ("import delete import update", "import"),
        ("import import", "import"),
    ],
)
def test_bundling_prevents_multiple_changes_on_same_id(actions: str, expected: str) -> None:
    assert left(*actions.split()) == [expected]


@given(st.lists(st.sampled_from(["create", "update", "recover", "delete", "import"]), min_size=1))
def test_an_import_is_never_lost_but_by_a_destroy(actions: list[str]) -> None:
    after = actions[len(actions) - actions[::-1].index("delete") :] if "delete" in actions else actions
    expected = "import" if "import" in after else "update" if after else "destroy"
    assert left(*actions) == [expected]


def test_changes_stand_in_the_order_of_each_object_s_last() -> None:
    other = replace(TRAINING, object_id="2")
    entries = [Entry(0, offset, 0, event) for offset, event in enumerate((TRAINING, other, TRAINING), start=1)]
    shown = [entry.event for entry, _ in fold(entries, Coalesce.LATEST, SPRINGEST.traits.outlasts)]
    assert shown == [other, TRAINING]


# -- attempts ----------------------------------------------------------------------------------------------------------


def test_a_bundle_is_a_plain_post() -> None:
    assert SPRINGEST.sign(Body(BUNDLE, "application/json"), signing({})) == Request(
        "POST",
        "https://example.com/hook",
        (("content-type", "application/json"), ("user-agent", f"Angarium/{__version__}")),
        BUNDLE,
    )


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(200), Accepted(200)),
        (Response(204), Accepted(204)),
        (Response(404), Refused(404)),
        (Response(410), Refused(410)),
        (Response(503), Throttled(503)),
        (Response(500), Silent(Reason.STATUS, 500)),
    ],
)
def test_no_answer_ends_a_subscription(response: Response, expected: Outcome) -> None:
    assert SPRINGEST.judge(response, float(NOON_S)) == expected


def test_we_keep_trying_to_resend_until_it_is_working_again() -> None:
    schedule = resolve(SPRINGEST.policy, {}).retry
    waits = []
    for attempt in range(1, 50):
        verdict = decide(Refused(410), attempt=attempt, schedule=schedule, spread=1.0)
        assert isinstance(verdict, Retry)
        waits.append(verdict.wait_s)
    assert all(one <= other for one, other in pairwise(waits))
    assert max(waits) == 15 * 60
    assert not is_hopeless(1, 10**15, schedule)
    assert SPRINGEST.traits.merges


def test_changes_wait_for_one_another_but_not_for_long() -> None:
    policy = resolve(SPRINGEST.policy, {})
    assert policy.batch.coalesce is Coalesce.LATEST
    assert policy.batch.max_events > 1
    assert 1000 <= policy.batch.max_wait_ms < 5000
    assert policy.ordering is Ordering.STRICT


# -- options and rules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"url_base": ""}, {}),
        ({"url_base": "http://api.springest.nl/"}, {"url_base": "http://api.springest.nl"}),
    ],
)
def test_options_are_completed(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert SPRINGEST.check_options(options) == expected


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url_base": 5}, "options.url_base: is a number, expected a text"),
        ({"url_base": "springest.nl"}, "options.url_base: is 'springest.nl', expected such as http://"),
        ({"url_base": "http://a.nl?api_key=1"}, "options.url_base"),
        ({"url_base": "http://a.nl#x"}, "options.url_base"),
        ({"colour": "red"}, "options.colour: is unknown to the springest dialect, which has url_base"),
    ],
)
def test_other_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        SPRINGEST.check_options(options)


def test_what_nothing_tells_the_url_of_is_left_out_unless_it_was_destroyed() -> None:
    without, with_base = (
        matcher(SPRINGEST.narrow(Rule(("training.update",)), SPRINGEST.check_options(options)))
        for options in ({}, {"url_base": "https://x.nl"})
    )
    bare = replace(TRAINING, url="")
    assert (without.matches(TRAINING), without.matches(bare), with_base.matches(bare)) == (True, False, True)
    everything = matcher(SPRINGEST.narrow(Rule(), {}))
    assert everything.matches(replace(bare, action="delete"))
    assert not everything.matches(replace(TRAINING, action="retrieve"))


def test_who_asks_for_updates_is_told_of_what_was_added() -> None:
    wants = matcher(SPRINGEST.narrow(Rule(("training.update",)), {}))
    assert [wants.matches(replace(TRAINING, action=action)) for action in ("create", "recover", "delete")] == [
        True,
        True,
        False,
    ]
