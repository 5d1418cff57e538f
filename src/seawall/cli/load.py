"""
One client under the demo's load, in a process of its own: ``python -m seawall.cli.load JSON`` prints its progress as a
line of JSON four times a second, and the result as the last line.

The load is open: a call starts at its time, whether or not earlier calls have ended.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import httpx

from .. import DNS, AsyncClient

__all__ = ["CLIENTS", "WIDE", "Patience"]

WIDE = 1000  # connections of a client that an expert configured
WARM = 20  # calls that don't count, because they pay for imports, caches and the first connection


@dataclass(frozen=True)
class Patience:
    """
    How long the clients wait.

    Attributes:
        timeout: Seconds for connect, read, write and pool each.
    """

    timeout: float

    @property
    def deadline(self) -> float:
        """Seconds for a call, of all clients but bare httpx, which has no deadline: two attempts may time out."""
        return 2 * self.timeout

    @property
    def after_load(self) -> float:
        """Seconds within which the last calls must end."""
        return self.deadline + 0.5


class Tally:
    """How the calls to one host ended."""

    def __init__(self) -> None:
        self.started = 0
        self.ok = 0
        self.attempts = 0
        self.times: list[float] = []
        self.errors: dict[str, int] = {}

    def attempted(self, count: int) -> None:
        self.attempts += count

    def end(self, outcome: str, elapsed: float) -> None:
        self.times.append(elapsed)
        if outcome == "ok":
            self.ok += 1
        else:
            self.errors[outcome] = self.errors.get(outcome, 0) + 1

    def result(self) -> dict[str, Any]:
        times = sorted(self.times) or [0.0]
        return {
            "calls": self.started,
            "ok": self.ok,
            "p50": times[len(times) // 2],
            "p99": times[min(len(times) - 1, int(len(times) * 0.99))],
            "attempts": self.attempts,
            "errors": self.errors,
        }


async def lag(samples: list[float]) -> None:
    """Measure how late the event loop is, because every task of a process pays for that."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        samples.append(loop.time() - due)


Get: TypeAlias = Callable[[str, Callable[[int], None]], Awaitable[int]]
"""Returns the status of a URL, and calls the given function with the number of attempts, once or one by one."""


@asynccontextmanager
async def bare_httpx(_: str, patience: Patience) -> AsyncIterator[Get]:
    async with httpx.AsyncClient(timeout=patience.timeout, trust_env=False) as client:

        async def get(url: str, attempted: Callable[[int], None]) -> int:
            attempted(1)
            return (await client.get(url)).status_code

        yield get


@asynccontextmanager
async def tuned_httpx(_: str, patience: Patience) -> AsyncIterator[Get]:
    limits = httpx.Limits(max_connections=WIDE, max_keepalive_connections=WIDE)
    async with httpx.AsyncClient(timeout=patience.timeout, limits=limits, trust_env=False) as client:

        async def get(url: str, attempted: Callable[[int], None]) -> int:
            attempted(1)
            async with asyncio.timeout(patience.deadline):
                return (await client.get(url)).status_code

        yield get


@asynccontextmanager
async def retrying_aiohttp(nameserver: str, patience: Patience) -> AsyncIterator[Get]:
    import aiohttp

    from .retried import Answer, retried

    connector = aiohttp.TCPConnector(limit=WIDE, resolver=aiohttp.AsyncResolver(nameservers=[nameserver]))
    seconds = patience.timeout
    timeout = aiohttp.ClientTimeout(total=None, connect=seconds, sock_connect=seconds, sock_read=seconds)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def get(url: str, attempted: Callable[[int], None]) -> int:
            async def attempt() -> Answer:
                attempted(1)
                async with session.get(url) as response:
                    return Answer(response.status, await response.read(), response.headers.get("retry-after"))

            return (await retried(attempt, may_repeat=True, deadline=patience.deadline)).status

        yield get


@asynccontextmanager
async def seawall_client(nameserver: str, patience: Patience) -> AsyncIterator[Get]:
    dns = DNS(nameservers=(nameserver,))
    async with AsyncClient(timeout=patience.timeout, deadline=patience.deadline, dns=dns, trust_env=False) as client:

        async def get(url: str, attempted: Callable[[int], None]) -> int:
            try:
                response = await client.get(url)
            except httpx.HTTPError as error:
                attempted(len(getattr(error, "attempts", "1")))
                raise
            attempted(len(response.extensions["seawall"]))
            return response.status_code

        yield get


class Known(NamedTuple):
    """
    A client that the demo shows.

    Attributes:
        open: Makes the client; takes the address of the DNS server, which some clients can't use, and its patience.
        settings: Its settings, in words, with a place for the deadline.
        package: The package that it needs.
        is_told: Whether it can be pointed at a DNS server; if not, its URLs hold addresses.
    """

    open: Callable[[str, Patience], AbstractAsyncContextManager[Get]]
    settings: str
    package: str
    is_told: bool


CLIENTS = {
    "httpx": Known(bare_httpx, "its defaults", "httpx", is_told=False),
    "httpx tuned": Known(
        tuned_httpx,
        f"{WIDE:,} connections, asyncio.timeout({{deadline:g}}) around each call",
        "httpx",
        is_told=False,
    ),
    "aiohttp + own retries": Known(
        retrying_aiohttp,
        f"{WIDE:,} connections, up to 3 attempts within {{deadline:g}} s, written by hand",
        "aiohttp",
        is_told=True,
    ),
    "seawall": Known(seawall_client, "its defaults, deadline={deadline:g}, dns=...", "seawall", is_told=True),
}


async def run(
    client_name: str, urls: Mapping[str, str], nameserver: str, *, timeout: float, seconds: float, rate: float
) -> None:
    loop, patience = asyncio.get_running_loop(), Patience(timeout)
    tallies = {host: Tally() for host in urls}
    samples: list[float] = []
    running: set[asyncio.Task[None]] = set()
    rng = random.Random(3)

    async with CLIENTS[client_name].open(nameserver, patience) as get:

        async def call(host: str) -> None:
            tally = tallies[host]
            tally.started += 1
            started_at = loop.time()
            outcome = "cancelled"
            try:
                status = await get(urls[host], tally.attempted)
                outcome = "ok" if status < 400 else str(status)
            except Exception as error:  # noqa: BLE001 - each client has classes of its own
                outcome = type(error).__name__
            finally:
                tally.end(outcome, loop.time() - started_at)

        for _ in range(WARM):
            await get(next(iter(urls.values())), lambda count: None)
        watch = asyncio.create_task(lag(samples))
        begin, number, told = loop.time(), 0, 0.0
        hosts = list(urls)
        while (now := loop.time() - begin) < seconds:
            while number / rate <= now:
                # The healthy host gets as much as all others together, as most traffic of a service goes to good hosts.
                host = hosts[0] if number % 2 == 0 else rng.choice(hosts[1:] or hosts)
                task = asyncio.create_task(call(host))
                running.add(task)
                task.add_done_callback(running.discard)
                number += 1
            if now - told >= 0.25:
                told = now
                progress = {host: [tally.started, tally.ok, len(tally.times)] for host, tally in tallies.items()}
                print(json.dumps({"at": now, "progress": progress}), flush=True)
            await asyncio.sleep(max(0.0, number / rate - (loop.time() - begin)))
        watch.cancel()
        if running:
            await asyncio.wait(list(running), timeout=patience.after_load)
        for task in list(running):
            task.cancel()
        if running:
            await asyncio.wait(list(running), timeout=5)
    samples.sort()
    print(
        json.dumps(
            {
                "hosts": {host: tally.result() for host, tally in tallies.items()},
                "lag": {"p99": samples[int(len(samples) * 0.99)], "max": samples[-1]},
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))
