"""
One client in one check of `reliability`, in a process of its own.

``python -m benchmarks.reliability_client CHECK CLIENT JSON CA`` prints what it saw as JSON.

All have 1 s for each of their timeouts, 3 s in all where they know a deadline, and 20 connections; else each is as it
comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import resource
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Protocol

from .machine import raise_descriptors

TIMEOUT, DEADLINE, CONNECTIONS = 1.0, 3.0, 20
GUARD = 8.0  # s until a call is given up
RATE, SECONDS = 100, 10  # calls a second in an outage, and for how long
ISOLATED_RATE, ISOLATED_SECONDS = 400, 8
CANCELS = 10_000


class Ask(Protocol):
    """A request: its status, headers and body."""

    def __call__(
        self, method: str, url: str, *, body: Any = None, headers: dict[str, str] | None = None, follow: bool = False
    ) -> Awaitable[tuple[int, bytes]]: ...


def _httpx_like(client: Any) -> Ask:
    async def ask(
        method: str, url: str, *, body: Any = None, headers: dict[str, str] | None = None, follow: bool = False
    ) -> tuple[int, bytes]:
        response = await client.request(method, url, content=body, headers=headers, follow_redirects=follow)
        return response.status_code, response.content

    return ask


@asynccontextmanager
async def httpx_client(tls: ssl.SSLContext) -> AsyncIterator[Ask]:
    import httpx

    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(verify=tls, timeout=TIMEOUT, limits=limits, trust_env=False) as client:
        yield _httpx_like(client)


@asynccontextmanager
async def httpx2_client(tls: ssl.SSLContext) -> AsyncIterator[Ask]:
    httpx2: Any = importlib.import_module("httpx2")
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx2.AsyncClient(verify=tls, timeout=TIMEOUT, limits=limits, trust_env=False) as client:
        yield _httpx_like(client)


@asynccontextmanager
async def httpx_retries_client(tls: ssl.SSLContext) -> AsyncIterator[Ask]:
    import httpx

    retries: Any = importlib.import_module("httpx_retries")
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    inner = httpx.AsyncHTTPTransport(verify=tls, limits=limits, trust_env=False)
    async with httpx.AsyncClient(transport=retries.RetryTransport(transport=inner), timeout=TIMEOUT) as client:
        yield _httpx_like(client)


@asynccontextmanager
async def seawall_client(tls: ssl.SSLContext, **settings: Any) -> AsyncIterator[Ask]:
    import seawall

    async with seawall.Client(verify=tls, timeout=TIMEOUT, deadline=DEADLINE, trust_env=False, **settings) as client:
        yield _httpx_like(client)


def _aiohttp_session(tls: ssl.SSLContext) -> Any:
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=CONNECTIONS),
        timeout=aiohttp.ClientTimeout(total=DEADLINE, connect=TIMEOUT, sock_connect=TIMEOUT, sock_read=TIMEOUT),
    )


def _aiohttp_like(session: Any) -> Ask:
    async def ask(
        method: str, url: str, *, body: Any = None, headers: dict[str, str] | None = None, follow: bool = False
    ) -> tuple[int, bytes]:
        async with session.request(method, url, data=body, headers=headers, allow_redirects=follow) as response:
            return response.status, await response.read()

    return ask


@asynccontextmanager
async def aiohttp_client(tls: ssl.SSLContext) -> AsyncIterator[Ask]:
    async with _aiohttp_session(tls) as session:
        yield _aiohttp_like(session)


@asynccontextmanager
async def aiohttp_retry_client(tls: ssl.SSLContext) -> AsyncIterator[Ask]:
    theirs: Any = importlib.import_module("aiohttp_retry")
    session = _aiohttp_session(tls)
    async with theirs.RetryClient(client_session=session) as client:
        yield _aiohttp_like(client)


@asynccontextmanager
async def niquests_client(_: ssl.SSLContext) -> AsyncIterator[Ask]:
    niquests: Any = importlib.import_module("niquests")
    async with niquests.AsyncSession(timeout=TIMEOUT) as session:
        session.trust_env = False

        async def ask(
            method: str, url: str, *, body: Any = None, headers: dict[str, str] | None = None, follow: bool = False
        ) -> tuple[int, bytes]:
            verify: Any = sys.argv[4] if url.startswith("https") else True
            response: Any = await session.request(
                method, url, data=body, headers=headers, allow_redirects=follow, verify=verify
            )
            return response.status_code, response.content

        yield ask


CLIENTS: dict[str, Callable[[ssl.SSLContext], Any]] = {
    "httpx": httpx_client,
    "httpx2": httpx2_client,
    "httpx-retries": httpx_retries_client,
    "aiohttp": aiohttp_client,
    "aiohttp-retry": aiohttp_retry_client,
    "niquests": niquests_client,
    "seawall": seawall_client,
}


# what is done to them


async def one(ask: Ask, method: str, url: str, **more: Any) -> dict[str, Any]:
    """How one call ends: status or class of the error, and how long it took."""
    began_at = time.perf_counter()
    try:
        async with asyncio.timeout(GUARD):
            status, content = await ask(method, url, **more)
        end, size = str(status), len(content)
    except TimeoutError as error:
        took = time.perf_counter() - began_at
        end, size = ("no end" if took >= GUARD - 0.01 else type(error).__name__), 0
    except Exception as error:  # noqa: BLE001
        end, size = type(error).__name__, 0
    return {"end": end, "seconds": time.perf_counter() - began_at, "size": size}


async def each(ask: Ask, job: dict[str, Any]) -> Any:
    """One call after another."""
    found = []
    for method, url, more in job["calls"]:
        await asyncio.sleep(more.pop("pause", 0))
        match more.get("body"):
            case "iterator":
                more["body"] = _parts()
            case int(size):
                more["body"] = bytes(size)
            case str(text):
                more["body"] = text.encode()
        found.append(await one(ask, method, url, **more))
    return found


async def _parts() -> AsyncIterator[bytes]:
    for _ in range(10):
        yield b"x" * 1000


class Lag:
    """How late the event loop is, in s."""

    def __init__(self) -> None:
        self.samples: list[float] = []

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.005
            await asyncio.sleep(0.005)
            self.samples.append(loop.time() - due)

    def result(self) -> dict[str, float]:
        samples = sorted(self.samples) or [0.0]
        return {"p99": samples[int(len(samples) * 0.99)], "max": samples[-1]}


async def open_load(ask: Ask, urls: list[str], rate: float, seconds: float) -> dict[str, Any]:
    """Calls that start when their time has come, in turn to each URL; ends and times by URL."""
    loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    ends: list[list[dict[str, Any]]] = [[] for _ in urls]

    async def call(index: int) -> None:
        ends[index].append(await one(ask, "GET", urls[index]) | {"at": loop.time() - begin})

    lag = Lag()
    watch = asyncio.create_task(lag.watch())
    begin, number = loop.time(), 0
    while (now := loop.time() - begin) < seconds:
        while number / rate <= now:
            task = asyncio.create_task(call(number % len(urls)))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.sleep(max(0.0, number / rate - (loop.time() - begin)))
    watch.cancel()
    if running:
        await asyncio.wait(running, timeout=GUARD)
    return {"ends": ends, "lag": lag.result()}


async def outage(ask: Ask, job: dict[str, Any]) -> Any:
    """All fail for a while, then none."""
    down = await open_load(ask, [job["bad"]], RATE, SECONDS)
    up = await open_load(ask, [job["good"]], RATE, 4.0)
    return {"calls": len(down["ends"][0]), "after": [[end["at"], end["end"]] for end in up["ends"][0]]}


async def flaky(ask: Ask, job: dict[str, Any]) -> Any:
    """2,000 calls, 20 at a time."""
    left, ends = iter(range(2000)), Counter[str]()

    async def worker() -> None:
        for _ in left:
            ends[(await one(ask, "GET", job["url"]))["end"]] += 1

    await asyncio.gather(*(worker() for _ in range(20)))
    return dict(ends)


async def isolation(ask: Ask, job: dict[str, Any]) -> Any:
    """Ten upstreams, of which the last may be bad: first none of them, then that one."""
    await open_load(ask, job["good"], ISOLATED_RATE, 1.0)  # imports, connections
    baseline = await open_load(ask, job["good"], ISOLATED_RATE, 4.0)
    load = await open_load(ask, job["urls"], ISOLATED_RATE, ISOLATED_SECONDS)

    def shown(run: dict[str, Any], count: int) -> dict[str, Any]:
        healthy = [end for ends in run["ends"][:count] for end in ends]
        times = sorted(end["seconds"] for end in healthy)
        return {
            "calls": len(healthy),
            "failed": sum(end["end"] != "200" for end in healthy),
            "p50": times[len(times) // 2],
            "p99": times[int(len(times) * 0.99)],
            "lag": run["lag"],
        }

    late = [end["seconds"] for end in load["ends"][-1] if end["at"] > ISOLATED_SECONDS - 3]
    return {
        "baseline": shown(baseline, 9),
        "load": shown(load, 9),
        "bad": sorted(late)[len(late) // 2] if late else None,
    }


async def cancels(ask: Ask, job: dict[str, Any]) -> Any:
    """Calls cancelled 0 to 12 ms after they began, 50 at a time; then good ones."""
    number = 0

    async def worker() -> None:
        nonlocal number
        while number < CANCELS:
            number += 1
            with contextlib.suppress(Exception):
                async with asyncio.timeout(number % 48 * 0.00025):
                    await ask("GET", job["slow"])

    await asyncio.gather(*(worker() for _ in range(50)))
    await asyncio.sleep(1)
    good = [await one(ask, "GET", job["good"]) for _ in range(20)]
    return {"good": sum(end["end"] == "200" for end in good)}


async def bomb(ask: Ask, job: dict[str, Any]) -> Any:
    """One, and what it does to the loop and to memory."""
    await one(ask, "GET", job["good"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lag = Lag()
    watch = asyncio.create_task(lag.watch())
    await asyncio.sleep(0.05)
    end = await one(ask, "GET", job["url"])
    await asyncio.sleep(0.02)
    watch.cancel()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return end | {"lag": lag.result()["max"], "grown": grown}


async def mixed(ask: Ask, job: dict[str, Any]) -> Any:
    """100 calls a second, every second one to a fault."""
    rng = Random(1)
    urls = [url for bad in rng.sample(job["bad"], len(job["bad"])) for url in (job["good"], bad)]
    return (await open_load(ask, urls, RATE, 6.0))["lag"]


async def closing(name: str, tls: ssl.SSLContext, job: dict[str, Any]) -> Any:
    """With 100 calls in flight."""
    async with CLIENTS[name](tls) as ask:
        calls = [asyncio.create_task(one(ask, "GET", job["slow"])) for _ in range(100)]
        await asyncio.sleep(0.3)
        began_at = time.perf_counter()
    took = time.perf_counter() - began_at
    await asyncio.wait(calls, timeout=GUARD)
    return {"seconds": took, "open": sum(not call.done() for call in calls)}


CHECKS: dict[str, Callable[[Ask, dict[str, Any]], Awaitable[Any]]] = {
    "each": each,
    "outage": outage,
    "flaky": flaky,
    "isolation": isolation,
    "cancels": cancels,
    "bomb": bomb,
    "mixed": mixed,
}


async def main() -> None:
    check, name, job, authority = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
    logging.getLogger().addHandler(logging.NullHandler())
    raise_descriptors()
    tls = ssl.create_default_context(cafile=authority)
    if check == "closing":
        print(json.dumps(await closing(name, tls, job)))
        return
    settings = {"max_response_size": 10_000_000} if name == "seawall" and check == "bomb" else {}
    async with CLIENTS[name](tls, **settings) as ask:
        print(json.dumps(await CHECKS[check](ask, job)))


if __name__ == "__main__":
    asyncio.run(main())
