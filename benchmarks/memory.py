"""
What a client keeps for each idle connection, each call in flight and each origin: bytes that Python has allocated, by
tracemalloc, and objects that the garbage collector tracks.

Bare asyncio shows what of it a socket, its transport and a waiting task take in any client.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import tracemalloc
from functools import partial
from typing import NamedTuple

from .idle import CLIENTS as IDLE
from .idle import Opened, httpx_client
from .load import PEERS, WARM, addresses
from .machine import child, conditions, is_installed, raise_descriptors, server

CLIENTS: dict[str, Opened] = {
    **IDLE,
    "seawall.httpx2": partial(httpx_client, module="seawall.httpx2", over="httpx2"),
    "httpx": httpx_client,
    "httpx2": partial(httpx_client, module="httpx2", over="httpx2"),
}
BARE = "asyncio"
WHAT = ("an idle connection", "a call in flight", "an origin")
TICK = 0.05  # s between two looks at the allocated memory
STILL = 500  # B; by less than this the memory of a process that waits goes up and down
GUARD = 300.0  # s for a run


class Kept(NamedTuple):
    """
    Attributes:
        size: Bytes.
        tracked: Objects that the garbage collector tracks.
    """

    size: float
    tracked: float

    def __sub__(self, other: Kept) -> Kept:
        return Kept(self.size - other.size, self.tracked - other.tracked)

    def __truediv__(self, count: int) -> Kept:
        return Kept(self.size / count, self.tracked / count)


async def settled() -> Kept:
    """What the process keeps once it does nothing but wait."""
    last, size = 0, STILL
    while abs(size - last) >= STILL:
        await asyncio.sleep(TICK)
        gc.collect()
        last, size = size, tracemalloc.get_traced_memory()[0]
    return Kept(size, len(gc.get_objects()))


async def run(client: str, url: str, count: int) -> dict[str, Kept]:
    """
    What each of `WHAT` keeps, of so many.

    Connections are those of one origin; a call in flight has one that was idle before; and of an origin it is what
    another idle connection keeps beyond one to the same origin.
    """
    first, second, *others = addresses(url, count + 2)
    async with CLIENTS[client](2 * count + 3) as ask:
        for _ in range(WARM):  # pays for what is allocated once
            await asyncio.gather(ask(f"{first}together/2"), ask(f"{first}together/2"))
        tracemalloc.start()
        before = await settled()
        await asyncio.gather(*(ask(f"{second}together/{count}") for _ in range(count)))
        idle = await settled()
        waiting = [asyncio.ensure_future(ask(f"{second}together/{count + 1}")) for _ in range(count)]
        busy = await settled()
        await asyncio.gather(ask(f"{second}together/{count + 1}"), *waiting)
        del waiting
        together = await settled()
        for other in others:
            await ask(other)
        apart = await settled()
    connection = (idle - before) / count
    return dict(zip(WHAT, (connection, (busy - idle) / count, (apart - together) / count - connection), strict=True))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--each", type=int, default=500, help="connections, calls and origins")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each, interleaved; the median counts")
    options = parser.parse_args(arguments)
    asked = options.clients.split(",")
    if unknown := [client for client in asked if client not in CLIENTS]:
        parser.error(f"no client {', '.join(unknown)}; there are {', '.join(CLIENTS)}")
    clients = [each for each in asked if each == BARE or all(map(is_installed, PEERS[each].packages))]
    print(conditions(filter(is_installed, clients), arguments, "memory"), flush=True)
    runs: dict[str, list[dict[str, list[float]]]] = {client: [] for client in dict.fromkeys([BARE, *clients])}
    with server() as port:
        for _ in range(options.repeat):
            for client, found in runs.items():
                url = f"http://127.0.0.1:{port}/"
                try:
                    found.append(json.loads(child("benchmarks.memory", client, url, options.each, seconds=GUARD)))
                except ValueError as error:
                    print(f"{client} failed: {error}", flush=True)
    measured = {client: found for client, found in runs.items() if found}
    print(f"{options.each} of each; medians of {options.repeat}\n\n{table(measured)}")
    return 0


def table(runs: dict[str, list[dict[str, list[float]]]]) -> str:
    """A row for each client, in Markdown: the bytes, in brackets those beyond bare asyncio, and the tracked objects."""
    rows = ["| | " + " | ".join(WHAT) + " |", "|---" * (1 + len(WHAT)) + "|"]
    medians = {
        client: [Kept(*map(statistics.median, zip(*(each[what] for each in found), strict=True))) for what in WHAT]
        for client, found in runs.items()
    }
    for client, kept in medians.items():
        cells = [
            f"{each.size:,.0f} B ({(each - bare).size:,.0f}), {each.tracked:.1f} objects"
            for each, bare in zip(kept, medians[BARE], strict=True)
        ]
        rows.append("| " + " | ".join([client, *cells]) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    raise_descriptors()
    print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
