"""Listen: take a port, serve HTTP on the loop that runs, and let go in good order. What is served is `service`'s."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import uvicorn

from angarium.api.protocol import protocol_of
from angarium.errors import ListenFailed
from angarium.settings import Address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp

    from angarium.api.front import Front
    from angarium.settings import Network

_BACKLOG: Final = 2_048
_TICK_S: Final = 1.0


def bind(address: Address) -> socket.socket:
    """Return a socket bound to an address, port 0 for any; `ListenFailed` when it is taken or not this machine's."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        plug = socket.socket(family, kind, protocol)
        try:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            plug.bind(where)
            plug.listen(_BACKLOG)  # Now, so that two servers that start at once do not both believe they have it.
        except OSError:
            plug.close()
            raise
    except OSError as error:
        raise ListenFailed(f"ANGARIUM_LISTEN is {address}: {_why(error, address)}") from error
    plug.setblocking(False)  # noqa: FBT003  the socket module's own signature
    return plug


class Listening:
    """An HTTP server on one socket, in the loop that runs."""

    def __init__(self, app: ASGIApp, front: Front, plug: socket.socket, *, trusted: Iterable[Network] = ()) -> None:
        proxies = [str(network) for network in trusted]
        self._config = uvicorn.Config(
            app,
            http=protocol_of(front),
            ws="none",
            lifespan="off",
            backlog=_BACKLOG,
            server_header=False,
            log_config=None,
            access_log=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies,
        )
        self._front = front
        self._plug = plug
        self._server = uvicorn.Server(self._config)
        self._ticking: asyncio.Task[None] | None = None
        host, port = plug.getsockname()[:2]
        self.address = Address(host, port)

    async def start(self) -> None:
        """Answer from now on."""
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        self._tick()
        await self._server.startup(sockets=[self._plug])
        self._ticking = asyncio.get_running_loop().create_task(self._keep_ticking())

    async def stop(self, *, within_s: float) -> None:
        """Take no more connections, answer what was asked, and end what has not ended by then."""
        for server in self._server.servers:
            server.close()
        for connection in list(self._front.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._front.connections:  # noqa: ASYNC110  uvicorn tells nobody
                    await asyncio.sleep(0.01)
        tasks = list(self._server.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        for connection in list(self._front.connections):
            connection.transport.abort()
        if self._ticking is not None:
            self._ticking.cancel()

    async def _keep_ticking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_S)
            self._tick()
            self._front.sweep(loop.time())

    def _tick(self) -> None:
        """Tell the time in answers, as RFC 9110, section 6.6.1, asks."""
        self._server.server_state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]


def _why(error: OSError, address: Address) -> str:
    if isinstance(error, socket.gaierror):
        return f"{address.host} has no address here ({error.strerror}); expected such as 127.0.0.1:8080"
    match error.errno:
        case errno.EADDRINUSE:
            other = address.port + 1
            return f"another program listens there; stop it, or choose another port: --listen {address.host}:{other}"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address; 0.0.0.0 means all that it has"
        case errno.EACCES:
            return "ports below 1024 are root's; choose another, or give the program CAP_NET_BIND_SERVICE"
        case _:
            return f"it cannot be listened on ({error.strerror})"
