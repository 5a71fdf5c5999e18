"""Find the way for each request, send it on its way, and tell what came of it: all on the event loop."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from angarium.core.addressing import known_addresses, parse
from angarium.egress.host import OwnAddresses, find_ca_file
from angarium.egress.resolving import DEADLINE_S, Addresses, Resolver, Unresolved
from angarium.egress.routes import Policy, Route, Way
from angarium.egress.transfer import Options, Transfer
from angarium.egress.wire import Report, Wire
from angarium.errors import FieldError
from angarium.model.wire import NoResponse, Phases, Reason, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Sequence

    from angarium.core.addressing import IpAddress
    from angarium.settings import Allowance

_Key = tuple[str, str, bool, frozenset[int]]
"""What a route is remembered by: url, owner, whether http is allowed, further ports."""

_ROUTES_MAX = 10_000
_STOPPED = NoResponse(Reason.RESET, "the sender was stopped")


class CurlSender:
    """Send requests with libcurl, on the loop that called `open`.

    `allowances` and `ports` are the operator's settings; `ca_file` replaces the system's certificate authorities, and
    `nameservers` (`address` or `address:port`) its name servers. Requests beyond `max_in_flight` wait, inside their
    deadline.
    """

    def __init__(
        self,
        *,
        allowances: Sequence[Allowance] = (),
        ports: Collection[int] = (),
        max_in_flight: int = 512,
        ca_file: str | None = None,
        nameservers: Sequence[str] = (),
        own_addresses: Container[IpAddress] | None = None,
    ) -> None:
        own = OwnAddresses() if own_addresses is None else own_addresses
        self._policy = Policy(allowances=allowances, ports=ports, own_addresses=own)
        options = Options(ca_file if ca_file is not None else find_ca_file())
        self._wire = Wire(options, max_in_flight=max_in_flight, report=self._tell_all)
        self._make_resolver = partial(Resolver, nameservers=nameservers)
        self._routes: dict[_Key, Route] = {}
        self._lookups: dict[asyncio.Task[None], Transfer] = {}
        self._is_open = False
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Return how many requests have been posted and are not yet done."""
        return self._in_flight

    async def open(self) -> None:
        """Begin to send."""
        self._loop = asyncio.get_running_loop()
        self._resolver = self._make_resolver()
        self._is_open = True
        self._wire.start()

    async def close(self) -> None:
        """End what is still on the wire (each reported as `reset`), and stop."""
        if not self._is_open:
            return
        self._is_open = False
        for task in self._lookups:
            task.cancel()
        await asyncio.gather(*self._lookups, return_exceptions=True)
        self._wire.stop()
        await self._resolver.close()

    def post(  # noqa: PLR0913  as its contract says
        self,
        request: Request,
        *,
        timeout_s: float,
        allow_http: bool,
        owner: str,
        done: Callable[[Response | NoResponse], None],
        ports: frozenset[int] = frozenset(),
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        """Send one request; call `done` once, on the event loop, with the answer or why there is none.

        `ports` are open at public addresses besides the sender's own (a project's setting). `may_send` is asked right
        before the request goes; the answer to no is `WITHHELD`.
        """
        self._in_flight += 1
        now = time.monotonic()
        transfer = Transfer(request, now, now + timeout_s, done, may_send)
        key = (request.url, owner, allow_http, ports)
        route = self._routes.get(key)
        if not self._is_open:
            self._loop.call_soon(self._tell, transfer, _STOPPED)
        elif route is not None and route.expires_at > now:
            self._send(transfer, route)
        else:
            self._find_way(key, transfer)

    # -- the way -------------------------------------------------------------------------------------------------------

    def _find_way(self, key: _Key, transfer: Transfer) -> None:
        """Send by a new route, at once where the host is an address, else when its name is resolved."""
        url, owner, allow_http, ports = key
        try:
            target = parse(url)
        except FieldError as error:
            self._loop.call_soon(self._tell, transfer, NoResponse(Reason.BLOCKED, str(error)))
            return
        way = Way(target, owner=owner, allow_http=allow_http, ports=ports, policy=self._policy)
        if addresses := known_addresses(target):
            self._set_out(key, way, Addresses(addresses, inf), transfer)
        else:
            task = self._loop.create_task(self._look_up(key, way, transfer))
            self._lookups[task] = transfer
            task.add_done_callback(self._lookups.pop)

    async def _look_up(self, key: _Key, way: Way, transfer: Transfer) -> None:
        try:
            left_s = transfer.deadline - time.monotonic()
            found = await self._resolver.resolve(way.target.host, timeout_s=min(left_s, DEADLINE_S))
        except Unresolved as error:
            took_us = _microseconds_since(transfer.begun_at)
            self._tell(transfer, NoResponse(Reason.DNS, str(error), Phases(dns_us=took_us, total_us=took_us)))
        except asyncio.CancelledError:  # Only `close` does that.
            self._tell(transfer, _STOPPED)
        else:
            transfer.dns_us = _microseconds_since(transfer.begun_at)
            self._set_out(key, way, found, transfer)

    def _set_out(self, key: _Key, way: Way, found: Addresses, transfer: Transfer) -> None:
        """Judge the addresses, and send to them if none is denied."""
        rules = {address: rule for address in found.addresses if (rule := way.judge(address)) is not None}
        vetted = tuple(address for address in found.addresses if address not in rules)
        # One bad address spoils a name. Only `localhost` is not for its owner to choose, and an allowance may open
        # one of its two.
        if rules and not (way.target.is_localhost and vetted):
            address, rule = next(iter(rules.items()))
            took = Phases(dns_us=transfer.dns_us, total_us=transfer.dns_us)
            blocked = NoResponse(Reason.BLOCKED, f"{way.target.host} leads to {address}, denied: {rule}", took)
            self._loop.call_soon(self._tell, transfer, blocked)
            return
        route = Route(way, vetted, expires_at=found.expires_at)
        if len(self._routes) >= _ROUTES_MAX:
            del self._routes[next(iter(self._routes))]
        self._routes[key] = route
        self._send(transfer, route)

    # -- on the way and back -------------------------------------------------------------------------------------------

    def _send(self, transfer: Transfer, route: Route) -> None:
        transfer.route = route
        self._wire.send(transfer)

    def _tell_all(self, report: Report) -> None:
        for transfer, result in report:
            self._tell(transfer, result)

    def _tell(self, transfer: Transfer, result: Response | NoResponse) -> None:
        self._in_flight -= 1
        try:
            transfer.done(result)
        except Exception as error:  # noqa: BLE001  one caller's mistake must not silence the others
            context = {"message": "a request's `done` failed", "exception": error}
            self._loop.call_exception_handler(context)


def _microseconds_since(moment: float) -> int:
    return int((time.monotonic() - moment) * 1e6)
