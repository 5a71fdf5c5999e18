"""What the pages name of `deploy/` is there, and what they call is a command of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from angarium.cli.main import COMMANDS
from tests.deploy.files import ROOT

HOW_TO = sorted((ROOT / "docs" / "how-to").glob("run-*.md"))


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _name(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", HOW_TO, ids=_name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = set(re.findall(r"\bdeploy/[\w./@-]*\w", _text(page)))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", HOW_TO, ids=_name)
def test_compose_files_that_a_page_names_are_there(page: Path) -> None:
    named = set(re.findall(r"\bcompose\.\w+\.yaml", _text(page)))
    assert [name for name in sorted(named) if not (ROOT / "deploy" / "container" / name).exists()] == []


@pytest.mark.parametrize("page", HOW_TO, ids=_name)
def test_commands_that_a_page_calls_are_ours(page: Path) -> None:
    called = set(re.findall(r"(?:^|[\s`/])angarium ([a-z]+)\b", _text(page), re.MULTILINE))
    assert "doctor" in called
    assert called <= set(COMMANDS)


def test_every_kind_of_deployment_has_its_page() -> None:
    said = "\n".join(map(_text, HOW_TO))
    for name in (
        "systemd/angarium.service",
        "systemd/angarium@.service",
        "container/Containerfile",
        "helm/angarium",
        "patroni",
    ):
        assert f"deploy/{name}" in said
