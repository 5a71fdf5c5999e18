"""Open connections to the file, and say in our own words what SQLite says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from angarium.errors import StoreAway, StoreDamaged

if TYPE_CHECKING:
    from pathlib import Path

PAGE_BYTES = 16 * 1024
"""Large, because an event of a kilobyte leaves less of such a page unused."""

_BUSY_MS = 5000
_STATEMENTS = 300
_WRITER_CACHE_KIB = 16 * 1024
_READER_CACHE_KIB = 2 * 1024
_WAL_KEPT_BYTES = 64 * 1024 * 1024
_AWAY = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.FullError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)
# What a failed flush leaves on disk nobody knows: the kernel says so once, and calls the pages clean from then on.
_FLUSHES = (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)


def connect_writer(path: Path) -> apsw.Connection:
    """Open the connection that writes: what it has committed is on disk. `StoreAway` when the file cannot be had."""
    try:
        connection = apsw.Connection(str(path), statementcachesize=_STATEMENTS)
        connection.set_busy_timeout(_BUSY_MS)
        connection.pragma("page_size", PAGE_BYTES)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("wal_autocheckpoint", 0)
        connection.pragma("journal_size_limit", _WAL_KEPT_BYTES)
        connection.pragma("cache_size", -_WRITER_CACHE_KIB)
    except apsw.Error as error:
        raise translated(error) from error
    return connection


def connect_reader(path: Path) -> apsw.Connection:
    """Open a connection that only reads."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=_STATEMENTS)
    connection.set_busy_timeout(_BUSY_MS)
    connection.pragma("query_only", 1)
    connection.pragma("cache_size", -_READER_CACHE_KIB)
    return connection


def translated(error: apsw.Error, *, at_commit: bool = False) -> Exception:
    """Return what an error of SQLite's is to us; the error itself when it is our own broken promise.

    A commit that met a full disk has written nothing that counts; one that met another fault perhaps has.
    """
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StoreDamaged(f"the store's file is damaged ({error}); restore it from a copy", is_unknown=at_commit)
    if isinstance(error, apsw.FullError):
        return StoreAway(f"the disk is full ({error}); make room, nothing else is needed")
    if isinstance(error, _AWAY):
        return StoreAway(f"the store's file cannot be used ({error}); look at its disk", is_unknown=at_commit)
    return error


def ends_trust(error: apsw.Error) -> bool:
    """Say whether nothing may be written after this error until the file was opened anew."""
    return isinstance(error, apsw.CorruptError | apsw.NotADBError) or getattr(error, "extendedresult", 0) in _FLUSHES
