"""
One client in one case of `dns`, in its own process: ``python -m benchmarks.dns_client CASE CLIENT DNS PORT PORT
SECONDS`` prints JSON. Clients are set alike: 100 connections, 5 s for everything, addresses dialled as RFC 8305 says.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias
from unittest.mock import patch

from .clients import CLIENTS, Setup
from .dns_server import FIRST, SECOND, Telling, tell
from .machine import raise_descriptors

TIMEOUT = 5.0  # s
CONNECTIONS = 100
COLD = 1000  # names at once
DEAD = 200  # names in flight
HEALTHY = 20  # names, before and beside those
HITS = 100_000
KNOWN = 10  # names
ROUND = 0.5  # s between two requests of each
AT_ONCE = 0.05  # s
PATIENCE = 3.0  # s after which a request counts as not served
MOVES_AFTER = 3  # s: while the server is dead
IN_FLIGHT = 10
LATER = 20  # requests
NEVER = float("inf")
Get: TypeAlias = Callable[[str], Awaitable[str]]
Resolve: TypeAlias = Callable[[str], Coroutine[Any, Any, object]]


@dataclass(frozen=True)
class Case:
    """What a case is given. URLs' names are of this process alone, so nobody has asked for them."""

    client: str
    dns: str
    port: int
    hole: int
    seconds: int

    def name(self, number: int, faults: str = "ttl-60") -> str:
        return f"p{os.getpid()}n{number}.{faults}.test"

    def url(self, number: int, faults: str = "ttl-60") -> str:
        return f"http://{self.name(number, faults)}:{self.port}/"

    def queries(self) -> int:
        """That the DNS server was asked since it was reset, both families and repetitions included."""
        return int(tell(self.dns, "stats").split()[1])


@asynccontextmanager
async def client(case: Case, *, is_kept: bool, is_told: bool = True) -> AsyncIterator[Get]:
    """
    aiohttp can't see TTLs: its cache is set to that of the names that change, 1 s in place of 10.

    Args:
        is_told: False: it comes as it is, and asks who the machine's own files say.
    """
    setup = Setup(
        timeout=TIMEOUT,
        deadline=TIMEOUT if is_told else None,
        connections=CONNECTIONS,
        is_kept=is_kept,
        nameserver=case.dns if is_told else None,
        dns_ttl=1,
    )
    async with CLIENTS[case.client].open(setup) as ask:

        async def get(url: str) -> str:
            return (await ask("GET", url))[1].decode()

        yield get


# their resolvers alone


@asynccontextmanager
async def seawall_names(case: Case) -> AsyncIterator[Resolve]:
    resolver = _caching(case)

    async def resolve(name: str) -> object:
        return await resolver.resolve(_origin(name))

    yield resolve
    await resolver.aclose()


@asynccontextmanager
async def aiohttp_names(case: Case) -> AsyncIterator[Resolve]:
    import aiohttp

    resolver = aiohttp.AsyncResolver(nameservers=[case.dns])

    async def resolve(name: str) -> object:
        return await resolver.resolve(name, 80, socket.AF_UNSPEC)

    yield resolve
    await resolver.close()


@asynccontextmanager
async def niquests_names(case: Case) -> AsyncIterator[Resolve]:
    module: Any = importlib.import_module("urllib3.contrib.resolver._async")
    resolver = module.AsyncResolverDescription.from_url(f"dou://{case.dns}").new()

    async def resolve(name: str) -> object:
        found: object = await resolver.getaddrinfo(name, 80, socket.AF_UNSPEC, socket.SOCK_STREAM)
        return found

    yield resolve
    await resolver.close()


@asynccontextmanager
async def system_names(_case: Case) -> AsyncIterator[Resolve]:
    """getaddrinfo can't be pointed at a DNS server: "localhost", from /etc/hosts, without a query."""
    loop = asyncio.get_running_loop()

    async def resolve(_name: str) -> object:
        return await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)

    yield resolve


NAMES = {
    "seawall": seawall_names,
    "aiohttp": aiohttp_names,
    "niquests": niquests_names,
    "getaddrinfo": system_names,
}


def _caching(case: Case) -> Any:
    import seawall

    client = seawall.AsyncClient(resolver="cares", dns=seawall.DNS(nameservers=(case.dns,)))
    return client.engine.wire.names


def _origin(name: str) -> Any:
    from seawall.origin import Origin

    return Origin("http", name, 80)


# cases


async def hit(case: Case) -> dict[str, float]:
    """A name that is known: ns, and how many coroutines were suspended."""
    name, result = case.name(0, "ttl-3600"), {}
    if case.client == "seawall":
        resolver, origin = _caching(case), _origin(name)
        await resolver.resolve(origin)
        await asyncio.sleep(0.2)  # for the other family
        started_at = time.perf_counter()
        for _ in range(HITS):
            assert resolver.cached(origin)
        result["cached_ns"] = (time.perf_counter() - started_at) / HITS * 1e9
        resolve, close = functools.partial(resolver.resolve, origin), resolver.aclose
    else:
        import aiohttp

        asked = aiohttp.AsyncResolver(nameservers=[case.dns])
        connector = aiohttp.TCPConnector(resolver=asked, ttl_dns_cache=60)
        resolve, close = functools.partial(connector._resolve_host, name, 80), connector.close
        await resolve()
    suspended = 0
    started_at = time.perf_counter()
    for _ in range(HITS):
        coroutine = resolve()
        try:
            coroutine.send(None)
            suspended += 1
            coroutine.close()
        except StopIteration:
            pass
    result["resolve_ns"] = (time.perf_counter() - started_at) / HITS * 1e9
    await close()
    return result | {"suspended": suspended}


async def cold(case: Case) -> dict[str, float]:
    """Names that nobody knows yet, all at once, and then the same again."""
    async with NAMES[case.client](case) as resolve:
        await resolve(case.name(COLD))  # code, sockets
        tell(case.dns, "reset")
        started_at = time.perf_counter()
        lost = await _lost(case, resolve)
        wall = time.perf_counter() - started_at
        await asyncio.sleep(0.5)  # for what is still on its way
        queries = case.queries()
        await _lost(case, resolve)
        await asyncio.sleep(0.5)
        again = case.queries() - queries
    return {"lost": lost, "wall_ms": wall * 1e3, "queries": queries, "again": again}


async def _lost(case: Case, resolve: Resolve) -> int:
    tasks = [asyncio.create_task(resolve(case.name(number))) for number in range(COLD)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return sum(isinstance(result, BaseException) or not result for result in results)


async def limit(case: Case) -> dict[str, float]:
    """What the DNS server itself can do: both families of as many names, as datagrams, all at once."""
    import dns.message

    loop = asyncio.get_running_loop()
    queries = [
        dns.message.make_query(case.name(number), kind).to_wire() for number in range(COLD) for kind in ("A", "AAAA")
    ]
    host, port = case.dns.split(":")
    answers = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.connect((host, int(port)))
        sock.setblocking(False)
        last_at = started_at = time.perf_counter()
        for query in queries:
            await loop.sock_sendall(sock, query)
        try:
            while answers < len(queries):
                async with asyncio.timeout(1.0):
                    await loop.sock_recv(sock, 4096)
                answers, last_at = answers + 1, time.perf_counter()
        except TimeoutError:
            pass
    wall = last_at - started_at
    return {"lost": len(queries) - answers, "wall_ms": wall * 1e3, "per_second": answers / wall}


async def timed(get: Get, url: str, times: list[float], bodies: list[str], patience: float = TIMEOUT) -> None:
    """Adds to both where it is answered in time."""
    started_at = time.perf_counter()
    try:
        async with asyncio.timeout(patience):
            body = await get(url)
    except Exception:  # noqa: BLE001 - each client has its own
        return
    times.append(time.perf_counter() - started_at)
    bodies.append(body)


async def dead_names(case: Case) -> dict[str, float]:
    """Healthy cold names, alone and beside names whose queries are dropped; a thread; and the end of it all."""
    alone: list[float] = []
    beside: list[float] = []
    threads_alone: list[float] = []
    threads: list[float] = []
    async with client(case, is_kept=True) as get:
        for number in range(HEALTHY + 1):
            await timed(get, case.url(number), alone, [])
            await _thread(threads_alone)
        dead = [asyncio.create_task(timed(get, case.url(n, "drop"), [], [])) for n in range(DEAD)]
        await asyncio.sleep(0.3)
        healthy = []
        for number in range(HEALTHY):
            await _thread(threads)
            healthy.append(asyncio.create_task(timed(get, case.url(1000 + number), beside, [], PATIENCE)))
            await asyncio.sleep(0.05)
        await asyncio.gather(*healthy)
        closing_at = time.perf_counter()
        for task in dead:
            task.cancel()
        await asyncio.wait(dead)
    return {
        "alone_ms": _median(alone[1:]),
        "added_ms": _median(beside) - _median(alone[1:]),
        "added_most_ms": max(beside, default=NEVER) * 1e3 - _median(alone[1:]),
        "failed": HEALTHY - len(beside),
        "thread_alone_ms": _median(threads_alone[1:]),
        "thread_ms": _median(threads),
        "thread_most_ms": max(threads) * 1e3,
        "closing_at": closing_at,
    }


async def _thread(times: list[float]) -> None:
    started_at = time.perf_counter()
    await asyncio.to_thread(int)
    times.append(time.perf_counter() - started_at)


def _median(times: list[float]) -> float:
    """ms"""
    return statistics.median(times) * 1e3 if times else NEVER


async def outage(case: Case) -> dict[str, float]:
    """Known names, TTL 1, no connection kept, and the server falls silent; meanwhile the names move."""
    faults = f"flip-{MOVES_AFTER}.ttl-1"
    urls = [case.url(number, faults) for number in range(KNOWN)]
    before: list[float] = []
    first: list[float] = []
    rest: list[float] = []
    bodies: list[str] = []
    async with client(case, is_kept=False) as get:
        await asyncio.gather(*(get(url) for url in urls))
        for url in urls:
            await timed(get, url, before, [])
        tell(case.dns, f"dead-{case.seconds}")
        alive_at = time.perf_counter() + case.seconds
        await asyncio.sleep(1.2)
        tasks, times = [], first
        while time.perf_counter() < alive_at - PATIENCE:
            tasks += [asyncio.create_task(timed(get, url, times, bodies, PATIENCE)) for url in urls]
            await asyncio.sleep(ROUND)
            times = rest
        await asyncio.gather(*tasks)
        await asyncio.sleep(max(0.0, alive_at - time.perf_counter()))
        fresh = await asyncio.gather(*(_until_fresh(get, url, alive_at) for url in urls))
    return {
        "requests": len(tasks),
        "served_percent": len(bodies) / len(tasks) * 100,
        "before_ms": _median(before),
        "first_added_ms": _median(first) - _median(before),
        "rest_added_ms": _median(rest) - _median(before),
        "at_once_percent": sum(each < AT_ONCE for each in rest) / len(rest) * 100 if rest else 0.0,
        "fresh_ms": _median(fresh),
        "fresh_most_ms": max(fresh) * 1e3,
    }


async def _until_fresh(get: Get, url: str, since: float) -> float:
    """s from then until a request reached the new address."""
    bodies: list[str] = []
    while bodies[-1:] != [SECOND]:
        if time.perf_counter() - since > 20:
            return NEVER
        await asyncio.sleep(0.02)
        await timed(get, url, [], bodies, PATIENCE)
    return time.perf_counter() - since


async def moved(case: Case) -> dict[str, float]:
    """A name moves after 1 s, TTL 1, and connections to its old address are kept: who still goes there 2 s later."""
    url = case.url(0, "flip-1.ttl-1")
    late: list[str] = []
    last_old = [0.0]
    failed = 0
    started_at = time.perf_counter()
    async with client(case, is_kept=True) as get:

        async def worker() -> None:
            nonlocal failed
            while (asked_at := time.perf_counter() - started_at) < 6.0:
                bodies: list[str] = []
                await timed(get, url, [], bodies)
                failed += not bodies
                if bodies == [FIRST]:
                    last_old.append(asked_at - 1.0)
                if asked_at > 3.0:
                    late.extend(bodies)
                await asyncio.sleep(0.02)

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return {"late": len(late), "late_old": late.count(FIRST), "last_old_ms": max(last_old) * 1e3, "failed": failed}


async def hole(case: Case) -> dict[str, float]:
    """The first of two addresses swallows SYNs; no connection is kept."""
    one, two = (f"http://{name}.test:{case.hole}/" for name in ("one", "two"))
    alone: list[float] = []
    first: list[float] = []
    later: list[float] = []
    async with client(case, is_kept=False) as get:
        for _ in range(LATER + 1):
            await timed(get, one, alone, [])
        await timed(get, two, first, [])
        for _ in range(LATER):
            await timed(get, two, later, [])
    return {
        "alone_ms": _median(alone[1:]),
        "first_added_ms": _median(first) - _median(alone[1:]),
        "later_added_ms": _median(later) - _median(alone[1:]),
        "failed": 1 + LATER - len(first) - len(later),
    }


async def slow(case: Case) -> dict[str, float]:
    """Names whose DNS server takes its time: until the first 200, and how often it was asked."""
    figures: dict[str, float] = {}
    for which, milliseconds in (("first", 1500), ("second", 2500)):
        times: list[float] = []
        tell(case.dns, "reset")
        async with client(case, is_kept=False, is_told=False) as get:
            await timed(get, case.url(0, f"delay-{milliseconds}"), times, [], 4 * TIMEOUT)
        figures |= {f"{which}_ms": _median(times), f"{which}_queries": case.queries()}
    return figures


class _Leaving(Telling):
    """A host that closes all it has when it leaves."""

    connections: ClassVar[list[asyncio.Transport]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connections.append(self._transport)


async def left(case: Case) -> dict[str, float]:
    """A name moves after 1 s, TTL 1; its old host then closes its connections, and refuses others."""
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
    """Names that files and DNS decide: what is done for them in threads. c-ares' own aren't Python's."""
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


CASES = {
    "files": files,
    "left": left,
    "slow": slow,
    "hit": hit,
    "cold": cold,
    "limit": limit,
    "dead_names": dead_names,
    "outage": outage,
    "moved": moved,
    "hole": hole,
}


def main(what: str, client: str, dns: str, port: str, hole_port: str, seconds: str) -> None:
    raise_descriptors()
    case = Case(client, dns, int(port), int(hole_port), int(seconds))
    tell(case.dns, "revive")
    result = asyncio.run(CASES[what](case))
    if closing_at := result.pop("closing_at", None):
        result["end_ms"] = (time.perf_counter() - closing_at) * 1e3
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
