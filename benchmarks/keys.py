"""What an Idempotency-Key costs its service: CPU and time a request, over the same application without keys."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import redis.asyncio

from seawall.integrations.idempotency import IdempotencyMiddleware, SQLite
from seawall.integrations.idempotency.postgres import PostgreSQL
from seawall.integrations.idempotency.redis import Redis

from . import databases
from .machine import conditions

STORES = ["sqlite", "redis", "postgres"]
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"200")]


async def app(_: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 201, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"x" * 200})


async def measure(called: Any, keys: range, in_flight: int) -> tuple[float, float]:
    """Milliseconds of CPU, of this process, and of time for each of *keys*."""
    left = iter(keys)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"item": "tea"}'}

    async def send(message: Any) -> None:
        assert message.get("status", 201) == 201

    async def worker() -> None:
        for key in left:
            headers = [(b"idempotency-key", b'"%d"' % key), (b"authorization", b"Bearer me")]
            await called({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)

    cpu, began_at = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    count = len(keys) / 1000
    return (time.process_time() - cpu) / count, (time.perf_counter() - began_at) / count


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        if name == "sqlite":
            store = SQLite(stack.enter_context(tempfile.TemporaryDirectory()) + "/keys.db")
            stack.push_async_callback(store.aclose)
            yield store
        elif name == "redis":
            socket = stack.enter_context(databases.redis())
            client = redis.asyncio.Redis(unix_socket_path=socket)
            stack.push_async_callback(client.aclose)
            yield Redis(client)
        else:
            folder = stack.enter_context(databases.postgres())
            pool = asyncpg.create_pool(host=folder, user="postgres", database="postgres")
            postgres = PostgreSQL(await stack.enter_async_context(pool))
            await postgres.create_table()
            yield postgres


async def table(stores: list[str], requests: int) -> None:
    bare, _ = await measure(app, range(requests), 1)
    print(f"without keys: {bare:.3f} ms of CPU\n")
    print("store     request   CPU, ms   one at a time, ms   16 at a time, ms")
    for name in stores:
        async with opened(name) as store:
            called = IdempotencyMiddleware(app, store=store, required=True)
            await measure(called, range(-100, 0), 1)
            for kind, offset in (("first", requests), ("repeat", 0)):
                cpu, alone = await measure(called, range(requests), 1)
                _, together = await measure(called, range(offset, offset + requests), 16)
                print(f"{name:9} {kind:7} {cpu - bare:9.3f} {alone:19.3f} {together:18.3f}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks keys", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    options = parser.parse_args(arguments)
    print(conditions(("seawall", "redis", "asyncpg"), arguments, "keys"))
    asyncio.run(table(options.stores, options.requests))
    return 0
