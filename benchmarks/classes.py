"""
Half of the calls are critical and half are background ones, at 150 % of what the server serves, on the virtual clock.

The server works at 64 requests at once, 0.2 s each; where it says so, at 16, which is less than the client's limit of
64, so that a part of the queue is the server's, where no class goes first. Unloaded: 10 % of what it serves.
"""

from __future__ import annotations

import asyncio
from random import Random

import seawall
from seawall.config.criticality import CriticalityName

from .harm import Callers, Workers
from .model import virtual

TITLE = "50 % background, 50 % critical, at 150 % of capacity"
NAMES: tuple[CriticalityName, ...] = ("critical", "background")
SECONDS, TIMEOUT, TAKES = 30.0, 2.0, 0.2  # s
LOAD, UNLOADED = 1.5, 0.1  # of the capacity


class Classes:
    """Calls of both classes through one client. Attributes: ends, for each class whether each was good and its time."""

    def __init__(self, workers: int, *, has_classes: bool, seed: int) -> None:
        self._rng = Random(seed)
        self._callers = Callers("defaults", Workers(workers, TAKES, self._rng), self._rng, TIMEOUT)
        self._has_classes = has_classes
        self._now = asyncio.get_running_loop().time
        self.ends: dict[CriticalityName, list[tuple[bool, float]]] = {name: [] for name in NAMES}

    async def call(self, name: CriticalityName) -> None:
        began_at = self._now()
        with seawall.criticality(name if self._has_classes else "default"):
            is_good = await self._callers.call()
        self.ends[name].append((is_good, self._now() - began_at))

    async def run(self, rate: float) -> None:
        async with asyncio.TaskGroup() as group:
            while self._now() < SECONDS:
                group.create_task(self.call(self._rng.choice(NAMES)))
                await asyncio.sleep(self._rng.expovariate(rate))


async def cells(workers: int, load: float, *, has_classes: bool, seed: int) -> dict[CriticalityName, tuple[float, ...]]:
    """For each class: the share of good calls, good calls per second, and their p50, p99 and longest, in seconds."""
    made = Classes(workers, has_classes=has_classes, seed=seed)
    await made.run(load * workers / TAKES)
    found: dict[CriticalityName, tuple[float, ...]] = {}
    for name, ends in made.ends.items():
        times = sorted(took for is_good, took in ends if is_good)
        p50, p99 = (times[int(len(times) * share)] for share in (0.5, 0.99))
        found[name] = len(times) / len(ends), len(times) / SECONDS, p50, p99, times[-1]
    return found


def table(seed: int = 0) -> str:
    rows = [f"{'':44}{'good':>8}{'good/s':>8}{'p50':>9}{'p99':>9}{'longest':>9}"]
    for workers in (64, 16):
        for title, load, has_classes in (
            ("unloaded", UNLOADED, True),
            ("without classes", LOAD, False),
            ("with them", LOAD, True),
        ):
            for name, cell in virtual(cells(workers, load, has_classes=has_classes, seed=seed)).items():
                good, rate, *times = cell
                shown = "".join(f"{took * 1000:>6,.0f} ms" for took in times)
                rows.append(f"{f'{workers} at once, {title}, {name}':44}{good:>8.1%}{rate:>8.0f}{shown}")
    return "\n".join(rows)
