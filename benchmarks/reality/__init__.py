"""
Clients at their defaults on real servers: nginx, HAProxy and uvicorn, which limit, reload, die and come back, and
packets that are lost.

Each run has servers and a client of its own, in processes of their own. The figures are medians. What isn't installed
(Debian's nginx-light, haproxy, nftables) is skipped.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from ..clients import CLIENTS
from ..machine import conditions, is_installed
from . import table
from .place import Places, program
from .rows import ROWS, Row
from .run import Cell, measured, median

Runs = list[Cell | str]  # what a run found, or why it failed
COMPARED = "httpx,httpx2,httpx-retries,aiohttp,aiohttp-retry,seawall"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks reality", description=__doc__)
    parser.add_argument("--clients", default=COMPARED)
    parser.add_argument("--row", default=",".join(ROWS), help="rows, with commas between; each may end in *")
    parser.add_argument("--methods", default="GET,POST", help="which the calls have, at random")
    parser.add_argument("--runs", type=int, default=3, help="of which the median is taken")
    parser.add_argument("--at-once", type=int, default=4, help="runs at the same time")
    parser.add_argument("--json", type=Path, help="the file that the result goes to")
    parser.add_argument(
        "--show", type=Path, nargs="+", help="the tables of these files; a later one's cells are preferred"
    )
    options = parser.parse_args(arguments)
    if options.show:
        print(report(table.merged([json.loads(file.read_text())["rows"] for file in options.show])))
        return 0
    clients = options.clients.split(",")
    head = conditions(dict.fromkeys(CLIENTS[client].package for client in clients), arguments, "reality")
    print(head, flush=True)
    rows = chosen(options.row)
    found: table.Found = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that what was started is ended too
    for name, row in rows.items():
        if why := missing(row):
            found[name] = {"skipped": why}
            print("\n".join(table.row(name, found[name])), flush=True)
    save = partial(saved, options.json, head, found)
    save()
    for name, cells in run_all({name: row for name, row in rows.items() if name not in found}, clients, options):
        found[name] = {client: of(runs) for client, runs in cells.items()}
        print("\n".join(table.row(name, found[name])), flush=True)
        save()  # at once, because an interrupted benchmark has found something too
    print(report(found))
    return 0


def saved(file: Path | None, head: str, found: table.Found) -> None:
    if file is not None:
        file.write_text(json.dumps({"conditions": head, "rows": found}, indent=1) + "\n")


def chosen(names: str) -> dict[str, Row]:
    """The rows of these names, or that begin with them if they end in ``*``."""
    wanted = names.split(",")
    return {
        name: row
        for name, row in ROWS.items()
        if any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in wanted)
    }


def missing(row: Row) -> str | None:
    """What a row needs and this machine doesn't have."""
    absent = [name for name in row.needs if program(name) is None]
    absent += [name for name in ("uvicorn", "trustme") if not is_installed(name)]
    return f"{', '.join(absent)} isn't installed" if absent else None


def run_all(
    rows: dict[str, Row], clients: list[str], options: Any
) -> Iterator[tuple[str, dict[str, list[Cell | str]]]]:
    """The runs of one row after another, by client; those of a client aren't neighbours."""
    numbers, methods = count(), tuple(options.methods.split(","))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.at_once) as pool:
        places = Places(Path(folder))

        def work(row: Row, client: str) -> Cell | str:
            try:
                return measured(places, next(numbers), row, client, methods)
            except (ValueError, OSError, subprocess.SubprocessError) as error:
                return str(error)[:200]

        def started(row: Row) -> list[tuple[str, Future[Cell | str]]]:
            return [(client, pool.submit(work, row, client)) for _ in range(options.runs) for client in clients]

        try:
            for name, runs in [(name, started(row)) for name, row in rows.items()]:
                cells: dict[str, Runs] = {client: [] for client in clients}
                for client, run in runs:
                    cells[client].append(run.result())
                yield name, cells
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            places.end()
            raise


def of(cells: Runs) -> Cell:
    """A cell's median, or why it has none."""
    good = [cell for cell in cells if not isinstance(cell, str)]
    return median(good) if good else {"failed": str(cells[-1])}


def report(found: table.Found) -> str:
    return "\n".join([*table.legend(found), "", *table.summary(found)])
