"""
The slowest answers with and without a second attempt, on the virtual clock, where 1 % of them are slow.

``python -m benchmarks hedge`` is the same on real sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from seawall.errors import SeawallError

from . import addresses
from .model import POLICIES, Exchange, Request, Server, layers, virtual
from .plot import svg

TITLE = "tail: 1 % of the answers take 1 s instead of 10 ms"
USUAL, SLOW, SHARE = 0.010, 1.0, 0.01  # s, s, share of slow answers
RATE, WARM, SECONDS, TIMEOUT = 400.0, 5.0, 50.0, 5.0  # calls/s, s, s, s
NAMES = ("defaults", "defaults + hedge")


class Delayed(Server):
    """Answers each request after what *delay* says, however many there are."""

    def __init__(self, delay: Callable[[], float]) -> None:
        super().__init__(1.0)
        self._delay = delay

    def ask(self) -> asyncio.Future[int]:
        self.arrivals.append(self._loop.time())
        answer: asyncio.Future[int] = self._loop.create_future()
        self._loop.call_later(self._delay(), self._finish, answer)
        return answer


class Run(NamedTuple):
    """When each call began and how long it took, inf if it failed; and requests for each call."""

    calls: list[tuple[float, float]]
    load: float

    def quantile(self, share: float) -> float:
        times = sorted(took for began_at, took in self.calls if began_at >= WARM)
        return times[int(len(times) * share)]


async def drive(policy: str, seed: int) -> Run:
    """Make calls at random instants through one client."""
    loop, rng = asyncio.get_running_loop(), Random(seed)
    server = Delayed(lambda: SLOW if rng.random() < SHARE else USUAL)
    mine = layers(POLICIES[policy], rng)
    calls: list[tuple[float, float]] = []

    async def call() -> None:
        began_at = loop.time()
        try:
            is_good = await mine.run(Exchange(server, TIMEOUT), Request(TIMEOUT), mine.begin(is_buffered=True)) == 200
        except SeawallError:
            is_good = False
        calls.append((began_at, loop.time() - began_at if is_good else float("inf")))

    async with asyncio.TaskGroup() as group:
        while loop.time() < SECONDS:
            group.create_task(call())
            await asyncio.sleep(rng.expovariate(RATE))
    return Run(calls, len(server.arrivals) / len(calls))


def table(seeds: int) -> str:
    """A row for each policy; the worst seed counts."""
    rows = [f"{'':18}{'p50':>10}{'p99':>10}{'p99.5':>10}{'requests/call':>15}"]
    for name in NAMES:
        runs = [virtual(drive(name, seed)) for seed in range(seeds)]
        cells = "".join(f"{max(run.quantile(share) for run in runs) * 1e3:>7.0f} ms" for share in (0.5, 0.99, 0.995))
        rows.append(f"{name:18}{cells}{max(run.load for run in runs):>15.3f}")
    return "\n".join(rows)


def picture() -> str:
    """The slowest answers as an SVG: of a server that is slow at times, and of a name with one slow address."""
    panels: dict[str, dict[str, float | None]] = {
        "1 % of the answers take 1 s: p99.5": {name: virtual(drive(name, 0)).quantile(0.995) * 1e6 for name in NAMES},
        "one of five addresses at 10 % speed, 60 % load: p99": {
            name: virtual(addresses.one(choice, "at 10 % speed", 0.6, 0)).quantile(0.99) * 1e6
            for name, choice in zip(NAMES, addresses.CHOICES[-2:], strict=True)
        },
    }
    return svg(
        panels, "python -m benchmarks simulate --only tail", label="The slowest answers with and without a hedge"
    )
