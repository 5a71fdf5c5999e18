"""Hold docs/reference/compatibility.md: each sentence has a test, and each test of a document has its sentence."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reference" / "compatibility.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "receiver.py" not in line]
SYSTEMS = ("radiomanager", "crowdmanager", "salesking", "dashboard", "springest")


def _tests(*paths: Path) -> set[str]:
    """Return the names of all tests in some files."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    functions = [
        node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return {function.name for function in functions if function.name.startswith("test_")}


def test_each_sentence_names_a_test() -> None:
    rows = [row for row in ROWS if not re.match(r"\| (the document|system)", row)]
    assert len(rows) > 100
    assert [row for row in rows if "`test_" not in row.rpartition(" | ")[2]] == []


def test_each_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert sorted(named - _tests(*(ROOT / "tests").rglob("test_*.py"))) == []


def test_each_test_of_a_document_is_named() -> None:
    stories = ROOT / "tests" / "stories"
    tests = _tests(*(stories / f"test_{system}_document.py" for system in SYSTEMS), stories / "test_examples.py")
    assert sorted(tests - set(re.findall(r"`(test_\w+)`", PAGE))) == []
