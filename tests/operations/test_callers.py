"""Callers are found by their keys, held while they last, and forgotten at once when their key is deleted."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from angarium.errors import Unauthorized
from angarium.model.registry import ApiKey, Scope
from angarium.operations.callers import Callers, digest_of, make_admin_key, make_token
from angarium.store.memory import MemoryStore
from tests.api.native.serving import ADMIN, make_context


def key(number: int, token: str, *, expires_ms: int | None = None) -> ApiKey:
    return ApiKey(number, f"key_{number}", digest_of(token), Scope.READ, 1, project="p", expires_ms=expires_ms)


async def test_a_key_is_held_once_it_was_found() -> None:
    context = make_context()
    await context.store.put_key(key(1, "a"))
    callers = Callers(context)
    assert callers.held("Bearer a", now_ms=0) is None
    found = await callers.find("Bearer a", now_ms=0)
    assert callers.held("Bearer a", now_ms=0) is found
    callers.forget(2)
    assert callers.held("Bearer a", now_ms=0) is found
    callers.forget(1)
    assert callers.held("Bearer a", now_ms=0) is None


async def test_a_held_key_expires_too() -> None:
    context = make_context()
    await context.store.put_key(key(1, "a", expires_ms=1000))
    callers = Callers(context)
    await callers.find("Bearer a", now_ms=999)
    assert callers.held("Bearer a", now_ms=999) is not None
    assert callers.held("Bearer a", now_ms=1000) is None
    with pytest.raises(Unauthorized, match="expired"):
        await callers.find("Bearer a", now_ms=1000)


class SlowStore(MemoryStore):
    """A store that looks keys up slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def key_of(self, digest: bytes) -> ApiKey | None:
        found = await super().key_of(digest)
        await self.may_answer.wait()
        return found


async def test_a_key_that_is_deleted_while_it_is_read_is_not_held() -> None:
    store = SlowStore()
    context = replace(make_context(), store=store)
    await store.put_key(key(1, "a"))
    callers = Callers(context)
    finding = asyncio.create_task(callers.find("Bearer a", now_ms=0))
    await asyncio.sleep(0)
    await store.delete_key(1)
    callers.forget(1)
    store.may_answer.set()
    await finding
    assert callers.held("Bearer a", now_ms=0) is None


async def test_the_operator_s_key_is_never_stored() -> None:
    context = make_context()
    found = await Callers(context).find(f"Bearer {ADMIN}", now_ms=0)
    assert found.scope is Scope.ADMIN
    assert await context.store.key_of(digest_of(ADMIN)) is None


async def test_an_admin_key_is_made_when_there_is_none_and_only_then() -> None:
    assert await make_admin_key(make_context()) is None
    context = make_context(admin_key="")
    token = await make_admin_key(context)
    assert token is not None
    assert (await Callers(context).find(f"Bearer {token}", now_ms=0)).scope is Scope.ADMIN
    assert await make_admin_key(context) is None


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {make_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 47 for token in tokens)
