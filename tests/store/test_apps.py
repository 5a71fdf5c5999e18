"""Hold what is kept of third parties' programs, what their users allow them, and words that may be used once."""

from __future__ import annotations

from asyncio import gather
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from angarium.errors import BadCursor
from angarium.model.registry import App, Grant
from angarium.store.contract import Page
from tests.store.values import NOON, PROJECT, TENANT, walk

if TYPE_CHECKING:
    from angarium.store.contract import Store


def app(number: int = 1, *, project: str = PROJECT) -> App:
    return App(
        number, f"app_{number}", project, "Player", NOON + number, "https://app", "https://app/back", b"\x00\xff"
    )


def grant(number: int = 1, *, app: int = 1, project: str = PROJECT, expires_ms: int = NOON) -> Grant:
    return Grant(
        number,
        f"grant_{number}",
        project,
        app,
        TENANT,
        f"user-{number}",
        NOON,
        expires_ms,
        digest=b"\x00token-%d" % number,
        token=b"\x00\xfe",
        scope="api/invoices",
        permissions=("invoice.read",),
        sub_domain="acme",
        email="a@b.test",
        code_terms={"redirect_uri": "https://app/back"},
    )


async def test_an_app_is_kept_replaced_and_deleted(store: Store) -> None:
    assert await store.app(1) is None
    await store.put_app(app())
    assert await store.app(1) == app()
    await store.put_app(replace(app(), name="Recorder"))
    assert await store.app(1) == replace(app(), name="Recorder")
    assert await store.delete_app(1)
    assert not await store.delete_app(1)
    assert await store.app(1) is None


async def test_apps_are_listed_newest_first_by_project(store: Store) -> None:
    for number in range(1, 6):
        await store.put_app(app(number, project="cm" if number == 3 else PROJECT))
    pages = await walk(lambda page: store.apps(PROJECT, page))
    assert [[each.number for each in page] for page in pages] == [[5, 4], [2, 1]]
    with pytest.raises(BadCursor):
        await store.grants(PROJECT, Page(after=(await store.apps(PROJECT, Page(limit=1))).next))


async def test_a_grant_is_kept_replaced_and_deleted(store: Store) -> None:
    assert await store.grant(1) is None
    await store.put_grant(grant())
    assert await store.grant(1) == grant()
    assert await store.delete_grant(1)
    assert not await store.delete_grant(1)
    assert await store.grant(1) is None
    assert await store.grant_of(grant().digest) is None


async def test_a_grant_is_found_by_its_code_and_then_by_its_token(store: Store) -> None:
    waiting = replace(grant(), digest=b"", code=b"\x00code", code_expires_ms=NOON + 9)
    await store.put_grant(waiting)
    await store.put_grant(replace(grant(2), code=b""))
    assert await store.grant_of(b"\x00code") == waiting
    assert await store.grant_of(grant().digest) is None
    await store.put_grant(grant())
    assert await store.grant_of(grant().digest) == grant()
    assert await store.grant_of(b"\x00code") is None
    assert await store.grant_of(grant(2).digest) == grant(2)


async def test_no_digest_is_nobodys(store: Store) -> None:
    await store.put_grant(replace(grant(), digest=b"", code=b""))
    assert await store.grant_of(b"") is None


async def test_grants_are_listed_by_project_and_by_app(store: Store) -> None:
    for number in range(1, 7):
        await store.put_grant(grant(number, app=number % 2, project="cm" if number == 3 else PROJECT))
    pages = await walk(lambda page: store.grants(PROJECT, page))
    assert [[each.number for each in page] for page in pages] == [[6, 5], [4, 2], [1]]
    pages = await walk(lambda page: store.grants(PROJECT, page, app=1))
    assert [[each.number for each in page] for page in pages] == [[5, 1]]
    assert (await store.grants("cm", Page(), app=0)).data == []


async def test_grants_that_expire_are_found_the_first_of_them_first(store: Store) -> None:
    for number, expires_ms in enumerate((NOON + 5, NOON + 1, NOON + 9, NOON + 1), start=1):
        await store.put_grant(grant(number, expires_ms=expires_ms))
    assert [each.number for each in await store.grants_until(NOON + 9, limit=9)] == [2, 4, 1]
    assert [each.number for each in await store.grants_until(NOON + 9, limit=2)] == [2, 4]
    assert await store.grants_until(NOON + 1, limit=9) == []


async def test_an_apps_grants_go_with_it(store: Store) -> None:
    await store.put_app(app())
    for number in (1, 2, 3):
        await store.put_grant(grant(number, app=number % 2))
    assert await store.delete_app(1)
    assert [each.number for each in (await store.grants(PROJECT, Page())).data] == [2]
    assert await store.grant_of(grant(1).digest) is None


async def test_a_projects_apps_and_grants_go_with_it(store: Store) -> None:
    for number, project in ((1, PROJECT), (2, "cm")):
        await store.put_app(app(number, project=project))
        await store.put_grant(grant(number, app=number, project=project))
    await store.delete_project(PROJECT)
    assert [await store.app(1), await store.grant(1), await store.grant_of(grant(1).digest)] == [None] * 3
    assert await store.app(2) == app(2, project="cm")
    assert await store.grant(2) == grant(2, app=2, project="cm")


async def test_a_word_is_taken_once_until_it_is_forgotten(store: Store) -> None:
    assert await store.take_once("a", now_ms=NOON, until_ms=NOON + 10)
    assert not await store.take_once("a", now_ms=NOON, until_ms=NOON + 99)
    assert not await store.take_once("a", now_ms=NOON + 9, until_ms=NOON + 99)
    assert await store.take_once("b", now_ms=NOON, until_ms=NOON + 10)
    assert await store.take_once("a", now_ms=NOON + 10, until_ms=NOON + 20)
    assert not await store.take_once("a", now_ms=NOON + 19, until_ms=NOON + 99)


async def test_of_many_who_take_a_word_at_once_one_has_it(store: Store) -> None:
    taken = await gather(*(store.take_once("a", now_ms=NOON, until_ms=NOON + 9) for _ in range(20)))
    assert sorted(taken) == [False] * 19 + [True]


async def test_words_are_dropped_when_they_are_forgotten(store: Store) -> None:
    for number in range(5):
        await store.take_once(str(number), now_ms=NOON, until_ms=NOON + number)
    assert await store.retain(before_ms=0, limit=2, now_ms=NOON + 3) == 2
    assert await store.retain(before_ms=0, limit=9, now_ms=NOON + 3) == 2
    assert not await store.take_once("4", now_ms=NOON + 3, until_ms=NOON + 99)
