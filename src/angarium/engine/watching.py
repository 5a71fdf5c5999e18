"""Let whoever watches deliveries in one process see those that others make.

While somebody watches, its process says so each second. Whoever settles and hears that says which deliveries it has
opened and settled, by their keys; the watching process reads what became of them. While nobody watches, nothing is
said: only the last keys are kept for a moment, for whoever begins to watch just now.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from angarium.errors import StoreAway
from angarium.model.delivery import Key, Open, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from angarium.store.contract import Store

    Changed = Callable[[Sequence[Open], Sequence[Settled]], None]

WATCHING: Final = "watching"
"""What is said each second while somebody watches."""
SAYS_S: Final = 1.0
HEEDED_S: Final = 5.0
"""So long after it was heard that somebody watches, what is settled is said."""
LATELY_MAX: Final = 500
"""How many of the last keys are kept."""
UNREAD_MAX: Final = 10_000
"""How many deliveries of others may be about to be read; what is more is not seen."""

_KEYS_MAX: Final = 100  # So many keys are no longer than what may be said at once.
_OWNERS_MAX: Final = 10_000


class Watcher(NamedTuple):
    """Who watches which project's deliveries."""

    changed: Changed
    project: str


class Watching:
    """Who watches here, and whether somebody watches elsewhere. Used on the loop only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: list[Watcher] = []
        self._lately: deque[Key] = deque(maxlen=LATELY_MAX)
        self._heed_until = 0.0
        self._unread: deque[Key] = deque()
        self._projects: OrderedDict[int, str] = OrderedDict()  # of subscriptions, deleted ones left out
        self._saying: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to hear others."""
        self._store.listen_said(self._heard)

    async def close(self) -> None:
        """Say and read no more."""
        self._watchers.clear()
        tasks = [task for task in (self._saying, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def watch(self, changed: Changed, *, project: str) -> Callable[[], None]:
        """Call `changed` with what is opened and settled, here and elsewhere; return what ends that."""
        watcher = Watcher(changed, project)
        self._watchers.append(watcher)
        if self._saying is None or self._saying.done():
            self._store.say(WATCHING)
            self._saying = asyncio.get_running_loop().create_task(self._keep_saying())
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    async def _keep_saying(self) -> None:
        while True:
            await asyncio.sleep(SAYS_S)
            if not self._watchers:
                return
            self._store.say(WATCHING)

    # -- what is settled here ---------------------------------------------------------------------------------------

    def flushed(self, opened: Sequence[Open], settled: Sequence[Settled]) -> None:
        """Take note of what was opened and settled here."""
        self._tell(self._watchers, opened, settled)
        keys = [*(each.key for each in opened), *(each.key for each in settled)]
        if asyncio.get_running_loop().time() < self._heed_until:
            self._say(keys)
        else:
            self._lately.extend(keys)

    def _say(self, keys: Sequence[Key]) -> None:
        for first in range(0, len(keys), _KEYS_MAX):
            self._store.say(encode(keys[first : first + _KEYS_MAX]))

    # -- what is settled elsewhere ----------------------------------------------------------------------------------

    def _heard(self, words: str) -> None:
        if words == WATCHING:
            self._heed()
        elif self._watchers and (keys := decode(words)):
            self._unread.extend(keys[: UNREAD_MAX - len(self._unread)])
            if self._reading is None or self._reading.done():
                self._reading = asyncio.get_running_loop().create_task(self._read_all())

    def _heed(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._heed_until:
            self._say([*self._lately])
            self._lately.clear()
        self._heed_until = now + HEEDED_S

    async def _read_all(self) -> None:
        while self._unread:
            key = self._unread.popleft()
            try:
                await self._read(key)
            except StoreAway:
                self._unread.clear()  # Whoever watches is told too little, but not for ever.

    async def _read(self, key: Key) -> None:
        project = await self._project_of(key.subscription)
        watchers = [each for each in self._watchers if each.project == project]
        delivery = await self._store.delivery(key) if watchers else None
        if isinstance(delivery, Open):
            self._tell(watchers, (delivery,), ())
        elif delivery is not None:
            self._tell(watchers, (), (delivery,))

    async def _project_of(self, number: int) -> str | None:
        known = self._projects.get(number)
        if known is None:
            subscription = await self._store.subscription(number)
            if subscription is None:
                return None
            known = self._projects[number] = subscription.project
            if len(self._projects) > _OWNERS_MAX:
                self._projects.popitem(last=False)
        return known

    def _tell(self, watchers: Iterable[Watcher], opened: Sequence[Open], settled: Sequence[Settled]) -> None:
        for watcher in list(watchers):
            watcher.changed(opened, settled)


def encode(keys: Sequence[Key]) -> str:
    """Return deliveries' keys as they are said."""
    return " ".join(f"{key.partition}:{key.last_offset}:{key.subscription}:{key.last_ms}" for key in keys)


def decode(words: str) -> Sequence[Key]:
    """Return the keys that somebody has said; none for what says none, as another version may say."""
    try:
        return [Key(*map(int, each.split(":"))) for each in words.split(" ")]
    except (TypeError, ValueError):
        return ()
