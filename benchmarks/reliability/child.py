"""
One client in one check, in a process of its own: ``python -m benchmarks.reliability.child CHECK CLIENT JOB SETUP``.

It prints what it saw as JSON. A client has its defaults, except for timeouts of 1 s each, and a deadline of 3 s if it
has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import sys
import threading
import time
import urllib.request
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

from ..clients import CLIENTS, Ask, Setup
from ..dns_server import tell
from ..machine import memory, raise_descriptors

TIMEOUT, DEADLINE = 1.0, 3.0
GUARD = 8.0  # s after which a call is abandoned
RATE, SECONDS, SETTLED = 100, 30, 5  # calls a second in an outage, for how long, and when retries have found a measure
AFTER = 6.0  # s of watching it recover
ISOLATED_RATE = 400
CANCELS = 10_000


async def one(ask: Ask, method: str, url: str, **more: Any) -> dict[str, Any]:
    """How one call ends: its status or class of error, whether that is a timeout, and how long it took."""
    began_at, body, is_timeout = time.monotonic(), b"", False
    try:
        async with asyncio.timeout(GUARD) as guard:
            status, body = await ask(method, url, **more)
        end = str(status)
    except Exception as error:  # noqa: BLE001
        end = "no end" if guard.expired() else type(error).__name__
        is_timeout = any("Timeout" in kind.__name__ for kind in type(error).__mro__) and not guard.expired()
    seconds = time.monotonic() - began_at
    text = body[:16].decode("latin-1")
    return {"end": end, "is_timeout": is_timeout, "seconds": seconds, "size": len(body), "body": text}


async def each(ask: Ask, job: dict[str, Any]) -> Any:
    """One call after another."""
    found = []
    for method, url, more in job["calls"]:
        await asyncio.sleep(more.pop("pause", 0))
        match more.get("body"):
            case "iterator":
                more["body"] = _parts()
            case int(size):
                more["body"] = bytes(size)
            case str(text):
                more["body"] = text.encode()
        found.append(await one(ask, method, url, **more))
    return found


async def _parts() -> AsyncIterator[bytes]:
    for _ in range(10):
        yield b"x" * 1000


class Lag:
    """How late the event loop is, in seconds."""

    def __init__(self) -> None:
        self.samples: list[float] = []

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.005
            await asyncio.sleep(0.005)
            self.samples.append(loop.time() - due)

    def result(self) -> dict[str, float]:
        samples = sorted(self.samples) or [0.0]
        return {"p99": quantile(samples, 0.99), "max": samples[-1]}


async def open_load(ask: Ask, urls: list[str], rate: float, seconds: float) -> dict[str, Any]:
    """Start calls at a fixed rate, to each URL in turn; returns ends and times by URL."""
    loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    ends: list[list[dict[str, Any]]] = [[] for _ in urls]

    async def call(index: int) -> None:
        ends[index].append(await one(ask, "GET", urls[index]) | {"at": loop.time() - begin})

    lag = Lag()
    watch = asyncio.create_task(lag.watch())
    begin, number = loop.time(), 0
    while (now := loop.time() - begin) < seconds:
        while number / rate <= now:
            task = asyncio.create_task(call(number % len(urls)))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.sleep(max(0.0, number / rate - (loop.time() - begin)))
    watch.cancel()
    if running:
        await asyncio.wait(running, timeout=GUARD)
    return {"ends": ends, "lag": lag.result()}


async def outage(ask: Ask, job: dict[str, Any]) -> Any:
    """All calls fail until the server is told to be good: how many calls and attempts began by when."""
    base, key, begin = job["server"], job["key"], time.monotonic()
    load = asyncio.create_task(open_load(ask, [job["url"]], RATE, SECONDS + AFTER))
    moments, attempts = [], []
    for seconds in (SETTLED, SECONDS - SETTLED):
        await asyncio.sleep(seconds)
        attempts.append((await told_by(base, "/ctl/stats"))["keys"][key])
        moments.append(time.monotonic() - begin)
    await told_by(base, f"/ctl/script?key={key}", "ok")
    (ends,) = (await load)["ends"]
    began = [end["at"] - end["seconds"] for end in ends]
    after = [[at - moments[1], end["end"]] for at, end in zip(began, ends, strict=True) if at >= moments[1]]
    return {"attempts": attempts, "calls": [sum(at < moment for at in began) for moment in moments], "after": after}


async def told_by(base: str, target: str, body: str = "") -> Any:
    """The answer of the fault server's ``/ctl``, not through the measured client."""

    def ask() -> Any:
        with urllib.request.urlopen(f"{base}{target}", data=body.encode(), timeout=10) as answer:
            return json.load(answer)

    return await asyncio.to_thread(ask)


async def flaky(ask: Ask, job: dict[str, Any]) -> Any:
    """2,000 calls, 20 at a time."""
    left, ends = iter(range(2000)), Counter[str]()

    async def worker() -> None:
        for _ in left:
            ends[(await one(ask, "GET", job["url"]))["end"]] += 1

    await asyncio.gather(*(worker() for _ in range(20)))
    return dict(ends)


async def isolation(ask: Ask, job: dict[str, Any]) -> Any:
    """Upstreams of which the last few may be bad: first none of them, then those."""
    healthy = len(job["urls"]) - job["bad"]
    await open_load(ask, job["good"], ISOLATED_RATE, max(1.0, 1.5 * len(job["good"]) / ISOLATED_RATE))
    baseline = await open_load(ask, job["good"], ISOLATED_RATE, 4.0)
    load = await open_load(ask, job["urls"], ISOLATED_RATE, job["seconds"])

    def shown(run: dict[str, Any]) -> dict[str, Any]:
        ends = [end for ends in run["ends"][:healthy] for end in ends]
        times = sorted(end["seconds"] for end in ends)
        failed = sum(end["end"] != "200" for end in ends)
        return {"calls": len(ends), "failed": failed, "p99": quantile(times, 0.99), "lag": run["lag"]}

    late = [end["seconds"] for ends in load["ends"][healthy:] for end in ends if end["at"] > job["seconds"] - 3]
    return {"baseline": shown(baseline), "load": shown(load), "bad": quantile(sorted(late), 0.5) if late else None}


async def cancels(setup: Setup, name: str, job: dict[str, Any]) -> Any:
    """Calls of a new client cancelled 0 to 12 ms after they began, 50 at a time; what is left a second later, beside
    what another holds after as many good ones; then 20 good ones."""

    async def held() -> dict[str, int]:
        await asyncio.sleep(1)
        connections = (await told_by(job["server"], "/ctl/conns"))[job["name"]]["open"]
        found = _held() | {"connections": connections}
        del found["threads"]  # of a pool: they may stay
        return found

    async with CLIENTS[name].open(setup) as ask:
        await asyncio.gather(*(one(ask, "GET", job["slow"]) for _ in range(50)))
        before = await held()
    async with CLIENTS[name].open(setup) as ask:
        numbers = iter(range(CANCELS))

        async def worker() -> None:
            for number in numbers:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(number % 48 * 0.00025):
                        await ask("GET", job["slow"])

        await asyncio.gather(*(worker() for _ in range(50)))
        after = await held()
        good = [await one(ask, "GET", job["good"]) for _ in range(20)]
    count, slowest = sum(end["end"] == "200" for end in good), max(end["seconds"] for end in good)
    return {"before": before, "after": after, "good": count, "slowest": slowest}


async def bomb(ask: Ask, job: dict[str, Any]) -> Any:
    """One call, and its effect on the loop and on memory."""
    await one(ask, "GET", job["good"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lag = Lag()
    watch = asyncio.create_task(lag.watch())
    await asyncio.sleep(0.05)
    end = await one(ask, "GET", job["url"])
    await asyncio.sleep(0.02)
    watch.cancel()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return end | {"lag": lag.result()["max"], "grown": grown}


async def mixed(ask: Ask, job: dict[str, Any]) -> Any:
    """100 calls a second, every second one to a fault."""
    rng = Random(1)
    urls = [url for bad in rng.sample(job["bad"], len(job["bad"])) for url in (job["good"], bad)]
    load = await open_load(ask, urls, RATE, 6.0)
    good = Counter(end["end"] for ends in load["ends"][::2] for end in ends)
    return load["lag"] | {"good": dict(good)}


async def restart(ask: Ask, job: dict[str, Any]) -> Any:
    """Calls at that rate while the server is stopped and started again: when each ended, on the system's clock."""
    begin = time.monotonic()
    load = await open_load(ask, [job["url"]], job["rate"], job["seconds"])
    return [[begin + end["at"], end["end"]] for end in load["ends"][0]]


async def closing(setup: Setup, name: str, job: dict[str, Any]) -> Any:
    """With 100 calls in flight."""
    async with CLIENTS[name].open(setup) as ask:
        calls = [asyncio.create_task(one(ask, "GET", job["slow"])) for _ in range(100)]
        await asyncio.sleep(0.3)
        began_at = time.monotonic()
    took = time.monotonic() - began_at
    await asyncio.sleep(0.1)
    return {"seconds": took, "open": sum(not call.done() for call in calls)}


async def herd(setup: Setup, name: str, job: dict[str, Any]) -> Any:
    """One call by each of many clients, a hundred at once, because all of them would keep a core busy for too long."""
    urls = job["urls"]
    while batch := [urls.pop() for _ in urls[:100]]:
        async with contextlib.AsyncExitStack() as stack:
            asks = [await stack.enter_async_context(CLIENTS[name].open(setup)) for _ in batch]
            await asyncio.gather(*(one(ask, "GET", url) for ask, url in zip(asks, batch, strict=True)))


async def endurance(setup: Setup, name: str, job: dict[str, Any]) -> Any:
    """Many calls over many faults, 100 at a time: what they leave behind, and warnings."""
    complaints: list[str] = []
    warnings.simplefilter("always", ResourceWarning)
    warnings.showwarning = lambda message, *_, **__: complaints.append(str(message))
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
    async with CLIENTS[name].open(setup) as ask:  # pays for imports, and for what is made once
        await one(ask, "GET", job["urls"][0])
    await asyncio.sleep(0.2)
    before, early, number = _held(), 0.0, 0
    async with CLIENTS[name].open(setup) as ask:

        async def worker() -> None:
            nonlocal number, early
            while number < job["calls"]:
                number += 1
                if number == job["calls"] // 5:
                    gc.collect()
                    early = memory()[0]
                await one(ask, "GET", job["urls"][number % len(job["urls"])])

        await asyncio.gather(*(worker() for _ in range(100)))
        gc.collect()
        grown = memory()[0] - early
    await asyncio.sleep(1)
    gc.collect()
    await asyncio.sleep(0)
    return {"grown": grown, "before": before, "after": _held(), "complaints": dict(Counter(complaints))}


def _held() -> dict[str, int]:
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    return {"descriptors": len(os.listdir("/proc/self/fd")), "tasks": tasks, "threads": threads}


async def limited(ask: Ask, job: dict[str, Any]) -> Any:
    """This many calls at that rate: how long refused ones took, and the effect on memory and on the loop."""
    await one(ask, "GET", job["good"])
    before = memory()[0]
    load = await open_load(ask, [job["slow"]], job["rate"], job["seconds"])
    grown = memory()[1] - before
    refused = sorted(end["seconds"] for end in load["ends"][0] if end["end"] != "200")
    ends = Counter(end["end"] for end in load["ends"][0])
    return {"refused": refused, "ends": dict(ends), "grown": grown, "lag": load["lag"]}


async def layers(setup: Setup, name: str, job: dict[str, Any]) -> Any:
    """A client with and without its layers, in turn: the median of each, for 1 and for 20 calls at a time."""
    bare = CLIENTS[name].bare or name
    off = {"deadline": None, "retry": None, "bulkhead": None, "breaker": None, "budget": None}
    async with (
        CLIENTS[bare].open(Setup(authority=setup.authority, own=off)) as without,
        CLIENTS[name].open(Setup(authority=setup.authority)) as ask,
    ):
        times: dict[str, list[float]] = {"without": [], "with": []}
        rates: dict[str, list[float]] = {"without": [], "with": []}
        for number in range(job["rounds"]):
            pair = [("without", without), ("with", ask)]
            for kind, asked in pair if number % 2 else reversed(pair):
                times[kind] += [(await one(asked, "GET", job["url"]))["seconds"] for _ in range(100)]
                began_at, left = time.perf_counter(), iter(range(500))

                async def worker(asked: Ask = asked, left: Any = left) -> None:
                    for _ in left:
                        await one(asked, "GET", job["url"])

                await asyncio.gather(*(worker() for _ in range(20)))
                rates[kind].append(500 / (time.perf_counter() - began_at))
    return {
        "p50": {kind: quantile(sorted(found[100:]), 0.5) for kind, found in times.items()},
        "rate": {kind: quantile(sorted(found[1:]), 0.5) for kind, found in rates.items()},
    }


# names


async def steady(ask: Ask, job: dict[str, Any]) -> Any:
    """Calls at that rate, in phases that are announced to the DNS server; returns all ends, by phase."""
    found = []
    for command, seconds in job["phases"]:
        if command:
            tell(job["server"], command)
        load = await open_load(ask, [job["url"]], job["rate"], seconds)
        found.append(sorted(load["ends"][0], key=lambda end: end["at"]))
    return found


async def burst(ask: Ask, job: dict[str, Any]) -> Any:
    """Calls at once to one URL, the first of which may be cancelled."""
    calls = [asyncio.create_task(one(ask, "GET", job["url"])) for _ in range(job["calls"])]
    if job["cancel"]:
        await asyncio.sleep(0.05)
        calls.pop(0).cancel()
    return dict(Counter(end["end"] for end in await asyncio.gather(*calls)))


async def dead_name(ask: Ask, job: dict[str, Any]) -> Any:
    """One call, and what is left of it after a second."""
    await one(ask, "GET", job["good"])
    before = _held()
    end = await one(ask, "GET", job["bad"])
    await asyncio.sleep(1)
    return end | {"before": before, "after": _held()}


async def beside(ask: Ask, job: dict[str, Any]) -> Any:
    """Calls to new names, one after another; then the same beside calls to dead ones."""
    found: dict[str, list[dict[str, Any]]] = {"alone": [], "beside": []}
    dead: list[asyncio.Task[Any]] = []
    for kind in found:
        calls = []
        for url in job[kind]:
            calls.append(asyncio.create_task(one(ask, "GET", url)))
            await asyncio.sleep(0.2)
        found[kind] = await asyncio.gather(*calls)
        if kind == "alone":
            dead = [asyncio.create_task(one(ask, "GET", url)) for url in job["dead"]]
            await asyncio.sleep(0.1)
    for call in dead:
        call.cancel()
    return found


def quantile(values: list[float], share: float) -> float:
    return values[int(len(values) * share)]


CHECKS: dict[str, Callable[[Ask, dict[str, Any]], Awaitable[Any]]] = {
    "each": each,
    "outage": outage,
    "flaky": flaky,
    "isolation": isolation,
    "limited": limited,
    "bomb": bomb,
    "mixed": mixed,
    "restart": restart,
    "steady": steady,
    "burst": burst,
    "dead_name": dead_name,
    "beside": beside,
}
APART: dict[str, Callable[[Setup, str, dict[str, Any]], Awaitable[Any]]] = {  # these make their clients themselves
    "cancels": cancels,
    "closing": closing,
    "herd": herd,
    "endurance": endurance,
    "layers": layers,
}


async def run(check: str, name: str, job: dict[str, Any], setup: Setup) -> Any:
    logging.getLogger().addHandler(logging.NullHandler())
    raise_descriptors()
    if check in APART:
        return await APART[check](setup, name, job)
    async with CLIENTS[name].open(setup) as ask:
        return await CHECKS[check](ask, job)


def told(settings: dict[str, Any]) -> Setup:
    """The setup that `Board.run` wrote."""
    if bulkhead := settings.pop("bulkhead", None):
        import seawall

        settings["own"] = {**settings.get("own", {}), "bulkhead": seawall.Bulkhead(**bulkhead)}
    return Setup(**{"timeout": TIMEOUT, "deadline": DEADLINE} | settings)


if __name__ == "__main__":
    print(
        json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), told(json.loads(sys.argv[4])))))
    )
    sys.stdout.flush()
    os._exit(0)  # because the interpreter would wait for a thread in getaddrinfo
