"""Be the process that a test kills, or whose disk it takes away: `python programs.py NAME PATH`.

Each program says on its standard output, line by line, what it was promised.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import platform
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from angarium.errors import StoreAway
from angarium.model.delivery import Key, Settled, State
from angarium.model.event import Event
from angarium.store.contract import Publish, Receipt, Settlement
from angarium.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

NOON = 1_790_000_000_000


def say(**said: Any) -> None:
    """Say something on a line of its own."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def event(text: str, *, tenant: int = 1, size: int = 300) -> Event:
    """Return an event whose data repeats its object's id."""
    return Event("radio", str(tenant), "item", text, "update", data=json.dumps(text * (size // len(text))).encode())


async def write_for_ever(path: Path) -> None:
    """Publish and settle without end, from several tasks, and say what was accepted."""
    store = SqliteStore(path, unindexed_max=200)
    await store.open()
    say(heads=dict(await store.heads()))

    async def write(task: int) -> None:
        number = 0
        while True:
            number += 1
            text = f"{task}-{number}"
            events = tuple(
                event(text, tenant=(task + each) % 7, size=200 * each + 50) for each in range(number % 4 + 1)
            )
            receipt = await store.accept(Publish("radio", events, NOON + number))
            say(text=text, places=[[place.partition, place.offset] for place in receipt.places])
            await store.settle(Settlement(settled=[_end(receipt)], watermarks={receipt.places[0].partition: 1}))

    await asyncio.gather(*(write(task) for task in range(8)))


async def fold_for_ever(path: Path) -> None:
    """Change some objects without end, fold them, drop the log behind them, and say how far each was changed."""
    store = SqliteStore(path, unindexed_max=100)
    await store.open()

    async def change(task: int) -> None:
        found = await store.object("radio", str(task % 3), "item", str(task))
        number = int(found.url) if found else 0
        while True:
            number += 1
            receipt = await store.accept(Publish("radio", (step(task, number),), NOON + number))
            place = receipt.places[0]
            say(task=task, number=number)
            await store.settle(Settlement(watermarks={place.partition: place.offset}))

    async def fold() -> None:
        while True:
            await store.fold_objects(limit=30)
            await asyncio.sleep(0.001)

    async def drop() -> None:
        while True:
            await store.retain(before_ms=NOON + 10_000, limit=40)

    while await store.fold_objects(limit=100):
        pass
    await asyncio.gather(fold(), drop(), *(change(task) for task in range(8)))


def step(task: int, number: int) -> Event:
    """Return an object's change: its url says the how many-th it is, and so does its data, which each third lacks."""
    data = b"" if number % 3 == 0 else b"%d" % number
    return Event("radio", str(task % 3), "item", str(task), "update", data, url=str(number))


def _end(receipt: Receipt) -> Settled:
    place = receipt.places[0]
    return Settled(Key(place.partition, place.offset, 1, place.accepted_ms), State.DELIVERED, place.accepted_ms)


async def lose_flushes(path: Path) -> None:
    """Publish, let every flush to the disk fail from then on, and say what becomes of what follows."""
    store = SqliteStore(path)
    await store.open()
    await _publish(store, "before")
    fail_flushes()
    await _publish(store, "during")
    await _publish(store, "after")
    say(read=[entry.event.object_id for entry in await _entries(store) if entry.event])
    await store.close()
    say(closed=True)


async def fill_the_disk(path: Path) -> None:
    """Publish until files may grow no further, make room, and go on."""
    store = SqliteStore(path)
    await store.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    for number in range(40):
        await _publish(store, f"before-{number}", size=100_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await _publish(store, "after", size=100_000)
    await store.close()
    say(closed=True)


async def _publish(store: SqliteStore, text: str, *, size: int = 300) -> None:
    try:
        receipt = await store.accept(Publish("radio", (event(text, size=size),), NOON))
    except StoreAway as error:
        say(refused=text, is_unknown=error.is_unknown, detail=str(error))
    else:
        say(accepted=text, offset=receipt.places[0].offset)


async def _entries(store: SqliteStore) -> Any:
    ((partition, _),) = (await store.heads()).items()
    return await store.read(partition, after=0, limit=1000)


# -- taking the disk away ----------------------------------------------------------------------------------------------


class _Filter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filters", ctypes.POINTER(_Filter)))


# By machine: the numbers of seccomp(2), fsync(2) and fdatasync(2).
_CALLS = {"x86_64": (317, 74, 75), "aarch64": (277, 82, 83)}
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def fail_flushes() -> None:
    """Let fsync and fdatasync fail with EIO in all of this process's threads, for good, as a dying disk would."""
    seccomp, *flushes = _CALLS[platform.machine()]
    filters = (_Filter * 5)(
        _Filter(_LOAD, 0, 0, 0),
        _Filter(_IF_EQUAL, 2, 0, flushes[0]),
        _Filter(_IF_EQUAL, 1, 0, flushes[1]),
        _Filter(_RETURN, 0, 0, _ALLOW),
        _Filter(_RETURN, 0, 0, _ERROR | errno.EIO),
    )
    program = _Program(len(filters), filters)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert libc.syscall(seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(program)) == 0, ctypes.get_errno()


PROGRAMS: dict[str, Callable[[Path], Coroutine[Any, Any, None]]] = {
    each.__name__: each for each in (write_for_ever, fold_for_ever, lose_flushes, fill_the_disk)
}

if __name__ == "__main__":
    asyncio.run(PROGRAMS[sys.argv[1]](Path(sys.argv[2])))
