"""
CPU, speed and memory of HTTP clients, by kind of work: keep-alive, a server in another process on loopback.

The server is ours where an answer is 200 bytes of JSON in the clear; for larger ones, TLS and HTTP/2 it is nginx.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from .load import PEERS
from .machine import child, conditions, is_installed
from .plot import svg
from .sites import lacks, sites
from .work import WORKS, Work, works

REQUESTS = 20_000
SECONDS = 2.0  # after which a run starts no new requests, so that slow clients make fewer
SLOW = 20.0  # s; a cell that takes longer is run once
GUARD = 60.0  # s for a run, its warm-up included
BASES = ("aiohttp", "httpx")
DRAWN = (WORKS["get"], WORKS["inflight500"])
RATIOS = (
    ("seawall", "aiohttp"),
    ("seawall", "pyreqwest"),
    ("seawall", "httpx2"),
    ("seawall.httpx2", "seawall"),
    ("httpx", "seawall"),
)
Cell: TypeAlias = tuple[Work, str]
Runs: TypeAlias = dict[Cell, list[dict[str, float]]]


def measure(clients: list[str], wanted: list[Work], repeat: int, requests: int) -> tuple[Runs, dict[Cell, str]]:
    """
    Returns:
        The interleaved runs of each cell, and the reasons of failed ones. A cell that failed or was slow is not run
        again.
    """
    runs: Runs = {(work, client): [] for work in wanted for client in clients if PEERS[client].does(work)}
    failures: dict[Cell, str] = {}
    slow: set[Cell] = set()
    with sites(wanted) as running:
        for _ in range(repeat):
            for cell, done in runs.items():
                work, client = cell
                if cell in failures or cell in slow:
                    continue
                started_at = time.perf_counter()
                try:
                    words = (client, running.text(work), running.url(work), requests, SECONDS, running.authority)
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
    parser.add_argument("--work", default=",".join(WORKS), metavar="get,tls", help=f"of {', '.join(WORKS)}; or all")
    parser.add_argument("--in-flight", default="", metavar="1,50", help="each work at each of these, not at its own")
    parser.add_argument("--origins", default="", metavar="1,20", help="each work over each of these, not over its own")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    options = parser.parse_args(arguments)
    asked = options.clients.split(",")
    if unknown := [client for client in asked if client not in PEERS]:
        parser.error(f"no client {', '.join(unknown)}; there are {', '.join(PEERS)}")
    clients = [client for client in asked if all(map(is_installed, PEERS[client].packages))]
    try:
        asked_for = works(options.work, options.in_flight, options.origins)
    except ValueError as error:
        parser.error(str(error))
    wanted = [work for work in asked_for if not lacks(work)]
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
    print(f"keep-alive, a server in another process; medians of {options.repeat} interleaved runs", end="; ")
    print(f"{requests} requests, or as many as fit in {SECONDS:g} s; took {time.perf_counter() - started_at:.0f} s")
    for client in asked:
        if client not in clients:
            print(f"not installed, so not run: {client} (needs {', '.join(PEERS[client].packages)})")
    for work in asked_for:
        if work not in wanted:
            print(f"left out: {work.words}: {lacks(work)}")
    for work in wanted:
        print(f"\n{title(work)}\n{table(work, clients, medians, runs, failures)}")
    print("\nCPU per request, µs: medians; ratios: of the medians (the least and most of a round)\n")
    print(summary(wanted, clients, medians, runs))
    if options.json:
        cells = [
            {"client": client, **asdict(work), "failed": failures.get((work, client)), "runs": done}
            | {"median": medians.get((work, client))}
            for (work, client), done in runs.items()
        ]
        Path(options.json).write_text(json.dumps({"conditions": head.splitlines(), "cells": cells}, indent=1))
    if options.svg:
        drawn = [work for work in wanted if work in DRAWN] or wanted
        panels = {
            f"CPU per request, {title(work)}": {
                client: medians[work, client]["cpu_us"] if (work, client) in medians else None
                for client in clients
                if (work, client) in runs
            }
            for work in drawn
        }
        note = f"logarithmic; medians of {options.repeat}; {head.splitlines()[1]}; python -m benchmarks peers"
        Path(options.svg).write_text(svg(panels, note))
    return 0


def title(work: Work) -> str:
    plural = "s" if work.origins > 1 else ""
    return f"{work.words}; {work.in_flight:,} in flight, {work.origins:,} origin{plural}"


def summary(wanted: list[Work], clients: list[str], medians: dict[Cell, dict[str, float]], runs: Runs) -> str:
    """A row for each work, in Markdown; ratios are of runs in the same round."""
    pairs = [(one, other) for one, other in RATIOS if one in clients and other in clients]
    heads = ["requests", "in flight", "origins", *clients, *(f"{one} / {other}" for one, other in pairs)]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for work in wanted:
        cells = [work.words, f"{work.in_flight:,}", f"{work.origins:,}"]
        cells += [_cpu(work, each, medians) for each in clients]
        cells += [ratio(work, one, other, medians, runs) for one, other in pairs]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cpu(work: Work, client: str, medians: dict[Cell, dict[str, float]]) -> str:
    if not PEERS[client].does(work):
        return "no HTTP/2" if work.wire == "h2" else "not run"
    return f"{medians[work, client]['cpu_us']:.0f}" if (work, client) in medians else "failed"


def ratio(work: Work, one: str, other: str, medians: dict[Cell, dict[str, float]], runs: Runs) -> str:
    """The ratio of CPU per request: of the medians, and in brackets the minimum and maximum over the rounds."""
    if (work, one) not in medians or (work, other) not in medians:
        return ""
    rounds = [a["cpu_us"] / b["cpu_us"] for a, b in zip(runs[work, one], runs[work, other], strict=False)]
    middle = medians[work, one]["cpu_us"] / medians[work, other]["cpu_us"]
    return f"{middle:.2f} ({min(rounds):.2f}–{max(rounds):.2f})"


def table(
    work: Work,
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
    for client in filter(lambda client: (work, client) in runs, clients):
        failed = failures.get((work, client))
        cell = medians.get((work, client))
        if cell is None:
            rows.append(f"{client:16}  failed: {failed}")
            continue
        against = (medians.get((work, base)) for base in BASES)
        ratios = (f"{cell['cpu_us'] / base['cpu_us']:>10.3g}" if base else f"{'':10}" for base in against)
        count = f"{len(runs[work, client])} x {cell['requests']:.0f}"
        rows.append(
            f"{client:16}{cell['cpu_us']:>9.0f} µs" + "".join(ratios) + f"{cell['per_second']:>12.0f}"
            f"{cell['p50_ms']:>9.2f} ms{cell['p99_ms']:>9.2f} ms{cell['peak_mb']:>6.0f} MB{cell['growth_mb']:>7.1f} MB"
            f"{count:>12}" + (f"  a run failed: {failed}" if failed else "")
        )
    return "\n".join(rows)
