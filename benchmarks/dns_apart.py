"""The cases of `dns` in which clients ask the machine's own DNS, so that they need a namespace."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from unittest.mock import patch

from .dns_client import HEALTHY, IN_FLIGHT, TIMEOUT, Case, client, median, timed
from .dns_server import FIRST, SECOND, Telling, tell


async def slow(case: Case) -> dict[str, float]:
    """Names whose DNS server is slow: the time until the first 200, and the number of queries."""
    figures: dict[str, float] = {}
    for which, milliseconds in (("first", 1500), ("second", 2500)):
        times: list[float] = []
        tell(case.dns, "reset")
        async with client(case, is_kept=False, is_told=False) as get:
            await timed(get, case.url(0, f"delay-{milliseconds}"), times, [], 4 * TIMEOUT)
        figures |= {f"{which}_ms": median(times), f"{which}_queries": case.queries()}
    return figures


class _Leaving(Telling):
    """A host that closes all its connections when it leaves."""

    connections: ClassVar[list[asyncio.Transport]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connections.append(self._transport)


async def left(case: Case) -> dict[str, float]:
    """A name with TTL 1 moves after 1 s; its old host then closes its connections, and refuses new ones."""
    loop = asyncio.get_running_loop()
    old = await loop.create_server(_Leaving, FIRST, 0)
    port = old.sockets[0].getsockname()[1]
    await loop.create_server(Telling, SECOND, port)
    url = f"http://{case.name(0, 'flip-1.ttl-1')}:{port}/"
    asked = bad = 0
    last_bad = 0.0
    async with client(case, is_kept=True, is_told=False) as get:
        await get(url)
        left_at = loop.time() + 1.05  # after the move, which is 1 s after the first query

        async def worker() -> None:
            nonlocal asked, bad, last_bad
            while (asked_at := loop.time()) < left_at + 3.0:
                bodies: list[str] = []
                await timed(get, url, [], bodies)
                if asked_at > left_at:
                    asked += 1
                    if not bodies:
                        bad, last_bad = bad + 1, asked_at - left_at
                await asyncio.sleep(0.02)

        workers = [asyncio.create_task(worker()) for _ in range(IN_FLIGHT)]
        await asyncio.sleep(left_at - loop.time())
        old.close()
        for connection in _Leaving.connections:
            connection.abort()
        left_at = loop.time()
        await asyncio.gather(*workers)
    return {"requests": asked, "good_percent": 100 * (asked - bad) / asked, "last_bad_ms": last_bad * 1e3}


async def files(case: Case) -> dict[str, float]:
    """Names that files and DNS decide: the calls that they cost in Python threads; c-ares' own threads don't count."""
    calls: list[object] = []
    threads: list[object] = []
    submit, start = ThreadPoolExecutor.submit, threading.Thread.start

    def counted(self: ThreadPoolExecutor, function: Any, *arguments: Any, **more: Any) -> Any:
        calls.append(function)
        return submit(self, function, *arguments, **more)

    def counted_start(self: threading.Thread) -> None:
        threads.append(self)
        start(self)

    times: list[float] = []
    urls = [case.url(number) for number in range(HEALTHY)] + [f"http://localhost:{case.port}/"]
    async with client(case, is_kept=False, is_told=False) as get:
        tell(case.dns, "reset")
        with (
            patch.object(ThreadPoolExecutor, "submit", counted),
            patch.object(threading.Thread, "start", counted_start),
        ):
            for url in urls:
                await timed(get, url, times, [])
    return {
        "calls": len(calls),
        "threads": len(threads),
        "queries": case.queries(),
        "failed": len(urls) - len(times),
    }
