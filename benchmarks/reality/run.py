"""One client's run of one row, in processes of its own."""

from __future__ import annotations

import json
import statistics
import subprocess
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from . import lossy
from .drive import Job
from .place import Places
from .rows import Row

Cell = dict[str, Any]
ENDING = 60.0  # s for a client's process to end after the load; a busy pool of httpx needs some


def measured(places: Places, number: int, row: Row, client: str, methods: tuple[str, ...]) -> Cell:
    """
    What became of the calls, as a client saw it and as the servers did.

    Raises:
        ValueError: The client's process failed.
        OSError: A server didn't start.
    """
    with ExitStack() as stack:
        place = stack.enter_context(places.place(number))
        if row.loss:
            place.under = stack.enter_context(lossy.network(row.loss))
        site = row.open(place)
        job = Job(
            run=f"r{number}",
            url=f"{site.url}?ms={row.ms}" if row.ms else site.url,
            rate=row.rate,
            seconds=row.seconds,
            burst=row.burst,
            methods=methods,
            http2=row.http2,
            authority=str(place.authority) if site.url.startswith("https") else None,
        )
        driver = place.python("benchmarks.reality.drive", client, json.dumps(asdict(job)), log="drive.txt")
        driver.wait_for("ready")
        driver.tell()
        row.script(site, row.seconds)
        try:
            failed = driver.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            raise ValueError(f"its process took over {ENDING:g} s more than the load") from None
        printed = driver.log.read_text().splitlines()
        if failed:
            raise ValueError(printed[-1][:200])
        seen = next(line for line in printed if line.startswith("{"))
        return _cell(json.loads(seen), site.attempts(), site.seen_twice())


def _cell(seen: dict[str, Any], attempts: int, twice: int) -> Cell:
    calls, good = seen["calls"], seen["good"]
    return {
        "calls": sum(calls.values()),
        "counts": calls,
        "good": {method: 100 * good.get(method, 0) / count for method, count in calls.items()},
        "all": 100 * sum(good.values()) / sum(calls.values()),
        "p50": _quantile(seen["seconds"], 50),
        "p99": _quantile(seen["seconds"], 99),
        "good_p50": _quantile(seen["good_seconds"], 50),
        "good_p99": _quantile(seen["good_seconds"], 99),
        "late_p99": _quantile(seen["late"], 99),
        "attempts": attempts / sum(calls.values()),
        "twice": twice,
        "left": seen["left"],
        "ends": seen["ends"],
    }


def _quantile(seconds: list[float], percent: int) -> float | None:
    """The percentile; None if there is nothing to take it of."""
    if len(seconds) < 2:
        return seconds[0] if seconds else None
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


def median(cells: list[Cell]) -> Cell:
    """The median of each figure by itself; the ends come from the run whose share of good calls is in the middle."""
    by_good = sorted(cells, key=lambda cell: cell["all"])
    middle = by_good[len(cells) // 2]
    found: Cell = {name: middle[name] for name in ("calls", "counts", "ends")}
    found["good"] = {method: statistics.median(cell["good"][method] for cell in cells) for method in middle["good"]}
    for name in ("all", "p50", "p99", "good_p50", "good_p99", "late_p99", "attempts", "twice", "left"):
        kept = [cell[name] for cell in cells if cell[name] is not None]
        found[name] = statistics.median(kept) if kept else None
    return found
