"""Keep connections apart: by owner, policy and addresses."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from angarium.core.addressing import parse
from angarium.egress.routes import Policy, Route, Way
from angarium.settings import Allowance

POLICY = Policy(allowances=(Allowance(ip_network("::ffff:0:0/96"), 1, 65_535),), ports=(), own_addresses=())


def _route(*addresses: str, url: str = "https://example.com/a", owner: str = "ada", **changes: Any) -> Route:
    given: dict[str, Any] = {"allow_http": False, "ports": frozenset[int](), "policy": POLICY} | changes
    return Route(Way(parse(url), owner=owner, **given), [ip_address(address) for address in addresses])


def test_requests_that_may_share_a_connection_have_one_name() -> None:
    kept = _route("8.8.8.8", "2001:4860::1").connect_to
    assert _route("2001:4860::1", "8.8.8.8", url="https://example.com/b").connect_to == kept


def test_whatever_was_vetted_differently_has_another_name() -> None:
    routes = [
        _route("8.8.8.8"),
        _route("8.8.4.4"),
        _route("8.8.8.8", "8.8.4.4"),
        _route("8.8.8.8", owner="bob"),
        _route("8.8.8.8", url="https://example.org/a"),
        _route("8.8.8.8", url="http://example.com:443/a"),
        _route("8.8.8.8", allow_http=True),
        _route("8.8.8.8", ports=frozenset({9443})),
    ]
    assert len({route.connect_to[0] for route in routes}) == len(routes)


def test_the_name_leads_to_the_vetted_addresses_alone() -> None:
    route = _route("8.8.8.8", "2001:4860::1", url="https://example.com:8443/a")
    name = route.connect_to[0].removeprefix("::").removesuffix(":8443")
    assert name.endswith(".invalid")
    assert route.resolve == [f"+{name}:8443:8.8.8.8,[2001:4860::1]"]
    assert route.leads_to("8.8.8.8")
    assert route.leads_to("2001:4860:0:0::1")
    assert not route.leads_to("8.8.4.4")
    assert _route("::ffff:8.8.8.8").leads_to("::ffff:8.8.8.8")


def test_a_project_s_further_ports_are_open_at_public_addresses() -> None:
    way = _route("8.8.8.8", url="https://example.com:9443/", ports=frozenset({9443})).way
    assert way.judge(ip_address("8.8.8.8")) is None
    assert way.judge(ip_address("10.0.0.1")) == "private"
    assert _route("8.8.8.8", url="https://example.com:9443/").way.judge(ip_address("8.8.8.8")) == "port 9443"
