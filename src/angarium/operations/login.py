"""Keep how a publisher's own login joins in: where users are sent, and the key that their assertions are signed with.

The key lies sealed among the project's settings, and is shown masked; given back as it is shown it stays what it was.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from angarium.errors import FieldError
from angarium.operations.terms import MASK

if TYPE_CHECKING:
    from angarium.model.registry import Project
    from angarium.vault import Vault


class Login(Struct, frozen=True):
    """A publisher's login, its key in plain bytes."""

    url: str
    key: bytes


def with_sealed_login(vault: Vault, wanted: Project, present: Project | None) -> Project:
    """Return a project as it is kept: the key of its login sealed; one that has not changed stays as it is sealed."""
    login = wanted.settings.get("login")
    if login is None:
        return wanted
    known = login_of(vault, present) if present else None
    if login["key"] == MASK and known is None:
        raise FieldError("settings.login.key", "is masked, and there is none that could stay; give the key itself")
    if present is not None and known is not None and login["key"].encode() in {MASK.encode(), known.key}:
        sealed = present.settings["login"]["key"]
    else:
        sealed = b64encode(vault.seal(login["key"].encode(), context=_of_login(wanted))).decode()
    return replace(wanted, settings={**wanted.settings, "login": {**login, "key": sealed}})


def shown_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a project's settings as they are shown."""
    if "login" not in settings:
        return settings
    return {**settings, "login": {**settings["login"], "key": MASK}}


def login_of(vault: Vault, project: Project) -> Login | None:
    """Return a project's login, None where it has none."""
    login = project.settings.get("login")
    if login is None:
        return None
    return Login(login["url"], vault.open(b64decode(login["key"]), context=_of_login(project)))


def _of_login(project: Project) -> bytes:
    return b"login:%b" % project.name.encode()
