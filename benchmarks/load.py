"""
One client's run, in its own process: ``python -m benchmarks.load CLIENT URL IN_FLIGHT REQUESTS [ORIGINS [SECONDS]]``
prints JSON. Clients are set alike: limits as wide as the load, 30 s for everything. How long idle connections are kept
is each one's default: httpx's 5 s make its pool shrink under load; with 60 s a request costs it several times more.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

from .machine import memory, raise_descriptors

TIMEOUT = 30.0  # s
WARM = 50  # requests at least before it counts
Get: TypeAlias = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True)
class Load:
    """Requests in flight, in all; and how many origins they go to."""

    in_flight: int
    origins: int = 1

    def limits(self, httpx: Any) -> Any:
        """httpx's, as wide as that."""
        width = self.in_flight * self.origins
        return httpx.Limits(max_connections=width, max_keepalive_connections=width)


@asynccontextmanager
async def httpx_client(load: Load, *, transport: str = "", module: str = "httpx") -> AsyncIterator[Get]:
    """Of httpx's API, over the *transport* of that name."""
    httpx: Any = importlib.import_module(module)
    options: dict[str, Any] = {"limits": load.limits(httpx), "timeout": TIMEOUT}
    if transport:
        options["transport"] = TRANSPORTS[transport](load)
    async with httpx.AsyncClient(**options) as client:

        async def get(url: str) -> bytes:
            content: bytes = (await client.get(url)).content
            return content

        yield get


@asynccontextmanager
async def seawall_client(load: Load, *, is_off: bool = False) -> AsyncIterator[Get]:
    """Every layer as it comes, with as many permits as are in flight; or every layer off."""
    import httpx

    import seawall

    layers: dict[str, Any] = {"bulkhead": seawall.Bulkhead(max_concurrent=load.in_flight)}
    if is_off:
        layers = dict.fromkeys(("deadline", "retry", "bulkhead", "breaker", "budget"))
    async with seawall.Client(limits=load.limits(httpx), timeout=TIMEOUT, **layers) as client:

        async def get(url: str) -> bytes:
            return (await client.get(url)).content

        yield get


@asynccontextmanager
async def aiohttp_client(load: Load) -> AsyncIterator[Get]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=load.in_flight * load.origins)
    timeout = aiohttp.ClientTimeout(TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def get(url: str) -> bytes:
            async with session.get(url) as response:
                return await response.read()

        yield get


@asynccontextmanager
async def niquests_client(load: Load) -> AsyncIterator[Get]:
    niquests: Any = importlib.import_module("niquests")
    async with niquests.AsyncSession(
        pool_connections=load.origins, pool_maxsize=load.in_flight, timeout=TIMEOUT
    ) as session:

        async def get(url: str) -> bytes:
            content: bytes = (await session.get(url)).content
            return content

        yield get


@asynccontextmanager
async def pyreqwest_client(load: Load) -> AsyncIterator[Get]:
    async with _pyreqwest(load) as client:

        async def get(url: str) -> bytes:
            response = await client.get(url).build().send()
            return bytes(await response.bytes())

        yield get


def _pyreqwest(load: Load) -> Any:
    builder = importlib.import_module("pyreqwest.client").ClientBuilder()
    return builder.timeout(timedelta(seconds=TIMEOUT)).pool_max_idle_per_host(load.in_flight).build()


def _over_aiohttp(load: Load) -> Any:
    import httpx

    return importlib.import_module("httpx_aiohttp").AiohttpTransport(limits=load.limits(httpx))


def _over_pyreqwest(load: Load) -> Any:
    return importlib.import_module("pyreqwest.compatibility.httpx").HttpxTransport(_pyreqwest(load))


def _with_retries(load: Load) -> Any:
    import httpx

    return importlib.import_module("httpx_retries").RetryTransport(httpx.AsyncHTTPTransport(limits=load.limits(httpx)))


TRANSPORTS = {"aiohttp": _over_aiohttp, "pyreqwest": _over_pyreqwest, "retries": _with_retries}


@dataclass(frozen=True)
class Peer:
    """A client as it is measured, and the packages that it needs."""

    open: Callable[[Load], AbstractAsyncContextManager[Get]]
    packages: tuple[str, ...]
    is_on_uvloop: bool = False

    @property
    def modules(self) -> list[str]:
        return [package.replace("-", "_") for package in self.packages]


PEERS = {
    "httpx": Peer(httpx_client, ("httpx",)),
    "httpx2": Peer(partial(httpx_client, module="httpx2"), ("httpx2",)),
    "httpx-retries": Peer(partial(httpx_client, transport="retries"), ("httpx", "httpx-retries")),
    "httpx-aiohttp": Peer(partial(httpx_client, transport="aiohttp"), ("httpx", "httpx-aiohttp", "aiohttp")),
    "httpx-pyreqwest": Peer(partial(httpx_client, transport="pyreqwest"), ("httpx", "pyreqwest")),
    "niquests": Peer(niquests_client, ("niquests",)),
    "pyreqwest": Peer(pyreqwest_client, ("pyreqwest",)),
    "aiohttp": Peer(aiohttp_client, ("aiohttp",)),
    "aiohttp-uvloop": Peer(aiohttp_client, ("aiohttp", "uvloop"), is_on_uvloop=True),
    "seawall": Peer(seawall_client, ("seawall",)),
    "seawall-off": Peer(partial(seawall_client, is_off=True), ("seawall",)),
    "seawall-uvloop": Peer(seawall_client, ("seawall", "uvloop"), is_on_uvloop=True),
}


def addresses(url: str, origins: int) -> list[str]:
    """The URL at so many of 127.0.0.0/8."""
    first = ipaddress.ip_address("127.0.0.1")
    return [url.replace(str(first), str(first + number)) for number in range(origins)]


async def run(peer: Peer, urls: list[str], in_flight: int, requests: int, seconds: float) -> dict[str, float]:
    """Ends after that many requests, or that much time."""
    times: list[float] = []

    async def worker(left: Iterator[str], stop_at: float) -> None:
        for url in left:
            started_at = time.perf_counter()
            body = await get(url)
            now = time.perf_counter()
            times.append(now - started_at)
            assert body.startswith(b'{"ok":true'), body
            if now > stop_at:
                break

    async def work(count: int, stop_at: float) -> None:
        left = itertools.islice(itertools.cycle(urls), count)
        await asyncio.gather(*(worker(left, stop_at) for _ in range(in_flight)))

    async with peer.open(Load(in_flight, len(urls))) as get:
        await work(max(in_flight, len(urls), WARM), float("inf"))  # connections, caches, code
        times.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        await work(requests, wall + seconds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "requests": len(times),
        "cpu_us": cpu / len(times) * 1e6,
        "per_second": len(times) / wall,
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": statistics.quantiles(times, n=100)[98] * 1e3,
    }


def main(client: str, url: str, in_flight: str, requests: str, origins: str = "1", seconds: str = "60") -> None:
    raise_descriptors()
    peer = PEERS[client]
    for module in peer.modules:
        importlib.import_module(module)
    imported, _ = memory()
    factory = importlib.import_module("uvloop").new_event_loop if peer.is_on_uvloop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        urls = addresses(url, int(origins))
        result = runner.run(run(peer, urls, int(in_flight), int(requests), float(seconds)))
    _, peak = memory()
    print(json.dumps(result | {"peak_mb": peak, "growth_mb": peak - imported}), flush=True)
    os._exit(0)  # pyreqwest 0.15.1 aborts the interpreter's own end in one of six runs


if __name__ == "__main__":
    main(*sys.argv[1:])
