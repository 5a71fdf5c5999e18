"""Say whether a server could start on what a store holds, and with this secret key. Where it lies others have said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from angarium.cli.doctor_findings import Finding, Level
from angarium.errors import SecretKeyWrong, StoreAway, StoreDamaged, StoreUnfinished, StoreWrong
from angarium.settings import Settings, is_postgres

_CHECK_VALUE = "vault"
_SUBJECT = "contents"


def check_contents(settings: Settings, key_path: Path) -> Iterator[Finding]:
    """Look into the store, and try the secret key; a store that cannot be reached has been told of."""
    try:
        value = _peek(settings.store)
        yield Finding(Level.OK, _SUBJECT, _tried(value, settings.secret_key or _beside(key_path)))
    except StoreAway:
        return
    except (StoreWrong, StoreUnfinished, StoreDamaged, SecretKeyWrong) as error:
        found, _, fix = str(error).partition("; ")
        yield Finding(Level.FAIL, _SUBJECT, found, fix)


def _peek(store: str) -> bytes | None:
    if is_postgres(store):
        from angarium.store.postgres.migrating import peek_database  # noqa: PLC0415  the other store is not needed

        return asyncio.run(peek_database(store, _CHECK_VALUE))
    from angarium.store.sqlite.migrating import peek_file  # noqa: PLC0415  the same

    path = Path(store.removeprefix("sqlite:///"))
    return peek_file(path, _CHECK_VALUE) if path.is_file() else None


def _tried(value: bytes | None, key: bytes) -> str:
    if value is None:
        return "no server has run on it yet"
    if not key:
        return "a store of this program"
    from angarium.vault import Vault  # noqa: PLC0415  loads cryptography

    Vault(key).check(value)
    return "a store of this program, which the secret key opens"


def _beside(path: Path) -> bytes:
    from angarium.vault import load_or_make_key  # noqa: PLC0415  loads cryptography

    return load_or_make_key(path) if path.is_file() else b""
