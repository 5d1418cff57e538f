"""CPU, speed and memory of HTTP clients: keep-alive, 200 bytes of JSON from another process on loopback."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from .load import KINDS, PEERS, WORDS, Load
from .machine import child, conditions, is_installed, server
from .plot import svg

REQUESTS = 4000
SECONDS = 2.0  # after which a run starts no new requests, so that slow clients make fewer
SLOW = 20.0  # s; a cell that takes longer is run once
GUARD = 60.0  # s for a run, its warm-up included
ORIGINS_IN_FLIGHT = 50
BASES = ("aiohttp", "httpx")
DRAWN = (Load(50), Load(500))
RATIOS = (("seawall", "aiohttp"), ("httpx", "seawall"))
Cell: TypeAlias = tuple[Load, str]
Runs: TypeAlias = dict[Cell, list[dict[str, float]]]


def loads(in_flight: str, origins: str, kinds: str) -> list[Load]:
    """One origin for each of *in_flight*, and 50 in flight over each of *origins*, with each kind of request."""
    widths = [(int(number), 1) for number in in_flight.split(",") if number]
    widths += [(ORIGINS_IN_FLIGHT, int(number)) for number in origins.split(",") if number]
    return [Load(*width, kind) for kind in kinds.split(",") for width in dict.fromkeys(widths)]


def usual_loads() -> list[Load]:
    """Every kind of request at 50 in flight; new URLs at other widths too."""
    wide = loads("1,50,500,2000", "20,1000", "new")
    return list(dict.fromkeys([*loads("50", "", ",".join(KINDS)), *wide]))


def measure(clients: list[str], wanted: list[Load], repeat: int, requests: int) -> tuple[Runs, dict[Cell, str]]:
    """
    Returns:
        The interleaved runs of each cell, and the reasons of failed ones. A cell that failed or was slow is not run
        again.
    """
    runs: Runs = {(load, client): [] for load in wanted for client in clients}
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
                    words = (client, url, load.kind, load.in_flight, requests, load.origins, SECONDS)
                    done.append(json.loads(child("benchmarks.load", *words, seconds=GUARD)))
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
    parser.add_argument(
        "--in-flight", metavar="1,50", help="over one origin; default, unless --origins is given: 1,50,500,2000"
    )
    parser.add_argument(
        "--origins", metavar="1,20", help="at 50 in flight; default, unless --in-flight is given: 1,20,1000"
    )
    parser.add_argument(
        "--kinds",
        metavar="new,post",
        help=f"of {', '.join(KINDS)}, in each load; default: new, and all of them at 50 in flight",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    options = parser.parse_args(arguments)
    asked = options.clients.split(",")
    if unknown := [client for client in asked if client not in PEERS]:
        parser.error(f"no client {', '.join(unknown)}; there are {', '.join(PEERS)}")
    clients = [client for client in asked if all(map(is_installed, PEERS[client].packages))]
    if unknown := [kind for kind in (options.kinds or "new").split(",") if kind not in KINDS]:
        parser.error(f"no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if options.in_flight or options.origins or options.kinds:
        in_flight = options.in_flight or ("" if options.origins else "50")
        wanted = loads(in_flight, options.origins or "", options.kinds or "new")
    else:
        wanted = usual_loads()
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
    print(f"{requests} requests, or as many as fit in {SECONDS:g} s; took {time.perf_counter() - started_at:.0f} s")
    for client in asked:
        if client not in clients:
            print(f"not installed, so not run: {client} (needs {', '.join(PEERS[client].packages)})")
    for load in wanted:
        print(f"\n{title(load)}\n{table(load, clients, medians, runs, failures)}")
    print("\nCPU per request, µs: medians; ratios: of the medians (the least and most of a round)\n")
    print(summary(wanted, clients, medians, runs))
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
    plural = "s" if load.origins > 1 else ""
    return f"{WORDS[load.kind]}; {load.in_flight:,} in flight, {load.origins:,} origin{plural}"


def summary(wanted: list[Load], clients: list[str], medians: dict[Cell, dict[str, float]], runs: Runs) -> str:
    """A row for each load, in Markdown; ratios are of runs in the same round."""
    pairs = [(one, other) for one, other in RATIOS if one in clients and other in clients]
    heads = ["requests", "in flight", "origins", *clients, *(f"{one} / {other}" for one, other in pairs)]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for load in wanted:
        cells = [WORDS[load.kind], f"{load.in_flight:,}", f"{load.origins:,}"]
        cells += [f"{medians[load, each]['cpu_us']:.0f}" if (load, each) in medians else "failed" for each in clients]
        cells += [ratio(load, one, other, medians, runs) for one, other in pairs]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def ratio(load: Load, one: str, other: str, medians: dict[Cell, dict[str, float]], runs: Runs) -> str:
    """The ratio of CPU per request: of the medians, and in brackets the minimum and maximum over the rounds."""
    if (load, one) not in medians or (load, other) not in medians:
        return ""
    rounds = [a["cpu_us"] / b["cpu_us"] for a, b in zip(runs[load, one], runs[load, other], strict=False)]
    middle = medians[load, one]["cpu_us"] / medians[load, other]["cpu_us"]
    return f"{middle:.2f} ({min(rounds):.2f}–{max(rounds):.2f})"


def table(
    load: Load,
    clients: list[str],
    medians: dict[Cell, dict[str, float]],
    runs: Runs,
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
