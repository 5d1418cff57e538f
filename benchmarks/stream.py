"""A large body through ``client.stream()``, chunks of 64 KiB from another process: memory and speed."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator

from .machine import child, conditions, memory, server

CHUNK = 0x10000
TIMEOUT = 30.0  # s


async def httpx_body(url: str) -> AsyncIterator[bytes]:
    import httpx

    async with httpx.AsyncClient(timeout=TIMEOUT) as client, client.stream("GET", url) as response:
        async for part in response.aiter_bytes():
            yield part


async def seawall_body(url: str) -> AsyncIterator[bytes]:
    import seawall

    async with seawall.AsyncClient(timeout=TIMEOUT) as client, client.stream("GET", url) as response:
        async for part in response.aiter_bytes():
            yield part


async def aiohttp_body(url: str) -> AsyncIterator[bytes]:
    import aiohttp

    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=TIMEOUT)) as session,
        session.get(url) as response,
    ):
        async for part in response.content.iter_any():
            yield part


CLIENTS = {"httpx": httpx_body, "aiohttp": aiohttp_body, "seawall": seawall_body}


async def run(client: str, url: str, chunks: int) -> dict[str, float]:
    body = CLIENTS[client]
    async for _ in body(f"{url}stream/16"):  # warm: imports, caches, code
        pass
    before, _ = memory()
    cpu, wall = time.process_time(), time.perf_counter()
    size = 0
    async for part in body(f"{url}stream/{chunks}"):
        size += len(part)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert size == chunks * CHUNK, f"{size} bytes came"
    return {"gb_per_second": size / 1e9 / wall, "cpu_per_gb": cpu / size * 1e9, "growth_mb": memory()[1] - before}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks stream", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, interleaved; the median counts")
    options = parser.parse_args(arguments)
    print(conditions(CLIENTS, arguments, "stream"))
    chunks = int(options.gigabytes * 1e9 / CHUNK)
    runs: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
    with server() as port:
        for _ in range(options.repeat):
            for client, found in runs.items():
                output = child("benchmarks.stream", client, f"http://127.0.0.1:{port}/", chunks, seconds=300)
                found.append(json.loads(output))
    print(f"{chunks * CHUNK / 1e9:g} GB; medians of {options.repeat}\n")
    print(f"{'':10}{'speed':>12}{'CPU':>14}{'memory grows by':>18}")
    for client, found in runs.items():
        speed, cpu, growth = (statistics.median(each[name] for each in found) for name in found[0])
        print(f"{client:10}{speed:>7.2f} GB/s{cpu:>9.2f} s/GB{growth:>15.1f} MB")
    return 0


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
