"""Secrets rest sealed, for their own subscription only, and sign no longer than they should."""

from __future__ import annotations

import pytest

from angarium.dialects.standard import STANDARD
from angarium.errors import FieldError, SecretKeyWrong
from angarium.model.subscription import Secret, Status, Subscription
from angarium.operations.secrecy import make_secret, open_headers, open_secrets, rotated, seal_headers
from angarium.vault import Vault

VAULT = Vault(bytes(range(32)))


def subscription(
    number: int = 1, secrets: tuple[Secret, ...] = (), headers: dict[str, bytes] | None = None
) -> Subscription:
    return Subscription(
        number, f"sub_{number}", "p", "1", 0, 1, 1, Status.ACTIVE, secrets=secrets, headers=headers or {}
    )


def test_a_secret_opens_for_its_own_subscription_only() -> None:
    new = make_secret(VAULT, 1, STANDARD, {})
    assert open_secrets(VAULT, subscription(1, (new.stored,)), now_ms=0) == (new.shown.encode(),)
    with pytest.raises(SecretKeyWrong):
        open_secrets(VAULT, subscription(2, (new.stored,)), now_ms=0)


def test_a_given_secret_must_fit_the_dialect() -> None:
    with pytest.raises(FieldError, match="secret"):
        make_secret(VAULT, 1, STANDARD, {}, given="hunter2")


def test_header_values_may_be_all_of_latin_1_and_are_not_sealed_twice() -> None:
    once = seal_headers(VAULT, 1, {"x-name": "Jürgen"})
    assert seal_headers(VAULT, 1, {**once, "x-b": "2"}) | {"x-b": b""} == {**once, "x-b": b""}
    assert open_headers(VAULT, subscription(headers=once)) == {"x-name": "Jürgen"}
    assert VAULT.open(once["x-name"], context=b"header:1") == "Jürgen".encode("latin-1")


def test_a_rotation_ends_each_older_secret_at_its_own_moment_or_earlier() -> None:
    first, second, third = (Secret(name) for name in (b"1", b"2", b"3"))
    after_one = rotated((first,), second, until_ms=1000, now_ms=0)
    assert after_one == (second, Secret(b"1", 1000))
    assert rotated(after_one, third, until_ms=5000, now_ms=500) == (third, Secret(b"2", 5000), Secret(b"1", 1000))
    assert rotated(after_one, third, until_ms=600, now_ms=500) == (third, Secret(b"2", 600), Secret(b"1", 600))
    assert rotated(after_one, third, until_ms=5000, now_ms=1000) == (third, Secret(b"2", 5000))
    assert rotated(after_one, third, until_ms=0, now_ms=0) == (third,)


def test_no_more_than_eight_secrets_sign() -> None:
    secrets: tuple[Secret, ...] = ()
    for number in range(20):
        secrets = rotated(secrets, Secret(b"%d" % number), until_ms=1000, now_ms=0)
    assert [each.sealed for each in secrets] == [b"%d" % number for number in range(19, 11, -1)]
