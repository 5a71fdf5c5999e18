"""Look at what a server and its clients need, one thing after the other: what was found, and how to mend it."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

from angarium.cli.client import ApiClient, ApiProblem, Reply, Unreachable
from angarium.cli.doctor_contents import check_contents
from angarium.cli.doctor_findings import Finding, Level
from angarium.cli.doctor_postgres import check_postgres
from angarium.settings import ClientSettings, Settings, is_postgres

SQLITE_MIN = (3, 51, 3)
"""Earlier versions may corrupt a store when its write-ahead log is reset (https://sqlite.org/wal.html)."""

_HEADER = b"SQLite format 3\x00"
_WAL_AT = 18  # https://sqlite.org/fileformat.html, section 1.3: 2 means write-ahead log.
_MIB = 1024 * 1024
_SHARED_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "glusterfs", "ceph")
_METADATA = ip_address("169.254.169.254")
_KEY_LETTERS_MIN = 16
_FILES_MIN = 2048
_RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
_SKEW_WARN_S = 30
_SKEW_FAIL_S = 300  # What Standard Webhooks' receivers tolerate.
_RESOLVE_S = 5


class Visit(NamedTuple):
    """What the checks look at."""

    settings: Settings
    client: ClientSettings
    resolve: str


def check_all(visit: Visit) -> Iterator[Finding]:
    """Look at everything, from the inside to the outside."""
    if is_postgres(visit.settings.store):
        yield from check_postgres(visit.settings.store)
    else:
        yield from (check(visit) for check in (_sqlite, _store, _disk))
    yield _secret_key(visit)
    yield from check_contents(visit.settings, key_path(visit.settings))
    for check in (_open_files, _egress, _listen, _clock, _names):
        yield check(visit)
    yield from _server(visit.client)


def store_path(settings: Settings) -> Path:
    """Return where the store's file is."""
    return Path(settings.store.removeprefix("sqlite:///"))


def key_path(settings: Settings) -> Path:
    """Return where the key lies that encrypts the store's secrets, unless `ANGARIUM_SECRET_KEY` holds it."""
    path = store_path(settings)
    return path.with_name(f"{path.name}.key")


# -- this machine ------------------------------------------------------------------------------------------------------


def _sqlite(_: Visit) -> Finding:
    import apsw  # noqa: PLC0415  no other command of a client loads it

    text = apsw.sqlite_lib_version()
    if tuple(int(part) for part in text.split(".")[:3]) < SQLITE_MIN:
        wanted = ".".join(map(str, SQLITE_MIN))
        return Finding(
            Level.FAIL,
            "sqlite",
            f"{text}, in which resetting the write-ahead log can corrupt a store; expected {wanted} or newer",
            "pip install --upgrade apsw",
        )
    return Finding(Level.OK, "sqlite", text)


def _store(visit: Visit) -> Finding:
    path = store_path(visit.settings)
    folder = path.absolute().parent
    if not folder.is_dir():
        return Finding(Level.FAIL, "store", f"its folder {folder} is missing", f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(Level.FAIL, "store", f"{folder} cannot be written", f"chown it to this user, {_user()}")
    if kind := _shared_file_system(folder):
        return Finding(
            Level.FAIL,
            "store",
            f"{folder} is on {kind}, over which SQLite's locks do not hold",
            "move it to a local disk: ANGARIUM_STORE=sqlite:////var/lib/angarium/angarium.db",
        )
    if not path.exists():
        return Finding(Level.OK, "store", f"{path} will be made by the first start")
    return _store_file(path)


def _store_file(path: Path) -> Finding:
    if path.is_dir():
        return Finding(Level.FAIL, "store", f"{path} is a folder, expected a file", "name another with ANGARIUM_STORE")
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(Level.FAIL, "store", f"{path} cannot be read and written", f"chown it to this user, {_user()}")
    with path.open("rb") as file:
        head = file.read(100)
    if head and not head.startswith(_HEADER):
        return Finding(Level.FAIL, "store", f"{path} is no SQLite file", "name another with ANGARIUM_STORE")
    if head and head[_WAL_AT] != 2:
        return Finding(
            Level.WARN,
            "store",
            f"{path} has no write-ahead log; another program may have changed it",
            "start angarium serve once, which turns it on",
        )
    return Finding(Level.OK, "store", f"{path}, {path.stat().st_size / _MIB:,.1f} MiB")


def _user() -> str:
    return f"uid {os.geteuid()}"


def _shared_file_system(folder: Path) -> str:
    """Return the file system's kind if it is shared between machines, else nothing."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    over = [(where, kind) for _, where, kind, *_ in mounts if folder.is_relative_to(where)]
    _, kind = max(over, key=lambda mount: len(mount[0]), default=("", ""))
    return kind if kind.startswith(_SHARED_FILE_SYSTEMS) else ""


def _secret_key(visit: Visit) -> Finding:
    if visit.settings.secret_key:
        return Finding(Level.OK, "secret key", "given by ANGARIUM_SECRET_KEY")
    path, store = key_path(visit.settings), store_path(visit.settings)
    if not path.exists() and not store.exists():
        return Finding(Level.OK, "secret key", f"{path} will be made by the first start; back it up with the store")
    if not path.exists():
        return Finding(
            Level.FAIL,
            "secret key",
            f"{path} is missing, without which the store's secrets cannot be read",
            "put it back beside the store, or give it as ANGARIUM_SECRET_KEY",
        )
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(Level.FAIL, "secret key", f"{path} has mode {mode:o}: others may read it", f"chmod 600 {path}")
    return Finding(Level.OK, "secret key", f"{path}, mode {mode:o}; back it up with the store")


def _disk(visit: Visit) -> Finding:
    folder = store_path(visit.settings).absolute().parent
    if not folder.is_dir():
        return Finding(Level.WARN, "disk", f"{folder} is missing", f"mkdir -p {folder}")
    free = shutil.disk_usage(folder).free / _MIB
    level = Level.FAIL if free < 100 else Level.WARN if free < 1024 else Level.OK
    fix = "" if level is Level.OK else "free some, move the store, or lower ANGARIUM_RETENTION_DAYS"
    return Finding(level, "disk", f"{free:,.0f} MiB free in {folder}", fix)


def _open_files(visit: Visit) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(_FILES_MIN, 4 * visit.settings.max_in_flight)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        can = f"ulimit -n {wanted}" if hard == resource.RLIM_INFINITY or hard >= wanted else "LimitNOFILE= in its unit"
        return Finding(Level.WARN, "open files", f"{soft:,} at most, expected {wanted:,}", can)
    return Finding(Level.OK, "open files", f"{soft:,} at most")


def _egress(visit: Visit) -> Finding:
    allowed = visit.settings.egress_allow
    if not allowed:
        return Finding(Level.OK, "egress", "public addresses only")
    shown = ", ".join(f"{each.network}:{_ports(each.first_port, each.last_port)}" for each in allowed)
    if any(_METADATA in each.network for each in allowed if each.network.version == 4):
        return Finding(
            Level.FAIL,
            "egress",
            f"{shown} opens {_METADATA}, where clouds hand out credentials",
            "narrow ANGARIUM_EGRESS_ALLOW to the receivers' own addresses and ports",
        )
    if any(each.network.num_addresses > 2**16 and each.network != ip_network("127.0.0.0/8") for each in allowed):
        return Finding(
            Level.WARN,
            "egress",
            f"{shown} opens whole networks to whoever may subscribe",
            "narrow ANGARIUM_EGRESS_ALLOW to the receivers' own addresses and ports",
        )
    return Finding(Level.OK, "egress", f"public addresses, and {shown}")


def _ports(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _listen(visit: Visit) -> Finding:
    listen, key = visit.settings.listen, visit.settings.admin_key
    is_local = listen.host in {"127.0.0.1", "::1", "localhost"}
    if not is_local and key and len(key) < _KEY_LETTERS_MIN:
        return Finding(
            Level.FAIL,
            "listen",
            f"{listen}, with an admin key of {len(key)} letters that can be guessed",
            "ANGARIUM_ADMIN_KEY=$(head -c 32 /dev/urandom | base64)",
        )
    if not is_local and not visit.settings.trusted_proxies:
        return Finding(
            Level.WARN,
            "listen",
            f"{listen}, in the clear: keys can be read on the way",
            "put a proxy with TLS before it, and name its address in ANGARIUM_TRUSTED_PROXIES",
        )
    return Finding(Level.OK, "listen", str(listen))


def _clock(_: Visit) -> Finding:
    now = datetime.now(UTC)
    if now < _RELEASED:
        return Finding(
            Level.FAIL, "clock", f"{now:%Y-%m-%d %H:%M:%S} UTC, before this version", "timedatectl set-ntp true"
        )
    return Finding(Level.OK, "clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _names(visit: Visit) -> Finding:
    took_s, problem = _resolve(visit.resolve)
    if problem:
        return Finding(
            Level.WARN,
            "names",
            f"{visit.resolve} has no address: {problem}",
            "see /etc/resolv.conf; deliveries to names that have no address fail and are tried again",
        )
    return Finding(Level.OK, "names", f"{visit.resolve} resolved in {took_s * 1000:.0f} ms")


def _resolve(name: str) -> tuple[float, str]:
    """Return how long it took, and what went wrong. A resolver that hangs is left to itself."""
    problems: list[str] = []

    def work() -> None:
        try:
            socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
        except OSError as error:
            problems.append(error.strerror or str(error))
        else:
            problems.append("")

    began_s = time.monotonic()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_RESOLVE_S)
    return time.monotonic() - began_s, problems[0] if problems else f"no answer within {_RESOLVE_S} s"


# -- the server --------------------------------------------------------------------------------------------------------


def _server(client: ClientSettings) -> Iterator[Finding]:
    with ApiClient(client.url, client.api_key, timeout_s=10) as api:
        try:
            alive = api.get("/healthz")
        except Unreachable as error:
            yield Finding(
                Level.WARN, "server", f"{client.url}: {error.reason}", "angarium serve, or name it: ANGARIUM_URL"
            )
            return
        except ApiProblem as problem:
            yield Finding(
                Level.FAIL,
                "server",
                f"{client.url} answered {problem.status} to /healthz; it may be another program",
                "name the right address: ANGARIUM_URL",
            )
            return
        yield _ask("server", lambda: api.get("/readyz"), f"{client.url} is ready", _not_ready)
        yield _skew(alive)
        yield _api_key(api, client)


def _ask(subject: str, ask: Callable[[], Reply], good: str, bad: Callable[[ApiProblem], Finding]) -> Finding:
    try:
        ask()
    except ApiProblem as problem:
        return bad(problem)
    except Unreachable as error:
        return Finding(Level.FAIL, subject, error.reason, "look at the server's log")
    return Finding(Level.OK, subject, good)


def _not_ready(problem: ApiProblem) -> Finding:
    return Finding(
        Level.FAIL, "server", f"is not ready: {problem.detail or problem.status}", "look at the server's log"
    )


def _skew(alive: Reply) -> Finding:
    """Compare this machine's clock with the server's, as far as a header's whole seconds allow."""
    try:
        skew_s = abs(time.time() - parsedate_to_datetime(alive.headers["date"]).timestamp())
    except (KeyError, ValueError):
        return Finding(Level.OK, "skew", "the server does not tell its time")
    level = Level.FAIL if skew_s > _SKEW_FAIL_S else Level.WARN if skew_s > _SKEW_WARN_S else Level.OK
    fix = "" if level is Level.OK else "timedatectl set-ntp true, here and there; signatures carry the server's time"
    return Finding(level, "skew", f"{skew_s:.0f} s between this clock and the server's", fix)


def _api_key(api: ApiClient, client: ClientSettings) -> Finding:
    if not client.api_key:
        return Finding(
            Level.WARN,
            "api key",
            "none is given, so that client commands are refused",
            "export ANGARIUM_API_KEY=…, the admin key or one of: angarium keys create",
        )

    def refused(problem: ApiProblem) -> Finding:
        if problem.status == 403:
            return Finding(Level.OK, "api key", "is valid, and not an admin's")
        return Finding(
            Level.FAIL,
            "api key",
            f"was answered {problem.status}: {problem.detail or problem.title}",
            "give a valid one with ANGARIUM_API_KEY; the first start showed the admin key, or ANGARIUM_ADMIN_KEY is it",
        )

    return _ask("api key", lambda: api.get("/v1/projects", limit=1), "is valid", refused)
