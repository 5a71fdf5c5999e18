"""Resolve names over a real name server that lies, fails and stalls; connect to what was vetted and to nothing else."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_address, ip_network

import pytest

from angarium.egress.resolving import Resolver, Unresolved
from angarium.model.wire import NoResponse, Reason, Response
from angarium.settings import Allowance
from tests.egress.nameserver import NXDOMAIN, SERVFAIL, SILENCE, Told, name_server
from tests.egress.sending import LOOPBACK, begin, post, sender
from tests.receivers import receiver

NAME = "hook.example.com"


async def test_a_name_leads_to_its_address_and_stays_the_host() -> None:
    async with receiver() as r, name_server({NAME: [["127.0.0.1"]]}) as n, sender(nameservers=[n.address]) as s:
        answer = await post(s, f"http://{NAME}:{r.port}/a")
        assert isinstance(answer, Response)
        assert answer.phases.dns_us > 0
        assert answer.phases.total_us >= answer.phases.dns_us + answer.phases.connect_us
        assert r.requests[0].headers["host"] == f"{NAME}:{r.port}"


async def test_an_answer_is_remembered_as_long_as_it_holds() -> None:
    async with (
        receiver() as r,
        name_server({NAME: [["127.0.0.1"]]}, ttl_s=30) as n,
        sender(nameservers=[n.address]) as s,
    ):
        for owner in ("ada", "ada", "bob"):
            assert isinstance(await post(s, f"http://{NAME}:{r.port}/", owner=owner), Response)
        assert n.asked == [NAME, NAME]  # For both families of addresses, once.
        assert [request.connection for request in r.requests] == [1, 1, 2]


async def test_who_asks_for_the_same_name_meanwhile_waits_for_the_same_answer() -> None:
    async with receiver() as r, name_server({NAME: [["127.0.0.1"]]}) as n, sender(nameservers=[n.address]) as s:
        answers = await asyncio.gather(*(begin(s, f"http://{NAME}:{r.port}/{path}") for path in range(20)))
        assert all(isinstance(answer, Response) for answer in answers)
        assert n.asked == [NAME, NAME]


async def test_a_name_that_turns_inward_is_blocked_and_its_kept_connection_not_used() -> None:
    """The first answer was fine; the second, a second later, is what a rebinding attacker would say."""
    inward = Allowance(ip_network("127.0.0.1/32"), 1, 65_535)
    names: dict[str, list[Told]] = {NAME: [["127.0.0.1"], ["127.0.0.2"]]}
    async with (
        receiver() as r,
        name_server(names) as n,
        sender(nameservers=[n.address], allowances=[inward]) as s,
    ):
        url = f"http://{NAME}:{r.port}/"
        assert isinstance(await post(s, url), Response)
        await asyncio.sleep(1.1)  # No answer is remembered for less than a second.
        answer = await post(s, url)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.BLOCKED
        assert answer.detail == f"{NAME} leads to 127.0.0.2, denied: loopback"
        assert len(r.requests) == 1


@pytest.mark.parametrize(
    ("addresses", "denied"),
    [
        (["127.0.0.1"], "127.0.0.1, denied: loopback"),
        (["8.8.8.8", "169.254.169.254"], "169.254.169.254, denied: link-local"),
        (["8.8.8.8", "::ffff:10.0.0.1"], "denied: IPv4-mapped"),
        (["64:ff9b::7f00:1"], "denied: NAT64"),
        (["8.8.8.8"], "8.8.8.8, denied: this host's own"),
    ],
)
async def test_one_denied_address_blocks_the_whole_name(addresses: list[str], denied: str) -> None:
    own = {ip_address("8.8.8.8")} if addresses == ["8.8.8.8"] else set()
    async with (
        name_server({NAME: [addresses]}) as n,
        sender(nameservers=[n.address], allowances=(), own_addresses=own) as s,
    ):
        answer = await post(s, f"https://{NAME}/")
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.BLOCKED
        assert denied in answer.detail


async def test_http_to_a_name_is_for_allowed_addresses_only() -> None:
    async with name_server({NAME: [["8.8.8.8"]]}) as n, sender(nameservers=[n.address]) as s:
        answer = await post(s, f"http://{NAME}/")
        assert isinstance(answer, NoResponse)
        assert answer.detail == f"{NAME} leads to 8.8.8.8, denied: http"


@pytest.mark.parametrize("told", [NXDOMAIN, SERVFAIL, []], ids=["no name", "failure", "no address"])
async def test_a_name_without_an_address_is_labelled_so(told: Told) -> None:
    async with name_server({NAME: [told]}) as n, sender(nameservers=[n.address]) as s:
        answer = await post(s, f"https://{NAME}/")
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.DNS
        assert answer.detail.startswith(f"{NAME}: ")


async def test_no_search_domain_applies() -> None:
    async with name_server({}) as n, sender(nameservers=[n.address]) as s:
        answer = await post(s, "https://intranet/")
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.DNS
        assert set(n.asked) == {"intranet"}


async def test_a_silent_name_server_holds_up_nobody_else() -> None:
    async with (
        receiver() as r,
        name_server({NAME: [SILENCE], "good.example.com": [["127.0.0.1"]]}) as n,
        sender(nameservers=[n.address]) as s,
    ):
        stuck = [begin(s, f"https://{NAME}/{path}", timeout_s=1.0) for path in range(200)]
        assert isinstance(await post(s, f"http://good.example.com:{r.port}/"), Response)
        for answer in await asyncio.gather(*stuck):
            assert isinstance(answer, NoResponse)
            assert answer.reason is Reason.DNS
            assert answer.phases.total_us >= 900_000


async def test_a_lookup_ends_after_five_seconds_whatever_the_time_out() -> None:
    async with name_server({NAME: [SILENCE]}) as n, sender(nameservers=[n.address]) as s:
        began = time.monotonic()
        answer = await post(s, f"https://{NAME}/", timeout_s=60)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.DNS
        assert time.monotonic() - began < 20


async def test_localhost_needs_no_name_server() -> None:
    async with receiver() as r, name_server({}) as n, sender(nameservers=[n.address]) as s:
        assert isinstance(await post(s, f"http://localhost:{r.port}/"), Response)
        assert n.asked == []


async def test_localhost_leads_where_an_allowance_opens_it() -> None:
    async with receiver() as r, sender(allowances=LOOPBACK[:1]) as s:
        assert isinstance(await post(s, f"http://localhost:{r.port}/"), Response)
    async with receiver(host="::1") as r, sender(allowances=LOOPBACK[1:]) as s:
        assert isinstance(await post(s, f"http://localhost:{r.port}/"), Response)
    async with receiver() as r, sender(allowances=()) as s:
        answer = await post(s, f"http://localhost:{r.port}/")
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.BLOCKED
        assert r.connections == 0


async def test_the_hosts_file_is_read() -> None:
    """Loopback has more names on most machines; a machine that gave it none but `localhost` would see `localhost`."""
    with open("/etc/hosts", encoding="utf-8") as file:  # noqa: PTH123, ASYNC230  a short file, read at once
        entries = [line.split("#")[0].split() for line in file]
    name = next((entry[-1] for entry in entries if entry[:1] == ["127.0.0.1"]), "localhost")
    resolver = Resolver()
    try:
        found = await resolver.resolve(name, timeout_s=5)
    finally:
        await resolver.close()
    assert ip_address("127.0.0.1") in found.addresses


async def test_closing_gives_up_what_is_asked() -> None:
    async with name_server({NAME: [SILENCE]}) as n:
        async with sender(nameservers=[n.address]) as s:
            ended = begin(s, f"https://{NAME}/")
            await asyncio.sleep(0.05)
        answer = await ended
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.RESET
        assert s.in_flight == 0


async def test_a_resolver_says_why_there_is_no_address() -> None:
    async with name_server({NAME: [NXDOMAIN]}) as n:
        resolver = Resolver(nameservers=[n.address])
        with pytest.raises(Unresolved, match=r"^hook\.example\.com: Domain name not found$"):
            await resolver.resolve(NAME, timeout_s=5)
        await resolver.close()
