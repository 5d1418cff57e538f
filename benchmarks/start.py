"""Time to import seawall and httpx and to make a client, in fresh interleaved processes with compiled modules."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from .machine import conditions

CLIENTS = {"httpx": "httpx.AsyncClient", "seawall": "seawall.AsyncClient"}
LEFT_OUT = ("PYTHONDONTWRITEBYTECODE", "SSL_CERT_FILE", "SSL_CERT_DIR")
# With the last two in the environment, seawall makes its TLS context with the client, as httpx always does.
LATER = 5  # clients after the first
CHILD = """
import sys, time
started_at = time.perf_counter()
import {module}
imported = time.perf_counter() - started_at
import json, ssl
given = {{"verify": ssl.create_default_context()}} if {has_context} else {{}}
times = []
for _ in range({later} + 1):
    started_at = time.perf_counter()
    client = {client}(**given)
    times.append(time.perf_counter() - started_at)
print(json.dumps([imported, times[0], sorted(times[1:])[{later} // 2]]))
"""


def measure(module: str, has_context: bool, folder: str) -> list[float]:
    """Seconds to import a module, to make the first client, and to make a later one, in a process of its own."""
    code = CHILD.format(module=module, client=CLIENTS[module], has_context=has_context, later=LATER)
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    environment["PYTHONPYCACHEPREFIX"] = folder
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    result: list[float] = json.loads(done.stdout)
    return result


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks start", description=__doc__)
    parser.add_argument("--repeat", type=int, default=15, help="processes of each kind; the median counts")
    options = parser.parse_args(arguments)
    print(conditions(CLIENTS, arguments, "start"))
    runs: dict[tuple[str, bool], list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.repeat + 1):
            for module in CLIENTS:
                for has_context in (False, True):
                    result = measure(module, has_context, folder)
                    if number:  # the first is to compile
                        runs.setdefault((module, has_context), []).append(result)
    print(f"medians of {options.repeat} processes; a later client: the median of {LATER}\n")
    print(f"{'':28}{'import':>12}{'first client':>15}{'both':>12}{'later client':>15}")
    for (module, has_context), results in runs.items():
        name = f"{module}, {'a TLS context given' if has_context else 'its defaults'}"
        imported, first, later = (statistics.median(each) * 1e3 for each in zip(*results, strict=True))
        both = statistics.median(each[0] + each[1] for each in results) * 1e3
        print(f"{name:28}{imported:>9.1f} ms{first:>12.3f} ms{both:>9.1f} ms{later:>12.3f} ms")
    print("\nseawall imports httpx; httpx imports httpcore with the first client, and makes a TLS context with each")
    return 0
