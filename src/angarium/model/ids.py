"""Turn places in the log into ids and back.

An id is its prefix, twelve hexadecimal digits of the millisecond (so ids sort by time as text), and one AES block that
holds the rest with a check. The block's key belongs to the store: nobody reads volumes from ids, an id that we did not
give out is recognised as such, and no index over ids is needed to find what one names.

The block, from its first byte: one of the prefix's first letter, one of partition, six of offset (or number), four of
subscription, four of check. The millisecond's 42 bits are folded over letter, check and the offset's two top bits, so
that an id whose time was changed is none of ours either. A guess passes once in 2^42; an event's or a numbered one's,
which has no subscription, once in 2^74.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from angarium.model.delivery import Key
from angarium.model.event import Place

_CHECK = 0x616E6761  # Four bytes that every block of ours holds.
_FRAME = (0xFF << 120) | (3 << 110) | 0xFFFFFFFF
_DIGITS = re.compile(r"[0-9a-f]{44}")
_MS_END = 1 << 42  # In the year 2109.
_RECENT = 16_384


class Ids:
    """Encode and decode ids under one store's key of 16 bytes. One thread at a time may use it.

    Encoding needs partition < 2^8, offset and number < 2^46, subscription < 2^32, milliseconds < 2^42.
    """

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305  one block of unique content, never a message
        self._encrypt = cipher.encryptor().update
        self._decrypt = cipher.decryptor().update
        # A publisher is answered an event's id, and moments later its receivers are sent it.
        self._event = lru_cache(maxsize=_RECENT)(partial(self._encode, "evt_"))

    def event(self, partition: int, offset: int, accepted_ms: int) -> str:
        """Return the id of the event at a place of the log."""
        return self._event(accepted_ms, partition, offset, 0)

    def delivery(self, key: Key) -> str:
        """Return a delivery's id."""
        return self._encode("dlv_", key.last_ms, key.partition, key.last_offset, key.subscription)

    def numbered(self, prefix: str, number: int, created_ms: int) -> str:
        """Return the id of something that a store numbers: `sub_`, `job_`, `key_`."""
        return self._encode(prefix, created_ms, 0, number, 0)

    def place(self, text: str) -> Place | None:
        """Return the place that an event's id encodes, or None when it is no such id of this store."""
        match self._decode("evt_", text):
            case (ms, partition, offset, 0):
                return Place(partition, offset, ms)
            case _:
                return None

    def key(self, text: str) -> Key | None:
        """Return what a delivery's id encodes, or None when it is no such id of this store."""
        match self._decode("dlv_", text):
            case (ms, partition, offset, subscription):
                return Key(partition, offset, subscription, ms)
            case _:
                return None

    def number(self, prefix: str, text: str) -> int | None:
        """Return the number that an id with this prefix encodes, or None when it is no such id of this store."""
        match self._decode(prefix, text):
            case (_, 0, number, 0):
                return number
            case _:
                return None

    def _encode(self, prefix: str, ms: int, partition: int, offset: int, subscription: int) -> str:
        block = _frame(prefix, ms) | (partition << 112) | (offset << 64) | (subscription << 32)
        return f"{prefix}{ms:012x}{self._encrypt(block.to_bytes(16, 'big')).hex()}"

    def _decode(self, prefix: str, text: str) -> tuple[int, int, int, int] | None:
        digits = text[len(prefix) :]
        if not text.startswith(prefix) or not _DIGITS.fullmatch(digits):
            return None
        ms = int(digits[:12], 16)
        block = int.from_bytes(self._decrypt(bytes.fromhex(digits[12:])), "big")
        if ms >= _MS_END or block & _FRAME != _frame(prefix, ms):
            return None
        return ms, (block >> 112) & 0xFF, (block >> 64) & (2**46 - 1), (block >> 32) & 0xFFFFFFFF


def _frame(prefix: str, ms: int) -> int:
    """Return what the prefix and the moment alone put into a block."""
    letter = ord(prefix[0]) ^ ((ms >> 32) & 0xFF)
    return (letter << 120) | ((ms >> 40) << 110) | (_CHECK ^ (ms & 0xFFFFFFFF))
