from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Ran, Run

FILE = """
    [projects.NAME]
    dialect = "radiomanager"
    settings = { allow_http = true }

    [[projects.NAME.subscriptions]]
    tenant = "1"
    name = "website"
    url = "https://example.com/hook"
    types = ["item.*"]
    headers = { X-Team = "blue" }
    options = { api_key = { env = "KEY" } }

    [[projects.NAME.subscriptions]]
    name = "warehouse"
    url = "https://example.com/warehouse"
    dialect = "standard"
"""


class Applying:
    """A file of the test's own, and what applies it."""

    def __init__(self, angarium: Run, folder: Path, name: str) -> None:
        self._angarium, self._file = angarium, folder / "angarium.toml"  # Where the settings are read too.
        self.name = name
        self.text = FILE.replace("NAME", name)

    def __call__(self, *flags: str, key: str = "a") -> Ran:
        self._file.write_text(self.text)
        return self._angarium("apply", str(self._file), *flags, KEY=key)

    def outcomes(self, *flags: str, key: str = "a") -> list[Any]:
        """Apply it; return each outcome, with what has changed."""
        ran = self(*flags, "--json", key=key)
        assert ran.code == 0, ran
        return [[result["outcome"], *result.get("changed", [])] for result in ran.document["results"]]

    def subscriptions(self) -> dict[str, Any]:
        """Return the project's subscriptions by their names."""
        listed = self._angarium("subscriptions", "list", "--project", self.name, "--json").document["data"]
        return {each["name"]: each for each in listed}


@pytest.fixture
def applying(angarium: Run, tmp_path: Path, target: dict[str, str]) -> Applying:
    return Applying(angarium, tmp_path, f"{target['ANGARIUM_PROJECT']}-applied")


def test_what_a_file_declares_is_created_and_then_stays(applying: Applying) -> None:
    made = applying()
    assert made.code == 0
    assert made.out.count("created") == 3
    assert "secret whsec_" in made.out
    assert "3 created, 0 changed, 0 unchanged" in made.talk
    again = applying()
    assert again.out.count("unchanged") == 3
    assert "0 created, 0 changed, 3 unchanged" in again.talk
    assert set(applying.subscriptions()) == {"website", "warehouse"}
    assert applying.subscriptions()["website"]["headers"] == {"x-team": "********"}


def test_what_differs_is_changed_and_named(applying: Applying) -> None:
    applying()
    applying.text = (
        applying.text.replace("allow_http = true", "keep_objects = false")
        .replace('types = ["item.*"]', 'types = ["item.update"]\n    ordering = "strict"')
        .replace('dialect = "standard"', 'dialect = "standard"\n    timeout_s = 5')
    )
    changes = [
        ["changed", "settings.allow_http", "settings.keep_objects"],
        ["changed", "types", "ordering"],
        ["changed", "timeout_s"],
    ]
    assert applying.outcomes("--dry-run") == changes
    assert applying.subscriptions()["website"]["types"] == ["item.*"]
    assert applying.outcomes() == changes
    assert applying.outcomes() == [["unchanged"]] * 3


def test_what_a_file_leaves_out_returns_to_its_default_and_what_it_does_not_name_stays(
    applying: Applying, angarium: Run
) -> None:
    applying()
    angarium("subscriptions", "create", "https://example.com/by-hand", "--project", applying.name, "--with",
             '{"options": {"api_key": "x"}, "name": "by hand"}')  # fmt: skip
    applying.text = applying.text.replace('types = ["item.*"]', "").replace('headers = { X-Team = "blue" }', "")
    assert applying.outcomes() == [["unchanged"], ["changed", "types", "headers.x-team"], ["unchanged"]]
    assert set(applying.subscriptions()) == {"website", "warehouse", "by hand"}
    assert applying.subscriptions()["website"]["headers"] == {}


def test_a_secret_that_changes_is_noticed_though_nobody_sees_it(applying: Applying) -> None:
    applying(key="a")
    assert applying.outcomes("--dry-run", key="b") == [["unchanged"], ["changed", "a secret value"], ["unchanged"]]
    assert applying.outcomes(key="b") == [["unchanged"], ["changed", "a secret value"], ["unchanged"]]
    assert applying.outcomes(key="b") == [["unchanged"]] * 3


def test_a_dry_run_of_something_new_makes_nothing(applying: Applying, angarium: Run) -> None:
    ran = applying("--dry-run")
    assert ran.out.count("created") == 3
    assert "would be 3 created" in ran.talk
    assert angarium("projects", "show", applying.name).code == 1


def test_a_dry_run_finds_what_would_be_refused(applying: Applying) -> None:
    applying()
    applying.text = applying.text.replace('name = "warehouse"', 'name = "other"\n    types = ["no type"]')
    ran = applying("--dry-run")
    assert ran.code == 1
    assert "types[0]" in ran.talk
    assert set(applying.subscriptions()) == {"website", "warehouse"}


def test_a_run_that_is_refused_halfway_says_what_it_had_done(applying: Applying) -> None:
    applying.text = applying.text.replace("https://example.com/warehouse", "https://127.1/")
    ran = applying("--json")
    assert ran.code == 1
    error = ran.document["error"]
    assert error["code"] == "invalid"
    assert "url" in error["why"]
    assert [result["outcome"] for result in error["results"]] == ["created", "created"]


def test_two_subscriptions_of_one_name_are_not_guessed_at(applying: Applying, angarium: Run) -> None:
    applying()
    angarium("subscriptions", "create", "https://example.com/2", "--project", applying.name, "--name", "warehouse",
             "--dialect", "standard")  # fmt: skip
    ran = applying()
    assert ran.code == 1
    assert "rename or delete one of them" in ran.talk


def test_a_file_that_is_wrong_changes_nothing(applying: Applying, angarium: Run) -> None:
    applying.text += "\n    nothing = 1"
    applying.text = applying.text.replace('dialect = "radiomanager"', 'dialekt = "radiomanager"')
    ran = applying()
    assert (ran.code, "dialekt is wrong" in ran.talk) == (1, True)
    assert angarium("projects", "show", applying.name).code == 1
    assert angarium("apply", "no-such-file.toml").code == 1


SAMPLES = sorted((Path(__file__).parent.parent.parent / "examples").glob("*/angarium.toml"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.parent.name)
def test_each_system_s_sample_applies_and_then_changes_nothing(path: Path, angarium: Run) -> None:
    keys = {"STATION_1_API_KEY": "k", "STATION_1_SECRET": "s", "LOGIN_KEY": "a key of thirty-two bytes at least"}
    made = angarium("apply", str(path), **keys)
    assert (made.code, "0 changed, 0 unchanged" in made.talk) == (0, True), made
    again = angarium("apply", str(path), "--json", **keys).document
    assert (again["created"], again["changed"], again["unchanged"]) == (0, 0, made.out.count("created"))
    assert angarium("projects", "delete", again["results"][0]["name"]).code == 0
