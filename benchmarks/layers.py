"""CPU per call that each layer of seawall adds when nothing fails, with and without a wire, and that history costs."""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
import timeit
from contextlib import AsyncExitStack
from typing import Any

import httpx

import seawall
from seawall.core.attempt import AttemptState
from seawall.core.call import Call
from seawall.core.timer import Timer, Timers
from seawall.events import History, Phase

from .machine import CLIENT_CORE, conditions, pin, server
from .model import Request
from .server import BODY

LAYERS = ("deadline", "retry", "bulkhead", "breaker", "budget")
OFF: dict[str, Any] = dict.fromkeys(LAYERS)
IN_FLIGHT = 50  # over the wire; without one a call never waits, so one at a time


class Answering(httpx.AsyncBaseTransport):
    """Answers at once."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=BODY)


def settings() -> dict[str, dict[str, Any]]:
    """The arguments of `seawall.AsyncClient` for each setting; a layer that is on has its defaults."""
    found = {"all off": OFF}
    found |= {layer: {name: None for name in LAYERS if name != layer} for layer in LAYERS}
    found["deadline, retry"] = {name: None for name in LAYERS if name not in ("deadline", "retry")}
    return found | {"all on": {}, "all off, again": OFF}


async def measure(
    url: str, transport: httpx.AsyncBaseTransport | None, repeat: int, calls: int
) -> dict[str, list[float]]:
    """Microseconds of CPU per call of each setting, in each of *repeat* rounds; the order in a round is random."""
    workers = 1 if transport else IN_FLIGHT
    found: dict[str, list[float]] = {name: [] for name in settings()}

    async def work(client: seawall.AsyncClient, count: int) -> float:
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                await client.get(url)

        cpu = time.process_time()
        await asyncio.gather(*(worker() for _ in range(workers)))
        return (time.process_time() - cpu) / count * 1e6

    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(seawall.AsyncClient(transport=transport, **arguments))
            for name, arguments in settings().items()
        }
        for client in clients.values():
            await work(client, calls)
        for _ in range(repeat):
            for name in random.sample(list(clients), len(clients)):
                found[name].append(await work(clients[name], calls))
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks layers", description=__doc__)
    parser.add_argument("--repeat", type=int, default=200, help="rounds of all settings; the median counts")
    parser.add_argument("--calls", type=int, default=200, help="of each setting in a round")
    options = parser.parse_args(arguments)
    print(conditions(("seawall", "httpx"), arguments, "layers"))
    with server() as port:
        pin(CLIENT_CORE)
        for title, transport in (("without a wire", Answering()), (f"over it, {IN_FLIGHT} in flight", None)):
            runs = asyncio.run(measure(f"http://127.0.0.1:{port}/", transport, options.repeat, options.calls))
            print(f"{title}: medians of {options.repeat} x {options.calls} calls\n\n{table(runs)}\n")
    print(f"history, which is never off: {history(options.repeat):.1f} µs")
    return 0


def history(repeat: int) -> float:
    """Microseconds of CPU to record one attempt and attach it to a response."""
    call = Call(None, 1, 0.0, None)
    request, timer, extensions = Request(), Timer(Timers(), None), dict[str, Any]()

    def one() -> None:
        clock = time.perf_counter
        attempt = AttemptState(clock, clock(), request, 1, 0.0, (), None, call, timer)
        for phase in (Phase.SENDING, Phase.SENT, Phase.HEADERS, Phase.BODY):
            attempt.reached(phase)
        extensions["seawall"] = History([attempt.record(time.perf_counter(), 200, None, "")])

    return statistics.median(timeit.repeat(one, number=1000, repeat=repeat)) / 1000 * 1e6


def table(runs: dict[str, list[float]]) -> str:
    """Compare each setting with "all off" of the same round, because a slow machine then slows both."""
    off = runs["all off"]
    added = {
        name: [value - base for value, base in zip(values, off, strict=True)]
        for name, values in runs.items()
        if name != "all off"
    }
    rows = [f"{'on':16}{'CPU/call':>12}{'adds':>12}", f"{'all off':16}{statistics.median(off):>9.1f} µs"]
    for name, differences in added.items():
        rows.append(f"{name:16}{statistics.median(runs[name]):>9.1f} µs{statistics.median(differences):>+9.1f} µs")
    apart = statistics.quantiles(added["all off, again"], n=4)
    rows.append(
        f"noise: of the rounds, half have all off and all off again {apart[0]:+.1f} to {apart[2]:+.1f} µs apart"
    )
    return "\n".join(rows)
