"""Translate between canonical actions and a dialect's own words, and say what it has a word for.

A dialect's `actions` map each canonical action that it can say to its own word. Two actions may share a word: what
Springest calls `update` is a create, an update or a recovery, and whoever asks for one of them is told of all three.
Events and types are kept in canonical words. Which events are owed is `core.matching`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from angarium.model.subscription import Rule


def canonical_words(actions: Mapping[str, str]) -> dict[str, str]:
    """Return every word that may be used for an action, canonical or own, with the canonical one that it means."""
    words = {action: action for action in actions}
    for action, own in actions.items():
        words.setdefault(own, action)
    return words


def meanings(word: str, actions: Mapping[str, str]) -> tuple[str, ...]:
    """Return the canonical actions that a word means: all that a dialect's own word says, or the canonical one."""
    return _said(word, actions) or ((word,) if word in actions else ())


def canonical_types(types: Iterable[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """Return types with their actions in canonical words, each once; what is no known word stays as it is."""
    return tuple(dict.fromkeys(_with_action(text, words.get(_action(text), _action(text))) for text in types))


def is_sayable(type_: str, actions: Mapping[str, str]) -> bool:
    """Say whether a dialect has a word for at least one event of a canonical type, wildcards included."""
    return _action(type_) == "*" or _action(type_) in actions


def narrowed(rule: Rule, actions: Mapping[str, str], *, needs_url: bool = False) -> Rule:
    """Return a rule as a dialect of such words can obey it; its types include what is said alike."""
    types = [_with_action(text, action) for text in rule.types for action in _alike(_action(text), actions)]
    return replace(
        rule,
        types=tuple(dict.fromkeys(types)),
        sayable=tuple(f"*.{action}" for action in actions),
        needs_url=needs_url,
    )


def _alike(action: str, actions: Mapping[str, str]) -> tuple[str, ...]:
    return _said(actions[action], actions) if action in actions else (action,)


def _said(own: str, actions: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(action for action, word in actions.items() if word == own)


def _action(type_: str) -> str:
    return type_.rpartition(".")[2]


def _with_action(type_: str, action: str) -> str:
    return f"{type_.rpartition('.')[0]}.{action}" if "." in type_ else type_
