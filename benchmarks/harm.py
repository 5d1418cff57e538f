"""
What an adaptive limit must not harm: nine upstreams that are well, or that no limit can help, on the virtual clock.

Each is met by the defaults, and by the same with a bulkhead that doesn't adapt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from seawall.core.pipeline import Pipeline
from seawall.errors import SeawallError

from .model import POLICIES, Exchange, Request, Server, layers, virtual

TITLE = "harm"
NAMES = ("fixed bulkhead", "defaults")
SECONDS = 60.0


class Workers(Server):
    """
    Serves several requests at once, each for as long.

    Args:
        workers: How many; the others wait, first in, first out.
        seconds: Seconds that one takes.
        hangs: Share of the requests that are never answered, and hold no worker.
    """

    def __init__(self, workers: int, seconds: float, rng: Random, *, hangs: float = 0.0) -> None:
        super().__init__(1.0)
        self.seconds = seconds
        self.workers = workers
        self._rng = rng
        self._hangs = hangs
        self._busy = 0

    def ask(self) -> asyncio.Future[int]:
        answer: asyncio.Future[int] = self._loop.create_future()
        if self._rng.random() >= self._hangs:
            self._queue.append(answer)
            self._begin()
        return answer

    def _begin(self) -> None:
        while self._queue and self._busy < self.workers:
            self._busy += 1
            self._loop.call_later(self.seconds, self._finish, self._queue.popleft())

    def _finish(self, answer: asyncio.Future[int]) -> None:
        self._busy -= 1
        super()._finish(answer)


class Callers:
    """Callers of one client. Attributes: good, all: how many calls were good, and how many there were."""

    def __init__(self, policy: str, server: Server, rng: Random, timeout: float) -> None:
        self._layers: Pipeline = layers(POLICIES[policy], rng)
        self._server = server
        self._rng = rng
        self._timeout = timeout
        self._now = asyncio.get_running_loop().time
        self.good = self.all = 0
        self.times: list[float] = []

    async def call(self) -> bool:
        """Whether it was good."""
        began_at, is_good, mine = self._now(), False, self._layers
        exchange, request = Exchange(self._server, self._timeout), Request(self._timeout)
        try:
            is_good = await mine.run(exchange, request, mine.begin(is_buffered=True)) == 200
        except SeawallError:
            pass
        self.all += 1
        self.good += is_good
        if is_good:
            self.times.append(self._now() - began_at)
        return is_good

    async def at_random(self, rate: float, until: float) -> None:
        async with asyncio.TaskGroup() as group:
            while self._now() < until:
                group.create_task(self.call())
                await asyncio.sleep(self._rng.expovariate(rate))

    async def in_a_loop(self, workers: int, until: float) -> None:
        async def work() -> None:
            while self._now() < until:
                await self.call()

        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())

    async def at_once(self, calls: int) -> float:
        """Seconds until all are over."""
        began_at = self._now()
        await asyncio.gather(*(self.call() for _ in range(calls)))
        return self._now() - began_at

    def share(self) -> str:
        return f"{self.good / self.all:.1%}"


async def hanging(policy: str, rng: Random, *, rate: float, hangs: float) -> str:
    """Some requests are never answered."""
    callers = Callers(policy, Workers(1000, 0.02, rng, hangs=hangs), rng, 1.0)
    await callers.at_random(rate, SECONDS)
    return callers.share()


async def closed(policy: str, rng: Random, *, workers: int) -> str:
    """500 callers that call again at once."""
    callers = Callers(policy, Workers(workers, 0.05, rng), rng, 5.0)
    await callers.in_a_loop(500, 30.0)
    return f"{callers.good / 30:,.0f}/s"


async def burst(policy: str, rng: Random, *, calls: int, seconds: float) -> str:
    """A call a second, and then many at once."""
    callers = Callers(policy, Workers(1000, seconds, rng), rng, 1.0)
    await callers.at_random(1.0, 30.0)
    return f"{await callers.at_once(calls):.2f} s"


async def slower(policy: str, rng: Random) -> str:
    """Three times slower for 200 s, and still quick enough."""
    server = Workers(100, 0.044, rng)
    callers, loop = Callers(policy, server, rng, 1.0), asyncio.get_running_loop()
    loop.call_at(30.0, setattr, server, "seconds", 0.132)
    loop.call_at(230.0, setattr, server, "seconds", 0.044)
    await callers.at_random(100.0, 260.0)
    return f"{callers.share()}, p50 {sorted(callers.times)[len(callers.times) // 2] * 1e3:.0f} ms"


async def weaker(policy: str, rng: Random) -> str:
    """From 300 to 75 requests per second for 30 s, 250 are asked for."""
    server = Workers(15, 0.05, rng)
    callers, loop = Callers(policy, server, rng, 1.0), asyncio.get_running_loop()
    loop.call_at(20.0, setattr, server, "seconds", 0.2)
    loop.call_at(50.0, setattr, server, "seconds", 0.05)
    await callers.at_random(250.0, 20.0)
    callers.good = callers.all = 0
    await callers.at_random(250.0, 50.0)
    return callers.share()


SCENARIOS: dict[str, Callable[[str, Random], Coroutine[Any, Any, str]]] = {
    "200/s of 20 ms, 10 % hang": lambda policy, rng: hanging(policy, rng, rate=200, hangs=0.1),
    "200/s of 20 ms, 20 % hang": lambda policy, rng: hanging(policy, rng, rate=200, hangs=0.2),
    "200/s of 20 ms, 30 % hang": lambda policy, rng: hanging(policy, rng, rate=200, hangs=0.3),
    "200/s of 20 ms, 50 % hang": lambda policy, rng: hanging(policy, rng, rate=200, hangs=0.5),
    "20/s of 20 ms, 10 % hang": lambda policy, rng: hanging(policy, rng, rate=20, hangs=0.1),
    "500 in a closed loop, 200 x 50 ms": lambda policy, rng: closed(policy, rng, workers=200),
    "500 in a closed loop, 20 x 50 ms": lambda policy, rng: closed(policy, rng, workers=20),
    "1/s, then 64 at once, of 400 ms": lambda policy, rng: burst(policy, rng, calls=64, seconds=0.4),
    "1/s, then 300 at once, of 50 ms": lambda policy, rng: burst(policy, rng, calls=300, seconds=0.05),
    "100/s, 3 x slower for 200 s": slower,
    "250/s of 300/s, then of 75/s for 30 s": weaker,
}


def table(seeds: int) -> str:
    """A row for each scenario; the seed in the middle."""
    rows = [f"{'':40}" + "".join(f"{name:>22}" for name in NAMES)]
    for title, scenario in SCENARIOS.items():
        cells = []
        for name in NAMES:
            found = sorted(virtual(scenario(name, Random(seed))) for seed in range(seeds))
            cells.append(found[len(found) // 2])
        rows.append(f"{title:40}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(rows)
