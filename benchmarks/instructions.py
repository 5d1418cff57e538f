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

from .load import KINDS, PEERS, WORDS, Load
from .machine import child, conditions, is_installed, server

CLIENTS = "httpx,aiohttp,seawall"
FEW, MANY = 500, 2500
GUARD = 1800.0  # s for a run, because it takes some fifty times as long as without valgrind
ENDLESS = 1e9  # s, because the number of requests must end a run, not the time
HASHES = {"PYTHONHASHSEED": "0"}  # so that dicts have the same collisions in each run


def counted(client: str, url: str, load: Load, requests: int) -> int:
    """Instructions of a whole process that makes this many requests."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "callgrind.out"
        under = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={found}")
        words = (client, url, load.kind, load.in_flight, requests, load.origins, ENDLESS)
        child("benchmarks.load", *words, seconds=GUARD, core=None, under=under, environment=HASHES)
        match = re.search(r"^(?:summary|totals): (\d+)", found.read_text(), re.MULTILINE)
    if match is None:
        raise ValueError("callgrind wrote no total")
    return int(match[1])


def per_request(client: str, url: str, load: Load, few: int, many: int) -> float:
    """Thousands of instructions per request."""
    low, high = (counted(client, url, load, requests) for requests in (few, many))
    return (high - low) / (many - few) / 1000


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks instructions", description=__doc__)
    parser.add_argument("--clients", default=CLIENTS, help=f"of {', '.join(PEERS)}")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--few", type=int, default=FEW, help="requests of the run that is subtracted")
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed")
    asked, kinds = options.clients.split(","), options.kinds.split(",")
    if unknown := [name for name in asked if name not in PEERS] + [name for name in kinds if name not in KINDS]:
        parser.error(f"no {', '.join(unknown)}; clients are {', '.join(PEERS)}; kinds are {', '.join(KINDS)}")
    clients = [client for client in asked if all(map(is_installed, PEERS[client].packages))]
    packages = dict.fromkeys(package for client in clients for package in PEERS[client].packages)
    head = conditions(packages, arguments, "instructions")
    print(head, flush=True)
    loads = [Load(options.in_flight, kind=kind) for kind in kinds]
    found: dict[tuple[Load, str], float] = {}
    with server() as port, ThreadPoolExecutor(2) as pool:
        url = f"http://127.0.0.1:{port}/"
        jobs = {
            (load, client): pool.submit(per_request, client, url, load, options.few, options.many)
            for load in loads
            for client in clients
        }
        for (load, client), job in jobs.items():
            try:
                found[load, client] = job.result()
                print(f"{client}, {WORDS[load.kind]}: {found[load, client]:,.1f}", flush=True)
            except ValueError as error:
                print(f"{client}, {WORDS[load.kind]}: failed: {error}")
    print(f"\nthousands of instructions per request, {options.in_flight} in flight, ", end="")
    print(f"{options.many:,} requests minus {options.few:,}\n\n{table(loads, clients, found)}")
    if options.json:
        cells = [{"client": client, **asdict(load), "thousands": each} for (load, client), each in found.items()]
        Path(options.json).write_text(json.dumps({"conditions": head.splitlines(), "cells": cells}, indent=1))
    return 0


def table(loads: list[Load], clients: list[str], found: dict[tuple[Load, str], float]) -> str:
    """A row for each kind, in Markdown."""
    has_ratio = {"aiohttp", "seawall"} <= set(clients)
    heads = ["requests", *clients, *(["seawall / aiohttp"] if has_ratio else [])]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for load in loads:
        cells = [f"{found[load, each]:,.0f}" if (load, each) in found else "failed" for each in clients]
        if has_ratio and (load, "seawall") in found and (load, "aiohttp") in found:
            cells.append(f"{found[load, 'seawall'] / found[load, 'aiohttp']:.2f}")
        rows.append("| " + " | ".join([WORDS[load.kind], *cells]) + " |")
    return "\n".join(rows)
