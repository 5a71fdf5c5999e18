"""Know every setting: its name, form, default and meaning; read them all from environment and `angarium.toml`.

Flags win over the environment, which wins over the file. Each setting may also be given as a path to a file that holds
it (`ANGARIUM_ADMIN_KEY_FILE`), for secrets that an orchestrator mounts. Everything is text until its form has read it,
so all sources obey one grammar; whatever is wrong is reported at once. `python -m angarium.settings` prints the
reference table.

Client commands import this module: it loads nothing heavy.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, get_args, get_type_hints

from angarium.errors import AngariumError, SettingsWrong

PREFIX: Final = "ANGARIUM_"
FILE: Final = Path("angarium.toml")
PROJECTS: Final = "projects"
"""What of such a file `angarium apply` reads; the settings pass it over."""

Network = IPv4Network | IPv6Network


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as it is written, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Allowance(NamedTuple):
    """Addresses, and the ports of theirs, that deliveries may go to though the address is not public."""

    network: Network
    first_port: int
    last_port: int


class Form(NamedTuple):
    """How a setting is written: in words, and the function that reads it (`ValueError` says what was expected)."""

    words: str
    read: Callable[[str], object]


class About(NamedTuple):
    """What a setting is for. A secret's value is never shown; another's is, as `shown` has it."""

    form: Form
    sentence: str
    is_secret: bool = False
    shown: Callable[[str], str] = str


# -- forms -------------------------------------------------------------------------------------------------------------


def _whole(low: int, high: int) -> Form:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or len(text) > 12 or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low:,} to {high:,}")
        return int(text)

    return Form(f"{low:,} to {high:,}", read)


def _choice(*choices: str) -> Form:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected {' or '.join(choices)}")
        return text

    return Form(" or ".join(f"`{choice}`" for choice in choices), read)


def _list_of(words: str, read_one: Callable[[str], object]) -> Form:
    return Form(f"{words}, separated by commas", lambda text: tuple(read_one(part.strip()) for part in text.split(",")))


def _flag(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("expected 1 or 0")


def _scale(text: str) -> float:
    number = float(text) if text.replace(".", "", 1).isdecimal() else 0.0
    if not 1 <= number <= 1_000_000:
        raise ValueError("expected a number from 1 to 1,000,000")
    return number


_POSTGRES: Final = ("postgresql://", "postgres://")
_HIDDEN: Final = "***"
_USER_PASSWORD = re.compile(r"(://[^:@/?#]*:).*@")  # What should have been encoded in it may be anything.
_NAMED_PASSWORD = re.compile(r"\b((?:ssl)?password\s*=\s*)[^&\s]+")


def _store(text: str) -> str:
    if text.startswith(_POSTGRES):
        _check_hosts(text.partition("://")[2])
    elif not text.removeprefix("sqlite:///") or not text.startswith("sqlite:///"):
        raise ValueError(
            "expected sqlite:///angarium.db, sqlite:////var/lib/angarium/angarium.db for a full path, or "
            "postgresql://user@host:5432/database"
        )
    return text


def _check_hosts(rest: str) -> None:
    """Check where PostgreSQL's servers are said to be; the rest of the URL is its client's to read."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest and "@" not in authority:
        raise ValueError("write / ? # and @ within a user or password as %2F %3F %23 and %40")
    hosts = authority.rpartition("@")[2]
    for host in filter(None, hosts.split(",")):
        port = host.rpartition("]")[2].rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
        if port:
            _port(port)


def is_postgres(store: str) -> bool:
    """Say whether a store's URL names a PostgreSQL database."""
    return store.startswith(_POSTGRES)


def shown_store(store: str) -> str:
    """Return a store's URL as it may be shown: without its password."""
    return _NAMED_PASSWORD.sub(rf"\1{_HIDDEN}", _USER_PASSWORD.sub(rf"\1{_HIDDEN}@", store))


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or (":" in host and not (host[0] == "[" and host[-1] == "]")):
        raise ValueError("expected host:port, such as 127.0.0.1:8080 or [::1]:8080")
    return Address(host.strip("[]"), _port(port, low=0))


def _port(text: str, *, low: int = 1) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or not low <= int(text) <= 65_535:
        raise ValueError(f"{text!r} is no port; expected a whole number from {low} to 65,535")
    return int(text)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}; expected an address or network such as 10.1.2.3 or 10.1.2.0/24") from error


def _allowance(text: str) -> Allowance:
    network, colon, ports = text.rpartition(":")
    if not colon or not network or "/" in ports:
        raise ValueError(f"{text!r} names no port; expected NETWORK:PORT or NETWORK:FIRST-LAST, as 10.1.2.3/32:443")
    first, _, last = ports.partition("-")
    allowance = Allowance(_network(network.strip("[]")), _port(first), _port(last or first))
    if allowance.first_port > allowance.last_port:
        raise ValueError(f"ports {ports} run backwards; expected the lower one first")
    return allowance


def _public_url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or not text.isprintable() or " " in text:
        raise ValueError("expected a URL such as http://127.0.0.1:8080")
    return text.rstrip("/")


def _visible(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > 256:
        raise ValueError("expected at most 256 visible ASCII characters without spaces")
    return text


def _secret_key(text: str) -> bytes:
    from angarium.vault import parse_key  # noqa: PLC0415  loads cryptography, which client commands do without

    try:
        return parse_key(text)
    except AngariumError as error:
        raise ValueError(str(error)) from error


_STORE = Form("URL", _store)
_ADDRESS = Form("host:port", _address)
_KEY = Form("text", _visible)
_SECRET_KEY = Form("32 bytes in base64", _secret_key)
_ALLOWANCES = _list_of("NETWORK:PORT or NETWORK:FIRST-LAST", _allowance)
_PORTS = _list_of("ports", _port)
_NETWORKS = _list_of("addresses or networks", _network)
_URL = Form("URL", _public_url)
_FLAG = Form("`1` or `0`", _flag)
_SCALE = Form("1 to 1,000,000", _scale)
_LEVELS = _choice("debug", "info", "warning", "error")


# -- the settings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """All settings, checked."""

    store: Annotated[
        str,
        About(
            _STORE,
            "Where everything is kept: `sqlite:///FILE`, or `postgresql://USER@HOST/DATABASE`.",
            shown=shown_store,
        ),
    ] = "sqlite:///angarium.db"
    listen: Annotated[Address, About(_ADDRESS, "Where the server listens.")] = Address("127.0.0.1", 8080)
    admin_key: Annotated[str, About(_KEY, "A key that may do everything; made and shown once if left out.", True)] = ""
    secret_key: Annotated[
        bytes, About(_SECRET_KEY, "Encrypts secrets; with SQLite kept beside the store if left out.", True)
    ] = b""
    egress_allow: Annotated[tuple[Allowance, ...], About(_ALLOWANCES, "Non-public addresses open to deliveries.")] = ()
    egress_ports: Annotated[tuple[int, ...], About(_PORTS, "Ports besides 443, 80, 8443 and 8080.")] = ()
    egress_addresses: Annotated[tuple[Network, ...], About(_NETWORKS, "What `/v1/addresses` tells receivers.")] = ()
    trusted_proxies: Annotated[
        tuple[Network, ...], About(_NETWORKS, "Whose `X-Forwarded-…` headers are believed.")
    ] = ()
    url: Annotated[str, About(_URL, "The server that client commands talk to.")] = "http://127.0.0.1:8080"
    api_key: Annotated[str, About(_KEY, "The key that client commands show.", True)] = ""
    project: Annotated[str, About(_KEY, "The project that client commands mean.")] = ""
    root_project: Annotated[str, About(_KEY, "The project whose older API is served at the root as well.")] = ""
    role: Annotated[
        str, About(_choice("all", "api", "worker"), "What this process does: it answers, delivers, or both.")
    ] = "all"
    retention_days: Annotated[int, About(_whole(1, 3650), "How long events and deliveries are kept.")] = 30
    retention_max: Annotated[int, About(_whole(1, 3650), "Days after which even what is still needed goes.")] = 90
    max_in_flight: Annotated[
        int, About(_whole(1, 10_000), "Requests on the wire, or answered but not settled yet, at once.")
    ] = 512
    events_in_memory: Annotated[int, About(_whole(100, 1_000_000), "Events that wait in memory for sending.")] = 20_000
    megabytes_in_memory: Annotated[int, About(_whole(1, 65_536), "Bytes of those events, in MiB.")] = 32
    stop_s: Annotated[int, About(_whole(0, 600), "Seconds that a stop waits for what is on the wire.")] = 20
    log_level: Annotated[str, About(_LEVELS, "What is logged: this level and above.")] = "info"
    log_format: Annotated[str, About(_choice("auto", "json", "console"), "`auto`: console on a terminal.")] = "auto"
    time_scale: Annotated[float, About(_SCALE, "For tests: divides retry delays; needs `ANGARIUM_DEV=1`.")] = 1.0
    dev: Annotated[bool, About(_FLAG, "Allow what only tests may do.")] = False

    def __repr__(self) -> str:
        """Return the settings for people, secrets as their lengths."""
        return (
            f"Settings({', '.join(f'{name}={_shown(getattr(self, name), about)}' for name, about in table().items())})"
        )


class ClientSettings(NamedTuple):
    """What a client command talks to; `api_key` and `project` may be empty."""

    url: str
    api_key: str
    project: str


@cache
def table() -> Mapping[str, About]:
    """Return all settings' names, in the order of the reference, with what they are for."""
    hints = get_type_hints(Settings, include_extras=True)
    return {field.name: get_args(hints[field.name])[1] for field in fields(Settings)}


# Kubernetes gives these to every pod of a namespace where a Service is named `angarium`.
_SERVICE_LINK = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?")


# -- reading -----------------------------------------------------------------------------------------------------------


class Given(NamedTuple):
    """A setting as somebody wrote it, and where."""

    text: str
    origin: str


def load(
    *, flags: Mapping[str, str] | None = None, environment: Mapping[str, str] = os.environ, file: Path = FILE
) -> Settings:
    """Return all settings; `SettingsWrong` lists everything that is wrong with them.

    `flags` are texts by the settings' names; a `file` that does not exist holds nothing.
    """
    problems: list[str] = []
    given = gather(flags=flags or {}, environment=environment, file=file, problems=problems)
    values = {name: value for name in given if (value := _read(name, given[name], problems)) is not None}
    settings = Settings(**values)
    problems += _contradictions(settings)
    if problems:
        raise SettingsWrong("\n".join(problems))
    return settings


def client_settings(
    *, flags: Mapping[str, str] | None = None, environment: Mapping[str, str] = os.environ, file: Path = FILE
) -> ClientSettings:
    """Return what a client command needs; whether the server's own settings can be read is not asked."""
    problems: list[str] = []
    given = gather(flags=flags or {}, environment=environment, file=file, problems=problems)
    wanted = {name: given[name] for name in ClientSettings._fields if name in given}
    read = {name: _read(name, written, problems) for name, written in wanted.items()}
    if problems:
        raise SettingsWrong("\n".join(problems))
    defaults = Settings()
    return ClientSettings(*(str(read.get(name, getattr(defaults, name))) for name in ClientSettings._fields))


def gather(
    *, flags: Mapping[str, str], environment: Mapping[str, str], file: Path, problems: list[str]
) -> Mapping[str, Given]:
    """Return each setting that is given anywhere, from its strongest source; add to `problems` what cannot be read."""
    sources = (_from_file(file, problems), _from_environment(environment, problems), _from_flags(flags))
    return {name: given for source in sources for name, given in source.items()}


def _from_flags(flags: Mapping[str, str]) -> Mapping[str, Given]:
    return {name: Given(text, f"--{name.replace('_', '-')}") for name, text in flags.items()}


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> Mapping[str, Given]:
    mine = {name.removeprefix(PREFIX): text for name, text in environment.items() if name.startswith(PREFIX)}
    settings = {name.lower(): text for name, text in mine.items() if not _SERVICE_LINK.fullmatch(name)}
    return _resolve(settings, lambda name: f"{PREFIX}{name.upper()}", problems)


def _from_file(file: Path, problems: list[str]) -> Mapping[str, Given]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{file} cannot be read: {error}; correct it as TOML, or remove it")
        return {}
    texts = {name: _as_text(value) for name, value in document.items() if name != PROJECTS}
    return _resolve(texts, lambda name: f"{name} in {file}", problems)


def _resolve(texts: Mapping[str, str | None], origin: Callable[[str], str], problems: list[str]) -> Mapping[str, Given]:
    """Return one source's known settings, those that are named by their files included."""
    found: dict[str, Given] = {}
    for name, text in texts.items():
        if text == "":
            continue  # How a shell unsets a variable.
        setting = name if name in table() else name.removesuffix("_file")
        if setting not in table():
            problems.append(f"{origin(name)} is unknown; {_suggestion(name, origin)}")
        elif text is None:
            problems.append(f"{origin(name)} is a table or moment, expected a text, number, boolean or list of these")
        elif setting != name and texts.get(setting):
            problems.append(f"{origin(setting)} and {origin(name)} are both given; remove one")
        elif (content := text if setting == name else _content(Path(text), origin(name), problems)) is not None:
            found[setting] = Given(content, origin(name))
    return found


def _suggestion(name: str, origin: Callable[[str], str]) -> str:
    near = get_close_matches(name, table(), n=1)
    return f"did you mean {origin(near[0])}?" if near else "see python -m angarium.settings for all there are"


def _content(path: Path, origin: str, problems: list[str]) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        problems.append(f"{origin} names {path}, which cannot be read: {error}")
        return None


def _as_text(value: object) -> str | None:
    match value:
        case bool():
            return "1" if value else "0"
        case str():
            return value
        case int() | float():
            return str(value)
        case list():
            parts = [_as_text(part) for part in value]
            return None if None in parts else ",".join(filter(None, parts))
        case _:
            return None


def _read(name: str, given: Given, problems: list[str]) -> Any:  # noqa: ANN401  each form's own type
    about = table()[name]
    try:
        return about.form.read(given.text)
    except ValueError as error:
        found = f"has {len(given.text)} characters" if about.is_secret else f"is {about.shown(given.text)!r}"
        problems.append(f"{given.origin} {found}: {error}")
        return None


def _contradictions(settings: Settings) -> Iterator[str]:
    if is_postgres(settings.store) and not settings.secret_key:
        yield (
            "ANGARIUM_SECRET_KEY is missing, which all processes that share a PostgreSQL database need, the same one; "
            "make it once and keep it: head -c 32 /dev/urandom | base64"
        )
    if not is_postgres(settings.store) and settings.role != "all":
        yield (
            f"ANGARIUM_ROLE is {settings.role}, but ANGARIUM_STORE is a file, which one process has alone; "
            "remove the role, or name a PostgreSQL database"
        )
    if settings.time_scale != 1 and not settings.dev:
        yield "ANGARIUM_TIME_SCALE is for tests only; remove it, or set ANGARIUM_DEV=1 as well"
    if settings.retention_max < settings.retention_days:
        yield (
            f"ANGARIUM_RETENTION_MAX is {settings.retention_max} days, less than ANGARIUM_RETENTION_DAYS, "
            f"{settings.retention_days}; raise it or lower the other"
        )


# -- showing -----------------------------------------------------------------------------------------------------------


def reference() -> str:
    """Return the table of all settings in Markdown."""
    defaults = Settings()
    head = ["| setting | form | default | |", "|---|---|---|---|"]
    rows = [
        (f"`{PREFIX}{name.upper()}`", about.form.words, _default(getattr(defaults, name)), about.sentence)
        for name, about in table().items()
    ]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in rows])


def _default(value: object) -> str:
    match value:
        case "" | b"" | ():
            return ""
        case bool():
            return f"`{value:d}`"
        case float():
            return f"`{value:g}`"
        case _:
            return f"`{value}`"


def _shown(value: object, about: About) -> str:
    if about.is_secret and isinstance(value, (str, bytes)):
        return f"<{len(value)}>" if value else "none"
    return repr(about.shown(value) if isinstance(value, str) else value)


if __name__ == "__main__":
    sys.stdout.write(f"{reference()}\n")
