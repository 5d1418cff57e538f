"""10,000 random scripts of faults for non-idempotent requests: how often the server sees one of them twice."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from random import Random

import httpx

import seawall
from seawall.testing import FaultProcess

from .machine import conditions

FAULTS = (
    "close close:headers close:body close:chunk reset reset:headers reset:body reset:request hang "
    "hang:headers hang:body malformed:not_http malformed:chunk_junk truncate:body 500 502 503 504 408 425 ok "
    "extra half_close lie lie:close next:reset next:hang early:413:close early:413:reset info drip:body "
    "encoded:gzip_bad idle:reset second_answer"
)
IN_FLIGHT = 50
TIMEOUT, DEADLINE = 0.1, 0.5  # s


async def ask(url: str, scripts: int, seed: int) -> tuple[Counter[str], list[str]]:
    """How the calls ended, and their keys."""
    rng, ends, keys = Random(seed), Counter[str](), [f"u{number}" for number in range(scripts)]
    left = iter(keys)
    retry = seawall.Retry(backoff=0, throttled_backoff=0)
    async with seawall.AsyncClient(
        timeout=TIMEOUT, deadline=DEADLINE, retry=retry, breaker=None, budget=None
    ) as client:

        async def worker() -> None:
            for key in left:
                script = ",".join(rng.choices(FAULTS.split(), k=3))
                try:
                    response = await client.request(
                        rng.choice(["POST", "PATCH"]), f"{url}/x/{script}?key={key}", content=b"order"
                    )
                    ends[str(response.status_code)] += 1
                except httpx.RequestError as error:
                    ends[type(error).__name__] += 1

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return ends, keys


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks unsafe", description=__doc__)
    parser.add_argument("--scripts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    print(conditions(("seawall",), arguments, "unsafe"))
    with FaultProcess() as server:
        ends, keys = asyncio.run(ask(server.url, options.scripts, options.seed))
        seen = Counter(len(server.attempts(key)) for key in keys)
    print(f"{options.scripts} calls ended: {', '.join(f'{end} {count}' for end, count in ends.most_common())}")
    print(f"requests seen of a call: {', '.join(f'{times}: {count}' for times, count in sorted(seen.items()))}")
    twice = sum(count for times, count in seen.items() if times > 1)
    print(f"seen twice: {twice}")
    return 1 if twice else 0
