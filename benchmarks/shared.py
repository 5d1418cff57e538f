"""
``python -m benchmarks shared``: what processes that share a limit through a real Redis take of it, and at what cost;
and how many of the permits of a shared bulkhead they use, by what a server counts.

Each process asks the limit of one origin for turns, from 64 tasks or from one that is nearly idle. CPU is compared with
that of a limit of one process alone, because most of a turn's cost is its waiter.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import dataclasses
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import seawall
from seawall.config.criticality import DEFAULT
from seawall.events import Event, LimitDegraded, LimitRestored, Phase
from seawall.integrations.redis import Redis
from seawall.policy import holding, shared
from seawall.testing.network import Latency, Network

from .counted import Counted
from .reality.place import Place, Places, Program, listens, program

RATE, BURST = 1000.0, 50.0
ORIGIN = seawall.Origin("http", "a.test", 80)
SPANS = (0.1, 1.0, 10.0)  # s


@dataclass(kw_only=True)
class Job:
    """
    What one process does once it is told to begin.

    Attributes:
        redis: URL; empty for a limit of this process alone.
        seconds: For how long it takes turns.
        tasks: How many of its tasks do.
        pause: Seconds between two turns of one task.
        calls: How many GETs of *url* to make in place of that, if there are some.
        permits: Those of a shared bulkhead, in place of the limit; then GETs of *url* are made for *seconds*.
        ttl: Seconds until these lapse; None for the default.
        patience: Seconds that attempts wait for Redis; None for the default.
    """

    redis: str
    rate: float = RATE
    burst: float = BURST
    processes: int = 4
    seconds: float = 0.0
    tasks: int = 64
    pause: float = 0.0
    calls: int = 0
    url: str = "http://a.test/"
    permits: int = 0
    ttl: float | None = None
    patience: float | None = None


@dataclass
class Done:
    """
    What it has done.

    Attributes:
        instants: Of each turn, in seconds of the machine's monotonic clock.
        waits: How long each turn was waited for, in seconds.
        statuses: Of the answers to GETs.
        cpu: Seconds.
        events: "degraded" and "restored", each with its instant.
    """

    instants: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    cpu: float = 0.0
    events: list[tuple[str, float]] = field(default_factory=list)


class Turn:
    """An attempt, as far as a limit looks at it."""

    number = 1
    phase = Phase.QUEUED
    sent_at = -math.inf
    criticality = DEFAULT
    waited = 0.0
    is_buffered = True

    def part(self, _: object) -> bytes:
        return b""

    def left(self, _: float) -> None:
        return None


async def work(job: Job) -> Done:
    """Do *job*, once a line has come."""
    done, loop = Done(), asyncio.get_running_loop()

    def hear(event: Event) -> None:
        if isinstance(event, LimitDegraded | LimitRestored):
            done.events.append((type(event).__name__.removeprefix("Limit").lower(), loop.time()))

    store = Redis(job.redis) if job.redis else None
    settings: Any = {"bulkhead": seawall.Bulkhead(max_concurrent=job.permits or 64, shared=store), "timeout": None}
    if not job.permits:
        waits: Any = {"max_wait": math.inf, "processes": job.processes}
        settings = {"limit": seawall.Limit(rate=job.rate, burst=job.burst, shared=store, **waits)}
    async with seawall.AsyncClient(**settings, deadline=None, observers=[hear]) as client:
        gate: Any = client.engine.layers.origins[ORIGIN].limit
        if store is not None:  # redis-py imports some of its parts at the first use, which takes 0.1 s
            await _ask_once(store)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        left = iter(range(job.calls))

        async def calls() -> None:
            for _ in left:
                done.statuses.append((await client.get(job.url)).status_code)

        async def calls_meanwhile() -> None:
            while loop.time() < ends_at:
                done.statuses.append((await client.get(job.url)).status_code)
                await asyncio.sleep(job.pause)

        async def turns() -> None:
            while (asked_at := loop.time()) < ends_at:
                turn = Turn()
                if gate.try_enter(turn, asked_at) is None:
                    await gate.enter(turn, None)
                now = loop.time()
                done.instants.append(now)
                done.waits.append(now - asked_at)
                await asyncio.sleep(job.pause)

        cpu, ends_at = time.process_time(), loop.time() + job.seconds
        each = calls if job.calls else calls_meanwhile if job.permits else turns
        await asyncio.gather(*(each() for _ in range(job.tasks)))
        done.cpu = time.process_time() - cpu
    return done


async def _ask_once(store: Redis) -> None:
    opened = store.open()
    await opened.book("first", [], process="first", max_wait=0.0)
    await opened.aclose()


def redis_server(place: Place, port: int) -> Program:
    """A server without a file, which listens."""
    command = ("--bind", place.address, "--port", str(port), "--save", "", "--dir", str(place.folder))
    started = place.start(program("redis-server") or "redis-server", *command, log="redis.txt")
    started.wait_until(lambda: listens(place.under, place.address, port))
    return started


class Fleet:
    """Processes that do their jobs at the same time. Attributes: programs, in the order of the jobs."""

    def __init__(self, place: Place, jobs: Sequence[Job]) -> None:
        for log in place.folder.glob("worker-*.txt"):
            log.unlink()  # of an earlier fleet, which was ready
        self.programs = [
            place.python("benchmarks.shared", json.dumps(asdict(job)), log=f"worker-{number}.txt")
            for number, job in enumerate(jobs)
        ]
        for each in self.programs:
            each.wait_for("ready")

    def begin(self) -> None:
        for each in self.programs:
            each.tell()

    def done(self, timeout: float) -> list[Done]:
        """What each has done, once it has ended."""
        for each in self.programs:
            each.process.wait(timeout)
        return [Done(**json.loads(each.log.read_text().splitlines()[-1])) for each in self.programs]


def worst(instants: Sequence[float], span: float) -> int:
    """The most turns in any *span* of seconds; *instants* are in their order."""
    return max((bisect.bisect_right(instants, at + span) - first for first, at in enumerate(instants)), default=0)


def _measured(place: Place, seconds: float, pauses: Sequence[float]) -> str:
    port = place.port()
    redis_server(place, port)
    url = f"redis://{place.address}:{port}"
    jobs = [Job(redis=url, seconds=seconds, tasks=1 if pause else 64, pause=pause) for pause in pauses]
    fleet = Fleet(place, jobs)
    fleet.begin()
    done = fleet.done(seconds + 60)
    alone = Fleet(place, [Job(redis="", rate=RATE / 4, burst=BURST, seconds=min(seconds, 5.0))])
    alone.begin()
    (local,) = alone.done(70)
    asked = asyncio.run(_questions(url))
    instants = sorted(at for each in done for at in each.instants)
    took = instants[-1] - instants[0]
    spans = ", ".join(f"{worst(instants, span)} of {RATE * span + BURST:g} in {span:g} s" for span in SPANS)
    cpu = sum(each.cpu for each in done) / len(instants) * 1e6
    degraded = sum(name == "degraded" for each in done for name, _ in each.events)
    return (
        f"  used {len(instants) / took / RATE:.1%}; most {spans}\n"
        f"  shares {' '.join(str(len(each.instants)) for each in done)}; "
        f"round trips a grant {asked / len(instants):.3f}; Redis taken to be away {degraded} times\n"
        f"  CPU a grant {cpu:.0f} us, of a limit of one process {local.cpu / len(local.instants) * 1e6:.0f} us"
    )


async def _questions(url: str) -> int:
    opened: Any = Redis(url).open()
    info = await opened._client.info("commandstats")
    await opened.aclose()
    return sum(info.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def _away(place: Place, seconds: float) -> str:
    """What one process sees of a Redis that is stopped, killed, restarted empty, and 40 ms away."""
    port = place.port()
    running = redis_server(place, port)
    stopped_for = min(3.0, seconds / 2)
    job = Job(redis=f"redis://{place.address}:{port}", rate=RATE, burst=BURST, seconds=seconds, tasks=4, pause=0.02)
    found = []

    def stop() -> None:
        running.signal(signal.SIGSTOP)
        time.sleep(stopped_for)
        running.signal(signal.SIGCONT)

    def restart() -> None:
        running.end()
        time.sleep(1.0)
        redis_server(place, port)

    for what, happen in (("stopped", stop), ("killed, and empty after 1 s", restart)):
        fleet = Fleet(place, [job])
        fleet.begin()
        time.sleep(seconds / 4)
        happen()
        back_at = time.monotonic()
        (done,) = fleet.done(seconds + 60)
        restored = [at - back_at for name, at in done.events if name == "restored" and at >= back_at]
        found.append(_waited(what, done) + f", back after {restored[0] if restored else math.inf:.2f} s")
    with Network() as network:
        link = network.link((place.address, port))
        link.add(Latency(0.04))
        fleet = Fleet(place, [dataclasses.replace(job, redis=f"redis://{link.address}")])
        fleet.begin()
        (done,) = fleet.done(seconds + 60)
    return "\n".join([*found, _waited("40 ms away", done)])


async def _permits(place: Place, seconds: float, permits: int = 20) -> str:
    """What a server sees of four processes that share permits."""
    port = place.port()
    redis_server(place, port)
    redis = f"redis://{place.address}:{port}"
    counted = Counted(lambda _: asyncio.sleep(0.05))
    url = await counted.serve(place.address)
    found = []
    for what, pauses in (("all busy", (0.0,) * 4), ("one busy, three nearly idle", (0.0, 0.5, 0.5, 0.5))):
        jobs = [
            Job(redis=redis, permits=permits, url=url, seconds=seconds, tasks=1 if pause else 64, pause=pause)
            for pause in pauses
        ]
        fleet = await asyncio.to_thread(Fleet, place, jobs)
        before = await asyncio.to_thread(_questions_of, redis)
        counted.reset()
        fleet.begin()
        done = await asyncio.to_thread(fleet.done, seconds + 60)
        calls = [len(each.statuses) for each in done]
        asked = await asyncio.to_thread(_questions_of, redis) - before
        found.append(
            f"  {what}: most in flight {counted.most} of {permits}, used {counted.busy / counted.took / permits:.1%}, "
            f"calls {' '.join(map(str, calls))}, claims a call {asked / sum(calls):.3f}"
        )
    await counted.aclose()
    return "\n".join(found)


def _questions_of(url: str) -> int:
    return asyncio.run(_questions(url))


def _waited(what: str, done: Done) -> str:
    waits = sorted(wait * 1e3 for wait in done.waits)
    slow = sum(wait > 30 for wait in waits)
    p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    return (
        f"  {what}: {len(waits)} turns, of which {slow} waited for more than 30 ms; "
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {waits[-1]:.0f} ms"
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks shared", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args(arguments)
    if program("redis-server") is None:
        print("skipped: redis-server isn't installed")
        return 0
    print(f"{RATE:g}/s, burst {BURST:g}, 4 processes, {options.seconds:g} s")
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder))
        for number, (what, pauses) in enumerate(
            (("all busy", (0.0,) * 4), ("one busy, three nearly idle", (0.0, 0.5, 0.5, 0.5)))
        ):
            with places.place(number) as place:
                print(f"{what}:\n{_measured(place, options.seconds, pauses)}")
        with places.place(8) as place:
            print("four processes that share 20 permits, at a server that takes 50 ms for each request:")
            print(asyncio.run(_permits(place, options.seconds)))
        with places.place(9) as place:
            print("one process, 4 tasks that each pause for 20 ms, and a Redis that is")
            print(_away(place, options.seconds))
    return 0


def _run(text: str) -> None:
    """One process of a `Fleet`."""
    job = Job(**json.loads(text))
    if job.ttl is not None:
        holding.TTL = job.ttl  # type: ignore[misc]
    if job.patience is not None:
        shared.PATIENCE, shared.GIVE_UP = job.patience, 10 * job.patience  # type: ignore[misc]
    print(json.dumps(asdict(asyncio.run(work(job)))))


if __name__ == "__main__":
    _run(sys.argv[1])
