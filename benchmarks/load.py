"""
One client's run, in its own process:
``python -m benchmarks.load CLIENT WORK URL REQUESTS SECONDS [AUTHORITY]`` prints JSON; WORK is the JSON of a `Work`.

Clients are configured alike: limits as wide as the work, 30 s for each timeout, and certificates verified against the
file AUTHORITY. seawall and aiohttp keep idle connections for 60 s, so that a busy machine doesn't make them connect
anew. httpx keeps its default: 5 s make its pool shrink under load; with 60 s a request costs several times more.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import ipaddress
import itertools
import json
import math
import os
import ssl
import statistics
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from .machine import memory, raise_descriptors
from .work import KINDS, Calls, Work

TIMEOUT = 30.0  # s
KEPT = 60.0  # s
WARM, WARM_BYTES = 500, 100_000_000  # requests that don't count: so many, or as many as make so many bytes


def limits(work: Work, httpx: Any, **more: Any) -> Any:
    """httpx's limits, as wide as the work."""
    width = work.in_flight * work.origins
    return httpx.Limits(max_connections=width, max_keepalive_connections=width, **more)


def secured(work: Work, authority: str) -> dict[str, Any]:
    """httpx's arguments for TLS, HTTP/2 and a proxy, of a client or of a transport."""
    verify: dict[str, Any] = {"verify": ssl.create_default_context(cafile=authority)} if authority else {}
    proxy = {"proxy": work.proxy} if work.proxy else {}
    return verify | ({"http2": True} if work.wire == "h2" else {}) | proxy


@asynccontextmanager
async def httpx_client(
    work: Work, authority: str = "", *, transport: str = "", module: str = "httpx"
) -> AsyncIterator[Calls]:
    """A client of httpx's API, over the *transport* of that name."""
    httpx: Any = importlib.import_module(module)
    if transport:
        options: dict[str, Any] = {"transport": TRANSPORTS[transport](work, authority)}
    else:
        options = {"limits": limits(work, httpx), **secured(work, authority)}
    async with httpx.AsyncClient(timeout=TIMEOUT, **options) as client:
        yield _httpx_calls(client)


def _httpx_calls(client: Any) -> Calls:
    """The calls of a client with httpx's API."""

    async def get(url: str, **more: Any) -> int:
        return len((await client.get(url, **more)).content)

    async def post(url: str, **more: Any) -> int:
        return len((await client.post(url, **more)).content)

    async def stream(url: str) -> int:
        async with client.stream("GET", url) as response:
            return sum([len(part) async for part in response.aiter_bytes()])

    return Calls(get, post, stream)


@asynccontextmanager
async def seawall_client(
    work: Work, authority: str = "", *, is_off: bool = False, module: str = "seawall", over: str = "httpx"
) -> AsyncIterator[Calls]:
    """
    seawall with its default layers and as many permits as requests in flight; or with every layer off.

    Args:
        module: The front, and *over* the library that it is over.
    """
    import seawall

    front: Any = importlib.import_module(module)
    wide = limits(work, importlib.import_module(over), keepalive_expiry=KEPT)
    options: dict[str, Any] = {"limits": wide, **secured(work, authority)}
    if is_off:
        options |= dict.fromkeys(("deadline", "retry", "bulkhead", "breaker", "budget"))
    else:
        options["bulkhead"] = seawall.Bulkhead(max_concurrent=work.in_flight)
    async with front.AsyncClient(timeout=TIMEOUT, **options) as client:
        yield _httpx_calls(client)


@asynccontextmanager
async def aiohttp_client(work: Work, authority: str = "") -> AsyncIterator[Calls]:
    import aiohttp

    tls = ssl.create_default_context(cafile=authority) if authority else True
    connector = aiohttp.TCPConnector(limit=work.in_flight * work.origins, keepalive_timeout=KEPT, ssl=tls)
    timeout = aiohttp.ClientTimeout(TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, proxy=work.proxy or None) as session:

        async def get(url: str, **more: Any) -> int:
            async with session.get(url, **more) as response:
                return len(await response.read())

        async def post(url: str, **more: Any) -> int:
            async with session.post(url, **more) as response:
                return len(await response.read())

        async def stream(url: str) -> int:
            async with session.get(url) as response:
                return sum([len(part) async for part in response.content.iter_any()])

        yield Calls(get, post, stream)


@asynccontextmanager
async def niquests_client(work: Work, authority: str = "") -> AsyncIterator[Calls]:
    niquests: Any = importlib.import_module("niquests")
    async with niquests.AsyncSession(
        pool_connections=work.origins, pool_maxsize=work.in_flight, timeout=TIMEOUT
    ) as session:
        if authority:
            session.verify, session.trust_env = authority, False  # because REQUESTS_CA_BUNDLE goes before a session's
        calls = _httpx_calls(session)

        async def stream(url: str) -> int:
            response = await session.get(url, stream=True)
            return sum([len(part) async for part in await response.iter_content(-1)])

        yield calls._replace(stream=stream)


@asynccontextmanager
async def pyreqwest_client(work: Work, authority: str = "") -> AsyncIterator[Calls]:
    async with _pyreqwest(work, authority) as client:

        async def get(url: str, *, params: Any = None, headers: Any = None) -> int:
            builder = client.get(url)
            if params is not None:
                builder = builder.query(params)
            if headers is not None:
                builder = builder.headers(headers)
            return len(await (await builder.build().send()).bytes())

        async def post(url: str, *, json: Any) -> int:
            return len(await (await client.post(url).body_json(json).build().send()).bytes())

        async def stream(url: str) -> int:
            async with client.get(url).build_streamed() as response:
                size = 0
                while part := await response.body_reader.read_chunk():
                    size += len(part)
                return size

        yield Calls(get, post, stream)


def _pyreqwest(work: Work, authority: str) -> Any:
    builder = importlib.import_module("pyreqwest.client").ClientBuilder()
    builder = builder.timeout(timedelta(seconds=TIMEOUT)).pool_max_idle_per_host(work.in_flight)
    if authority:
        builder = builder.add_root_certificate_pem(Path(authority).read_bytes())
    return builder.http2(work.wire == "h2").build()


def _over_aiohttp(work: Work, authority: str) -> Any:
    import httpx

    transport = importlib.import_module("httpx_aiohttp").AiohttpTransport
    return transport(limits=limits(work, httpx), **secured(work, authority))


def _over_pyreqwest(work: Work, authority: str) -> Any:
    return importlib.import_module("pyreqwest.compatibility.httpx").HttpxTransport(_pyreqwest(work, authority))


def _with_retries(work: Work, authority: str) -> Any:
    import httpx

    inner = httpx.AsyncHTTPTransport(limits=limits(work, httpx), **secured(work, authority))
    return importlib.import_module("httpx_retries").RetryTransport(inner)


TRANSPORTS = {"aiohttp": _over_aiohttp, "pyreqwest": _over_pyreqwest, "retries": _with_retries}


@dataclass(frozen=True)
class Peer:
    """A client that is measured, and the packages that it needs."""

    open: Callable[[Work, str], AbstractAsyncContextManager[Calls]]
    packages: tuple[str, ...]
    is_on_uvloop: bool = False
    has_http2: bool = True
    has_proxies: bool = True  # that are given as an argument here

    @property
    def modules(self) -> list[str]:
        return [package.replace("-", "_") for package in self.packages]

    def does(self, work: Work) -> bool:
        return (self.has_http2 or work.wire != "h2") and (
            self.has_proxies or not work.wire.startswith(("proxy", "tun"))
        )


PEERS = {
    "httpx": Peer(httpx_client, ("httpx",)),
    "httpx2": Peer(partial(httpx_client, module="httpx2"), ("httpx2",)),
    "httpx-retries": Peer(partial(httpx_client, transport="retries"), ("httpx", "httpx-retries")),
    "httpx-aiohttp": Peer(
        partial(httpx_client, transport="aiohttp"), ("httpx", "httpx-aiohttp", "aiohttp"), has_http2=False
    ),
    "httpx-pyreqwest": Peer(  # nginx answers its HTTP/2 with 400
        partial(httpx_client, transport="pyreqwest"), ("httpx", "pyreqwest"), has_http2=False
    ),
    "niquests": Peer(niquests_client, ("niquests",), has_proxies=False),
    "pyreqwest": Peer(pyreqwest_client, ("pyreqwest",), has_proxies=False),
    "aiohttp": Peer(aiohttp_client, ("aiohttp",), has_http2=False),
    "aiohttp-uvloop": Peer(aiohttp_client, ("aiohttp", "uvloop"), is_on_uvloop=True, has_http2=False),
    "seawall": Peer(seawall_client, ("seawall",)),
    "seawall.httpx2": Peer(partial(seawall_client, module="seawall.httpx2", over="httpx2"), ("seawall", "httpx2")),
    "seawall-off": Peer(partial(seawall_client, is_off=True), ("seawall",)),
    "seawall-uvloop": Peer(seawall_client, ("seawall", "uvloop"), is_on_uvloop=True),
}


def addresses(url: str, origins: int) -> list[str]:
    """The URL at this many addresses of 127.0.0.0/8."""
    first = ipaddress.ip_address("127.0.0.1")
    return [url.replace(str(first), str(first + number)) for number in range(origins)]


async def run(
    peer: Peer,
    work: Work,
    urls: list[str],
    requests: int,
    seconds: float,
    authority: str,
    begins: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Make requests until their number or the time is up; *begins* is called before the first that counts."""
    times: list[float] = []
    ask = KINDS[work.kind]
    calls_to_make = zip(itertools.cycle(urls), itertools.count(), strict=False)

    async def worker(calls: Calls, left: Iterator[tuple[str, int]], stop_at: float) -> None:
        for url, number in left:
            started_at = time.perf_counter()
            size = await ask(calls, url, number)
            now = time.perf_counter()
            times.append(now - started_at)
            assert size == work.size, f"{size:,} bytes came in place of {work.size:,}"
            if now > stop_at:
                break

    async def make(calls: Calls, in_flight: int, count: int, stop_at: float) -> None:
        left = itertools.islice(calls_to_make, count)
        await asyncio.gather(*(worker(calls, left, stop_at) for _ in range(in_flight)))

    async with peer.open(work, authority) as calls:
        await make(calls, 1, 1, math.inf)  # alone, so that the others know whether they can share its connection
        await make(calls, work.in_flight, warm_up(work), math.inf)
        times.clear()
        gc.collect()  # or what imports have left would be looked through within the time, in some clients' runs
        begins()
        cpu, wall = time.process_time(), time.perf_counter()
        await make(calls, work.in_flight, requests, wall + seconds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    times.sort()
    return {
        "requests": len(times),
        "cpu_us": cpu / len(times) * 1e6,
        "per_second": len(times) / wall,
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": times[len(times) * 99 // 100] * 1e3,
    }


def warm_up(work: Work) -> int:
    """Requests that don't count: they make connections, fill caches, and let Python specialize its code."""
    return max(work.in_flight, work.origins, min(WARM, WARM_BYTES // work.size))


def main(client: str, work: str, url: str, requests: str, seconds: str, authority: str = "") -> None:
    raise_descriptors()
    peer, asked = PEERS[client], Work.of(work)
    for module in peer.modules:
        importlib.import_module(module)
    imported, _ = memory()
    factory = importlib.import_module("uvloop").new_event_loop if peer.is_on_uvloop else None
    code = 0
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            urls = addresses(url, asked.origins)
            result = runner.run(run(peer, asked, urls, int(requests), float(seconds), authority))
        _, peak = memory()
        print(json.dumps(result | {"peak_mb": peak, "growth_mb": peak - imported}), flush=True)
    except Exception:  # noqa: BLE001  it is the caller's
        traceback.print_exc()
        code = 1
    os._exit(code)  # because pyreqwest 0.15.1 aborts one of six interpreters at its end


if __name__ == "__main__":
    main(*sys.argv[1:])
