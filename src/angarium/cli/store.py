"""Bring a store's schema up to date, copy a store into another, and check that one is whole. The stores do the work."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from angarium.cli.command import group, local_command, option
from angarium.cli.failing import FAILED, INTERRUPTED, MISUSED, Failure
from angarium.cli.screen import Screen
from angarium.errors import (
    SettingsWrong,
    StoreAway,
    StoreDamaged,
    StoreInUse,
    StoreUnfinished,
    StoreWrong,
)
from angarium.settings import FILE, gather, is_postgres, shown_store, table
from angarium.store.checking import Checking, Looked
from angarium.store.copying import Copying, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from angarium.store.postgres.checking import DatabaseReader
    from angarium.store.postgres.copying import DatabaseSource, DatabaseTarget
    from angarium.store.sqlite.checking import FileReader
    from angarium.store.sqlite.copying import FileSource, FileTarget

store = group("store", "Bring a store's schema up to date, copy a store, or check it.")

Where = Annotated[str | None, option("--store", help="The store. [ANGARIUM_STORE, sqlite:///angarium.db]")]

_MIB = 1024 * 1024
_TELLS_S = 5.0
_CHECK_VALUE = "vault"
_CODES: Mapping[type[Exception], str] = {
    StoreInUse: "store_in_use",
    StoreAway: "store_away",
    StoreDamaged: "store_damaged",
    StoreWrong: "store_wrong",
    StoreUnfinished: "store_unfinished",
}


class _Given(NamedTuple):
    """What of the settings these commands go by; the rest may be wrong or missing."""

    store: str
    secret_key: bytes


@local_command(
    "migrate",
    into=store,
    examples=("angarium store migrate", "angarium store migrate --store postgresql://angarium@db/angarium --json"),
)
def migrate(screen: Screen, store: Where = None) -> None:
    """Bring the store's schema up to date; a server does so at its start as well.

    Servers may go on running on PostgreSQL meanwhile; a file must not be in use.
    """
    url = _settings(store).store
    made = asyncio.run(_migrated(url))
    if screen.is_json:
        screen.document({"store": shown_store(url), "made": made})
    elif made:
        for name in made:
            screen.line(f"made {name}")
    else:
        screen.line(f"{shown_store(url)} is up to date")


@local_command(
    "copy",
    into=store,
    examples=(
        "angarium store copy --from sqlite:///angarium.db --to postgresql://angarium@db/angarium",
        "angarium store copy --from postgresql://angarium@db/angarium --to sqlite:////var/lib/angarium/angarium.db",
    ),
)
def copy(
    screen: Screen,
    from_: Annotated[str, option("--from", help="The store that is copied; no server may run on it.")],
    to: Annotated[str, option(help="An empty store, or an unfinished copy, which goes on where it stopped.")],
) -> int:
    """Copy everything of a store into another: log, registry, deliveries, lanes, objects, keys and secrets.

    Nothing of it is changed but where it lies. The source stays as it is, but for migrations that it lacks. Ctrl-C
    stops between two pages; the same command goes on then. No server starts on a copy before it is whole.
    """
    source, target = (_named(flag, url) for flag, url in (("--from", from_), ("--to", to)))
    if _resolved(source) == _resolved(target):
        raise Failure(
            "a store cannot be copied into itself",
            why=f"--from and --to are both {shown_store(source)}",
            fix="name another store with --to",
            code="usage",
            exit_code=MISUSED,
        )
    return asyncio.run(_copy(screen, source, target, _settings(None).secret_key))


@local_command(
    "check",
    into=store,
    examples=("angarium store check", "angarium store check --store postgresql://angarium@db/angarium --json"),
)
def check(screen: Screen, store: Where = None) -> int:
    """Prove that a store is whole: the log without gaps, and deliveries, lanes, counts and objects as it says.

    Everything is read once. Servers may go on running on PostgreSQL meanwhile; a file must not be in use. The exit code
    is 1 when anything is wrong.
    """
    url = _settings(store).store
    looked, wrong = asyncio.run(_check(screen, url))
    if screen.is_json:
        screen.document({"store": shown_store(url), "entries": looked, "wrong": wrong})
    elif wrong:
        for sentence in wrong:
            screen.line(sentence)
    else:
        screen.line(f"{shown_store(url)} is whole: {looked:,} entries, and all that follows from them")
    return FAILED if wrong else 0


# -- settings ----------------------------------------------------------------------------------------------------------


def _settings(url: str | None) -> _Given:
    problems: list[str] = []
    flags = {"store": url} if url else {}
    given = gather(flags=flags, environment=os.environ, file=FILE, problems=problems)
    found: dict[str, Any] = {"store": "sqlite:///angarium.db", "secret_key": b""}
    for name in found.keys() & given.keys():
        try:
            found[name] = table()[name].form.read(given[name].text)
        except ValueError as error:
            problems.append(f"{given[name].origin} is wrong: {error}")
    if problems:
        raise SettingsWrong("\n".join(problems))
    return _Given(**found)


def _named(flag: str, url: str) -> str:
    try:
        return str(table()["store"].form.read(url))
    except ValueError as error:
        raise SettingsWrong(f"{flag} is wrong: {error}") from error


def _place(url: str) -> Path | str:
    """Return where a store is: a file, or what a database is reached by."""
    return url if is_postgres(url) else Path(url.removeprefix("sqlite:///")).absolute()


def _resolved(url: str) -> Path | str:
    """Return the same, however it is written."""
    place = _place(url)
    return place.resolve() if isinstance(place, Path) else place


async def _migrated(url: str) -> list[str]:
    place = _place(url)
    if isinstance(place, Path):
        from angarium.store.sqlite.migrating import migrate_file  # noqa: PLC0415  the other store is not needed

        return await asyncio.to_thread(migrate_file, place)
    from angarium.store.postgres.migrating import migrate_database  # noqa: PLC0415  the same

    return await migrate_database(place)


def _source(url: str) -> FileSource | DatabaseSource:
    place = _place(url)
    if isinstance(place, Path):
        from angarium.store.sqlite.copying import FileSource  # noqa: PLC0415  the other store may not be needed

        return FileSource(place)
    from angarium.store.postgres.copying import DatabaseSource  # noqa: PLC0415  the same

    return DatabaseSource(place)


def _target(url: str) -> FileTarget | DatabaseTarget:
    place = _place(url)
    if isinstance(place, Path):
        from angarium.store.sqlite.copying import FileTarget  # noqa: PLC0415  the same

        return FileTarget(place)
    from angarium.store.postgres.copying import DatabaseTarget  # noqa: PLC0415  the same

    return DatabaseTarget(place)


def _reader(url: str) -> FileReader | DatabaseReader:
    place = _place(url)
    if isinstance(place, Path):
        from angarium.store.sqlite.checking import FileReader  # noqa: PLC0415  the same

        return FileReader(place)
    from angarium.store.postgres.checking import DatabaseReader  # noqa: PLC0415  the same

    return DatabaseReader(place)


async def _check(screen: Screen, url: str) -> tuple[int, Sequence[str]]:
    """Return how many entries there are, and what is wrong."""
    reader, entries = _reader(url), 0

    def told(looked: Looked) -> None:
        nonlocal entries
        entries = looked.entries
        shown.show(looked.entries, looked.total, f"{looked.entries:,} of {looked.total:,} entries")

    with _failing(f"{shown_store(url)} cannot be checked"):
        await reader.open()
        try:
            with _Shown(screen) as shown:
                wrong = await Checking(reader, told).run()
                return entries, wrong
        finally:
            await reader.close()


# -- copying -----------------------------------------------------------------------------------------------------------


async def _copy(screen: Screen, from_: str, to: str, secret_key: bytes) -> int:
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        source, target = _source(from_), _target(to)
        with _failing(f"{shown_store(from_)} cannot be copied"):
            await source.open()
            stack.push_async_callback(source.close)
            _refuse_nothing(await source.counts())
        needed = _key_needed(from_, to, secret_key, await source.meta(_CHECK_VALUE))
        with _failing(f"{shown_store(to)} cannot be copied into"):
            await target.open()
        stack.push_async_callback(target.close)
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        with _failing("the copy has stopped"), _Shown(screen) as shown:
            copied = _Copied(shown, await source.counts())
            is_whole = await Copying(source, target).run(copied.told, stopped.is_set)
    told = {
        "from": shown_store(from_),
        "to": shown_store(to),
        "is_whole": is_whole,
        "rows": copied.progress.rows,
        "bytes": copied.progress.byte_count,
        "took_s": round(time.monotonic() - began, 1),
        "secret_key": needed,
    }
    _sum_up(screen, told)
    return 0 if is_whole else INTERRUPTED


def _refuse_nothing(counts: Mapping[str, int]) -> None:
    """Refuse a source that holds nothing: its name was mistyped."""
    if not counts["project"] and not counts["event"]:
        raise StoreWrong("it holds no project and no event; name the store that is to be copied")


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """Say of a store's failure which store it is; its last part is what to do."""
    try:
        yield
    except tuple(_CODES) as error:
        why, _, fix = str(error).rpartition("; ")
        raise Failure(
            what, why=why or fix, fix=fix if why else "see why", code=_CODES.get(type(error), "store_away")
        ) from error


def _sum_up(screen: Screen, told: dict[str, Any]) -> None:
    again = f"angarium store copy --from {told['from']} --to {told['to']}"
    if screen.is_json:
        screen.document(told)
    elif told["is_whole"]:
        rows = {name: count for name, count in told["rows"].items() if count}
        screen.fields({name: f"{count:,}" for name, count in rows.items()})
        screen.line(f"copied {sum(rows.values()):,} rows in {told['took_s']} s; the source is as it was")
        screen.line(f"secrets    {told['secret_key']}")
        screen.say(f"next: angarium store check --store {told['to']}")
    if not told["is_whole"]:
        screen.say(f"stopped after {sum(told['rows'].values()):,} rows; nothing is lost; go on with: {again}")


def _key_needed(from_: str, to: str, secret_key: bytes, check_value: bytes | None) -> str:
    """Say which secret key the copy needs; `SecretKeyWrong` when the one at hand is another than the source's."""
    if check_value is None:
        return "no server has run on the source, so any ANGARIUM_SECRET_KEY will do"
    from angarium.vault import Vault, load_or_make_key  # noqa: PLC0415  loads cryptography

    beside = _beside(from_)
    if secret_key:
        Vault(secret_key).check(check_value)
        return "start it with the ANGARIUM_SECRET_KEY that is set here: it opens them"
    if beside is None or not beside.exists():
        return "start it with the ANGARIUM_SECRET_KEY of the source, which is not set here, so that it was not tried"
    Vault(load_or_make_key(beside)).check(check_value)
    there = _beside(to)
    if there is not None:
        return f"they open with {beside}; put a copy of that file at {there}"
    return f"they open with {beside}; start its servers with ANGARIUM_SECRET_KEY_FILE={beside}"


def _beside(url: str) -> Path | None:
    """Return where the secret key lies beside a file."""
    place = _place(url)
    return place.with_name(f"{place.name}.key") if isinstance(place, Path) else None


class _Shown:
    """Show how far something is: a bar for people, a line now and then where nobody looks."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._told_s = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        talk = self._screen.talk()
        if talk.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415  only here

            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=talk, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, total: int, text: str) -> None:
        """Show how much of it is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, description=text)
        elif time.monotonic() - self._told_s >= _TELLS_S:
            self._told_s = time.monotonic()
            self._screen.say(text)


class _Copied:
    """Know how far a copy is, and show it."""

    def __init__(self, shown: _Shown, counts: Mapping[str, int]) -> None:
        self.progress = Progress("", "")
        self._shown, self._total = shown, sum(counts.values())
        self._began: tuple[float, int] | None = None

    def told(self, progress: Progress) -> None:
        """Take note of a page."""
        self.progress, now = progress, time.monotonic()
        if self._began is None:
            self._began = now, progress.byte_count
        began, byte_count = self._began
        rate = (progress.byte_count - byte_count) / max(now - began, 0.001) / _MIB
        text = f"{progress.row_count:,} of {self._total:,} rows  {rate:,.1f} MB/s  {progress.table}"
        self._shown.show(progress.row_count, self._total, text)
