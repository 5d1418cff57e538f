"""
One client under the demo's load, in a process of its own: ``python -m seawall.cli.load JSON`` prints a line of JSON
four times a second, what was done so far, and a last one with the result.

An open load: calls start when their time has come, whether or not the earlier ones are done.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from collections.abc import Mapping
from typing import Any

import httpx

from .. import DNS, Client

__all__ = ["PATIENCE", "TIMEOUT"]

TIMEOUT = 2.0  # s; httpx's timeouts, for both clients
DEADLINE = 4.0  # s; seawall's
WARM = 20  # calls that don't count: imports, caches, the first connection
PATIENCE = 4.5  # s that calls get to end once the load is over


class Tally:
    """What became of the calls to one host."""

    def __init__(self) -> None:
        self.started = 0
        self.ok = 0
        self.attempts = 0
        self.times: list[float] = []
        self.errors: dict[str, int] = {}

    def end(self, outcome: str, elapsed: float, attempts: int) -> None:
        self.times.append(elapsed)
        self.attempts += attempts
        if outcome == "ok":
            self.ok += 1
        else:
            self.errors[outcome] = self.errors.get(outcome, 0) + 1

    def result(self) -> dict[str, Any]:
        times = sorted(self.times) or [0.0]
        return {
            "calls": self.started,
            "ok": self.ok,
            "p50": times[len(times) // 2],
            "p99": times[min(len(times) - 1, int(len(times) * 0.99))],
            "attempts": self.attempts,
            "errors": self.errors,
        }


async def lag(samples: list[float]) -> None:
    """How late the event loop is: what it takes from everybody else in this process."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        samples.append(loop.time() - due)


def make_client(name: str, nameserver: str) -> httpx.AsyncClient:
    if name == "httpx":
        return httpx.AsyncClient(timeout=TIMEOUT)
    return Client(timeout=TIMEOUT, deadline=DEADLINE, dns=DNS(nameservers=(nameserver,)))


async def run(client_name: str, urls: Mapping[str, str], nameserver: str, *, seconds: float, rate: float) -> None:
    logging.getLogger("seawall").addHandler(logging.NullHandler())  # the terminal belongs to the demo
    loop = asyncio.get_running_loop()
    tallies = {host: Tally() for host in urls}
    samples: list[float] = []
    running: set[asyncio.Task[None]] = set()
    rng = random.Random(3)

    async with make_client(client_name, nameserver) as client:

        async def call(host: str) -> None:
            tally = tallies[host]
            tally.started += 1
            started_at = loop.time()
            outcome, attempts = "cancelled", 1
            try:
                response = await client.get(urls[host])
                outcome = "ok" if response.status_code < 400 else str(response.status_code)
                attempts = len(response.extensions.get("seawall", "1"))
            except httpx.HTTPError as error:
                outcome = type(error).__name__
                attempts = len(getattr(error, "attempts", "1"))
            finally:
                tally.end(outcome, loop.time() - started_at, attempts)

        for _ in range(WARM):
            await client.get(next(iter(urls.values())))
        watch = asyncio.create_task(lag(samples))
        begin, number, told = loop.time(), 0, 0.0
        hosts = list(urls)
        while (now := loop.time() - begin) < seconds:
            while number / rate <= now:
                # Healthy gets as much as all others together: half of a service's traffic goes where nothing is wrong.
                host = hosts[0] if number % 2 == 0 else rng.choice(hosts[1:] or hosts)
                task = asyncio.create_task(call(host))
                running.add(task)
                task.add_done_callback(running.discard)
                number += 1
            if now - told >= 0.25:
                told = now
                progress = {host: [tally.started, tally.ok, len(tally.times)] for host, tally in tallies.items()}
                print(json.dumps({"at": now, "progress": progress}), flush=True)
            await asyncio.sleep(max(0.0, number / rate - (loop.time() - begin)))
        watch.cancel()
        if running:
            await asyncio.wait(list(running), timeout=PATIENCE)
        for task in list(running):
            task.cancel()
        if running:
            await asyncio.wait(list(running), timeout=5)
    samples.sort()
    print(
        json.dumps(
            {
                "hosts": {host: tally.result() for host, tally in tallies.items()},
                "lag": {"p99": samples[int(len(samples) * 0.99)], "max": samples[-1]},
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))
