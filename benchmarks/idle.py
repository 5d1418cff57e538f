"""Memory of idle keep-alive connections in a client, compared with as many connections of bare asyncio."""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import itertools
import json
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeAlias
from urllib.parse import urlsplit

from .load import addresses
from .machine import child, conditions, memory, raise_descriptors, server

EACH = 100  # connections to an address, all opened at once; one address after the other
KEPT = 600.0  # s
SPARE = 200  # descriptors for everything else
Ask: TypeAlias = Callable[[str], Awaitable[object]]
Opened: TypeAlias = Callable[[int], AbstractAsyncContextManager[Ask]]


class Bare(asyncio.Protocol):
    """The smallest possible client connection: it sends a request and tells when the answer comes."""

    _transport: asyncio.Transport
    _answered: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._answered.set_result(None)

    async def ask(self, path: str) -> None:
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        await self._answered
        del self._answered


@asynccontextmanager
async def asyncio_client(limit: int) -> AsyncIterator[Ask]:
    """Keeps connections as a pool does."""
    loop = asyncio.get_running_loop()
    idle: defaultdict[str, list[Bare]] = defaultdict(list)
    opened = itertools.count(1)

    async def ask(url: str) -> None:
        parts = urlsplit(url)
        kept = idle[parts.netloc]
        if kept:
            connection = kept.pop()
        else:
            assert next(opened) <= limit
            _, connection = await loop.create_connection(Bare, parts.hostname or "", parts.port or 80)
        await connection.ask(parts.path)
        kept.append(connection)

    yield ask


@asynccontextmanager
async def aiohttp_client(limit: int) -> AsyncIterator[Ask]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=limit, keepalive_timeout=KEPT)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(url: str) -> None:
            async with session.get(url) as response:
                await response.read()

        yield ask


@asynccontextmanager
async def httpx_client(limit: int, *, module: str = "httpx", over: str = "httpx") -> AsyncIterator[Ask]:
    """A client of httpx's API in *module*; its library is *over*."""
    front, httpx = importlib.import_module(module), importlib.import_module(over)
    limits = httpx.Limits(max_connections=limit, max_keepalive_connections=limit, keepalive_expiry=KEPT)
    layers = {}
    if module.startswith("seawall"):
        layers["bulkhead"] = importlib.import_module("seawall").Bulkhead(max_concurrent=limit)
    async with front.AsyncClient(limits=limits, timeout=KEPT, **layers) as client:
        yield client.get


CLIENTS: dict[str, Opened] = {
    "asyncio": asyncio_client,
    "aiohttp": aiohttp_client,
    "seawall": partial(httpx_client, module="seawall"),
}


async def run(client: str, url: str, connections: int) -> dict[str, float]:
    """Growth of resident memory per connection in bytes, and the number of connections."""
    async with CLIENTS[client](connections + EACH) as ask:
        urls = addresses(f"{url}together/{EACH}", connections // EACH + 1)
        await open_all(ask, urls[:1])  # pays for what is allocated once
        before, _ = memory()
        await open_all(ask, urls[1:])
        after, _ = memory()
        opened = len(os.listdir("/dev/fd"))
    return {"bytes": (after - before) * 2**20 / connections, "opened": opened}


async def open_all(ask: Ask, urls: list[str]) -> None:
    """Open as many connections to each URL as the server waits for before it answers."""
    for url in urls:
        await asyncio.gather(*(ask(url) for _ in range(EACH)))
    await asyncio.sleep(0)
    gc.collect()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, interleaved; the median counts")
    options = parser.parse_args(arguments)
    print(conditions(("aiohttp", "seawall"), arguments, "idle"))
    most = raise_descriptors() - SPARE
    connections = min(options.connections, most) // EACH * EACH
    if connections < options.connections:
        print(f"fewer than asked: whole groups of {EACH}, and no more descriptors than {most + SPARE}")
    runs: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
    with server() as port:
        for _ in range(options.repeat):
            for client, found in runs.items():
                url = f"http://127.0.0.1:{port}/"
                found.append(json.loads(child("benchmarks.idle", client, url, connections, seconds=120)))
    print(f"{connections} idle connections, {EACH} to an address; medians of {options.repeat}\n")
    print(f"{'':10}{'total':>12}{'beyond the socket':>20}{'descriptors':>14}")
    sizes = {client: statistics.median(each["bytes"] for each in found) for client, found in runs.items()}
    for client, size in sizes.items():
        opened = min(each["opened"] for each in runs[client])
        print(f"{client:10}{size:>10.0f} B{size - sizes['asyncio']:>18.0f} B{opened:>14.0f}")
    return 0


if __name__ == "__main__":
    raise_descriptors()
    print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
