"""Say which partition of the log a tenant belongs to. The answer is fixed for ever: stored offsets depend on it."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=65_536)
def partition_of(project: str, tenant: str) -> int:
    """Return the partition, 0 to 255, of a project's tenant.

    It is the first byte of BLAKE2b-512 over both names in UTF-8, the project's with its length (four bytes, big-endian)
    before it, so that no two pairs of names are hashed alike.
    """
    name = project.encode()
    return blake2b(len(name).to_bytes(4, "big") + name + tenant.encode()).digest()[0]
