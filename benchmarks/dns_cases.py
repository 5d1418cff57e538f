"""
One client in one case of `dns`, in a process of its own: ``python -m benchmarks.dns_cases CASE CLIENT DNS PORT PORT
SECONDS`` prints JSON.
"""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import sys
import time

from .dns_apart import files, left, slow
from .dns_client import HEALTHY, IN_FLIGHT, NAMES, NEVER, Case, Get, Resolve, caching, client, median, origin_of, timed
from .dns_server import FIRST, SECOND, tell
from .machine import raise_descriptors

COLD = 1000  # names at once
DEAD = 200  # names in flight
HITS = 100_000
KNOWN = 10  # names
ROUND = 0.5  # s between two requests of each
AT_ONCE = 0.05  # s
PATIENCE = 3.0  # s after which a request counts as not served
MOVES_AFTER = 3  # s, while the server is dead
LATER = 20  # requests


async def hit(case: Case) -> dict[str, float]:
    """A cached name: nanoseconds per lookup, and how many coroutines were suspended."""
    name, result = case.name(0, "ttl-3600"), {}
    if case.client == "seawall":
        resolver, origin = caching(case), origin_of(name)
        await resolver.resolve(origin)
        await asyncio.sleep(0.2)  # gives the other family time to arrive
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
    """Uncached names, all at once, and then the same again."""
    async with NAMES[case.client](case) as resolve:
        await resolve(case.name(COLD))  # warms code and sockets
        tell(case.dns, "reset")
        started_at = time.perf_counter()
        lost = await _lost(case, resolve)
        wall = time.perf_counter() - started_at
        await asyncio.sleep(0.5)  # gives late queries time to arrive
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
    """The limit of the DNS server itself: both families of as many names, as datagrams, all at once."""
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


async def dead_names(case: Case) -> dict[str, float]:
    """Healthy cold names, without and with names whose queries are dropped; a thread; and how long closing takes."""
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
        "alone_ms": median(alone[1:]),
        "added_ms": median(beside) - median(alone[1:]),
        "added_most_ms": max(beside, default=NEVER) * 1e3 - median(alone[1:]),
        "failed": HEALTHY - len(beside),
        "thread_alone_ms": median(threads_alone[1:]),
        "thread_ms": median(threads),
        "thread_most_ms": max(threads) * 1e3,
        "closing_at": closing_at,
    }


async def _thread(times: list[float]) -> None:
    started_at = time.perf_counter()
    await asyncio.to_thread(int)
    times.append(time.perf_counter() - started_at)


async def outage(case: Case) -> dict[str, float]:
    """Cached names with TTL 1, no connection kept: the server falls silent, and meanwhile the names move."""
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
        "before_ms": median(before),
        "first_added_ms": median(first) - median(before),
        "rest_added_ms": median(rest) - median(before),
        "at_once_percent": sum(each < AT_ONCE for each in rest) / len(rest) * 100 if rest else 0.0,
        "fresh_ms": median(fresh),
        "fresh_most_ms": max(fresh) * 1e3,
    }


async def _until_fresh(get: Get, url: str, since: float) -> float:
    """Seconds from then until a request reached the new address."""
    bodies: list[str] = []
    while bodies[-1:] != [SECOND]:
        if time.perf_counter() - since > 20:
            return NEVER
        await asyncio.sleep(0.02)
        await timed(get, url, [], bodies, PATIENCE)
    return time.perf_counter() - since


async def moved(case: Case) -> dict[str, float]:
    """A name with TTL 1 moves after 1 s, and connections to its old address are kept: which requests still use them."""
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
        "alone_ms": median(alone[1:]),
        "first_added_ms": median(first) - median(alone[1:]),
        "later_added_ms": median(later) - median(alone[1:]),
        "failed": 1 + LATER - len(first) - len(later),
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
