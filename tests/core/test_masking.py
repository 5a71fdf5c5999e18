"""Hold what is masked in a receiver's answer."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from angarium.core.masking import Masking


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", b""),
        (b"fine", b"fine"),
        (b"key k3y-of-1, twice k3y-of-1", b"key ********, twice ********"),
        (b"longer k3y-of-1-and-2", b"longer ********"),
        ("é: clé-1".encode(), "é: ********".encode()),
        ("clé-1".encode("latin-1"), b"********"),
        (b"abc", b"abc"),
    ],
)
def test_a_secret_is_masked_wherever_it_stands(answer: bytes, expected: bytes) -> None:
    masking = Masking(["k3y-of-1", "k3y-of-1-and-2", "clé-1", "abc", ""])
    assert masking.mask(answer) == expected


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_secret_within_base64_is_masked_whatever_stands_around_it(before: str) -> None:
    answer = Masking(["token-of-a-user"]).mask(urlsafe_b64encode(f"{before}token-of-a-user!".encode()))
    assert answer.count(b"********") == 1
    assert len(answer) <= len(b"********") + 8


def test_without_secrets_an_answer_stays_as_it_is() -> None:
    assert Masking([]).mask(b"anything") == b"anything"
