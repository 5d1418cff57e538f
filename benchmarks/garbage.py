"""
What Python's garbage collector costs a service that has many objects: as it is, after ``gc.freeze()``, and if it runs
less often.

A process holds objects as a service's imports, models and caches do, and makes requests. The time of collections is the
thread's CPU, between the collector's own callbacks.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import sys
import time
from statistics import median
from typing import Any

from .load import PEERS, run
from .machine import child, conditions, raise_descriptors, server
from .work import Work

HEAP = 500_000  # objects; FastAPI, pydantic and SQLAlchemy are some 300,000, before an application's own
REQUESTS = 20_000
RARELY = 50_000  # new objects, net, after which the collector looks at them; Python 3.11's default is 700
WAYS = ("as it is", "gc.freeze()", f"gc.freeze(), gc.set_threshold({RARELY:_})")
GUARD = 300.0  # s for a run


async def measure(url: str, way: str, in_flight: int, requests: int) -> dict[str, float]:
    """CPU of a request in µs, that of it which the collector takes, and the longest collection in ms."""
    heap = [{"number": number} for number in range(HEAP)]
    if way != WAYS[0]:
        gc.collect()
        gc.freeze()
    if way == WAYS[2]:
        gc.set_threshold(RARELY)
    spent: list[float] = []
    began_at = 0.0

    def note(phase: str, _: dict[str, Any]) -> None:
        nonlocal began_at
        if phase == "start":
            began_at = time.thread_time()
        else:
            spent.append(time.thread_time() - began_at)

    gc.callbacks.append(note)
    try:
        found = await run(PEERS["seawall"], Work("get", in_flight), [url], requests, math.inf, "", spent.clear)
    finally:
        gc.callbacks.remove(note)
    del heap
    return {
        "cpu_us": found["cpu_us"],
        "collector_us": sum(spent) / found["requests"] * 1e6,
        "longest_ms": max(spent, default=0.0) * 1e3,
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks garbage", description=__doc__)
    parser.add_argument("--in-flight", default="50,2000")
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, interleaved; the median counts")
    options = parser.parse_args(arguments)
    print(conditions(("seawall",), arguments, "garbage"))
    print(f"\n{HEAP:,} objects beside seawall's; medians of {options.repeat}\n")
    print("| in flight | | CPU of a request | of it the collector's | longest collection |\n|---|---|---|---|---|")
    with server() as port:
        url = f"http://127.0.0.1:{port}/"
        for width in map(int, options.in_flight.split(",")):
            runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(options.repeat):
                for way, done in runs.items():
                    words = (url, way, width, options.requests)
                    done.append(json.loads(child("benchmarks.garbage", *words, seconds=GUARD)))
            for way, done in runs.items():
                cpu, collector, longest = (
                    median(each[name] for each in done) for name in ("cpu_us", "collector_us", "longest_ms")
                )
                print(f"| {width:,} | {way} | {cpu:.0f} µs | {collector:.1f} µs | {longest:.1f} ms |")
    return 0


if __name__ == "__main__":
    raise_descriptors()
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))), flush=True)
