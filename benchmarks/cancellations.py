"""Calls through proxies, cancelled at random instants: what they leave behind, in seawall and bare httpx."""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import random
import ssl
import time
from collections.abc import Callable
from typing import Any

import httpx

import seawall
from seawall.testing import FaultProcess

from .soak import descriptors

WAYS = {  # how a request goes → the proxy's step, and the origin's
    "forwarded": ("proxy", ""),
    "tunnel": ("proxy", "tls"),
    "tls_forwarded": ("tls_proxy", ""),
    "tls_tunnel": ("tls_proxy", "tls"),
    "socks5": ("socks5", "tls"),
}
CLIENTS: dict[str, Callable[..., httpx.AsyncClient]] = {
    "seawall": functools.partial(
        seawall.AsyncClient,
        bulkhead=seawall.Bulkhead(adaptive=False),  # or most calls would be cancelled in its queue
    ),
    "httpx": httpx.AsyncClient,
}
STEPS = ("hang", "hang", "hang:headers", "hang:body", "drip:body:0.01:1000")  # none ends before it is cancelled
CONCURRENT = 50
LONGEST = 0.03  # s after which a call is cancelled at the latest
GOOD = 0.2  # of the calls end well, so that connections are kept, and used again


def listen(server: FaultProcess, way: str) -> tuple[str, str]:
    """The proxy's URL and the origin's, on ports of their own."""
    proxy, origin = WAYS[way]
    at = server.listen(proxy, name=f"proxy {len(server.ports)}")
    return at, server.listen(origin, name=f"origin {len(server.ports)}") if origin else server.url


async def storm(
    proxy: str, origin: str, context: ssl.SSLContext, calls: int, *, kind: str = "seawall", seed: int = 1
) -> dict[str, object]:
    """
    Returns:
        What is left after *calls* cancelled ones: permits, connections that are in use though no call is, tasks,
        descriptors; and whether a call then is good, and how long it takes.
    """
    rng, left = random.Random(seed), calls
    tasks, files = len(asyncio.all_tasks()), descriptors()
    through = httpx.Proxy(proxy, ssl_context=context if proxy.startswith("https:") else None)
    outcomes = {"cancelled": 0, "good": 0, "failed": 0}
    async with CLIENTS[kind](proxy=through, verify=context, trust_env=False) as client:

        async def one() -> None:
            nonlocal left
            is_good = rng.random() < GOOD
            left -= not is_good
            step = "ok:1000" if is_good else rng.choice(STEPS)
            method = rng.choice(("GET", "POST"))
            try:
                async with asyncio.timeout(None if is_good else rng.uniform(0, LONGEST)):
                    await client.request(method, f"{origin}/x/{step}?key=storm", content=b"x" * 1000)
                outcomes["good"] += 1
            except TimeoutError:
                outcomes["cancelled"] += 1
            except httpx.HTTPError:
                outcomes["failed"] += 1

        async def worker() -> None:
            while left > 0:
                await one()

        await asyncio.gather(*(worker() for _ in range(CONCURRENT)))
        await asyncio.sleep(0.05)
        gc.collect()
        found: dict[str, object] = {"outcomes": outcomes, **_held(client, origin)}
        began_at = time.perf_counter()
        try:
            response = await client.get(f"{origin}/x/ok?key=next")
            found["next"] = f"{response.status_code} in {time.perf_counter() - began_at:.3f} s"
        except httpx.HTTPError as error:
            found["next"] = f"{type(error).__name__} in {time.perf_counter() - began_at:.3f} s"
        del began_at
    for _ in range(50):
        await asyncio.sleep(0.002)  # in which closed sockets go
    gc.collect()
    found |= {"tasks": len(asyncio.all_tasks()) - tasks, "descriptors": descriptors() - files}
    return found


def _held(client: Any, origin: str) -> dict[str, object]:
    """Before it is closed: what no call needs any more."""
    if isinstance(client, seawall.AsyncClient):
        stats = client.stats()
        return {
            "permits": sum(each.in_flight + each.waiting for each in stats.origins.values()) + stats.calls,
            "connections": stats.connections - sum(each.idle for each in stats.origins.values()),
        }
    pool = client._transport_for_url(httpx.URL(origin))._pool
    return {
        "permits": len(pool._requests),
        "connections": sum(not (each.is_idle() or each.is_closed()) for each in pool.connections),
        "closed": sum(each.is_closed() for each in pool.connections),
    }


def is_clean(found: dict[str, object]) -> bool:
    """Whether nothing is left."""
    left = ("permits", "connections", "tasks", "descriptors")
    return not any(found[name] for name in left) and str(found["next"]).startswith("200")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks cancellations", description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000, help="cancelled ones, each way")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--clients", default=",".join(CLIENTS), help=f"of {', '.join(CLIENTS)}")
    options = parser.parse_args(arguments)
    code = 0
    for way in options.ways.split(","):
        for kind in options.clients.split(","):
            with FaultProcess() as server:
                proxy, origin = listen(server, way)
                context = ssl.create_default_context(cadata=server.ca())
                began_at = time.perf_counter()
                found = asyncio.run(storm(proxy, origin, context, options.calls, kind=kind))
                time.sleep(0.1)
                found["open at the proxy"] = sum(
                    int(port["open"]) for name, port in server.conns().items() if name.startswith("proxy")
                )
            print(f"{way}, {kind}, {time.perf_counter() - began_at:.0f} s: {found}", flush=True)
            if kind == "seawall" and not (is_clean(found) and not found["open at the proxy"]):
                code = 1
    return code
