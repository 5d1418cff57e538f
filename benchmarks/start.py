"""
Time to import seawall and httpx, to make a client, and to make the first https call, in fresh interleaved processes
with compiled modules.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import certifi

from .load import PEERS
from .machine import conditions, is_installed
from .sites import Sites, lacks, sites
from .work import Work

CLIENTS = ("httpx", "seawall", "httpx2", "seawall.httpx2")
LEFT_OUT = ("PYTHONDONTWRITEBYTECODE", "SSL_CERT_FILE", "SSL_CERT_DIR")
# With the last two in the environment, seawall makes its TLS context with the client, as httpx always does.
LATER = 5  # clients after the first
CHILD = """
import sys, time
started_at = time.{clock}()
import {module}
imported = time.{clock}() - started_at
import json, ssl
given = {{"verify": ssl.create_default_context()}} if {has_context} else {{}}
times = []
for _ in range({later} + 1):
    started_at = time.{clock}()
    client = {module}.AsyncClient(**given)
    times.append(time.{clock}() - started_at)
print(json.dumps([imported, times[0], sorted(times[1:])[{later} // 2]]))
"""
FIRST_CALL = """
import time
started_at = time.{clock}()
import asyncio, {module}
async def ask():
    async with {module}.AsyncClient() as client:
        assert (await client.get({url!r})).status_code == 200
asyncio.run(ask())
print(time.{clock}() - started_at)
"""
HTTPS = Work("get", 1, wire="tls")


def measure(module: str, has_context: bool, clock: str, folder: str) -> list[float]:
    """Seconds to import a module, to make the first client, and to make a later one, in a process of its own."""
    code = CHILD.format(module=module, has_context=has_context, clock=clock, later=LATER)
    result: list[float] = json.loads(_printed(code, folder))
    return result


def first_call(module: str, running: Sites, authorities: Path, clock: str, folder: str) -> float:
    """Seconds to import a module, make a client and make an https call, in a process that trusts *authorities*."""
    code = FIRST_CALL.format(module=module, clock=clock, url=f"{running.url(HTTPS)}first")
    return float(_printed(code, folder, SSL_CERT_FILE=str(authorities)))


def _printed(code: str, folder: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    kept |= {"PYTHONPYCACHEPREFIX": folder, **environment}
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=kept).stdout


def all_authorities(running: Sites, folder: str) -> Path:
    """Those that httpx trusts, because to load them is most of what a TLS context takes, and our server's."""
    file = Path(folder) / "authorities.pem"
    file.write_text(Path(certifi.where()).read_text() + Path(running.authority).read_text())
    return file


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks start", description=__doc__)
    parser.add_argument("--repeat", type=int, default=15, help="processes of each kind; the median counts")
    parser.add_argument("--cpu", action="store_true", help="CPU time, which a busy machine lengthens less")
    options = parser.parse_args(arguments)
    clock = "process_time" if options.cpu else "perf_counter"
    modules = [module for module in CLIENTS if all(map(is_installed, PEERS[module].packages))]
    print(conditions(filter(is_installed, CLIENTS), arguments, "start"))
    runs: dict[tuple[str, bool], list[list[float]]] = {}
    calls: dict[str, list[float]] = {}
    served = [] if lacks(HTTPS) else [HTTPS]
    with tempfile.TemporaryDirectory() as folder, sites(served) as running:
        authorities = all_authorities(running, folder) if served else None
        for number in range(options.repeat + 1):
            for module in modules:
                for has_context in (False, True):
                    result = measure(module, has_context, clock, folder)
                    if number:  # the first is to compile
                        runs.setdefault((module, has_context), []).append(result)
                if authorities is not None:
                    took = first_call(module, running, authorities, clock, folder)
                    if number:
                        calls.setdefault(module, []).append(took)
    print(f"medians of {options.repeat} processes; a later client: the median of {LATER}\n")
    print(f"{'':37}{'import':>12}{'first client':>15}{'both':>12}{'later client':>15}")
    for (module, has_context), results in runs.items():
        name = f"{module}, {'a TLS context given' if has_context else 'its defaults'}"
        imported, first, later = (statistics.median(each) * 1e3 for each in zip(*results, strict=True))
        both = statistics.median(each[0] + each[1] for each in results) * 1e3
        print(f"{name:37}{imported:>9.1f} ms{first:>12.3f} ms{both:>9.1f} ms{later:>12.3f} ms")
    print("\nseawall imports httpx with its first client; httpx makes a TLS context with each\n")
    for module, times in calls.items():
        name, took = f"{module}, to its first https answer", statistics.median(times) * 1e3
        print(f"{name:42}{took:>7.1f} ms, import and client included")
    if not served:
        print(f"no first https call: {lacks(HTTPS)}")
    return 0
