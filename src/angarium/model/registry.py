"""Name what a project is: its dialect, catalogue, settings, tenants, keys, and the jobs that run in it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Project(Struct, frozen=True):
    """One push API that somebody offers. `objects` and `settings` are as in the HTTP API, checked at the edge."""

    name: str
    dialect: str
    created_ms: int
    updated_ms: int
    objects: dict[str, Any] = {}
    settings: dict[str, Any] = {}

    @property
    def keeps_objects(self) -> bool:
        """Say whether the current state of its objects is kept."""
        return self.settings.get("keep_objects") is not False


class Tenant(Struct, frozen=True):
    """The publisher's customer whose data it is."""

    project: str
    name: str
    created_ms: int
    title: str = ""
    attributes: dict[str, Any] = {}


class Scope(StrEnum):
    """What an API key may do; see `core.scopes`."""

    ADMIN = "admin"
    PUBLISH = "publish"
    MANAGE = "manage"
    READ = "read"
    TENANT = "tenant"


class ApiKey(Struct, frozen=True):
    """An API key as it is stored: the SHA-256 of what its holder shows, never the key. Admin keys have no project."""

    number: int
    id: str
    digest: bytes
    scope: Scope
    created_ms: int
    project: str = ""
    tenant: str = ""
    name: str = ""
    expires_ms: int | None = None
    actor: bytes = b""


class App(Struct, frozen=True):
    """A third party's program that subscribes in the name of its users; `secret` is encrypted."""

    number: int
    id: str
    project: str
    name: str
    created_ms: int
    url: str = ""
    redirect_uri: str = ""
    secret: bytes = b""


class Grant(Struct, frozen=True):
    """What a user of a tenant allows an app: its access token, as SHA-256 and encrypted, and what it may do.

    `scope` is None for all rights of the user, `permissions` None for all there are. Before the app has fetched its
    token, `code` is the SHA-256 of what it must show for it, good until `code_expires_ms`; `code_terms` are the
    redirect address and challenge that it must match.
    """

    number: int
    id: str
    project: str
    app: int
    tenant: str
    user: str
    created_ms: int
    expires_ms: int
    digest: bytes = b""
    token: bytes = b""
    scope: str | None = None
    permissions: tuple[str, ...] | None = None
    sub_domain: str = ""
    email: str = ""
    code: bytes = b""
    code_expires_ms: int = 0
    code_terms: dict[str, Any] = {}


class JobState(StrEnum):
    """What a job is in."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Job(Struct, frozen=True):
    """A resync or replay. `spec` is what was asked for, `cursor` how far it has come (its kind says in what)."""

    number: int
    id: str
    project: str
    tenant: str
    kind: str
    state: JobState
    created_ms: int
    updated_ms: int
    subscription: int = 0
    spec: dict[str, Any] = {}
    cursor: int = 0
    total: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    detail: str = ""
