"""Lend a served native API to tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.native.serving import Native, make_context, serve


@pytest.fixture
async def native() -> AsyncIterator[Native]:
    async with serve(make_context()) as native:
        yield native
