"""
The clients and resolvers of `dns`, configured alike: 100 connections, 5 s for each timeout, addresses dialled as in RFC
8305.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from .clients import CLIENTS, Setup
from .dns_server import tell

TIMEOUT = 5.0  # s
CONNECTIONS = 100
HEALTHY = 20  # names
IN_FLIGHT = 10  # requests
NEVER = float("inf")
Get: TypeAlias = Callable[[str], Awaitable[str]]
Resolve: TypeAlias = Callable[[str], Coroutine[Any, Any, object]]


@dataclass(frozen=True)
class Case:
    """The arguments of a case. The names in its URLs are unique to this process, so that no cache knows them."""

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
        """The number of queries since the DNS server was reset, with both families and repetitions."""
        return int(tell(self.dns, "stats").split()[1])


@asynccontextmanager
async def client(case: Case, *, is_kept: bool, is_told: bool = True) -> AsyncIterator[Get]:
    """
    aiohttp, whose cache keeps names for 1 s, not its default of 10, because it can't see the TTL of names that change.

    Args:
        is_told: Whether it is pointed at the DNS server; if not, it has its defaults, and asks as the machine's own
            files say.
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
    resolver = caching(case)

    async def resolve(name: str) -> object:
        return await resolver.resolve(origin_of(name))

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
    """getaddrinfo can't be pointed at a DNS server, so it resolves "localhost", from /etc/hosts, without a query."""
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


def caching(case: Case) -> Any:
    import seawall

    client = seawall.AsyncClient(resolver="cares", dns=seawall.DNS(nameservers=(case.dns,)))
    return client.engine.wire.names


def origin_of(name: str) -> Any:
    from seawall.origin import Origin

    return Origin("http", name, 80)


async def timed(get: Get, url: str, times: list[float], bodies: list[str], patience: float = TIMEOUT) -> None:
    """Make a request, and append its figures to both lists if it is answered in time."""
    started_at = time.perf_counter()
    try:
        async with asyncio.timeout(patience):
            body = await get(url)
    except Exception:  # noqa: BLE001 - each client has its own
        return
    times.append(time.perf_counter() - started_at)
    bodies.append(body)


def median(times: list[float]) -> float:
    """ms"""
    return statistics.median(times) * 1e3 if times else NEVER
