"""Wire the parts of a server from its settings, start them in order, and stop them in the opposite one.

store → secrets and ids → address → sender → engine → API. When several processes share a PostgreSQL database, one may
have half of it only: what answers, or what delivers (`ANGARIUM_ROLE`). Stopping takes no more connections, answers what
was asked, seals no more, lets what is on the wire end, settles, and lets go of the store. Whatever fails on the way in
undoes what has been started.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from angarium import __version__, telemetry
from angarium.api.front import Front, RequestIds
from angarium.api.listening import Listening, bind
from angarium.api.native.app import build_native
from angarium.api.older import OlderApis
from angarium.api.publishing import Bodies, PublishRoute
from angarium.api.service import Readiness, Service
from angarium.api.working import NoPublisher, elsewhere
from angarium.clock import SystemClock
from angarium.egress.sender import CurlSender
from angarium.engine.engine import LogEngine
from angarium.engine.sharing import SharedEngine
from angarium.errors import SecretKeyWrong
from angarium.model.ids import Ids
from angarium.notifying import READY, STOPPING, notify
from angarium.operations.callers import Callers, make_admin_key
from angarium.operations.context import STARTING, Context
from angarium.operations.expiring import Expiry
from angarium.operations.projects import Projects
from angarium.operations.publish import Publisher
from angarium.settings import is_postgres, shown_store
from angarium.store.sqlite import SqliteStore
from angarium.telemetry import SERVER_STARTED, SERVER_STOPPED, emit
from angarium.vault import Vault, load_or_make_key

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from angarium.api.metrics import Metrics
    from angarium.clock import Clock
    from angarium.engine.contract import Engine
    from angarium.settings import Address, Settings
    from angarium.store.contract import Store

IDS_KEY: Final = "ids"
"""Under this name a store keeps the key of its ids, 16 bytes."""
CHECK_VALUE: Final = "vault"
"""… and what it recognises its secret key by."""

_ANSWERS_TAKE_S: Final = 3.0
_CONNECTIONS_MIN: Final = 128
_CONNECTIONS_MAX: Final = 20_000
_FILES_MAX: Final = 65_536
_FILES_BESIDES: Final = 128


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers. `admin_key` is what it has just made, None when there had been one."""

    url: str
    admin_key: str | None
    context: Context
    took_ms: int


def run(settings: Settings, *, told: Callable[[Server], None]) -> None:
    """Serve until SIGTERM or SIGINT, and stop in good order; a second one ends the process at once.

    `told` is called when the server answers. Raises what `running` raises.
    """
    telemetry.configure(level=settings.log_level, form=settings.log_format)
    _allow_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, told))


async def _run(settings: Settings, told: Callable[[Server], None]) -> None:
    ending = _Ending()
    async with running(settings) as server:
        told(server)
        notify(READY)
        # What was made at the start stays, and what an event makes goes with it: the collector may look less often.
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        await ending.asked.wait()
        notify(STOPPING)
        began = time.monotonic()
    emit(SERVER_STOPPED, reason=ending.reason, took_ms=round((time.monotonic() - began) * 1000))


class _Ending:
    """Wait for somebody to ask for the end."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.reason = ""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask, number)

    def _ask(self, number: signal.Signals) -> None:
        if self.asked.is_set():
            os._exit(128 + number)  # As after a crash: the store is made for that.
        self.reason = number.name
        self.asked.set()


@contextlib.asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Server]:
    """Lend a server that runs in this loop until it is left.

    `StoreInUse`, `StoreAway`, `StoreWrong`, `SecretKeyWrong` and `ListenFailed` say why it cannot start.
    """
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        store = await _open_store(settings, stack)
        plug = bind(settings.listen)
        stack.callback(plug.close)
        context = await _open_engine(settings, clock or SystemClock(), store, stack)
        admin_key = await _admin_key(context)
        address = await _answer(context, plug, stack)
        server = Server(f"http://{address}", admin_key, context, round((time.monotonic() - began) * 1000))
        emit(
            SERVER_STARTED,
            url=server.url,
            role=settings.role,
            store=shown_store(settings.store),
            version=__version__,
            took_ms=server.took_ms,
        )
        yield server


async def _open_store(settings: Settings, stack: contextlib.AsyncExitStack) -> Store:
    store = _store(settings)
    await store.open()
    stack.push_async_callback(store.close)
    return store


def _store(settings: Settings) -> Store:
    if not is_postgres(settings.store):
        return SqliteStore(store_path(settings))
    from angarium.store.postgres import PostgresStore  # noqa: PLC0415  who keeps all in a file need not load it

    return PostgresStore(settings.store)


async def _open_engine(settings: Settings, clock: Clock, store: Store, stack: contextlib.AsyncExitStack) -> Context:
    async with store.alone(STARTING):  # Processes that start together are to agree.
        vault, ids = await _vault(store, settings), await _ids(store)
    sender = CurlSender(
        allowances=settings.egress_allow, ports=settings.egress_ports, max_in_flight=settings.max_in_flight
    )
    await sender.open()
    stack.push_async_callback(sender.close)
    local = LogEngine(store=store, sender=sender, clock=clock, ids=ids, vault=vault, settings=settings)
    engine = _engine(local, store, settings)
    context = Context(settings, clock, ids, vault, store, sender, engine)
    # What has expired while nobody looked must not be sent first.
    await Expiry(context, Projects(context)).sweep_all()
    await engine.open()
    stack.push_async_callback(engine.close, within_s=float(settings.stop_s))
    return context


def _engine(local: LogEngine, store: Store, settings: Settings) -> Engine:
    """Return the engine of a process that has everything to itself, or shares it."""
    if not is_postgres(settings.store):
        return local
    return SharedEngine(store, local=None if settings.role == "api" else local)


async def _admin_key(context: Context) -> str | None:
    """Make the admin key if there is none yet; whoever starts a worker does not look for it there."""
    if context.settings.role == "worker":
        return None
    async with context.store.alone(STARTING):
        return await make_admin_key(context)


async def _answer(context: Context, plug: socket.socket, stack: contextlib.AsyncExitStack) -> Address:
    """Begin to answer requests; return where."""
    callers = Callers(context)
    projects = Projects(context, forgotten=callers.forget_project)
    context.store.listen_changes(callers.forget_all)
    context.store.listen_changes(projects.forget_all)
    expiry = Expiry(context, projects)
    expiry.start()
    stack.push_async_callback(expiry.stop)
    settings, readiness = context.settings, Readiness(context)
    make = _working if settings.role == "worker" else _answering
    service, front = make(context, callers, projects, readiness, stack)
    listening = Listening(service, front, plug, trusted=settings.trusted_proxies)
    await listening.start()
    stack.push_async_callback(listening.stop, within_s=min(_ANSWERS_TAKE_S, settings.stop_s))
    stack.callback(readiness.stop)
    return listening.address


def _answering(
    context: Context, callers: Callers, projects: Projects, readiness: Readiness, stack: contextlib.AsyncExitStack
) -> tuple[Service, Front]:
    """Return what answers everything."""
    publisher = Publisher(context, callers, projects)
    stack.callback(publisher.close)
    bodies, ids = Bodies(), RequestIds()
    front = Front(publisher, bodies, ids, connections_max=_connections_max(context.settings))
    service = Service(
        native=build_native(context, callers, projects),
        older=OlderApis(context, callers, projects),
        publish=PublishRoute(publisher, bodies),
        readiness=readiness,
        make_metrics=lambda: _metrics(context, publisher, front),
        ids=ids,
    )
    return service, front


def _working(
    context: Context, _callers: Callers, _projects: Projects, readiness: Readiness, _stack: contextlib.AsyncExitStack
) -> tuple[Service, Front]:
    """Return what answers how a worker is doing, and nothing else."""
    publisher, bodies, ids = NoPublisher(), Bodies(), RequestIds()
    front = Front(publisher, bodies, ids, connections_max=_connections_max(context.settings))
    service = Service(
        native=elsewhere,
        older=None,
        publish=PublishRoute(publisher, bodies),
        readiness=readiness,
        make_metrics=lambda: _metrics(context, publisher, front),
        ids=ids,
    )
    return service, front


def _metrics(context: Context, publisher: Publisher | NoPublisher, front: Front) -> Metrics:
    from angarium.api.metrics import Metrics  # noqa: PLC0415  nobody waits for it at the start

    parts = [publisher.figures, context.engine.figures, front.figures]
    return Metrics(parts=parts, spans={"publish_seconds": publisher.took})


# -- what a store keeps ------------------------------------------------------------------------------------------------


def store_path(settings: Settings) -> Path:
    """Return where the store's file is."""
    return Path(settings.store.removeprefix("sqlite:///"))


async def _ids(store: Store) -> Ids:
    """Return what makes this store's ids; their key is made with the store."""
    key = await store.meta(IDS_KEY)
    if key is None:
        key = os.urandom(16)
        await store.put_meta(IDS_KEY, key)
    return Ids(key)


async def _vault(store: Store, settings: Settings) -> Vault:
    """Return what opens this store's secrets; `SecretKeyWrong` when the key is another one, or gone."""
    value = await store.meta(CHECK_VALUE)
    vault = Vault(settings.secret_key or _key_beside(store_path(settings), is_new=value is None))  # A file's only.
    if value is None:
        await store.put_meta(CHECK_VALUE, vault.check_value())
    else:
        vault.check(value)
    return vault


def _key_beside(path: Path, *, is_new: bool) -> bytes:
    """Return the secret key that lies beside a store; one is made for a new store only."""
    key_path = path.with_name(f"{path.name}.key")
    if not is_new and not key_path.exists():
        raise SecretKeyWrong(
            f"the secret key of {path} is missing: there is no {key_path}, and ANGARIUM_SECRET_KEY is not set; "
            "put the file back, or set the variable to the key that the store was made with"
        )
    return load_or_make_key(key_path)


# -- open files --------------------------------------------------------------------------------------------------------


def _allow_open_files() -> None:
    """Allow as many open files as the system lets us; each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _connections_max(settings: Settings) -> int:
    """Return how many connections of clients leave enough open files for receivers and the store."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _FILES_MAX if soft == resource.RLIM_INFINITY else soft
    return max(_CONNECTIONS_MIN, min(_CONNECTIONS_MAX, files - 2 * settings.max_in_flight - _FILES_BESIDES))
