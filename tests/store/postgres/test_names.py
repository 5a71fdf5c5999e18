"""Hold what is remembered of numbers, and when it is forgotten."""

from __future__ import annotations

import asyncpg

from angarium.store.postgres import PostgresStore
from angarium.store.postgres.connection import connect
from angarium.store.postgres.names import Names

OWNER = ("radio", "1")


async def test_a_new_session_is_asked_anew_for_the_server_may_have_lost_what_it_gave(
    one: PostgresStore, dsn: str, connection: asyncpg.Connection
) -> None:
    """A failover loses what was on the old primary alone, and gives the same number to the next tenant."""
    names = Names()
    first = await connect(dsn)
    given = (await names.give(first, [OWNER]))[OWNER]
    assert (await names.give(first, [OWNER]))[OWNER] == given
    await first.close()
    await connection.execute("DELETE FROM tenant WHERE number = $1", given.tenant)

    second = await connect(dsn)
    again = (await names.give(second, [OWNER]))[OWNER]
    await second.close()

    assert again.tenant != given.tenant
