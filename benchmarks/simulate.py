"""
Overload on the virtual clock: a server model, many clients, and the real layers between them.

A server works off so many requests a second, first in first out, and goes on with those that their client has given up
(unless it is told to drop them). For ten seconds it stands still; what was asked meanwhile is in its queue afterwards.
Recovered: from when on 99 % of the calls begun within 5 s are good. Load: attempts / calls, from the freeze on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from bisect import bisect
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import seawall
from seawall.call import Layers
from seawall.errors import ReadTimeout, SeawallError
from seawall.events import Events, History, Phase, Progress
from seawall.exchange import Pacer
from seawall.policy.outcome import Outcome
from seawall.settings import Policy
from seawall.testing import VirtualLoop

from .machine import conditions
from .plot import lines

ORIGIN = seawall.Origin("http", "server.test", 80)
ATTEMPT_TIMEOUT = 1.0  # s
WARM, FREEZE, AFTER = 10.0, 10.0, 60.0  # s
WINDOW, GOOD = 5.0, 0.99
OFF: dict[str, Any] = {"retry": None, "bulkhead": None, "breaker": None, "budget": None}
RETRY = seawall.Retry()
POLICIES: dict[str, dict[str, Any]] = {
    "no retry": OFF,
    "naive retry": OFF | {"retry": seawall.Retry(backoff=0, throttled_backoff=0)},
    "retry with backoff": OFF | {"retry": RETRY},
    "+ budget": OFF | {"retry": RETRY, "budget": seawall.Budget()},
    "+ bulkhead": OFF | {"retry": RETRY, "bulkhead": seawall.Bulkhead()},
    "+ breaker": OFF | {"retry": RETRY, "breaker": seawall.Breaker()},
    "defaults": {
        "retry": RETRY,
        "bulkhead": seawall.Bulkhead(),
        "breaker": seawall.Breaker(),
        "budget": seawall.Budget(),
    },
}

FEWER = ("no retry", "+ bulkhead", "+ breaker", "defaults")


class Server:
    """
    A model of one.

    Args:
        capacity: Requests a second.
        drops_abandoned: It looks whether anybody still waits before it begins with one.
        slow_start: s over which it is at half its speed after a freeze.
    """

    def __init__(self, capacity: float, *, drops_abandoned: bool = False, slow_start: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = 1.0 / capacity
        self._drops = drops_abandoned
        self._slow_start = slow_start
        self._slow_until = 0.0
        self._queue: deque[asyncio.Future[int]] = deque()
        self._is_busy = False
        self._frozen_until = 0.0
        self.retry_after: float | None = None  # while it is set, it rejects
        self.arrivals: list[float] = []

    def freeze(self, seconds: float) -> None:
        self._frozen_until = self._loop.time() + seconds
        self._slow_until = self._frozen_until + self._slow_start

    def ask(self) -> asyncio.Future[int]:
        """The status, once it is there."""
        self.arrivals.append(self._loop.time())
        answer: asyncio.Future[int] = self._loop.create_future()
        if self.retry_after is not None:
            answer.set_result(503)
            return answer
        self._queue.append(answer)
        if not self._is_busy:
            self._begin()
        return answer

    def _begin(self) -> None:
        while self._queue and self._drops and self._queue[0].done():
            self._queue.popleft()
        self._is_busy = bool(self._queue)
        if self._is_busy:
            now = self._loop.time()
            begins_at = max(now, self._frozen_until)
            service = self._service * (2.0 if begins_at < self._slow_until else 1.0)
            self._loop.call_at(begins_at + service, self._finish, self._queue.popleft())

    def _finish(self, answer: asyncio.Future[int]) -> None:
        if not answer.done():
            answer.set_result(200)
        self._begin()


class Exchange:
    """`seawall.exchange.Exchange` with the model in place of a wire."""

    origin = ORIGIN
    method = "GET"
    timeouts: Mapping[str, float | None] = {"connect": ATTEMPT_TIMEOUT, "read": ATTEMPT_TIMEOUT, "pool": 5.0}
    options: Policy | None = None
    body: object = None
    is_buffered = True
    has_key = False

    def __init__(self, server: Server) -> None:
        self._server = server

    async def send(self, progress: Progress, pacer: Pacer) -> int:
        progress.reached(Phase.SENT)
        answer = self._server.ask()
        if answer.done():
            return answer.result()
        timer = asyncio.get_running_loop().call_later(ATTEMPT_TIMEOUT, _give_up, answer)
        try:
            return await answer
        finally:
            timer.cancel()
            answer.cancel()  # nobody waits for it any more

    def outcome(self, response: int, progress: Progress) -> Outcome:
        return Outcome(Phase.HEADERS, status=response, retry_after=self._server.retry_after)

    def failure(self, error: Exception, progress: Progress) -> Outcome | None:
        return Outcome(progress.phase, error=error)

    def adopt(self, error: SeawallError) -> Exception:
        return error

    def is_whole(self, response: int) -> bool:
        return True

    def is_replayable(self) -> bool:
        return True

    def add(self, name: str, value: str) -> None: ...

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable: ...

    async def read(self, response: int, pacer: Pacer) -> None: ...

    def own(self, response: int, release: Callable[[], None]) -> None:
        release()

    async def discard(self, response: int) -> None: ...

    def abandon(self, response: int) -> None: ...

    def end(self) -> None: ...

    def shown(self, response: int) -> int:
        return response

    def attach(self, response: int, history: History) -> None: ...


def _give_up(answer: asyncio.Future[int]) -> None:
    if not answer.done():
        answer.set_exception(ReadTimeout(f"no answer within {ATTEMPT_TIMEOUT:g} s"))


def layers(policy: Mapping[str, Any], rng: Random) -> Layers:
    """Those of one client."""
    return Layers(
        Policy(deadline=seawall.UNSET, **policy),
        {},
        max_connections=None,
        propagation=None,
        events=Events(),
        clock=seawall.Clock(),
        rng=rng,
    )


@dataclass
class Run:
    """
    What came of one scenario with one seed.

    Attributes:
        calls: When each was begun, and whether it was good.
    """

    calls: list[tuple[float, bool]] = field(default_factory=list)
    attempts: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    def recovery(self, healed_at: float) -> float:
        """s from then on until it was well again; inf: not within the time."""
        begun = sorted(self.calls)
        instants, good = [at for at, _ in begun], [0, *accumulate(is_good for _, is_good in begun)]
        at = healed_at
        while at + WINDOW <= instants[-1]:
            low, high = bisect(instants, at), bisect(instants, at + WINDOW)
            if high > low and good[high] - good[low] >= GOOD * (high - low):
                return at - healed_at
            at += 0.5
        return float("inf")

    def series(self) -> list[float]:
        """Share of good calls, by second."""
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
    after: float = AFTER,
    **model: Any,
) -> Run:
    """HotOS'21: a server near its capacity stands still for a while."""
    loop, rng, run = asyncio.get_running_loop(), Random(seed), Run()
    server = Server(capacity, **model)
    made = [layers(policy, rng) for _ in range(clients)]
    tasks: set[asyncio.Task[None]] = set()

    async def call(mine: Layers) -> None:
        began_at = loop.time()
        is_good = False
        try:
            is_good = await mine.run(Exchange(server), mine.begin(is_buffered=True)) == 200
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
    """All are told to wait as long: most arrivals in 50 ms once that is over, and the mean of the busy second."""
    rng = Random(seed)
    server = Server(1e6)
    server.retry_after = float(seconds)
    made = [layers(policy, rng) for _ in range(clients)]
    tasks = [asyncio.create_task(each.run(Exchange(server), each.begin(is_buffered=True))) for each in made]
    await asyncio.sleep(1)
    server.retry_after = None
    await asyncio.gather(*tasks, return_exceptions=True)
    again = [at for at in server.arrivals if at > 1]
    bins = Counter(int(at / 0.05) for at in again)
    return max(bins.values()), len(again) / len(bins)


def virtual(coroutine: Any) -> Any:
    """Its result, on a clock that takes no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def summary(runs: list[Run]) -> tuple[str, str, str]:
    """Recovery (the worst and how many made it), load and good calls a second, of all seeds."""
    recoveries = [run.recovery(WARM + FREEZE) for run in runs]
    made = [value for value in recoveries if value != float("inf")]
    worst = f"{max(made):.1f} s" if len(made) == len(runs) else f"never in {len(runs) - len(made)} of {len(runs)}"
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
    options = parser.parse_args(arguments)
    print(conditions(("seawall",), arguments, "simulate"))
    logging.getLogger("seawall").setLevel(logging.ERROR)  # breakers move all the time here
    scenarios: dict[str, dict[str, Any]] = {
        "capacity 300/s, 280/s offered": {},
        "the same, the server drops what was given up": {"drops_abandoned": True},
        "the same, half its speed for 5 s": {"slow_start": 5.0},
        "the same, from 1,000 clients": {"clients": 1000},
        "from 1,000 clients, the server drops what was given up": {"clients": 1000, "drops_abandoned": True},
        **{f"capacity {n:,}/s at 93 %": {"capacity": n, "rate": n * 0.93} for n in (30, 100, 1000, 3000)},
    }
    found: dict[str, Any] = {}
    for title, scenario in scenarios.items():
        if options.only not in title:
            continue
        print(f"\n{title}\n{'':22}{'recovered, at worst':>22}{'load':>8}{'good':>10}")
        names = options.policies.split(",") if options.policies else FEWER if scenario else POLICIES
        for name in names:
            runs = [virtual(frozen(POLICIES[name], seed, **scenario)) for seed in range(options.seeds)]
            worst, load, good = summary(runs)
            print(f"{name:22}{worst:>22}{load:>8}{good:>10}", flush=True)
            found.setdefault(title, {})[name] = {
                "recovery": worst,
                "load": load,
                "good": good,
                "series": runs[0].series(),
            }
    if options.only in "herd after Retry-After":
        most, mean = virtual(herd(POLICIES["defaults"], 0))
        print(f"\nherd after Retry-After: 1,000 clients are told 5 s: at most {most:.0f} in 50 ms, mean {mean:.0f}")
    if options.svg:
        series = {name: cell["series"] for name, cell in next(iter(found.values())).items()}
        note = "share of good calls by second, 280 of 300 requests/s offered; python -m benchmarks simulate"
        options.svg.write_text(lines(series, {"the server stands still": (WARM, WARM + FREEZE)}, note))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0
