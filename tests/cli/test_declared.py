"""Files that declare projects and subscriptions: what they say, where they are wrong, how what there is differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from angarium.cli import declared
from angarium.cli.declared import PROJECT_MEMBERS, DeclaredProject, DeclaredSubscription, differences, patch_to
from angarium.errors import FieldError
from angarium.operations.merging import merge

ROOT = Path(__file__).parent.parent.parent


def read(text: str, *, folder: Path = Path(), **environment: str) -> list[DeclaredProject]:
    return declared.read(text.encode(), environment=environment, folder=folder)


def test_a_file_declares_projects_with_their_subscriptions() -> None:
    text = """
        listen = "127.0.0.1:9000"
        admin_key_file = "key"
        [projects.radio]
        dialect = "radiomanager"
        objects = { item = { window = "start" } }
        [[projects.radio.subscriptions]]
        tenant = 1
        name = "website"
        url = "https://example.com/"
        [[projects.radio.subscriptions]]
        name = "website"
        url = "https://example.com/other"
        [projects."a.b"]
    """
    assert read(text) == [
        DeclaredProject(
            "radio",
            {"dialect": "radiomanager", "objects": {"item": {"window": "start"}}},
            (
                DeclaredSubscription("1", "website", {"url": "https://example.com/"}),
                DeclaredSubscription("default", "website", {"url": "https://example.com/other"}),
            ),
        ),
        DeclaredProject("a.b", {}, ()),
    ]


def test_values_may_stand_in_variables_and_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    text = """
        [projects.p.settings.login]
        url = "https://example.com/login"
        key = { env = "LOGIN" }
        [[projects.p.subscriptions]]
        name = "n"
        url = { env = "WHERE" }
        secret = { file = "key" }
        options = { api_key = { env = "KEY" }, include_channel = true }
        headers = { x-team = { file = "key" } }
        filter = { attributes = { env = "KEY" } }
    """
    (project,) = read(text, folder=tmp_path, WHERE="https://example.com/", KEY="k", LOGIN="l")
    assert project.document["settings"]["login"] == {"url": "https://example.com/login", "key": "l"}
    assert project.subscriptions[0].document == {
        "url": "https://example.com/",
        "secret": "from a file",
        "options": {"api_key": "k", "include_channel": True},
        "headers": {"x-team": "from a file"},
        "filter": {"attributes": {"env": "KEY"}},  # A pattern is what it says.
    }


@pytest.mark.parametrize(
    ("text", "field", "detail"),
    [
        ("projects = [", "", "the file is no TOML"),
        ("nothing = 1", "nothing", "is unknown"),
        ("projects = 1", "projects", "is no table"),
        ("projects.p = 1", "projects.p", "is no table"),
        ("projects.p.object = {}", "projects.p.object", "is unknown"),
        ("projects.p.subscriptions = {}", "projects.p.subscriptions", "is no list"),
        ("projects.p.subscriptions = [1]", "projects.p.subscriptions[0]", "is no table"),
        ("projects.p.subscriptions = [{url = 'x'}]", "projects.p.subscriptions[0].name", "is missing"),
        ("projects.p.subscriptions = [{name = ''}]", "projects.p.subscriptions[0].name", "is missing"),
        ("projects.p.subscriptions = [{name='a'}, {name='a'}]", "projects.p.subscriptions[1].name", "is there twice"),
        ("projects.p.settings.login.key = {env = 'NO'}", "projects.p.settings.login.key", "which is not set"),
        ("projects.p.settings.login.key = {file = 'no'}", "projects.p.settings.login.key", "which cannot be read"),
        ("projects.p.objects.item.window = 2026-11-22", "projects.p.objects.item.window", "is 2026-11-22, a moment"),
        ("projects.p.settings.ports = [1, nan]", "projects.p.settings.ports[1]", "is no number that JSON can say"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, field: str, detail: str) -> None:
    with pytest.raises(FieldError) as raised:
        read(text)
    assert raised.value.field == field
    assert detail in raised.value.detail


def test_a_file_in_another_encoding_is_refused() -> None:
    with pytest.raises(FieldError, match="the file is no TOML"):
        declared.read("[projects.ä]".encode("latin-1"), environment={}, folder=Path())


def test_what_a_patch_makes_of_what_is_shown_is_what_the_file_says() -> None:
    shown: dict[str, Any] = {
        "url": "https://example.com/",
        "types": ["*"],
        "filter": {"attributes": {"country": "NO"}},
        "headers": {"x-a": "********", "x-b": "********"},
        "options": {"envelope": "webhook", "signature": "v1"},
        "batch": {"max_events": 5, "max_wait_ms": 1000, "coalesce": "latest"},
        "timeout_s": 15,
        "rate": {"per_minute": 5},
    }
    wanted = {
        "url": "https://example.com/x",
        "secret": "whsec_x",
        "filter": {"attributes": {"city": "Oslo"}},
        "headers": {"X-A": "1", "x-c": "2"},
        "options": {"envelope": "cloudevents"},
        "batch": {"max_events": 7},
    }
    assert merge(shown, patch_to(shown, wanted)) == {
        "url": "https://example.com/x",
        "filter": {"attributes": {"city": "Oslo"}},
        "headers": {"x-a": "1", "x-c": "2"},
        "options": {"envelope": "cloudevents"},
        "batch": {"max_events": 7},
    }


def test_what_has_changed_is_named_and_a_secret_value_is_called_so() -> None:
    shown = {
        "dialect": "standard",
        "objects": {"item": {"window": "start"}, "old": {}},
        "settings": {"allow_http": True},
        "updated_at": "2026-11-25T12:00:00Z",
    }
    assert differences(shown, shown, PROJECT_MEMBERS) == []
    later = {**shown, "updated_at": "2026-11-25T12:00:01Z"}
    assert differences(shown, later, PROJECT_MEMBERS) == ["a secret value"]
    other = {**later, "dialect": "dashboard", "objects": {"item": {}, "new": {}}, "settings": {"ports": [1]}}
    assert differences(shown, other, PROJECT_MEMBERS) == [
        "dialect", "objects.item", "objects.old", "objects.new", "settings.allow_http", "settings.ports",
    ]  # fmt: skip


SAMPLES = sorted((ROOT / "examples").glob("*/angarium.toml"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.parent.name)
def test_each_sample_declares_a_project_of_its_system(path: Path) -> None:
    class Anything(dict[str, str]):
        def __missing__(self, name: str) -> str:
            return name

        def __contains__(self, name: object) -> bool:
            return True

    (project,) = declared.read(path.read_bytes(), environment=Anything(), folder=path.parent)
    assert project.document["dialect"] == path.parent.name


def test_there_is_a_sample_for_each_system() -> None:
    assert [path.parent.name for path in SAMPLES] == sorted(
        ["crowdmanager", "dashboard", "radiomanager", "salesking", "springest"]
    )
