"""Stores, each over a real database, and a way to let time pass in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
import redis.asyncio
from benchmarks import databases

from seawall.integrations.idempotency import SQLite
from seawall.integrations.idempotency.postgres import PostgreSQL
from seawall.integrations.idempotency.redis import Redis

TABLE = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)"


@dataclass
class Kept:
    """
    A store.

    Attributes:
        pass_time: Let seconds pass, as far as the store can tell.
        count: How many keys it has.
        orders: What is committed in the application's table.
        insert: Add an order by a transaction's connection.
        clear: Forget all keys and orders.
    """

    store: Any
    pass_time: Callable[[float], Awaitable[None]]
    count: Callable[[], Awaitable[int]]
    orders: Callable[[], Awaitable[list[str]]] | None = None
    insert: Callable[[Any, str], Awaitable[Any]] | None = None
    clear: Callable[[], Awaitable[Any]] | None = None


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[str]:
    if databases.POSTGRES is None:
        pytest.skip("there is no PostgreSQL here")
    with databases.postgres() as folder:
        yield folder


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[str]:
    if databases.REDIS is None:
        pytest.skip("there is no redis-server here")
    with databases.redis() as path:
        yield path


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def sqlite(request, stack) -> Kept:
    clock = [1000.0]
    store = SQLite(request.getfixturevalue("tmp_path") / "keys.db", now=lambda: clock[0])
    stack.push_async_callback(store.aclose)

    async def pass_time(seconds: float) -> None:
        clock[0] += seconds

    async def rows(sql: str) -> list[Any]:
        return await store._file.run(lambda database: database.execute(sql).fetchall())

    async def count() -> int:
        return (await rows("SELECT count(*) FROM seawall_idempotency"))[0][0]

    async def orders() -> list[str]:
        return [item for (item,) in await rows("SELECT item FROM orders ORDER BY id")]

    await rows(TABLE)

    async def clear() -> None:
        both = "DELETE FROM orders; DELETE FROM seawall_idempotency"
        await store._file.run(lambda database: database.executescript(both))

    insert = "INSERT INTO orders (item) VALUES (?)"
    return Kept(store, pass_time, count, orders, lambda connection, item: connection.execute(insert, [item]), clear)


async def postgres(request, stack) -> Kept:
    socket = request.getfixturevalue("postgres_socket")
    pool = await asyncpg.create_pool(host=socket, user="postgres", database="postgres", min_size=0, max_size=8)
    stack.push_async_callback(pool.close)
    store = PostgreSQL(pool)
    await store.create_table()
    await pool.execute("DROP TABLE IF EXISTS orders; TRUNCATE seawall_idempotency")
    await pool.execute(TABLE.replace("INTEGER PRIMARY KEY", "serial PRIMARY KEY"))

    async def pass_time(seconds: float) -> None:
        await pool.execute(
            "UPDATE seawall_idempotency SET expires_at = expires_at - make_interval(secs => $1)", float(seconds)
        )

    async def orders() -> list[str]:
        return [row["item"] for row in await pool.fetch("SELECT item FROM orders ORDER BY id")]

    return Kept(
        store,
        pass_time,
        lambda: pool.fetchval("SELECT count(*) FROM seawall_idempotency"),
        orders,
        lambda connection, item: connection.execute("INSERT INTO orders (item) VALUES ($1)", item),
        lambda: pool.execute("DELETE FROM orders; DELETE FROM seawall_idempotency"),
    )


async def redis_store(request, stack) -> Kept:
    connection = redis.asyncio.UnixDomainSocketConnection
    pool = redis.asyncio.BlockingConnectionPool(
        8, timeout=None, connection_class=connection, path=request.getfixturevalue("redis_socket")
    )
    client = redis.asyncio.Redis.from_pool(pool)
    stack.push_async_callback(client.aclose)
    await client.flushall()

    async def pass_time(seconds: float) -> None:
        for key in await client.keys():
            await client.pexpire(key, await client.pttl(key) - round(seconds * 1000))  # at 0 or less it deletes

    return Kept(Redis(client), pass_time, client.dbsize)


STORES = {"sqlite": sqlite, "postgres": postgres, "redis": redis_store}


@pytest.fixture(params=STORES)
async def kept(request, stack) -> Kept:
    return await STORES[request.param](request, stack)


@pytest.fixture(params=["sqlite", "postgres"])
async def transactional(request, stack) -> Kept:
    return await STORES[request.param](request, stack)


@pytest.fixture
async def in_sqlite(request, stack) -> Kept:
    return await sqlite(request, stack)
