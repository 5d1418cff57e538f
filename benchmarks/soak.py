"""Many calls over all kinds of fault, cancelled at random: what they leave behind."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import resource
import time
from collections import Counter
from typing import Any

import httpx

import seawall
from seawall.integrations.dashboard import dashboard
from seawall.testing import FaultProcess

STEPS = (
    "ok", "ok", "ok", "ok:100000", "503", "500", "reset", "reset:headers", "reset:body", "close", "close:body",
    "close:chunk", "hang", "delay:0.02", "drip:body:0.01:50", "extra", "second_answer", "idle", "idle:reset:0.01",
    "next:close", "next:reset", "lie", "malformed:chunk_junk", "malformed:not_http", "trailers", "encoded",
    "info:103:3", "early:413:close", "redirect:2", "huge_header", "body_on",
)  # fmt: skip
CONCURRENT = 50


def observers() -> list[Any]:
    """Every observer that there is: OpenTelemetry with its SDK, and Prometheus."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from prometheus_client import CollectorRegistry

    from seawall.integrations.otel import OTel
    from seawall.integrations.prometheus import Prometheus

    metrics = MeterProvider(metric_readers=[InMemoryMetricReader()])
    return [OTel(meter_provider=metrics, tracer_provider=TracerProvider()), Prometheus(registry=CollectorRegistry())]


async def soak(url: str, calls: int, *, seed: int = 1, is_observed: bool = False) -> dict[str, object]:
    """
    Args:
        is_observed: With metrics, spans, logs and the dashboard.

    Returns:
        Outcomes, and what is left: permits, connections that are not idle, tasks, descriptors, and the growth of memory
        since the first tenth of the calls, in MB.
    """
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    tasks, files, memory = len(asyncio.all_tasks()), descriptors(), 0.0
    left = iter(range(calls))
    heard = observers() if is_observed else []
    async with seawall.AsyncClient(
        timeout=0.1, deadline=0.5, breaker=None, follow_redirects=True, observers=heard
    ) as client:
        page = dashboard(client) if is_observed else None

        async def one() -> None:
            body = None if rng.random() < 0.7 else rng.randbytes(rng.choice((10, 100_000)))
            method, step = "GET" if body is None else "POST", rng.choice(STEPS)
            cancel_after = rng.uniform(0, 0.02) if rng.random() < 0.3 else None
            try:
                async with asyncio.timeout(cancel_after):
                    if rng.random() < 0.8:
                        response = await client.request(method, f"{url}/x/{step}?key=soak", content=body)
                    else:
                        async with client.stream(method, f"{url}/x/{step}?key=soak", content=body) as response:
                            async for _ in response.aiter_raw():
                                if rng.random() < 0.1:
                                    break
                outcomes[str(response.status_code)] += 1
            except TimeoutError:
                outcomes["cancelled"] += 1
            except httpx.HTTPError as error:
                outcomes[type(error).__name__] += 1

        async def worker() -> None:
            nonlocal memory
            for number in left:
                if number == calls // 10:
                    memory = _memory()
                await one()

        await asyncio.gather(*(worker() for _ in range(CONCURRENT)))
        await asyncio.sleep(0.05)
        gc.collect()
        stats = client.stats()
        found: dict[str, object] = {
            "outcomes": dict(outcomes.most_common()),
            "permits": sum(origin.in_flight + origin.waiting for origin in stats.origins.values()) + stats.calls,
            "connections": stats.connections - sum(origin.idle for origin in stats.origins.values()),
            "good": await _is_good(client, url),
        }
    for _ in range(20):
        await asyncio.sleep(0)
    gc.collect()
    del page
    found |= {
        "tasks": len(asyncio.all_tasks()) - tasks,
        "descriptors": descriptors() - files,
        "memory_mb": _memory() - memory,
    }
    return found


async def _is_good(client: seawall.AsyncClient, url: str) -> bool:
    """Whether the client works, once the idle connections that were made to fail at their next use are used up."""
    for _ in range(CONCURRENT):
        try:
            return bool((await client.get(f"{url}/x/ok?key=good")).json()["key"] == "good")
        except httpx.HTTPError:
            continue
    return False


def descriptors() -> int:
    """How many are open; 0 where the system doesn't say."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def _memory() -> float:
    """Resident memory in MB."""
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--observed", action="store_true", help="with metrics, spans, logs and the dashboard")
    options = parser.parse_args(arguments)
    started_at = time.perf_counter()
    if options.observed:
        logging.basicConfig(level=logging.DEBUG, handlers=[logging.NullHandler()])
    with FaultProcess() as server:
        found = asyncio.run(soak(server.url, options.calls, seed=options.seed, is_observed=options.observed))
    print(f"{options.calls} calls, {CONCURRENT} at a time, in {time.perf_counter() - started_at:.0f} s; left of them:")
    for name, value in found.items():
        print(f"  {name:12} {value}")
    is_clean = not any(found[name] for name in ("permits", "connections", "tasks", "descriptors")) and found["good"]
    return 0 if is_clean else 1
