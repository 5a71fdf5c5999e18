"""Hold what linters cannot: twins of tests, lengths, where SQL lives, the glossary's words, reasons of exceptions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "angarium"
LINES_MAX = 500
FUNCTION_LINES_MAX = 60

SQL = re.compile(r"\b(SELECT\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+TABLE\s)")
BARE_EXCEPTION = re.compile(r"#\s*(noqa(: [A-Z]+\d+(, ?[A-Z]+\d+)*)?|type: ignore(\[[\w, -]+\])?)\s*$")

# Others' words for what has a word of ours in docs/glossary.md. `message_id` is Standard Webhooks' own and stays.
RIVALS = {
    "backfill": "resync",
    "consumer": "receiver or subscription",
    "destination": "subscription",
    "destinations": "subscription",
    "endpoint": "subscription",
    "endpoints": "subscription",
    "mutation": "event",
    "notification": "event",
    "notifications": "event",
    "subscriber": "subscription or receiver",
    "subscribers": "subscription or receiver",
    "topic": "type",
    "topics": "types",
    "webhooks": "subscriptions or deliveries",
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _modules(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders if folder.exists() for path in folder.rglob("*.py"))


OURS = _modules(PACKAGE)
ALL = _modules(PACKAGE, ROOT / "tests", ROOT / "bench", ROOT / "examples")
DECIDING = [path for path in _modules(PACKAGE / "core", PACKAGE / "dialects") if path.name != "__init__.py"]


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", OURS, ids=_name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(_tree(path)), f"{_name(path)} has no docstring; say what it is for"


@pytest.mark.parametrize("path", DECIDING, ids=_name)
def test_a_module_that_decides_has_its_twin_of_tests(path: Path) -> None:
    if not any(_functions(_tree(path))):
        return  # It only declares.
    twin = ROOT / "tests" / path.parent.relative_to(PACKAGE) / f"test_{path.name}"
    assert twin.exists(), f"{_name(path)} has no {_name(twin)}; write it"


@pytest.mark.parametrize("path", ALL, ids=_name)
def test_a_file_can_be_read_at_one_sitting(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES_MAX, f"{_name(path)} has {lines} lines, more than {LINES_MAX}; divide it by its words"


@pytest.mark.parametrize("path", ALL, ids=_name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [f"{name}, {lines}" for name, lines in _functions(_tree(path)) if lines > FUNCTION_LINES_MAX]
    assert not long, f"{_name(path)} has functions over {FUNCTION_LINES_MAX} lines; divide them into steps: {long}"


def _functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", OURS, ids=_name)
def test_sql_lives_in_sql_files(path: Path) -> None:
    found = [text[:60] for text in _texts(_tree(path)) if SQL.search(text)]
    assert not found, f"{_name(path)} holds SQL; move it to a named block of its queries.sql: {found}"


def _texts(tree: ast.Module) -> Iterator[str]:
    """Yield all texts but docstrings, which are expressions of their own."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


@pytest.mark.parametrize("path", OURS, ids=_name)
def test_names_are_the_glossary_s(path: Path) -> None:
    wrong = {f"{name}: {RIVALS[word]}" for name in _bound(_tree(path)) for word in _words(name) if word in RIVALS}
    assert not wrong, f"{_name(path)} uses others' words; see docs/glossary.md: {sorted(wrong)}"


def _bound(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module gives; what it uses of others may be called as they like."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case _:
                pass


def _words(name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


@pytest.mark.parametrize("path", ALL, ids=_name)
def test_an_exception_from_a_rule_says_why(path: Path) -> None:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    bare = [f"line {number}" for number, line in lines if BARE_EXCEPTION.search(line)]
    assert not bare, f"{_name(path)} silences a rule without its code or a reason behind it: {bare}"
