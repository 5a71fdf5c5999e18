"""Hold which dialects there are, and that the reference page says of each what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from angarium.core.vocabulary import canonical_words
from angarium.dialects.dialect import Dialect
from angarium.dialects.registry import DIALECTS, dialect
from angarium.errors import FieldError

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "dialects.md"
ACTIONS = ("create", "update", "delete", "recover", "import", "retrieve")
FOUNDING = ("radiomanager", "crowdmanager", "salesking", "dashboard", "springest")
SPEAKING = [pytest.param(DIALECTS[name], id=name) for name in FOUNDING]


def test_each_dialect_is_listed_under_its_own_name() -> None:
    assert all(dialect(name).name == name for name in DIALECTS)
    assert set(DIALECTS) == {"standard", *FOUNDING}


def test_an_unknown_dialect_is_refused_with_those_there_are() -> None:
    with pytest.raises(FieldError, match=r"'latin' is unknown; expected one of .*standard") as caught:
        dialect("latin")
    assert caught.value.field == "dialect"


@pytest.mark.parametrize("spoken", SPEAKING)
def test_a_founding_dialect_says_canonical_actions_and_allows_http(spoken: Dialect) -> None:
    assert set(spoken.traits.actions or {}) <= set(ACTIONS)
    assert spoken.traits.allows_http
    assert not spoken.traits.makes_secret


def test_no_own_word_of_one_dialect_is_another_action_in_a_second() -> None:
    """A subscription's types are read in the words of its project and of its own dialect."""
    meant: dict[str, str] = {}
    for each in DIALECTS.values():
        for word, action in canonical_words(each.traits.actions or {}).items():
            assert meant.setdefault(word, action) == action


@pytest.mark.parametrize("spoken", SPEAKING)
def test_the_page_names_each_dialect_s_words_and_objects(spoken: Dialect) -> None:
    actions = spoken.traits.actions or {}
    rows = PAGE.read_text(encoding="utf-8").splitlines()
    assert f"| {spoken.name} | {' | '.join(actions.get(action, '–') for action in ACTIONS)} |" in rows
    assert f"| {spoken.name} | {', '.join(spoken.traits.catalogue or ())} |" in rows


@pytest.mark.parametrize("spoken", DIALECTS.values(), ids=list(DIALECTS))
def test_the_page_tells_each_dialect_s_defaults(spoken: Dialect) -> None:
    batch, retry = spoken.policy.batch, spoken.policy.retry
    waits = ", ".join(f"{delay:g}" for delay in retry.delays_s) + ("" if retry.give_up else ", and so on for ever")
    most = f"{batch.max_events}, always" if spoken.traits.is_single else str(batch.max_events)
    row = (spoken.name, most, batch.max_wait_ms, batch.coalesce, spoken.policy.ordering, waits)
    assert f"| {' | '.join(map(str, row))} |" in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("spoken", DIALECTS.values(), ids=list(DIALECTS))
def test_the_page_lists_each_dialect_s_options(spoken: Dialect) -> None:
    rows = [row.split(" | ") for row in PAGE.read_text(encoding="utf-8").splitlines()]
    options = {row[1] for row in rows if row[0] == f"| {spoken.name}" and len(row) == 4}
    with pytest.raises(FieldError, match="unknown") as caught:
        spoken.check_options({"colour": "red"})
    _, _, known = caught.value.detail.rpartition("which has ")
    assert options == set(known.split(", "))
