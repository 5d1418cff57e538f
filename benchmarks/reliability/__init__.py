"""
A scoreboard of 100 points: how HTTP clients handle faults, outages, bad upstreams, dead names, cancellation, garbage.

Each check runs in a process of its own; each client has its defaults, except for its timeouts and what a check says. A
check passes or fails as a whole; only the matrix of faults (A1, A2, A3) gives the share of its right cells. A `NOISY`
check is run until two of three runs agree. † marks a result that needed a setting for that client alone.

An hour or two for all clients; ``--json`` adds to its file, so they may be run one after another.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from seawall.testing import FaultProcess

from ..clients import CLIENTS
from ..machine import conditions
from ..namespace import is_entered
from . import isolation, matrix, names, outcomes, remains
from .board import Board, Verdict, judged

CHECKS = dict(sorted((matrix.CHECKS | outcomes.CHECKS | isolation.CHECKS | names.CHECKS | remains.CHECKS).items()))
NOISY = ("D1", "D2", "D4", "E1", "E3", "F1", "H1", "H2")
Found = dict[str, dict[str, Verdict]]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks reliability", description=__doc__)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--only", default="", help="checks whose name begins with this")
    parser.add_argument("--isolation", action="store_true", help="each bad upstream, kept and new connections, instead")
    parser.add_argument("--origins", type=int, default=10, help="of --isolation; a tenth of them is bad")
    parser.add_argument("--json", type=Path, help="add what is found to this file")
    parser.add_argument("--show", type=Path, help="the table of such a file, instead")
    options = parser.parse_args(arguments)
    if options.show:
        print(table(*loaded(options.show)))
        return 0
    is_apart = is_entered("benchmarks", ["reliability", *arguments])
    clients = options.clients.split(",")
    head = conditions(dict.fromkeys(CLIENTS[client].package for client in clients), arguments, "reliability")
    print(head)
    if not is_apart:
        print("no namespace can be made: names are resolved by a server on another port, if the client can use it\n")
    found: Found = {}
    with tempfile.TemporaryDirectory() as folder, FaultProcess() as server:
        authority = Path(folder) / "ca.pem"
        authority.write_text(server.ca())
        boards = [Board(client, server, authority, is_apart) for client in clients]
        if options.isolation:
            for line in isolation.each_kind(boards, options.origins):
                print(line, flush=True)
            return 0
        for name, (_, check) in CHECKS.items():
            for board in boards if name.startswith(options.only) else ():
                most = 3 if name.startswith(NOISY) else 1
                verdict = found.setdefault(name, {})[board.client] = judged(check, board, most=most)
                word = "--" if verdict.share is None else "ok" if verdict.share == 1 else "NO"
                own = "".join(f"; † {setting}" for setting in verdict.own)
                print(f"{word:3} {name:32} {board.client:20} {verdict.text}{own}", flush=True)
    print("\n" + table(found, clients))
    if options.json:
        add(options.json, head, found)
    return 0


def add(file: Path, head: str, found: Found) -> None:
    """Write *found*, and its conditions, beside what *file* has of other clients and checks."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"conditions": [], "checks": {}}
    kept["conditions"].append(head.splitlines())
    for name, verdicts in found.items():
        kept["checks"].setdefault(name, {}).update(verdicts)
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def loaded(file: Path) -> tuple[Found, list[str]]:
    """What `add` wrote, and the clients that it has all checks of."""
    checks = dict(sorted(json.loads(file.read_text())["checks"].items()))
    found = {
        name: {client: Verdict(share, text, tuple(own)) for client, (share, text, own) in verdicts.items()}
        for name, verdicts in checks.items()
    }
    return found, [client for client in CLIENTS if all(client in verdicts for verdicts in found.values())]


def cell(points: float, verdict: Verdict) -> str:
    share, _, own = verdict
    words: dict[float | None, str] = {None: "not run", 0: "-", 1: "yes"}
    return (words.get(share) or f"{points * (share or 0):.1f}") + (" †" if own else "")


def table(found: Found, clients: list[str]) -> str:
    """In Markdown."""
    rows = ["| check | points | " + " | ".join(CLIENTS[client].head for client in clients) + " |"]
    rows.append("|---" * (len(clients) + 2) + "|")
    sums, total, marks = dict.fromkeys(clients, 0.0), 0.0, dict[str, str]()
    for name, verdicts in found.items():
        points = CHECKS[name][0]
        total += points
        for client in clients:
            share, _, own = verdicts[client]
            sums[client] += points * (share or 0)
            marks |= {f"{name.split()[0]}: {', '.join(own)}": CLIENTS[client].title} if own else {}
        rows.append(f"| {name} | {points} | " + " | ".join(cell(points, verdicts[client]) for client in clients) + " |")
    rows.append(f"| sum | {total:g} | " + " | ".join(f"{sums[client]:.1f}" for client in clients) + " |")
    rows += [f"\n† set for {title} alone, in {what}" for what, title in marks.items()]
    return "\n".join(rows) + "\n"
