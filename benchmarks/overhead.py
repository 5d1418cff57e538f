"""CPU per request of httpx, aiohttp and seawall: keep-alive, 200 bytes of JSON from another process on loopback."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version

REQUESTS = {1: 2000, 50: 4000, 500: 4000}
SLOW = {"httpx": 4}  # times fewer requests, or it takes minutes


def pinned(core: int) -> dict[str, object]:
    """Popen arguments that keep a process on one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        return {}
    cores = sorted(os.sched_getaffinity(0))
    return {"preexec_fn": lambda: os.sched_setaffinity(0, {cores[core % len(cores)]})}


def measure(client: str, url: str, in_flight: int, requests: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.load", client, url, str(in_flight), str(requests)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, **pinned(1))  # type: ignore[call-overload]
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks overhead", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each cell, interleaved; the median counts")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    clients = ["httpx", "aiohttp", "seawall"]
    cells: dict[tuple[str, int], list[dict[str, float]]] = {}
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **pinned(0),  # type: ignore[call-overload]
    )
    assert server.stdout is not None
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/"
        for _ in range(options.repeat):
            for in_flight, requests in REQUESTS.items():
                for client in clients:
                    count = requests // SLOW.get(client, 1)
                    cells.setdefault((client, in_flight), []).append(measure(client, url, in_flight, count))
    finally:
        server.communicate("")
    versions = ", ".join(f"{name} {version(name)}" for name in clients)
    print(f"{versions}; Python {platform.python_version()}, {os.cpu_count()} cores, asyncio")
    print(f"keep-alive, 200 B of JSON from another process; every layer of seawall on; medians of {options.repeat}\n")
    print(f"{'in flight':>10} {'client':>8} {'CPU/request':>12} {'requests/s':>11} {'p50':>9} {'p99':>9}   CPU against")
    medians = {
        key: {name: statistics.median(run[name] for run in runs) for name in runs[0]} for key, runs in cells.items()
    }
    for in_flight in REQUESTS:
        for client in clients:
            cell = medians[client, in_flight]
            ratios = ", ".join(
                f"{cell['cpu_us'] / medians[peer, in_flight]['cpu_us']:.2f} x {peer}"
                for peer in clients
                if client == "seawall" and peer != client
            )
            print(
                f"{in_flight:>10} {client:>8} {cell['cpu_us']:>9.0f} µs {cell['per_second']:>11.0f} "
                f"{cell['p50_ms']:>6.2f} ms {cell['p99_ms']:>6.2f} ms   {ratios}"
            )
    if options.json:
        rows = [{"client": client, "in_flight": n, **cell} for (client, n), cell in medians.items()]
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)
    return 0
