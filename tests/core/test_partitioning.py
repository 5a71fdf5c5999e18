"""Hold the hash that places tenants: a change of it would lose what is stored."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.partitioning import partition_of
from angarium.model.event import PARTITIONS

NAMES = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("project", "tenant", "partition"),
    [
        ("default", "default", 213),
        ("radio", "1", 219),
        ("radio", "1201", 164),
        ("", "", 32),
        ("a", "bc", 107),
        ("ab", "c", 218),
        ("é", "日本", 154),
    ],
)
def test_vectors(project: str, tenant: str, partition: int) -> None:
    assert partition_of(project, tenant) == partition


def test_the_hash_is_the_one_that_is_written_down() -> None:
    assert partition_of("radio", "1201") == blake2b(b"\0\0\0\x05radio1201").digest()[0]


@given(NAMES, NAMES)
def test_every_tenant_has_a_partition(project: str, tenant: str) -> None:
    assert 0 <= partition_of(project, tenant) < PARTITIONS


def test_partitions_are_evenly_filled() -> None:
    """A quarter of a million tenants are about a thousand a partition, within five standard deviations."""
    filled = [0] * PARTITIONS
    for tenant in range(256_000):
        filled[partition_of("shop", str(tenant))] += 1
    assert min(filled) > 1000 - 160
    assert max(filled) < 1000 + 160
