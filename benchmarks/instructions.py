"""
User-space instructions per request in the client's process, counted by valgrind's callgrind.

A run of few requests is subtracted from a run of many, so that imports, connections and caches don't count. How busy
the machine is makes no difference. Work of the kernel is not counted. There is one request at a time by default,
because it is random which of several sockets are ready together.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from .load import PEERS
from .machine import child, conditions, is_installed
from .sites import Sites, lacks, sites
from .work import KINDS, WORKS, Work, works

CLIENTS = "httpx,aiohttp,seawall"
USUAL = (*KINDS, "tls", "h2", "get10k", "get1m")
FEW, MANY = 500, 2500
GUARD = 1800.0  # s for a run, because it takes some fifty times as long as without valgrind
ENDLESS = 1e9  # s, because the number of requests must end a run, not the time
HASHES = {"PYTHONHASHSEED": "0"}  # so that dicts have the same collisions in each run


def counted(client: str, work: Work, running: Sites, requests: int) -> int:
    """Instructions of a whole process that makes this many requests."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "callgrind.out"
        under = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={found}")
        words = (client, running.text(work), running.url(work), requests, ENDLESS, running.authority)
        child("benchmarks.load", *words, seconds=GUARD, core=None, under=under, environment=HASHES)
        match = re.search(r"^(?:summary|totals): (\d+)", found.read_text(), re.MULTILINE)
    if match is None:
        raise ValueError("callgrind wrote no total")
    return int(match[1])


def per_request(client: str, work: Work, running: Sites, few: int, many: int) -> float:
    """Thousands of instructions per request."""
    low, high = (counted(client, work, running, requests) for requests in (few, many))
    return (high - low) / (many - few) / 1000


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks instructions", description=__doc__)
    parser.add_argument("--clients", default=CLIENTS, help=f"of {', '.join(PEERS)}")
    parser.add_argument("--work", default=",".join(USUAL), help=f"of {', '.join(WORKS)}")
    parser.add_argument("--in-flight", type=int, default=1, help="in place of each work's own")
    parser.add_argument("--few", type=int, default=FEW, help="requests of the run that is subtracted")
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed")
    asked = options.clients.split(",")
    if unknown := [name for name in asked if name not in PEERS]:
        parser.error(f"no client {', '.join(unknown)}; there are {', '.join(PEERS)}")
    try:
        wanted = works(options.work, in_flight=str(options.in_flight))
    except ValueError as error:
        parser.error(str(error))
    served = [work for work in wanted if not lacks(work)]
    clients = [client for client in asked if all(map(is_installed, PEERS[client].packages))]
    packages = dict.fromkeys(package for client in clients for package in PEERS[client].packages)
    head = conditions(packages, arguments, "instructions")
    print(head, flush=True)
    for work in wanted:
        if work not in served:
            print(f"left out: {work.words}: {lacks(work)}")
    found: dict[tuple[Work, str], float] = {}
    with sites(served) as running, ThreadPoolExecutor(2) as pool:
        jobs = {
            (work, client): pool.submit(per_request, client, work, running, options.few, options.many)
            for work in served
            for client in clients
            if PEERS[client].does(work)
        }
        for (work, client), job in jobs.items():
            try:
                found[work, client] = job.result()
                print(f"{client}, {work.words}: {found[work, client]:,.1f}", flush=True)
            except ValueError as error:
                print(f"{client}, {work.words}: failed: {error}", flush=True)
    print(f"\nthousands of instructions per request, {options.in_flight} in flight, ", end="")
    print(f"{options.many:,} requests minus {options.few:,}\n\n{table(served, clients, found)}")
    if options.json:
        cells = [{"client": client, **asdict(work), "thousands": each} for (work, client), each in found.items()]
        Path(options.json).write_text(json.dumps({"conditions": head.splitlines(), "cells": cells}, indent=1))
    return 0


def table(wanted: list[Work], clients: list[str], found: dict[tuple[Work, str], float]) -> str:
    """A row for each work, in Markdown."""
    has_ratio = {"aiohttp", "seawall"} <= set(clients)
    heads = ["requests", *clients, *(["seawall / aiohttp"] if has_ratio else [])]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for work in wanted:
        cells = [_cell(work, each, found) for each in clients]
        if has_ratio and (work, "seawall") in found and (work, "aiohttp") in found:
            cells.append(f"{found[work, 'seawall'] / found[work, 'aiohttp']:.2f}")
        rows.append("| " + " | ".join([work.words, *cells]) + " |")
    return "\n".join(rows)


def _cell(work: Work, client: str, found: dict[tuple[Work, str], float]) -> str:
    if not PEERS[client].does(work):
        return "no HTTP/2"
    return f"{found[work, client]:,.0f}" if (work, client) in found else "failed"
