"""
One client, made once at its defaults, under one row's load: ``python -m benchmarks.reality.drive CLIENT JOB``.

Calls are due at fixed instants, whatever became of those before. Their methods are random, the same for each client: if
they took turns, a server's limit would strike one method only. A call is good if it ends with 2xx and the body that
belongs to it. Its time begins when it is due. The process prints "ready", begins once a line comes on its standard
input, and prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from ..clients import CLIENTS, Ask, Setup
from ..machine import raise_descriptors

WARM = "warm"  # the id of the first call, which doesn't count: it imports what a client imports late
PAUSE = 0.5  # s after it
PATIENCE = 10.0  # s after the last call is due, within which calls must end
SWAY = 0.01  # s by which bursts come sooner or later, so that they meet an idle connection's end


@dataclass(frozen=True, kw_only=True)
class Job:
    """
    Attributes:
        run: A name that begins the ids of all calls.
        burst: Calls that are due at the same instant.
        authority: The file of the trusted authority, for https.
    """

    run: str
    url: str
    rate: float
    seconds: float
    burst: int = 1
    methods: tuple[str, ...] = ("GET", "POST")
    http2: bool = False
    authority: str | None = None

    def due(self) -> list[float]:
        """The instants of all calls, in seconds after the first."""
        gap, count = self.burst / self.rate, round(self.rate * self.seconds)
        sway = SWAY if self.burst > 1 else 0.0
        return [(n // self.burst) * gap + sway * (2 * (n // self.burst) % 5 - 2) / 2 for n in range(count)]


@dataclass
class Seen:
    """
    Attributes:
        calls, good: By method.
        ends: How calls ended that weren't good: status or class of error.
        seconds: From the instant that a call was due until its end, of all calls in their order.
        good_seconds: The same, of the good ones.
        late: Seconds by which calls began late, because this process was busy, of all calls.
        left: Descriptors that are open after the client was closed, beyond those before it was made.
    """

    calls: Counter[str] = field(default_factory=Counter)
    good: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    good_seconds: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    left: int = 0


async def load(ask: Ask, job: Job, seen: Seen) -> None:
    loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    begin = loop.time() - min(job.due())
    methods = Random(1)  # the same for each client

    async def call(name: str, method: str, due: float) -> None:
        seen.calls[method] += 1
        seen.late.append(loop.time() - due)
        end = await one(ask, job, method, name)
        seconds = loop.time() - due
        seen.seconds.append(seconds)
        if end == "good":
            seen.good[method] += 1
            seen.good_seconds.append(seconds)
        else:
            seen.ends[end] += 1

    for number, due in enumerate(job.due()):
        if (ahead := begin + due - loop.time()) > 0:
            await asyncio.sleep(ahead)
        task = loop.create_task(call(f"{job.run}-{number}", methods.choice(job.methods), begin + due))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running, timeout=PATIENCE)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def one(ask: Ask, job: Job, method: str, name: str) -> str:
    """How a call ends."""
    body = name.encode() if method == "POST" else None
    try:
        status, answer = await ask(method, job.url, body=body, headers={"x-call": name})
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    except asyncio.CancelledError:
        return "no end"
    if 200 <= status < 300:
        return "good" if answer == name.encode() else "wrong body"
    return str(status)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def drive(client: str, job: Job) -> Seen:
    seen = Seen()
    setup = Setup(timeout=None, http2=job.http2, authority=job.authority)
    loop = asyncio.get_running_loop()
    before = descriptors()
    async with CLIENTS[client].open(setup) as ask:
        await one(ask, job, "GET", WARM)
        await asyncio.sleep(PAUSE)
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        await load(ask, job, seen)
    await asyncio.sleep(0.2)
    gc.collect()
    seen.left = descriptors() - before
    return seen


def main(client: str, job: str) -> None:
    raise_descriptors()
    print(json.dumps(vars(asyncio.run(drive(client, Job(**json.loads(job)))))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
