"""Hold how words are translated: canonical in, a dialect's own out, and back."""

from __future__ import annotations

import pytest

from angarium.core.vocabulary import canonical_types, canonical_words, is_sayable, meanings, narrowed
from angarium.model.subscription import Rule

HOOKS = {"create": "update", "update": "update", "recover": "update", "delete": "destroy", "import": "import"}
SHOUTS = {"create": "REGISTER", "delete": "DELETE"}


def test_a_word_means_its_canonical_action_whichever_way_it_is_said() -> None:
    assert canonical_words(HOOKS) == {
        "create": "create",
        "update": "update",
        "recover": "recover",
        "delete": "delete",
        "destroy": "delete",
        "import": "import",
    }
    assert canonical_words(SHOUTS) == {"create": "create", "REGISTER": "create", "delete": "delete", "DELETE": "delete"}
    assert canonical_words({}) == {}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("update", ("create", "update", "recover")),
        ("create", ("create",)),
        ("destroy", ("delete",)),
        ("delete", ("delete",)),
        ("import", ("import",)),
        ("retrieve", ()),
    ],
)
def test_an_own_word_means_all_that_it_says(word: str, expected: tuple[str, ...]) -> None:
    assert meanings(word, HOOKS) == expected


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["*"], ("*",)),
        (["training.*", "*.destroy"], ("training.*", "*.delete")),
        (["training.destroy", "training.delete"], ("training.delete",)),
        (["a.b.destroy"], ("a.b.delete",)),
        (["training.archive", "destroy.archive"], ("training.archive", "destroy.archive")),
        ([], ()),
    ],
)
def test_types_are_kept_in_canonical_words(types: list[str], expected: tuple[str, ...]) -> None:
    assert canonical_types(types, canonical_words(HOOKS)) == expected


@pytest.mark.parametrize(
    ("type_", "expected"),
    [("*", True), ("a.*", True), ("*.create", True), ("a.delete", True), ("a.update", False), ("*.import", False)],
)
def test_a_type_is_sayable_when_there_is_a_word_for_some_of_it(type_: str, expected: bool) -> None:  # noqa: FBT001  a column
    assert is_sayable(type_, SHOUTS) is expected


def test_a_narrowed_rule_says_what_is_sayable_and_includes_what_is_said_alike() -> None:
    rule = Rule(("training.update", "*.delete", "institute.*", "course.archive"), b'{"tenant":"1"}')
    assert narrowed(rule, HOOKS, needs_url=True) == Rule(
        (
            "training.create",
            "training.update",
            "training.recover",
            "*.delete",
            "institute.*",
            "course.archive",
        ),
        b'{"tenant":"1"}',
        sayable=("*.create", "*.update", "*.recover", "*.delete", "*.import"),
        needs_url=True,
    )


def test_a_rule_for_all_types_stays_one() -> None:
    assert narrowed(Rule(), SHOUTS) == Rule(sayable=("*.create", "*.delete"))
    assert narrowed(Rule(("*",)), SHOUTS).types == ("*",)
