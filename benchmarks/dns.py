"""How seawall and other clients cope with names that are known, cold, dead, moved or half dead, and with a silent DNS
server."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from .dns_cases import COLD, DEAD, HITS, KNOWN, LATER
from .dns_client import HEALTHY
from .machine import SERVER_CORE, child, conditions, is_installed, start
from .namespace import PORT, is_entered

OUTAGE, QUICK_OUTAGE = 10, 6  # s, instead of a minute
GUARD = 60.0  # s for a run
MAX_QUERIES = 6  # of one lookup, whatever the server does
PACKAGES = ("seawall", "aiodns", "pycares", "aiohttp", "niquests", "httpx")
CLIENTS = ("seawall", "aiohttp", "niquests")
COLUMNS = (*CLIENTS, "httpx", "getaddrinfo")
WHO = {  # other cases run all of CLIENTS
    "limit": ("the server",),
    "hit": ("seawall", "aiohttp"),
    "cold": (*CLIENTS, "getaddrinfo"),
    "slow": ("seawall", "aiohttp", "httpx"),
    "left": ("seawall", "aiohttp", "httpx"),
    "files": ("seawall", "aiohttp", "httpx"),
}
APART = ("slow", "left", "files")  # need a namespace, because the machine's own files must lead to our DNS server
Cell: TypeAlias = tuple[str, str]

# case, its title, and rows of it: figure, what, target
TABLE: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "hit": (
        f"a cached name, {HITS:,} times",
        [
            ("suspended", "coroutines that were suspended", "0"),
            ("cached_ns", "lookup without a coroutine", "≤ 1 µs"),
            ("resolve_ns", "lookup with a coroutine", ""),
        ],
    ),
    "cold": (
        f"{COLD:,} cold names at once, both families",
        [
            ("lost", "lost answers", "0"),
            ("wall_ms", "wall time", "as the server"),
            ("queries", "queries", f"{2 * COLD}"),
            ("again", "queries for the same names, again (TTL 60)", "0"),
        ],
    ),
    "dead_names": (
        f"{DEAD} dead names in flight, 100 connections",
        [
            ("alone_ms", "a cold name and a connection, without dead names", ""),
            ("added_ms", "more with dead names, median", "≤ 20 ms"),
            ("added_most_ms", "more with dead names, maximum", ""),
            ("failed", "of 20, not answered within 3 s", "0"),
            ("thread_alone_ms", "asyncio.to_thread, without dead names", ""),
            ("thread_ms", "with dead names, median", "≤ 5 ms"),
            ("thread_most_ms", "with dead names, maximum", ""),
            ("end_ms", "cancel, close, end of asyncio.run", "< 100 ms"),
        ],
    ),
    "outage": (
        f"the server is silent, {KNOWN} cached names with TTL 1, no connection kept",
        [
            ("requests", "requests", ""),
            ("served_percent", "served within 3 s", "100 %"),
            ("before_ms", "a request before the silence", ""),
            ("first_added_ms", "more for the first request of each name", "≤ 250 ms"),
            ("rest_added_ms", "more for the other requests", "< 10 ms"),
            ("at_once_percent", "of these, within 50 ms", "100 %"),
            ("fresh_ms", "fresh address after the server's return", "≤ 5 s"),
            ("fresh_most_ms", "fresh address of the last name", "≤ 5 s"),
        ],
    ),
    "moved": (
        "a name with TTL 1 moves, connections kept, 10 in flight",
        [
            ("late", "requests from 2 s to 5 s after the move", ""),
            ("late_old", "of these, to the old address", "0"),
            ("last_old_ms", "the last request to it, after the move", "< 2 s"),
            ("failed", "not answered", "0"),
        ],
    ),
    "left": (
        "a name with TTL 1 moves, and its old host refuses from then on, 10 in flight; the machine's own DNS",
        [
            ("requests", "requests within 3 s", ""),
            ("good_percent", "good", "100 %"),
            ("last_bad_ms", "the last failure, after the move", ""),
        ],
    ),
    "slow": (
        "a slow DNS server, every client with its defaults; the machine's own DNS",
        [
            ("first_ms", "the first 200, if an answer takes 1.5 s", "1.5 s"),
            ("first_queries", "queries", f"≤ {MAX_QUERIES}"),
            ("second_ms", "the first 200, if an answer takes 2.5 s", "≤ 2.8 s"),
            ("second_queries", "queries", f"≤ {MAX_QUERIES}"),
        ],
    ),
    "files": (
        f"{HEALTHY} cold names, and localhost, as the machine's own files and DNS have them",
        [
            ("calls", "calls in a thread", "0"),
            ("threads", "threads that Python started (pycares has one)", "≤ 1"),
            ("queries", "queries", f"{2 * HEALTHY}"),
            ("failed", "not answered", "0"),
        ],
    ),
    "hole": (
        "the first of two addresses swallows SYNs, no connection kept",
        [
            ("alone_ms", "a request to a name with only the good address", ""),
            ("first_added_ms", "more for the first request", "≤ 300 ms"),
            ("later_added_ms", f"more for {LATER} later requests", "< 10 ms"),
            ("failed", "not answered", "0"),
        ],
    ),
}


@contextmanager
def servers(port: int = 0) -> Iterator[tuple[str, str, str]]:
    """Start both servers; yields the DNS server's address (port 0 takes any) and the HTTP server's two ports."""
    with (
        start("benchmarks.dns_server", "dns", str(port), core=SERVER_CORE) as names,
        start("benchmarks.dns_server", "http", core=SERVER_CORE) as http,
    ):
        assert names.stdout is not None
        assert http.stdout is not None
        try:
            good, hole = http.stdout.readline().split()
            yield f"127.0.0.1:{names.stdout.readline().strip()}", good, hole
        finally:
            names.communicate("")
            http.communicate("")


def measure(repeat: int, seconds: int, *, is_apart: bool) -> tuple[dict[Cell, list[dict[str, float]]], dict[Cell, str]]:
    """
    Returns:
        The interleaved runs of each case and client, and the reasons of failed ones.
    """
    runs: dict[Cell, list[dict[str, float]]] = {
        (case, client): []
        for case in ("limit", *TABLE)
        for client in WHO.get(case, CLIENTS)
        if (client not in CLIENTS or is_installed(client)) and (is_apart or case not in APART)
    }
    failures: dict[Cell, str] = {}
    with servers(PORT if is_apart else 0) as (names, good, hole):
        for _ in range(repeat):
            for (case, client), done in runs.items():
                try:
                    output = child("benchmarks.dns_cases", case, client, names, good, hole, seconds, seconds=GUARD)
                    done.append(json.loads(output))
                except ValueError as error:
                    failures[case, client] = str(error)
    return runs, failures


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks dns", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, interleaved; the median counts")
    parser.add_argument("--json", metavar="FILE", help="write all runs and medians")
    parser.add_argument("--quick", action="store_true", help=f"an outage of {QUICK_OUTAGE} s, not {OUTAGE}")
    options = parser.parse_args(arguments)
    is_apart = is_entered("benchmarks", ["dns", *arguments])
    seconds = QUICK_OUTAGE if options.quick else OUTAGE
    head = conditions(PACKAGES, arguments, "dns")
    started_at = time.perf_counter()
    print(head, flush=True)
    runs, failures = measure(options.repeat, seconds, is_apart=is_apart)
    medians = {
        cell: {name: statistics.median(run[name] for run in done) for name in done[0]}
        for cell, done in runs.items()
        if done
    }
    print(f"medians of {options.repeat} interleaved runs; took {time.perf_counter() - started_at:.0f} s")
    print(f"the outage lasts {seconds} s, not a minute; seawall.testing's DNS server and HTTP on loopback, one core")
    if server := medians.get(("limit", "the server")):
        print(
            f"the DNS server itself: {2 * COLD:,} queries at once in {server['wall_ms']:.0f} ms, "
            f"{server['per_second']:,.0f}/s, {server['lost']:.0f} lost"
        )
    if not is_apart:
        print("no namespace can be made here, so the cases with the machine's own DNS are not run")
    print("httpx can't be pointed at a DNS server, so it only runs in cases with the machine's own DNS; getaddrinfo,")
    print("which it calls, resolves a name of /etc/hosts, so it sends no query.")
    print("aiohttp: AsyncResolver, cache of 1 s (default: 10 s, whatever the TTL).")
    print(f"\n{'':54}{'target':>16}{'seawall':>12}{'aiohttp':>12}{'niquests':>12}{'httpx':>12}{'getaddrinfo':>12}")
    for case, (title, rows) in TABLE.items():
        print(title)
        for figure, what, target in rows:
            cells = [medians.get((case, client), {}).get(figure) for client in COLUMNS]
            shown = "".join(f"{value(figure, cell):>12}" for cell in cells)
            print(f"  {what:52}{target:>16}{shown}".rstrip())
    for (case, client), why in failures.items():
        print(f"a run failed: {case}, {client}: {why}")
    if options.json:
        written = [
            {"case": case, "client": client, "failed": failures.get((case, client)), "runs": done}
            | {"median": medians.get((case, client))}
            for (case, client), done in runs.items()
        ]
        Path(options.json).write_text(json.dumps({"conditions": head.splitlines(), "cells": written}, indent=1))
    return 0


def value(figure: str, number: float | None) -> str:
    """As text with its unit, which the figure's name ends with."""
    if number is None:
        return "-"
    if math.isinf(number):
        return "never"
    if figure.endswith("_ns"):
        return f"{number / 1e3:.1f} µs"
    if figure.endswith("_ms"):
        return f"{number:.1f} ms"
    return f"{number:.4g} %" if figure.endswith("_percent") else f"{number:.0f}"
