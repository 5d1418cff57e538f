"""1,000 random calls that hang, drip, wait, must retry later, queue or are redirected: how late they end."""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections import Counter
from random import Random

import httpx

import seawall
from seawall.testing import FaultProcess

from .machine import conditions

STEPS = (
    "hang hang:headers hang:body drip drip:headers drip:body delay:0.1 delay:0.3 503:1 429:1 503 reset close "
    "redirect:3 delay:0.2+redirect:1 info_endless ok"
)
BOUND = 0.05  # s
IN_FLIGHT = 25


async def ask(url: str, calls: int, seed: int) -> tuple[list[float], Counter[str]]:
    """Seconds past the deadline of each call, negative if it ended before; and how the calls ended."""
    rng, late, ends = Random(seed), [], Counter[str]()
    bulkhead = seawall.Bulkhead(max_concurrent=20)  # fewer than callers, so that some queue
    async with seawall.AsyncClient(
        bulkhead=bulkhead, breaker=None, budget=None, follow_redirects=True, timeout=5.0
    ) as client:
        left, loop = iter(range(calls)), asyncio.get_running_loop()

        async def worker() -> None:
            for number in left:
                deadline = rng.uniform(0.05, 0.6)
                script = ",".join(rng.choices(STEPS.split(), k=3))
                began_at = loop.time()
                try:
                    response = await client.get(
                        f"{url}/x/{script}?key=d{number}", extensions=seawall.options(deadline=deadline)
                    )
                    ends[str(response.status_code)] += 1
                except httpx.HTTPError as error:
                    ends[type(error).__name__] += 1
                late.append(loop.time() - began_at - deadline)

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return late, ends


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks deadlines", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    print(conditions(("seawall",), arguments, "deadlines"))
    with FaultProcess() as server:
        late, ends = asyncio.run(ask(server.url, options.calls, options.seed))
    over = [value * 1000 for value in late if value > 0]
    print(f"{len(late)} calls ended: {', '.join(f'{end} {count}' for end, count in ends.most_common())}")
    print(
        f"past the deadline: {len(over)}; median {statistics.median(over):.1f} ms, "
        f"p99 {statistics.quantiles(over, n=100)[98]:.1f} ms, most {max(over):.1f} ms (bound: {BOUND * 1000:g} ms)"
    )
    return 1 if max(over) > BOUND * 1000 else 0
