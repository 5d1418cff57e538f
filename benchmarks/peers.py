"""CPU, speed and memory of HTTP clients: keep-alive, 200 bytes of JSON from another process on loopback."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from .load import PEERS, Load
from .machine import child, conditions, is_installed, server
from .plot import svg

REQUESTS = 4000
SECONDS = 2.0  # after which a run takes no new requests: the slow get fewer
SLOW = 20.0  # s; what takes longer is run once
GUARD = 60.0  # s for a run, its warm-up included
ORIGINS_IN_FLIGHT = 50
BASES = ("aiohttp", "httpx")
DRAWN = (Load(50), Load(500))
Cell: TypeAlias = tuple[Load, str]


def loads(in_flight: str, origins: str) -> list[Load]:
    """One origin at each of *in_flight*, and 50 in flight over each of *origins*."""
    found = [Load(int(number)) for number in in_flight.split(",") if number]
    found += [Load(ORIGINS_IN_FLIGHT, int(number)) for number in origins.split(",") if number]
    return list(dict.fromkeys(found))


def measure(
    clients: list[str], wanted: list[Load], repeat: int, requests: int
) -> tuple[dict[Cell, list[dict[str, float]]], dict[Cell, str]]:
    """
    Returns:
        Runs of each cell, interleaved, and why one failed. What failed or took long is not run again.
    """
    runs: dict[Cell, list[dict[str, float]]] = {(load, client): [] for load in wanted for client in clients}
    failures: dict[Cell, str] = {}
    slow: set[Cell] = set()
    with server() as port:
        for _ in range(repeat):
            for cell, done in runs.items():
                load, client = cell
                if cell in failures or cell in slow:
                    continue
                started_at = time.perf_counter()
                url = f"http://127.0.0.1:{port}/"
                try:
                    output = child(
                        "benchmarks.load", client, url, load.in_flight, requests, load.origins, SECONDS, seconds=GUARD
                    )
                    done.append(json.loads(output))
                except ValueError as error:
                    failures[cell] = str(error)
                if time.perf_counter() - started_at > SLOW:
                    slow.add(cell)
    return runs, failures


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks peers", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each cell, interleaved; the median counts")
    parser.add_argument("--json", metavar="FILE", help="write all runs and medians")
    parser.add_argument("--svg", metavar="FILE", help="draw CPU per request at 50 and 500 in flight")
    parser.add_argument("--clients", default=",".join(PEERS))
    parser.add_argument("--in-flight", metavar="1,50", help="over one origin; left out like --origins: 1,50,500,2000")
    parser.add_argument("--origins", metavar="1,20", help="at 50 in flight; left out like --in-flight: 1,20,1000")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    options = parser.parse_args(arguments)
    asked = options.clients.split(",")
    if unknown := [client for client in asked if client not in PEERS]:
        parser.error(f"no client {', '.join(unknown)}; there are {', '.join(PEERS)}")
    clients = [client for client in asked if all(map(is_installed, PEERS[client].packages))]
    wanted = loads(options.in_flight or "", options.origins or "") or loads("1,50,500,2000", "1,20,1000")
    packages = dict.fromkeys(package for client in clients for package in PEERS[client].packages)
    head = conditions(packages, arguments, "peers")
    started_at = time.perf_counter()
    requests = REQUESTS // 10 if options.quick else REQUESTS
    print(head, flush=True)
    runs, failures = measure(clients, wanted, options.repeat, requests)
    medians = {
        cell: {name: statistics.median(run[name] for run in done) for name in done[0]}
        for cell, done in runs.items()
        if done
    }
    print(f"keep-alive, 200 B of JSON from another process; medians of {options.repeat} interleaved runs", end="; ")
    print(f"{requests} requests, or what {SECONDS:g} s allow; {time.perf_counter() - started_at:.0f} s in all")
    for client in asked:
        if client not in clients:
            print(f"not installed, so not run: {client} (needs {', '.join(PEERS[client].packages)})")
    for load in wanted:
        print(f"\n{title(load)}\n{table(load, clients, medians, runs, failures)}")
    if options.json:
        cells = [
            {"client": client, **asdict(load), "failed": failures.get((load, client)), "runs": done}
            | {"median": medians.get((load, client))}
            for (load, client), done in runs.items()
        ]
        Path(options.json).write_text(json.dumps({"conditions": head.splitlines(), "cells": cells}, indent=1))
    if options.svg:
        drawn = [load for load in wanted if load in DRAWN] or wanted
        panels = {
            f"CPU per request, {title(load)}": {
                client: medians[load, client]["cpu_us"] if (load, client) in medians else None for client in clients
            }
            for load in drawn
        }
        note = f"logarithmic; medians of {options.repeat}; {head.splitlines()[1]}; python -m benchmarks peers"
        Path(options.svg).write_text(svg(panels, note))
    return 0


def title(load: Load) -> str:
    return f"{load.in_flight:,} in flight, {load.origins:,} origin{'s' if load.origins > 1 else ''}"


def table(
    load: Load,
    clients: list[str],
    medians: dict[Cell, dict[str, float]],
    runs: dict[Cell, list[dict[str, float]]],
    failures: dict[Cell, str],
) -> str:
    """A row for each client, with its CPU against the others'."""
    rows = [
        f"{'client':16}{'CPU/request':>12}" + "".join(f"{'/ ' + base:>10}" for base in BASES) + f"{'requests/s':>12}"
        f"{'p50':>12}{'p99':>12}{'peak':>9}{'growth':>10}{'requests':>12}"
    ]
    for client in clients:
        failed = failures.get((load, client))
        cell = medians.get((load, client))
        if cell is None:
            rows.append(f"{client:16}  failed: {failed}")
            continue
        against = (medians.get((load, base)) for base in BASES)
        ratios = (f"{cell['cpu_us'] / base['cpu_us']:>10.3g}" if base else f"{'':10}" for base in against)
        count = f"{len(runs[load, client])} x {cell['requests']:.0f}"
        rows.append(
            f"{client:16}{cell['cpu_us']:>9.0f} µs" + "".join(ratios) + f"{cell['per_second']:>12.0f}"
            f"{cell['p50_ms']:>9.2f} ms{cell['p99_ms']:>9.2f} ms{cell['peak_mb']:>6.0f} MB{cell['growth_mb']:>7.1f} MB"
            f"{count:>12}" + (f"  a run failed: {failed}" if failed else "")
        )
    return "\n".join(rows)
