"""One client's run, in its own process: ``python -m benchmarks.load CLIENT URL IN_FLIGHT REQUESTS`` prints JSON."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Get = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def httpx_client(url: str, in_flight: int) -> AsyncIterator[Get]:
    import httpx

    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:

        async def get() -> bytes:
            return (await client.get(url)).content

        yield get


@asynccontextmanager
async def aiohttp_client(url: str, in_flight: int) -> AsyncIterator[Get]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(30)) as session:

        async def get() -> bytes:
            async with session.get(url) as response:
                return await response.read()

        yield get


@asynccontextmanager
async def seawall_client(url: str, in_flight: int) -> AsyncIterator[Get]:
    import seawall

    # Every layer on; only as many permits as the benchmark has in flight.
    async with seawall.Client(timeout=30, bulkhead=seawall.Bulkhead(max_concurrent=in_flight)) as client:

        async def get() -> bytes:
            return (await client.get(url)).content

        yield get


CLIENTS = {"httpx": httpx_client, "aiohttp": aiohttp_client, "seawall": seawall_client}


async def run(name: str, url: str, in_flight: int, requests: int) -> dict[str, float]:
    async with CLIENTS[name](url, in_flight) as get:
        await asyncio.gather(*(get() for _ in range(in_flight)))  # warm: connections, caches, code
        left = iter(range(requests))
        times: list[float] = []

        async def worker() -> None:
            for _ in left:
                started_at = time.perf_counter()
                body = await get()
                times.append(time.perf_counter() - started_at)
                assert body.startswith(b'{"ok":true')

        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "cpu_us": cpu / requests * 1e6,
        "per_second": requests / wall,
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": statistics.quantiles(times, n=100)[98] * 1e3,
    }


if __name__ == "__main__":
    client, url, in_flight, requests = sys.argv[1:]
    print(json.dumps(asyncio.run(run(client, url, int(in_flight), int(requests)))))
