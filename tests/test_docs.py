"""Run what the documentation shows: examples against a real server, links, and the reference that is made from code."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

import angarium
from angarium.api.metrics import SENTENCES
from angarium.settings import reference
from tests import pages

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
PYTHON = [
    pytest.param(part.text, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, part in enumerate(pages.read(page.read_text(encoding="utf-8")))
    if isinstance(part, pages.Block) and part.language == "python"
]
RUNNING = [page for page in PAGES if pages.ports(pages.read(page.read_text(encoding="utf-8")))]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", RUNNING, ids=_name)
def test_a_page_s_examples_do_what_it_says(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    ports = pages.ports(pages.read(text))
    free = sorted(_free_port() for _ in ports)  # In order: a page may open a range from one to another.
    own = {port: str(other) for port, other in zip(ports, free, strict=True)}
    text = re.sub(r"\b(8080|900\d)\b", lambda found: own.get(found[0], found[0]), text)
    shell = _shell(pages.script(pages.read(text)), _environment(tmp_path, own["8080"]), tmp_path)
    try:
        said, _ = shell.communicate(timeout=90)
    finally:
        _end(shell)
    terminals = [f"--- {path.name}\n{path.read_text(encoding='utf-8')}" for path in sorted(tmp_path.glob("terminal-*"))]
    assert shell.returncode == 0, "\n".join([said, *terminals])


def _environment(folder: Path, port: str) -> dict[str, str]:
    (folder / "examples").symlink_to(ROOT / "examples")
    tools = folder / "bin"
    tools.mkdir()
    if shutil.which("curl") is None:
        (tools / "curl").write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/curl.py" "$@"\n', encoding="utf-8"
        )
        (tools / "curl").chmod(0o755)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    url = f"127.0.0.1:{port}"
    return {
        "PATH": path,
        "HOME": str(folder),
        "ANGARIUM_LISTEN": url,
        "ANGARIUM_URL": f"http://{url}",
        "COLUMNS": "400",
    }


def _shell(script: str, environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    """Start a shell in a group of its own, so that it can be ended with all that it started."""
    return subprocess.Popen(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        env=environment,
        cwd=folder,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _end(shell: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGTERM)
        for _ in range(100):
            shell.poll()
            os.killpg(shell.pid, 0)
            time.sleep(0.1)
        os.killpg(shell.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("example", PYTHON)
def test_a_python_example_runs_as_it_stands(example: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_the_readme_s_first_event_is_among_the_examples_that_run() -> None:
    parts = pages.read((ROOT / "README.md").read_text(encoding="utf-8"))
    commands = pages.script(parts)
    assert "angarium serve" in commands
    assert "api $demo/events" in commands
    assert pages.Expectation("9000", "verified") in parts


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    dead = [link for link in links if not (page.parent / link).exists()]
    assert not dead, f"{_name(page)} links to what is not there: {dead}"


def test_the_settings_page_is_what_the_code_says() -> None:
    page = ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8").endswith(f"\n\n{reference()}\n"), (
        "docs/reference/settings.md is old; replace its table by what `python -m angarium.settings` prints"
    )


def test_the_metrics_page_names_each_metric_with_its_sentence() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `angarium_(\w+)` \| [^|]+ \| (.+) \|$", page, re.MULTILINE))
    assert told.pop("build_info")
    assert told == SENTENCES


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [path.name[:4] for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == angarium.__version__
