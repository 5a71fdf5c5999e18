"""Read addresses that want to be misread, and judge each by the table."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.addressing import (
    LOCALHOST,
    PORTS,
    Target,
    check_url,
    is_allowed,
    is_denied,
    judge,
    known_addresses,
    parse,
)
from angarium.errors import FieldError
from angarium.settings import Allowance

LAB = Allowance(ip_network("127.0.0.0/8"), 9000, 9100)
OFFICE = Allowance(ip_network("10.1.2.3/32"), 443, 443)


def _refusal(
    text: str, *, allow_http: bool = False, ports: tuple[int, ...] = (), allowances: tuple[Allowance, ...] = ()
) -> str:
    with pytest.raises(FieldError) as caught:
        check_url(text, allow_http=allow_http, ports=ports, allowances=allowances)
    assert caught.value.field == "url"
    return caught.value.detail


# -- parsing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/A?b=C", "https://example.com/A?b=C"),
        ("https://example.com.", "https://example.com/"),
        ("https://example.com?a", "https://example.com/?a"),
        ("http://example.com:80/", "http://example.com/"),
        ("http://example.com:8080/", "http://example.com:8080/"),
        ("https://example.com/a/../b//c", "https://example.com/a/../b//c"),
        ("https://example.com/%7Euser/{id}", "https://example.com/%7Euser/%7Bid%7D"),
        ("https://example.com/ä?ö", "https://example.com/%C3%A4?%C3%B6"),
        ("https://münchen.example/", "https://xn--mnchen-3ya.example/"),
        ("https://xn--mnchen-3ya.example/", "https://xn--mnchen-3ya.example/"),
        ("https://my_host-1.example/", "https://my_host-1.example/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://0x8.8.2056/", "https://8.8.8.8/"),
        ("https://[2606:4700:0:0::1111]:8443/", "https://[2606:4700::1111]:8443/"),
    ],
)
def test_a_url_has_one_canonical_form(text: str, url: str) -> None:
    target = parse(text)
    assert target.url == url
    assert parse(url) == target


def test_a_target_tells_its_parts() -> None:
    assert parse("https://[::1]:9000/a?b") == Target("https", "::1", 9000, "/a?b", IPv6Address("::1"))
    assert parse("https://[::1]:9000/a?b").origin == "https://[::1]:9000"
    assert parse("https://[::1]:9000/a?b").is_literal
    assert not parse("https://example.com/").is_literal
    assert parse("https://LocalHost./").is_localhost
    assert parse("https://app.localhost/").is_localhost
    assert not parse("https://localhost.example/").is_localhost


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/hook",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https:/example.com/",
        "https:///hook",
        "https://:443/",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com@127.0.0.1/",
        "http://127.0.0.1:80\\@example.com/",
        "http://example.com\\@127.0.0.1/",
        "https:\\\\example.com/",
        "https://exa mple.com/",
        " https://example.com/",
        "https://example.com/ ",
        "https://exam\tple.com/",
        "https://example.com/a\nb",
        "https://example.com/\r\nhost: evil",
        "https://example.com/\x00",
        "https://example.com/\x7f",
        "https://example.com/\u2028",
        "https://example.com/\u3000",
        "https://example.com/\ud800",
        "http://%31%32%37.0.0.1/",
        "https://example%2ecom/",
        "https://example.com/%zz",
        "https://example.com/100%",
        "https://example.com/#top",
        "https://example.com:99999/",
        "https://example.com:65536/",
        "https://example.com:0/",
        "https://example.com:-1/",
        "https://example.com:/",
        "https://example.com:8o/",
        "https://example.com:８０/",
        "https://example.com:080/",
        "https://[::1/",
        "https://::1/",
        "https://[::1]443/",
        "https://[fe80::1%eth0]/",
        "https://[fe80::1%25eth0]/",
        "https://[::g]/",
        "https://[]/",
        "https://[127.0.0.1]/",
        "https://1.2.3.4.5/",
        "https://1.2.3.256/",
        "https://256.1.1.1/",
        "https://4294967296/",
        "https://0x1ffffffff/",
        "https://1..2/",
        "https://08.1.1.1/",
        "https://example.com.0x7f/",
        "https://example..com/",
        "https://.example.com/",
        "https://../",
        "https://-example.com/",
        "https://example-.com/",
        f"https://{'a' * 64}.com/",
        f"https://{'a.' * 127}com/",
        f"https://example.com/{'a' * 2048}",
        "https://exam<ple.com/",
        "https://exam／ple.com/",
        "https://a＠b.com/",
        "https://a？b.com/",
        "https://faß.example/",
        "https://\u200dexample.com/",
        "https://*.example.com/",
    ],
)
def test_what_parsers_read_in_two_ways_is_refused(text: str) -> None:
    _refusal(text, allow_http=True, ports=tuple(range(65_536)))


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    for candidate in (
        text,
        f"https://{text}",
        f"https://example.com{text}",
        f"http://127.0.0.1{text}",
        f"https://[{text}]/",
    ):
        try:
            target = parse(candidate)
        except FieldError:
            continue
        assert parse(target.url) == target
        assert target.url.isascii()


_labels = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z])?", fullmatch=True)
_hosts = st.one_of(
    st.lists(_labels, min_size=1, max_size=5).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)


@given(
    st.sampled_from(["http", "https"]),
    _hosts,
    st.integers(1, 65_535),
    st.text(st.characters(codec="utf-8"), max_size=50),
)
def test_a_serialised_target_is_read_back_as_itself(scheme: str, host: str, port: int, path: str) -> None:
    try:
        target = parse(f"{scheme}://{host}:{port}/{path}")
    except FieldError:
        return  # The path holds what no path may.
    assert parse(target.url) == target
    assert (target.scheme, target.port) == (scheme, port)


# -- addresses ---------------------------------------------------------------------------------------------------------

LOOPBACKS = [
    "127.0.0.1",
    "0x7f.1",
    "0x7f000001",
    "0X7F000001",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0x0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    "①②⑦.⓪.⓪.①",
    "１２７.０.０.１",
    "127。0。0。1",
    "127．0．0．1",
    "127.0.0\u00ad.1",
]


@pytest.mark.parametrize("host", LOOPBACKS)
def test_every_spelling_of_loopback_is_the_address(host: str) -> None:
    assert parse(f"https://{host}/").address == IPv4Address("127.0.0.1")
    assert "denied (loopback)" in _refusal(f"https://{host}/")


@pytest.mark.parametrize("host", ["localhost", "ⓛocalhost", "loca\u00adlhost", "LOCALHOST.", "a.localhost"])
def test_every_spelling_of_localhost_counts_as_loopback(host: str) -> None:
    assert known_addresses(parse(f"https://{host}/")) == LOCALHOST
    assert "127.0.0.1 is denied (loopback)" in _refusal(f"https://{host}/")


DENIED = [
    ("0.0.0.0", "this network"),  # noqa: S104  judged, not listened on
    ("0.1.2.3", "this network"),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.1", "shared by carriers"),
    ("100.127.255.255", "shared by carriers"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.255", "loopback"),
    ("168.63.129.16", "platform metadata"),
    ("169.254.169.254", "link-local"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.1", "protocol assignments"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4 relay"),
    ("192.168.1.1", "private"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::2", "IPv4-compatible"),
    ("::127.0.0.1", "IPv4-compatible"),
    ("::169.254.169.254", "IPv4-compatible"),
    ("::ffff:127.0.0.1", "IPv4-mapped"),
    ("::ffff:8.8.8.8", "IPv4-mapped"),
    ("::ffff:0:127.0.0.1", "IPv4-translated"),
    ("64:ff9b::a9fe:a9fe", "NAT64"),
    ("64:ff9b:1::7f00:1", "local NAT64"),
    ("0042::1", "reserved"),
    ("100::1", "discard-only"),
    ("2001::1", "Teredo"),
    ("2001:2::1", "protocol assignments"),
    ("2001:10::1", "protocol assignments"),
    ("2001:1ff:ffff::1", "protocol assignments"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "6to4"),
    ("2002:c0a8:1::", "6to4"),
    ("3fff::1", "documentation"),
    ("5f00::1", "segment routing"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),
    ("fe80::1", "link-local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("4000::1", "not global unicast"),
    ("1000::1", "not global unicast"),
]


@pytest.mark.parametrize(("address", "rule"), DENIED)
def test_an_address_is_denied_by_its_rule(address: str, rule: str) -> None:
    assert is_denied(ip_address(address), 443, (), ()) == rule
    host = f"[{address}]" if ":" in address else address
    assert f"denied ({rule})" in _refusal(f"https://{host}/")


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.88.98.255",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "2a00::1",
        "3ffe:ffff::1",
    ],
)
def test_what_lies_beside_the_holes_is_public(address: str) -> None:
    assert is_denied(ip_address(address), 443, (), ()) is None


def test_this_host_s_own_public_address_is_denied() -> None:
    own = {ip_address("8.8.8.8")}
    assert is_denied(ip_address("8.8.8.8"), 443, (), own) == "this host's own"
    assert is_denied(ip_address("8.8.4.4"), 443, (), own) is None


_networks = st.sampled_from(
    [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",
    ]
)


@given(_networks, st.integers(min_value=0))
def test_a_denied_address_is_denied_in_every_embedded_spelling(network: str, pick: int) -> None:
    chosen = ip_network(network)
    inner = int(chosen.network_address) + pick % chosen.num_addresses
    assert is_denied(ip_address(inner), 443, (), ()) is not None
    embedded = [
        inner,  # compatible
        (0xFFFF << 32) | inner,  # mapped
        (0xFFFF << 48) | inner,  # translated
        (0x64FF9B << 96) | inner,  # NAT64
        (0x64FF9B0001 << 80) | inner,  # local NAT64
        (0x2002 << 112) | (inner << 80),  # 6to4
        (0x20010000 << 96) | (inner ^ 0xFFFFFFFF),  # Teredo
    ]
    for value in embedded:
        assert is_denied(IPv6Address(value), 443, (), ()) is not None


@given(st.sampled_from([address for address, _ in DENIED if ":" not in address]), st.randoms(use_true_random=False))
def test_a_denied_address_is_denied_however_its_numbers_are_written(address: str, dice: random.Random) -> None:
    host = _spell(int(IPv4Address(address)), dice)
    assert parse(f"https://{host}/").address == IPv4Address(address)
    _refusal(f"https://{host}/")


def _spell(value: int, dice: random.Random) -> str:
    """Write an address as inet_aton would read it, in one of the thousand ways."""
    kept = dice.randint(0, 3)
    parts = [(value >> (24 - 8 * index)) & 0xFF for index in range(kept)] + [value & (256 ** (4 - kept) - 1)]
    forms = ("{}", "0{:o}", "00{:o}", "0x{:x}", "0X{:X}", "0x000{:x}")
    host = ".".join(dice.choice(forms).format(part) for part in parts) + dice.choice(["", "."])
    wide = dice.random() < 0.5
    return "".join(chr(ord(c) + 0xFEE0) if wide and c != "." and dice.random() < 0.5 else c for c in host)


# -- what may be stored ------------------------------------------------------------------------------------------------


def test_https_on_the_usual_ports_may_be_stored() -> None:
    for port in PORTS:
        assert check_url(f"https://example.com:{port}/", allow_http=False, ports=(), allowances=()).port == port


def test_http_needs_the_project_s_leave() -> None:
    assert "expected https" in _refusal("http://example.com/")
    assert check_url("http://example.com/", allow_http=True, ports=(), allowances=()).scheme == "http"


def test_another_port_needs_to_be_opened() -> None:
    assert "port 8444 is closed" in _refusal("https://example.com:8444/")
    assert check_url("https://example.com:8444/", allow_http=False, ports=(8444,), allowances=()).port == 8444


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "127.9.9.9", "localhost"])
def test_an_allowed_address_may_be_http_on_its_ports(host: str) -> None:
    assert check_url(f"http://{host}:9001/", allow_http=False, ports=(), allowances=(LAB,)).port == 9001
    assert "denied (loopback)" in _refusal(f"http://{host}:8999/", allowances=(LAB,))
    assert "denied (loopback)" in _refusal(f"https://{host}/", allowances=(LAB,))


def test_an_allowance_opens_nothing_beside_it() -> None:
    assert check_url("https://10.1.2.3/", allow_http=False, ports=(), allowances=(OFFICE,)).port == 443
    assert "denied (private)" in _refusal("https://10.1.2.4/", allowances=(OFFICE,))
    assert "denied (IPv4-mapped)" in _refusal("https://[::ffff:10.1.2.3]/", allowances=(OFFICE,))
    assert not is_allowed(ip_address("10.1.2.3"), 80, (OFFICE,))


def test_a_name_may_have_a_port_that_an_allowance_opens() -> None:
    """Whether it leads to the allowance's network is seen when it is resolved."""
    assert check_url("https://lab.example:9001/", allow_http=False, ports=(), allowances=(LAB,)).port == 9001
    assert "expected https" in _refusal("http://lab.example:9001/", allowances=(LAB,))
    assert "port 9001 is closed" in _refusal("https://8.8.8.8:9001/", allowances=(LAB,))


# -- what may be connected to ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address", "rule"),
    [
        ("https://a.example/", "8.8.8.8", None),
        ("https://a.example/", "127.0.0.1", "loopback"),
        ("http://a.example/", "8.8.8.8", "http"),
        ("https://a.example:9001/", "8.8.8.8", "port 9001"),
        ("https://a.example:9001/", "127.0.0.1", None),
        ("http://a.example:9001/", "127.0.0.1", None),
        ("http://a.example:9001/", "10.0.0.1", "private"),
        ("https://a.example:7000/", "8.8.8.8", None),
        ("https://a.example/", "8.8.4.4", "this host's own"),
    ],
)
def test_each_resolved_address_is_judged_for_its_target(url: str, address: str, rule: str | None) -> None:
    own = {ip_address("8.8.4.4")}
    found = judge(parse(url), ip_address(address), allow_http=False, ports={7000}, allowances=(LAB,), own_addresses=own)
    assert found == rule
