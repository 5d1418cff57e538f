"""
One client's run, in its own process:
``python -m benchmarks.load CLIENT URL KIND IN_FLIGHT REQUESTS [ORIGINS [SECONDS]]`` prints JSON.

Clients are configured alike: limits as wide as the load, 30 s for each timeout. Idle connections are kept as long as
each client does by default: httpx's 5 s make its pool shrink under load; with 60 s a request costs several times more.
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
from typing import Any, NamedTuple, TypeAlias

from .machine import memory, raise_descriptors

TIMEOUT = 30.0  # s
WARM = 50  # requests, at least, that don't count


class Calls(NamedTuple):
    """
    The calls of a client, as its docs write them; each returns the body of the answer.

    Attributes:
        get: Takes a URL, and optionally ``params=`` or ``headers=``.
        post: Takes a URL and ``json=``.
        stream: Takes a URL, and reads the body part by part.
    """

    get: Callable[..., Awaitable[bytes]]
    post: Callable[..., Awaitable[bytes]]
    stream: Callable[[str], Awaitable[bytes]]


Kind: TypeAlias = Callable[[Calls, str, int], Awaitable[bytes]]
KINDS: dict[str, Kind] = {  # the URL ends in a slash; no two requests of a run have the same number
    "new": lambda calls, url, number: calls.get(f"{url}orders/{number}"),
    "params": lambda calls, url, number: calls.get(f"{url}orders", params={"page": str(number), "state": "open"}),
    "headers": lambda calls, url, number: calls.get(f"{url}orders", headers={"x-request-id": str(number)}),
    "post": lambda calls, url, number: calls.post(f"{url}orders", json={"id": number, "items": ["apple", "pear"]}),
    "stream": lambda calls, url, number: calls.stream(f"{url}orders/{number}"),
    "same": lambda calls, url, number: calls.get(f"{url}orders"),
}
WORDS = {  # for tables
    "new": "a new URL per request",
    "params": "`params=`, new ones per request",
    "headers": "`headers=`, a new one per request",
    "post": "POST, `json=`",
    "stream": "`stream()`, a new URL per request",
    "same": "one URL, the same again and again",
}


@dataclass(frozen=True)
class Load:
    """
    Attributes:
        in_flight: Concurrent requests, over all origins.
        origins: The number of origins.
        kind: The kind of request, of `KINDS`.
    """

    in_flight: int
    origins: int = 1
    kind: str = "new"

    def limits(self, httpx: Any) -> Any:
        """httpx's limits, as wide as the load."""
        width = self.in_flight * self.origins
        return httpx.Limits(max_connections=width, max_keepalive_connections=width)


@asynccontextmanager
async def httpx_client(load: Load, *, transport: str = "", module: str = "httpx") -> AsyncIterator[Calls]:
    """A client of httpx's API, over the *transport* of that name."""
    httpx: Any = importlib.import_module(module)
    options: dict[str, Any] = {"limits": load.limits(httpx), "timeout": TIMEOUT}
    if transport:
        options["transport"] = TRANSPORTS[transport](load)
    async with httpx.AsyncClient(**options) as client:
        yield _httpx_calls(client)


def _httpx_calls(client: Any) -> Calls:
    """The calls of a client with httpx's API; niquests has the same here."""

    async def get(url: str, **more: Any) -> bytes:
        content: bytes = (await client.get(url, **more)).content
        return content

    async def post(url: str, **more: Any) -> bytes:
        content: bytes = (await client.post(url, **more)).content
        return content

    async def stream(url: str) -> bytes:
        async with client.stream("GET", url) as response:
            return b"".join([part async for part in response.aiter_bytes()])

    return Calls(get, post, stream)


@asynccontextmanager
async def seawall_client(
    load: Load, *, is_off: bool = False, module: str = "seawall", over: str = "httpx"
) -> AsyncIterator[Calls]:
    """
    seawall with its default layers and as many permits as requests in flight; or with every layer off.

    Args:
        module: The front, and *over* the library that it is over.
    """
    import seawall

    front: Any = importlib.import_module(module)
    limits = load.limits(importlib.import_module(over))
    layers: dict[str, Any] = {"bulkhead": seawall.Bulkhead(max_concurrent=load.in_flight)}
    if is_off:
        layers = dict.fromkeys(("deadline", "retry", "bulkhead", "breaker", "budget"))
    async with front.AsyncClient(limits=limits, timeout=TIMEOUT, **layers) as client:
        yield _httpx_calls(client)


@asynccontextmanager
async def aiohttp_client(load: Load) -> AsyncIterator[Calls]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=load.in_flight * load.origins)
    timeout = aiohttp.ClientTimeout(TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def get(url: str, **more: Any) -> bytes:
            async with session.get(url, **more) as response:
                return await response.read()

        async def post(url: str, **more: Any) -> bytes:
            async with session.post(url, **more) as response:
                return await response.read()

        async def stream(url: str) -> bytes:
            async with session.get(url) as response:
                return b"".join([part async for part in response.content.iter_any()])

        yield Calls(get, post, stream)


@asynccontextmanager
async def niquests_client(load: Load) -> AsyncIterator[Calls]:
    niquests: Any = importlib.import_module("niquests")
    async with niquests.AsyncSession(
        pool_connections=load.origins, pool_maxsize=load.in_flight, timeout=TIMEOUT
    ) as session:
        yield _httpx_calls(session)


@asynccontextmanager
async def pyreqwest_client(load: Load) -> AsyncIterator[Calls]:
    async with _pyreqwest(load) as client:

        async def get(url: str, *, params: Any = None, headers: Any = None) -> bytes:
            builder = client.get(url)
            if params is not None:
                builder = builder.query(params)
            if headers is not None:
                builder = builder.headers(headers)
            return bytes(await (await builder.build().send()).bytes())

        async def post(url: str, *, json: Any) -> bytes:
            response = await client.post(url).body_json(json).build().send()
            return bytes(await response.bytes())

        async def stream(url: str) -> bytes:
            async with client.get(url).build_streamed() as response:
                parts = []
                while part := await response.body_reader.read_chunk():
                    parts.append(bytes(part))
                return b"".join(parts)

        yield Calls(get, post, stream)


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
    """A client that is measured, and the packages that it needs."""

    open: Callable[[Load], AbstractAsyncContextManager[Calls]]
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
    "seawall.httpx2": Peer(partial(seawall_client, module="seawall.httpx2", over="httpx2"), ("seawall", "httpx2")),
    "seawall-off": Peer(partial(seawall_client, is_off=True), ("seawall",)),
    "seawall-uvloop": Peer(seawall_client, ("seawall", "uvloop"), is_on_uvloop=True),
}


def addresses(url: str, origins: int) -> list[str]:
    """The URL at this many addresses of 127.0.0.0/8."""
    first = ipaddress.ip_address("127.0.0.1")
    return [url.replace(str(first), str(first + number)) for number in range(origins)]


async def run(peer: Peer, urls: list[str], load: Load, requests: int, seconds: float) -> dict[str, float]:
    """Make requests until their number or the time is up."""
    times: list[float] = []
    ask = KINDS[load.kind]
    calls_to_make = zip(itertools.cycle(urls), itertools.count(), strict=False)

    async def worker(calls: Calls, left: Iterator[tuple[str, int]], stop_at: float) -> None:
        for url, number in left:
            started_at = time.perf_counter()
            body = await ask(calls, url, number)
            now = time.perf_counter()
            times.append(now - started_at)
            assert body.startswith(b'{"ok":true'), body
            if now > stop_at:
                break

    async def work(calls: Calls, count: int, stop_at: float) -> None:
        left = itertools.islice(calls_to_make, count)
        await asyncio.gather(*(worker(calls, left, stop_at) for _ in range(load.in_flight)))

    async with peer.open(load) as calls:
        await work(calls, max(load.in_flight, len(urls), WARM), float("inf"))  # connections, caches, code
        times.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        await work(calls, requests, wall + seconds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "requests": len(times),
        "cpu_us": cpu / len(times) * 1e6,
        "per_second": len(times) / wall,
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": statistics.quantiles(times, n=100)[98] * 1e3,
    }


def main(
    client: str, url: str, kind: str, in_flight: str, requests: str, origins: str = "1", seconds: str = "60"
) -> None:
    raise_descriptors()
    peer = PEERS[client]
    for module in peer.modules:
        importlib.import_module(module)
    imported, _ = memory()
    factory = importlib.import_module("uvloop").new_event_loop if peer.is_on_uvloop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        load = Load(int(in_flight), int(origins), kind)
        result = runner.run(run(peer, addresses(url, load.origins), load, int(requests), float(seconds)))
    _, peak = memory()
    print(json.dumps(result | {"peak_mb": peak, "growth_mb": peak - imported}), flush=True)
    os._exit(0)  # because pyreqwest 0.15.1 aborts one of six interpreters at its end


if __name__ == "__main__":
    main(*sys.argv[1:])
