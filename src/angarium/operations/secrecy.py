"""Seal and open what a subscription keeps secret: what it signs with, and the values of its headers.

Each is sealed for one subscription and opens for no other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from angarium.model.subscription import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from angarium.dialects.dialect import Dialect
    from angarium.model.subscription import Subscription
    from angarium.vault import Vault

_SECRETS_MAX: Final = 8


class NewSecret(NamedTuple):
    """A secret as it is stored, and as its receiver is shown it, once."""

    stored: Secret
    shown: str


def make_secret(
    vault: Vault, number: int, dialect: Dialect, options: Mapping[str, Any], *, given: str | None = None
) -> NewSecret:
    """Make a subscription's secret, or take the given one; `FieldError` when that does not fit the dialect."""
    if given is None:
        kept, shown = dialect.make_secret(os.urandom(32), options)
    else:
        kept, shown = dialect.check_secret(given, options), given
    return NewSecret(Secret(vault.seal(kept, context=_of_secret(number))), shown)


def seal_secret(vault: Vault, number: int, plain: bytes) -> Secret:
    """Return what a subscription signs with as it is stored, where something else says what that is."""
    return Secret(vault.seal(plain, context=_of_secret(number)))


def rotated(secrets: tuple[Secret, ...], new: Secret, *, until_ms: int, now_ms: int) -> tuple[Secret, ...]:
    """Return a subscription's secrets after a rotation, newest first; the others sign until a moment at most."""
    living = [secret for secret in secrets if _signs(secret, now_ms) and until_ms > now_ms]
    ending = [replace(secret, expires_ms=min(until_ms, secret.expires_ms or until_ms)) for secret in living]
    return (new, *ending)[:_SECRETS_MAX]


def open_secrets(vault: Vault, subscription: Subscription, *, now_ms: int) -> tuple[bytes, ...]:
    """Return what a subscription signs with now, newest first, in plain bytes."""
    context = _of_secret(subscription.number)
    return tuple(vault.open(each.sealed, context=context) for each in subscription.secrets if _signs(each, now_ms))


def seal_headers(vault: Vault, number: int, headers: Mapping[str, str | bytes]) -> dict[str, bytes]:
    """Return a subscription's headers with their values sealed; those that are bytes are so already."""
    context = _of_headers(number)
    return {
        name: value if isinstance(value, bytes) else vault.seal(value.encode("latin-1"), context=context)
        for name, value in headers.items()
    }


def open_headers(vault: Vault, subscription: Subscription) -> dict[str, str]:
    """Return a subscription's headers in plain text."""
    context = _of_headers(subscription.number)
    return {name: vault.open(value, context=context).decode("latin-1") for name, value in subscription.headers.items()}


def seal_options(vault: Vault, number: int, options: Mapping[str, str]) -> dict[str, bytes]:
    """Return a subscription's secret options, sealed."""
    return {name: vault.seal(value.encode(), context=_of_options(number)) for name, value in options.items()}


def open_options(vault: Vault, subscription: Subscription) -> dict[str, str]:
    """Return a subscription's secret options in plain text."""
    context = _of_options(subscription.number)
    return {name: vault.open(value, context=context).decode() for name, value in subscription.sealed.items()}


def _signs(secret: Secret, now_ms: int) -> bool:
    return secret.expires_ms is None or now_ms < secret.expires_ms


def _of_secret(number: int) -> bytes:
    return b"subscription:%d" % number


def _of_options(number: int) -> bytes:
    return b"option:%d" % number


def _of_headers(number: int) -> bytes:
    return b"header:%d" % number
