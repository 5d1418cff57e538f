"""
Overload on the virtual clock: a modelled server, many clients, and the real layers between them.

The server serves a fixed number of requests per second, first in first out, also those that their client has abandoned
(unless it is told to drop these). It freezes for ten seconds, and requests of that time are in its queue afterwards.
Recovered: the instant from which on 99 % of the calls begun within 5 s are good. Down again: in how many seeds a later
span of 5 s is not; near the server's capacity, chance alone can do that. Load: attempts / calls since the freeze.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from bisect import bisect
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from seawall.core.pipeline import Pipeline
from seawall.errors import SeawallError

from . import addresses, classes, harm, tail
from .machine import conditions
from .model import ATTEMPT_TIMEOUT, POLICIES, Exchange, Request, Server, layers, virtual
from .plot import lines

WARM, FREEZE, AFTER = 10.0, 10.0, 60.0  # s
WINDOW, GOOD = 5.0, 0.99
FEWER = ("no retry", "+ bulkhead", "+ breaker", "fixed bulkhead", "defaults")


@dataclass
class Run:
    """
    The result of one scenario with one seed.

    Attributes:
        calls: When each call began, and whether it was good.
    """

    calls: list[tuple[float, bool]] = field(default_factory=list)
    attempts: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    def recovery(self, healed_at: float) -> tuple[float, bool]:
        """Seconds until it recovered, inf if it did not in time; and whether it went down again."""
        begun = sorted(self.calls)
        instants, good = [at for at, _ in begun], [0, *accumulate(is_good for _, is_good in begun)]
        at, well_at = healed_at, float("inf")
        while at + WINDOW <= instants[-1]:
            low, high = bisect(instants, at), bisect(instants, at + WINDOW)
            if high > low and good[high] - good[low] >= GOOD * (high - low):
                well_at = min(well_at, at)
            elif at > well_at:
                return well_at - healed_at, True
            at += 0.5
        return well_at - healed_at, False

    def series(self) -> list[float]:
        """The share of good calls in each second."""
        offered: Counter[int] = Counter(int(began) for began, _ in self.calls)
        good: Counter[int] = Counter(int(began) for began, is_good in self.calls if is_good)
        return [good[second] / offered[second] if offered[second] else 1.0 for second in range(max(offered) + 1)]


async def frozen(
    policy: Mapping[str, Any],
    seed: int,
    *,
    capacity: float = 300.0,
    rate: float = 280.0,
    clients: int = 1,
    timeout: float = ATTEMPT_TIMEOUT,
    after: float = AFTER,
    **model: Any,
) -> Run:
    """HotOS'21: a server near its capacity freezes for a while."""
    loop, rng, run = asyncio.get_running_loop(), Random(seed), Run()
    server = Server(capacity, **model)
    made = [layers(policy, rng) for _ in range(clients)]
    tasks: set[asyncio.Task[None]] = set()

    async def call(mine: Pipeline) -> None:
        began_at = loop.time()
        is_good = False
        try:
            is_good = await mine.run(Exchange(server, timeout), Request(timeout), mine.begin(is_buffered=True)) == 200
            run.ends[str(is_good)] += 1
        except SeawallError as error:
            run.ends[type(error).__name__] += 1
        run.calls.append((began_at, is_good))

    end_at, is_frozen = WARM + FREEZE + after, False
    while loop.time() < end_at:
        if not is_frozen and loop.time() >= WARM:
            is_frozen = True
            server.freeze(FREEZE)
        task = asyncio.create_task(call(rng.choice(made)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(rng.expovariate(rate))
    await asyncio.gather(*tasks)
    run.attempts = sum(at >= WARM for at in server.arrivals)
    return run


async def herd(policy: Mapping[str, Any], seed: int, *, clients: int = 1000, seconds: int = 5) -> tuple[float, float]:
    """All clients must wait equally long: the most arrivals within 50 ms after that, and the busy second's mean."""
    rng = Random(seed)
    server = Server(1e6)
    server.retry_after = float(seconds)
    made = [layers(policy, rng) for _ in range(clients)]
    tasks = [asyncio.create_task(each.run(Exchange(server), Request(), each.begin(is_buffered=True))) for each in made]
    await asyncio.sleep(1)
    server.retry_after = None
    await asyncio.gather(*tasks, return_exceptions=True)
    again = [at for at in server.arrivals if at > 1]
    bins = Counter(int(at / 0.05) for at in again)
    return max(bins.values()), len(again) / len(bins)


def summary(runs: list[Run]) -> tuple[str, str, str]:
    """Recovery (the worst, and how many seeds recovered), load and good calls per second, over all seeds."""
    found = [run.recovery(WARM + FREEZE) for run in runs]
    made = [value for value, _ in found if value != float("inf")]
    missed = len(runs) - len(made)
    worst = f"> {AFTER:.0f} s in {missed} of {len(runs)}" if missed else f"{max(made):.1f} s"
    if again := sum(is_again for _, is_again in found):
        worst += f", {again} down again"
    begun = [sum(began >= WARM for began, _ in run.calls) for run in runs]
    loads = [run.attempts / count for run, count in zip(runs, begun, strict=True)]
    good = [sum(good for began, good in run.calls if began >= WARM + FREEZE) / AFTER for run in runs]
    return worst, f"{max(loads):.2f}", f"{min(good):.0f}/s"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--policies", default="", help="all in the first scenario, four in the others")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path, help="a picture of the first scenario")
    parser.add_argument("--tail-svg", type=Path, help="a picture of the slowest answers with and without a hedge")
    options = parser.parse_args(arguments)
    print(conditions(("seawall",), arguments, "simulate"))
    logging.getLogger("seawall").setLevel(logging.ERROR)  # because breakers move all the time here
    scenarios: dict[str, dict[str, Any]] = {
        "capacity 300/s, 280/s offered": {},
        "the same, the server drops abandoned requests": {"drops_abandoned": True},
        "the same, half its speed for 5 s": {"slow_start": 5.0},
        "the same, from 1,000 clients": {"clients": 1000},
        "from 1,000 clients, the server drops abandoned requests": {"clients": 1000, "drops_abandoned": True},
        **{f"capacity {n:,}/s at 93 %": {"capacity": n, "rate": n * 0.93} for n in (30, 100, 1000, 3000)},
        **{
            f"capacity {n:,}/s at 93 %, {timeout:g} s for an attempt": {
                "capacity": n,
                "rate": n * 0.93,
                "timeout": timeout,
            }
            for timeout in (5.0, 0.2)
            for n in (30, 100, 300, 1000, 3000)
        },
    }
    found: dict[str, Any] = {}
    for title, scenario in scenarios.items():
        if options.only not in title:
            continue
        print(f"\n{title}\n{'':22}{'recovered, at worst':>26}{'load':>8}{'good':>10}")
        names = options.policies.split(",") if options.policies else FEWER if scenario else POLICIES
        for name in names:
            runs = [virtual(frozen(POLICIES[name], seed, **scenario)) for seed in range(options.seeds)]
            worst, load, good = summary(runs)
            print(f"{name:22}{worst:>26}{load:>8}{good:>10}", flush=True)
            found.setdefault(title, {})[name] = {
                "recovery": worst,
                "load": load,
                "good": good,
                "series": runs[0].series(),
            }
    if options.only in "herd after Retry-After":
        most, mean = virtual(herd(POLICIES["defaults"], 0))
        print(f"\nherd after Retry-After: 1,000 clients are told 5 s: at most {most:.0f} in 50 ms, mean {mean:.0f}")
    if options.only in addresses.TITLE:
        print(f"\n{addresses.TITLE}\n{addresses.table(options.seeds)}", flush=True)
    if options.only in tail.TITLE:
        print(f"\n{tail.TITLE}\n{tail.table(options.seeds)}", flush=True)
    if options.only in harm.TITLE:
        print(f"\n{harm.TITLE}\n{harm.table(options.seeds)}", flush=True)
    if options.only in classes.TITLE:
        print(f"\n{classes.TITLE}\n{classes.table()}", flush=True)
    if options.svg:
        series = {name: cell["series"] for name, cell in next(iter(found.values())).items()}
        note = "share of good calls by second, 280 of 300 requests/s offered; python -m benchmarks simulate"
        options.svg.write_text(lines(series, {"the server stands still": (WARM, WARM + FREEZE)}, note))
    if options.tail_svg:
        options.tail_svg.write_text(tail.picture())
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0
