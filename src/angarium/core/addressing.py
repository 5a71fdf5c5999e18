"""Read a receiver's address strictly, and say which network addresses requests may go to.

One parser, one grammar: what is stored, judged and dialled is the `Target` made here, and nothing parses the text
again. Whatever two parsers could read in two ways is refused: userinfo, backslashes, white space, percent signs in a
host, zones, ports out of range. A host that any resolver would take for an IPv4 address (`0x7f.1`, `017700000001`,
`127.1`, fullwidth digits) is read as that address, as glibc and browsers do, so that it can be judged.

Which addresses are public is our own table: `ipaddress.is_global` calls embedded loopback, site-local and metadata
addresses global, and changes between releases of Python. An IPv6 address must lie in 2000::/3, outside the holes below;
so all of ::/8 (mapped, compatible, translated, NAT64) is denied without being taken apart.

Names are resolved elsewhere; `judge` then says of each of their addresses whether it may be connected to.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING

from msgspec import Struct

from angarium.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Sequence

    from angarium.settings import Allowance

IpAddress = IPv4Address | IPv6Address

PORTS = frozenset({443, 80, 8443, 8080})
"""The ports of public addresses that are open without configuration."""

LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
"""What `localhost` and the names below it mean, without asking a resolver. RFC 6761, section 6.3."""

_DENIED = tuple(
    (ip_network(network), rule)
    for network, rule in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "platform metadata"),  # Azure's wire server, in public address space.
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("::/8", "reserved"),
        ("100::/64", "discard-only"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private"),  # Includes fd00:ec2::254, Amazon's metadata.
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_DENIED_V4 = tuple((network, rule) for network, rule in _DENIED if isinstance(network, IPv4Network))
_DENIED_V6 = tuple((network, rule) for network, rule in _DENIED if isinstance(network, IPv6Network))
_PUBLIC_V6 = IPv6Network("2000::/3")

_LENGTH_MAX = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WHOLE = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?", re.IGNORECASE)
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNSAFE = re.compile(r"[^!$&'()*+,;=:@/?\[\]%A-Za-z0-9._~-]")  # RFC 3986: pchar, slash, query; brackets are common.
# IDNA 2003, which Python speaks, and IDNA 2008 turn these four into different names.
_DEVIATIONS = frozenset("ßẞς\u200c\u200d")
# What no host holds, whichever form of Unicode it is written in (WHATWG URL, "forbidden domain code points").
_FORBIDDEN = frozenset(" #%/:<>?@[\\]^|\"`{}'!$&()*+,;=~")


class Target(Struct, frozen=True):
    """Where a request goes: a url taken apart, each part in its one canonical form.

    `host` is a lower-case ASCII name without a final dot, or an address without brackets; `path` holds the query too
    and begins with a slash; `address` is what a literal host means.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: IpAddress | None = None

    @property
    def is_literal(self) -> bool:
        """Say whether the host is an address rather than a name."""
        return self.address is not None

    @property
    def is_localhost(self) -> bool:
        """Say whether the host is a name that means this machine by definition."""
        return self.host == "localhost" or self.host.endswith(".localhost")

    @property
    def origin(self) -> str:
        """Return scheme, host and port; the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}")

    @property
    def url(self) -> str:
        """Return the canonical serialisation: what is stored, shown and sent."""
        return self.origin + self.path


# -- judging -----------------------------------------------------------------------------------------------------------


def check_url(text: str, *, allow_http: bool, ports: Collection[int], allowances: Sequence[Allowance]) -> Target:
    """Return where a url leads, if deliveries may go there; `FieldError("url", …)` says why not.

    `ports` are open besides `PORTS`. A name is judged only by what is known of it now: each address that it resolves to
    is judged at every attempt, by `judge`.
    """
    target = parse(text)
    addresses = known_addresses(target)
    if any(is_allowed(address, target.port, allowances) for address in addresses):
        return target
    for address in addresses:
        if rule := is_denied(address, target.port, allowances, ()):
            raise FieldError("url", f"{address} is denied ({rule}), expected a public address; {_ask(target.port)}")
    if target.scheme == "http" and not allow_http:
        raise FieldError("url", "begins with http, expected https; the project's allow_http setting opens http")
    if target.port not in PORTS and target.port not in ports:
        _check_port_of_name(target, allowances)
    return target


def judge(
    target: Target,
    address: IpAddress,
    *,
    allow_http: bool,
    ports: Collection[int],
    allowances: Sequence[Allowance],
    own_addresses: Container[IpAddress],
) -> str | None:
    """Return the rule that forbids to connect to an address for a target, None when none does."""
    if is_allowed(address, target.port, allowances):
        return None
    if rule := is_denied(address, target.port, allowances, own_addresses):
        return rule
    if target.scheme == "http" and not allow_http:
        return "http"
    return None if target.port in PORTS or target.port in ports else f"port {target.port}"


def is_denied(
    address: IpAddress, port: int, allowances: Sequence[Allowance], own_addresses: Container[IpAddress]
) -> str | None:
    """Return the rule by which an address is not public, None when it is, or when the operator allowed it."""
    if is_allowed(address, port, allowances):
        return None
    networks = _DENIED_V4 if isinstance(address, IPv4Address) else _DENIED_V6
    for network, rule in networks:
        if address in network:
            return rule
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return "not global unicast"
    return "this host's own" if address in own_addresses else None


def is_allowed(address: IpAddress, port: int, allowances: Sequence[Allowance]) -> bool:
    """Say whether the operator opened an address, at this port, to deliveries."""
    return any(first <= port <= last and address in network for network, first, last in allowances)


def known_addresses(target: Target) -> tuple[IpAddress, ...]:
    """Return the addresses that a target's host means without asking anybody: none for most names."""
    if target.address is not None:
        return (target.address,)
    return LOCALHOST if target.is_localhost else ()


def _check_port_of_name(target: Target, allowances: Sequence[Allowance]) -> None:
    """Refuse a port that is closed for every address that a target could mean."""
    is_open = any(first <= target.port <= last for _, first, last in allowances)
    if target.is_literal or not is_open:
        raise FieldError(
            "url",
            f"port {target.port} is closed, expected {', '.join(map(str, sorted(PORTS)))} or one "
            "that the project's ports setting or ANGARIUM_EGRESS_PORTS opens",
        )


def _ask(port: int) -> str:
    return f"the operator can open it with ANGARIUM_EGRESS_ALLOW=ADDRESS:{port}"


# -- parsing -----------------------------------------------------------------------------------------------------------


def parse(text: str) -> Target:
    """Take a url apart; `FieldError("url", …)` for one that is not of the strict grammar.

    `parse(target.url) == target` for every target.
    """
    _check_characters(text)
    match = _WHOLE.fullmatch(text)
    if match is None:
        detail = "has a fragment (#…), which is never sent; remove it" if "#" in text else "is no http or https url"
        raise FieldError("url", f"{detail}; expected such as https://example.com/hook")
    scheme = match["scheme"].lower()
    host_text, port = _split(match["authority"], _DEFAULT_PORTS[scheme])
    host, address = _host(host_text)
    path = _path((match["path"] or "/") + (match["query"] or ""))
    return Target(scheme, host, port, path, address)


def _check_characters(text: str) -> None:
    if len(text) > _LENGTH_MAX:
        raise FieldError("url", f"is {len(text)} characters long, expected at most {_LENGTH_MAX}")
    for character in text:
        if character == "\\" or character.isspace() or unicodedata.category(character) in {"Cc", "Cs", "Zs"}:
            raise FieldError("url", f"holds {character!a}, which parsers read differently; remove or percent-encode it")


def _split(authority: str, default_port: int) -> tuple[str, int]:
    """Return host, in brackets where it is an IPv6 address, and port."""
    if "@" in authority:
        raise FieldError("url", "holds a user name or password before @; use a header for credentials")
    host, bracket, rest = authority.partition("]")
    if not bracket:
        host, colon, rest = authority.partition(":")
        rest = colon + rest
    if not rest:
        return host + bracket, default_port
    port = rest[1:]
    if rest[0] != ":" or not _PORT.fullmatch(port) or int(port) > 65_535:
        raise FieldError(
            "url", f"has {rest[:20]!r} behind its host, expected a colon and a whole number from 1 to 65535"
        )
    return host + bracket, int(port)


def _host(text: str) -> tuple[str, IpAddress | None]:
    """Return a host in its canonical form, and the address that it is, if it is one."""
    if text.startswith("["):
        address = _ipv6(text)
        return str(address), address
    name = _ascii(text).removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        number = _ipv4(name, labels)
        return str(number), number
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise FieldError("url", f"has host {text[:80]!r}, expected a name such as example.com or an IP address")
    return name, None


def _ipv6(text: str) -> IPv6Address:
    inner = text[1:-1]
    if not text.endswith("]") or "%" in inner:
        raise FieldError("url", f"has host {text[:80]!r}, expected an IPv6 address in brackets, without a zone")
    try:
        return IPv6Address(inner)
    except AddressValueError as error:
        raise FieldError("url", f"has host {text[:80]!r}, which is no IPv6 address") from error


def _ipv4(name: str, labels: list[str]) -> IPv4Address:
    """Read an address as `inet_aton` does: up to four decimal, octal or hexadecimal numbers, the last filling up."""
    numbers = [_number(label) for label in labels]
    *firsts, last = numbers
    if len(numbers) > 4 or None in numbers or last is None:
        raise FieldError("url", f"has host {name[:80]!r}, which ends in a number but is no IPv4 address")
    value = last
    room = 256 ** (4 - len(firsts))
    for index, number in enumerate(firsts):
        if number is None or number > 255:
            raise FieldError("url", f"has host {name[:80]!r}, which is no IPv4 address")
        value += number << (24 - 8 * index)
    if last >= room:
        raise FieldError("url", f"has host {name[:80]!r}, which is no IPv4 address")
    return IPv4Address(value)


def _number(label: str) -> int | None:
    if not _NUMBER.fullmatch(label) or len(label) > 64:
        return None
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    if label.startswith("0") and len(label) > 1:
        return int(label, 8) if not set(label) & {"8", "9"} else None
    return int(label)


def _ascii(text: str) -> str:
    """Return a host's name in lower-case ASCII, as IDNA maps it: NFKC, ideographic dots, soft hyphens and all."""
    if not text:
        raise FieldError("url", "has no host; expected such as https://example.com/hook")
    if _DEVIATIONS & set(text):
        raise FieldError("url", f"has host {text[:80]!r}, which old and new IDNA read differently; write its xn-- form")
    folded = unicodedata.normalize("NFKC", text)
    if _FORBIDDEN & set(text) or _FORBIDDEN & set(folded):
        raise FieldError("url", f"has host {text[:80]!r}, expected a name such as example.com or an IP address")
    if text.isascii():
        return text.lower()
    try:
        return text.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise FieldError(
            "url", f"has host {text[:80]!r}, which is no international name; write its xn-- form"
        ) from error


def _path(text: str) -> str:
    if _ESCAPE.search(text):
        raise FieldError("url", "has a percent sign that begins no escape; write %25 for the sign itself")
    return _UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), text)
