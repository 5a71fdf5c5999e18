"""Settings that say where everything is kept: what is read, what contradicts what, and that passwords stay hidden."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from angarium.errors import SettingsWrong
from angarium.settings import Settings, load, shown_store

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
DATABASE = "postgresql://angarium:geheim@db1:5432,db2/angarium"


def _load(**given: str) -> Settings:
    environment: Mapping[str, str] = {f"ANGARIUM_{name.upper()}": text for name, text in given.items()}
    return load(environment=environment, file=Path("/none"))


@pytest.mark.parametrize(
    "store",
    [
        DATABASE,
        "postgres://angarium@db/angarium?sslmode=verify-full",
        "postgresql:///angarium?host=/run/postgresql",
        "postgresql://u:p@[2001:db8::1]:5432,[2001:db8::2]/angarium",
        "sqlite:////var/lib/angarium/angarium.db",
    ],
)
def test_a_store_is_a_file_or_a_database_on_one_or_several_hosts(store: str) -> None:
    assert _load(store=store, secret_key=KEY).store == store


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("mysql://u:geheim@h/angarium", "expected sqlite:///angarium.db"),
        ("postgresql://u:geheim@h:banana/angarium", "'banana' is no port"),
        ("postgresql://u:geheim@h,h2:70000/angarium", "'70000' is no port"),
        ("postgresql://u:geheim/x@h/angarium", "%2F"),
        ("postgresql://u:geheim?x@h/angarium", "%3F"),
        ("postgresql://u:geheim#x@h/angarium", "%23"),
    ],
)
def test_another_store_is_refused_without_showing_its_password(store: str, said: str) -> None:
    with pytest.raises(SettingsWrong, match=said) as refused:
        _load(store=store, secret_key=KEY)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"store": DATABASE}, "ANGARIUM_SECRET_KEY is missing"),
        ({"role": "api"}, "ANGARIUM_ROLE is api, but ANGARIUM_STORE is a file"),
        ({"role": "worker"}, "ANGARIUM_ROLE is worker"),
        ({"role": "boss"}, "expected all or api or worker"),
    ],
)
def test_what_several_processes_need_is_asked_for(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsWrong, match=said):
        _load(**given)


@pytest.mark.parametrize("role", ["all", "api", "worker"])
def test_on_a_database_a_process_may_have_any_role(role: str) -> None:
    assert _load(store=DATABASE, role=role, secret_key=KEY).role == role


@pytest.mark.parametrize(
    ("store", "shown"),
    [
        (DATABASE, "postgresql://angarium:***@db1:5432,db2/angarium"),
        ("postgresql://u:a/b@c?d@h/angarium", "postgresql://u:***@h/angarium"),
        (
            "postgresql://h/angarium?user=u&password=x&sslmode=require",
            "postgresql://h/angarium?user=u&password=***&sslmode=require",
        ),
        ("postgresql://h/angarium?sslpassword=x", "postgresql://h/angarium?sslpassword=***"),
        ("host=h password=x dbname=d", "host=h password=*** dbname=d"),
        ("postgresql://u@h:5432/angarium", "postgresql://u@h:5432/angarium"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
    ],
)
def test_a_password_is_never_shown(store: str, shown: str) -> None:
    assert shown_store(store) == shown


def test_settings_for_people_hide_the_password_too() -> None:
    assert "geheim" not in repr(_load(store=DATABASE, secret_key=KEY))
