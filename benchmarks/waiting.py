"""
What a call that waits costs: CPU of each, as more and more wait for the same at once.

The figure must hardly grow with their number, or an overload would use up the event loop. The transport is scripted, so
that only the waiting counts; time is real.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx

import seawall
from seawall.testing import ScriptedWire

from .machine import conditions

URL = "http://api.test/"
ONE, EACH = "one caller", "a credential each"
AWAY = 0.5  # s


class Case(NamedTuple):
    """
    Attributes:
        answers: What an origin does, made anew for each run.
        settings: Of the client, made from the number of calls.
    """

    callers: str
    answers: Callable[[], Any]
    settings: Callable[[int], dict[str, Any]]


def _good() -> Any:
    return 200


def _slow() -> Any:
    return 0.001, 200


def _away() -> Any:
    """An origin that refuses connections at first."""
    back_at = time.perf_counter() + AWAY

    def answer(_: httpx.Request) -> int:
        if time.perf_counter() < back_at:
            raise httpx.ConnectError("refused") from ConnectionRefusedError(111, "refused")
        return 200

    return 0.001, answer


def _limit(count: int) -> dict[str, Any]:
    return {"limit": seawall.Limit(rate=count, burst=1, max_wait=math.inf), "bulkhead": None}


CASES = {
    "permits": Case(ONE, _slow, lambda count: {"bulkhead": seawall.Bulkhead(max_concurrent=10)}),
    "permits of a tenant": Case(
        EACH,
        _slow,
        lambda count: {"bulkhead": seawall.Bulkhead(max_concurrent=10, partition=lambda request: _caller(request))},
    ),
    "a limit": Case(ONE, _good, _limit),
    "a limit, by many callers": Case(EACH, _good, _limit),
    "an origin that is away": Case(ONE, _away, lambda count: {"waits": True}),
}


def _caller(request: httpx.Request) -> str:
    return request.headers["authorization"]


async def measure(case: Case, count: int) -> tuple[float, float]:
    """Microseconds of CPU for each of *count* calls at once, and seconds for all."""
    settings = {"timeout": None, "deadline": None, "retry": seawall.Retry(max_attempts=100), **case.settings(count)}
    async with seawall.AsyncClient(transport=ScriptedWire(case.answers()), **settings) as client:

        async def call(number: int) -> None:
            name = "one" if case.callers == ONE else str(number)
            assert (await client.get(URL, headers={"authorization": name})).status_code == 200

        await call(0)
        cpu, began_at = time.process_time(), time.perf_counter()
        await asyncio.gather(*map(call, range(count)))
        return (time.process_time() - cpu) / count * 1e6, time.perf_counter() - began_at


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks waiting", description=__doc__)
    parser.add_argument("--calls", default="250,1000,4000", help="how many at once")
    options = parser.parse_args(arguments)
    counts = [int(each) for each in options.calls.split(",")]
    print(conditions(["seawall", "httpx"], arguments, "waiting"), flush=True)
    print(f"CPU per call, µs\n\n| what calls wait for | {' | '.join(f'{count:,}' for count in counts)} |")
    print(f"|---|{'---|' * len(counts)}")
    for name, case in CASES.items():
        found = [asyncio.run(measure(case, count))[0] for count in counts]
        print(f"| {name} | {' | '.join(f'{each:.0f}' for each in found)} |", flush=True)
    return 0
