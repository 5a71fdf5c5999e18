"""Hold a store's file for one process alone, by a lock that ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from angarium.errors import StoreAway, StoreInUse

if TYPE_CHECKING:
    from pathlib import Path

_OWN = 0o600


class Ownership:
    """The lock on `<file>.lock`. It is held from `take` to `release`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._held: int | None = None

    def take(self) -> None:
        """Take the lock, and make the file if there is none, readable by its owner only.

        `StoreInUse` when another has it, `StoreAway` when the folder cannot be used.
        """
        try:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWN)
        except OSError as error:
            raise self._away(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)
            # SQLite gives its other files the same mode. Nobody has the file open yet: closing it breaks no lock.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWN))
        except BlockingIOError as error:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise StoreInUse(
                f"{self._path} is in use by process {holder or 'unknown'}; stop that, or give this one another store"
            ) from error
        except OSError as error:
            os.close(lock)
            raise self._away(error) from error
        self._held = lock

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._held is not None:
            with suppress(OSError):
                os.close(self._held)
            self._held = None

    def _away(self, error: OSError) -> StoreAway:
        return StoreAway(
            f"{self._path} cannot be opened ({error.strerror}); name a file in a folder that can be written"
        )
