"""Mask in what a receiver answers what is secret of the request: test receivers and error pages echo what they got.

A secret is found as it was sent, and within base64url, whatever stands around it there, for some dialects send it so.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Final, final

MASK: Final = b"********"

_BYTES_MIN: Final = 4  # What is shorter stands in any text by chance.


@final
class Masking:
    """What is secret of one subscription's requests, ready to be looked for."""

    __slots__ = ("_spelt",)

    def __init__(self, secrets: Iterable[str]) -> None:
        spelt = {each for text in secrets for each in _spelt(text) if len(each) >= _BYTES_MIN}
        self._spelt = tuple(sorted(spelt, key=len, reverse=True))  # One may hold another.

    def mask(self, answer: bytes) -> bytes:
        """Return an answer without the secrets."""
        for each in self._spelt:
            if each in answer:
                answer = answer.replace(each, MASK)
        return answer


def _spelt(text: str) -> Iterator[bytes]:
    """Yield what a secret looks like; one that is too short is not looked for."""
    plain = text.encode()
    if len(plain) < _BYTES_MIN:
        return
    yield plain
    yield text.encode("latin-1", errors="replace")  # As a header has it.
    for before in range(3):
        whole = urlsafe_b64encode(bytes(before) + plain)
        yield whole[(0, 2, 3)[before] : (before + len(plain)) * 8 // 6]
