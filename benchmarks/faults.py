"""
Every fault of the kit against seawall, bare httpx and aiohttp: how each handles it, and the request after it.

Where a `namespace` can be made, each client resolves names by itself, through the system's server.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from seawall.testing import DNSServer, FaultProcess, Network
from seawall.testing.http.vocabulary import FAULTS

from .clients import CLIENTS
from .fault_cells import HEAVY, PROXIES, SECURE, THROUGH, Cell, cells, place, proxied
from .namespace import PORT, is_entered

COMPARED = "httpx,aiohttp,seawall"
TIMEOUT = 1.0  # s, each of connect, read, write and pool
DEADLINE = 3.0  # s, of a call, where a client has one
SLACK = 0.25  # s beyond what is allowed, because the machine is shared
GUARD = 8.0  # s after which a cell is abandoned
AT_ONCE = 4  # processes
UNDECODABLE = ("encoded:gzip_bad", "encoded:gzip_truncated", "encoded:mislabelled")
BROKEN = re.compile(  # no client can get a good answer from these, however often it asks
    r"malformed:|(hang|close|reset|truncate)(:\w+)?$|tls_inject|info_endless|endless_headers|h2_(refused|rst|silent|goaway$)"
    r"|h2_bad_frame(:size|:stream|:hpack)?$|port:(refuse|blackhole|accept_(reset|close|hang|garbage)$|h2_hang)"
    r"|port:tls:(expired|not_yet|wrong|self|untrusted|no_inter|wants)|port:tls_(hang|half|close|reset|plaintext|garbage|alert)"
    r"|port:proxy:(?!none)|port:tls_proxy:(?!good$)|port:socks5:(?!none|pieces)|net:(Limit|Timeout|Reset)|dns:(nx|nodata|servfail|refused|formerr|notimp|drop$|unreachable|cnameloop"
    r"|cnamedangling|badid|badq|garbage|short|cut)"
)
SILENT = re.compile(  # nothing comes, or not enough: if the client raises, it must be a timeout
    r"hang|drip|h2_silent|port:(blackhole|accept_hang|tls_(hang|half|drip)|h2_(hang|no_window)|(tls_)?proxy:(good:)?hang|socks5:hang)"
    r"|dns:(drop$|droppct)|net:Timeout"
)
BEFORE = ("dns", "connect", "tls", "proxy")  # phases in which nothing is sent
EITHER = re.compile(r"port:(accept|tls:wants)|tls_inject|truncate")  # it depends on which side is first
SAYS_SENT = re.compile(
    r"Read|Write|RemoteProtocol|ServerDisconnected|Payload|Chunked|BadAnswer|ConnectionLost|SendFailed|StreamRefused|Decod"
)
SAYS_UNSENT = re.compile(
    r"Connect(or|Error|Timeout)|ConnectionTimeout|SSL|Certificate|DNS|Name|Dial|Handshake|Proxy[ERUT]|Tunnel"
)


def judge(cell: Cell) -> None:
    """What is wrong with the outcome, in words."""
    if cell.skipped:
        return
    get, _, post = cell.safe.partition("/")
    safe = (post or get) if cell.method == "POST" else get
    is_answered = cell.outcome[:1] in ("2", "3")
    is_error = not cell.outcome.isdigit() and cell.outcome != "gave up"
    has_deadline = CLIENTS[cell.client].has_deadline
    bound = DEADLINE if has_deadline else max(DEADLINE, TIMEOUT * (cell.attempts or 0))
    if cell.outcome == "gave up" or cell.seconds > bound + SLACK:
        cell.wrong.append("hangs")
    if cell.is_next_good is False:
        cell.wrong.append("spoils the next request")
    if cell.method == "POST" and cell.phase != "redirect" and safe not in ("A", "S") and cell.requests > 1:
        cell.wrong.append("sends a POST again")
    if safe == "N" and cell.phase != "request" and (cell.attempts or 0) > 1:
        cell.wrong.append("tries again in vain")
    if not cell.is_same:
        cell.wrong.append("sends another body")
    hides_silence = SILENT.match(cell.how) and not re.search("imeout|Deadline", cell.outcome)
    is_clear = cell.phase != "redirect" and (cell.use or not EITHER.match(cell.how))
    is_unsent = cell.phase in BEFORE and not _is_forwarded(cell)
    lies = is_clear and (SAYS_SENT if is_unsent else SAYS_UNSENT).search(cell.outcome)
    if is_error and (hides_silence or lies):
        cell.wrong.append("raises the wrong class")
    is_early = cell.how == "port:accept_answer" and _is_forwarded(cell)  # it comes behind the request, then
    if is_answered and (BROKEN.match(cell.how) or cell.how in UNDECODABLE or not (cell.is_right or is_early)):
        cell.wrong.append("takes it for good")
    if cell.detail.startswith("foreign"):
        cell.wrong.append("raises no error of its own")
    if safe == "-" and cell.phase not in ("client", "redirect") and not is_answered:
        cell.wrong.append("fails where nothing need fail")


def _is_forwarded(cell: Cell) -> bool:
    """Whether a proxy has the request before its origin is dialled."""
    return cell.proxy.startswith("http") and not cell.url.startswith("https:")


def run(client: str, jobs: list[Cell], authority: Path) -> list[Cell]:
    """In a process of its own, so that what one client leaves behind is no other's."""
    command = [sys.executable, "-m", "benchmarks.fault_client", client, str(authority)]
    limits = {"timeout": TIMEOUT, "deadline": DEADLINE, "guard": GUARD}
    payload = json.dumps({"cells": [asdict(cell) for cell in jobs], "heavy": HEAVY} | limits)
    done = subprocess.run(command, input=payload, check=True, stdout=subprocess.PIPE, text=True)
    return [Cell(**each) for each in json.loads(done.stdout)]


def matrix(
    client: str, only: str, server: FaultProcess, authority: Path, *, is_system: bool, through: str = ""
) -> list[Cell]:
    """
    Every cell of one client, judged; each name in a process of its own, for getaddrinfo's threads are stuck.

    Args:
        through: The kind of the good proxy that all goes through; what is the proxy's business is left out then.
    """
    port = PORT if is_system else 0
    for step, name in SECURE.items():
        if name not in server.ports:
            server.listen(step, name=name)
    with Network() as network, DNSServer(port=port) as dns:
        dns.zone["good.test"] = dns.base
        url = server.listen(THROUGH[through], name=f"{client} through {through}") if through else ""
        found = [*cells(client), *proxied(client)]
        jobs = [cell for cell in found if only in cell.how and not (through and _is_left_out(cell))]
        for index, cell in enumerate(jobs):
            cell.through = through
            place(cell, index, server, network, dns, is_system=is_system, through=url)
        names = [cell for cell in jobs if cell.how.startswith("dns:") and is_system]
        others = [cell for cell in jobs if cell not in names]
        done = run(client, others, authority) if others else []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            done += [cell for found in pool.map(lambda cell: run(client, [cell], authority), names) for cell in found]
        conns = server.conns()
        for cell in done:
            attempts = server.attempts(cell.key)
            cell.requests = len(attempts)
            cell.is_same = len({each.sha256 for each in attempts if each.is_complete}) < 2
            cell.attempts = _attempts(cell, conns, dns)
            if cell.use == "forwarded":
                cell.requests = max(cell.requests, cell.attempts or 0)  # the proxy's, too
            judge(cell)
    return done


def _is_left_out(cell: Cell) -> bool:
    """Whether it makes no sense through a good proxy: names are the proxy's business, and it has no faults."""
    return bool(cell.use) or cell.how.startswith(("dns:", *(f"port:{step}" for step in PROXIES)))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks faults", description=__doc__)
    parser.add_argument("--clients", default=COMPARED, help=f"of {', '.join(CLIENTS)}")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--only", metavar="TEXT", default="", help="faults whose step contains this")
    parser.add_argument("--through", choices=THROUGH, default="", help="have all go through a good proxy of this kind")
    options = parser.parse_args(arguments)
    is_system = is_entered("benchmarks", ["faults", *arguments])
    names = options.clients.split(",")
    results: list[Cell] = []
    with tempfile.TemporaryDirectory() as folder, FaultProcess() as server:
        authority = Path(folder) / "ca.pem"
        authority.write_text(server.ca())
        for client in names:
            results += matrix(client, options.only, server, authority, is_system=is_system, through=options.through)
    report(results, names, options.through)
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(cell) for cell in results], indent=1) + "\n")
    hangs = [cell for cell in results if cell.client == "seawall" and "hangs" in cell.wrong]
    return 1 if hangs else 0


def _attempts(cell: Cell, conns: dict[str, dict[str, Any]], dns: DNSServer) -> int | None:
    """Requests, connections to its own port, or queries for its name, whichever are more; None if none can be seen."""
    if cell.how in ("port:refuse", "port:blackhole"):
        return None
    name = (urlsplit(cell.url).hostname or "") if cell.how.startswith("dns:") else ""
    asked = max(dns.queries[name, "A"], dns.queries[name, "AAAA"]) if name else 0
    return max(cell.requests, int(conns.get(cell.key, {}).get("connections", 0)), asked)


def left_out() -> list[str]:
    """The faults that a server, a name or a network can't cause, or only with a test around it."""
    hows = (how for fault in FAULTS for how in fault.how.split())
    return sorted({how for how in hows if how.startswith("py:") or how == "net:Link.down"})


def table(results: list[Cell], clients: list[str]) -> str:
    """The table of sums, in Markdown."""
    words = {
        "hangs": "took longer than 3 s (without a deadline: or 1 s for each attempt)",
        "spoils the next request": "got the next request on the same client wrong",
        "takes it for good": "took a broken answer for good",
        "raises no error of its own": "raised an error that its docs don't name",
        "raises the wrong class": "raised an error that is wrong on silence, or on whether anything was sent",
        "fails where nothing need fail": "failed where nothing need fail",
        "sends a POST again": "sent a POST again that may have been done",
        "sends another body": "sent another body when it tried again",
        "tries again in vain": "tried again what won't get better",
    }
    heads = [CLIENTS[name].head for name in clients]
    rows = ["| | " + " | ".join(heads) + " |", "|---" * (len(clients) + 1) + "|"]
    mine = {name: [cell for cell in results if cell.client == name and not cell.skipped] for name in clients}
    rows.append("| cells | " + " | ".join(str(len(mine[name])) for name in clients) + " |")
    for reason, text in words.items():
        counts = (sum(reason in cell.wrong for cell in mine[name]) for name in clients)
        rows.append(f"| {text} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(rows) + "\n"


def report(results: list[Cell], clients: list[str], through: str = "") -> None:
    """A row for each fault, and the sums."""
    print("; ".join(CLIENTS[name].head for name in clients), end="; ")
    print(
        f"timeouts {TIMEOUT:g} s each, deadline {DEADLINE:g} s if the client has one; else defaults; a client per cell"
    )
    if through:
        print(f"through a good proxy ({through}); left out: names, which are its business, and the faults of proxies")
    print("a cell: outcome, seconds, attempts seen by the server; ! what is wrong with it\n")
    print(f"{'fault':44} {'':5}" + "".join(f"{client:32}" for client in clients))
    by_row: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in results:
        by_row.setdefault((f"{cell.how} {cell.use}".rstrip(), cell.method), {})[cell.client] = cell
    for (how, method), row in by_row.items():
        print(f"{how:44} {method:5}" + "".join(f"{_shown(row[client]):32}" for client in clients if client in row))
    print(f"\nnot run: {', '.join(left_out())}\n\n{table(results, clients)}")
    print("\nseawall, wrong:")
    for cell in results:
        if cell.client == "seawall" and cell.wrong:
            print(f"  {cell.how} {cell.use} {cell.method}: {', '.join(cell.wrong)} ({cell.outcome}: {cell.detail})")


def _shown(cell: Cell) -> str:
    if cell.skipped:
        return "not run"
    return f"{cell.outcome[:20]} {cell.seconds:.2f} {cell.attempts}{' !' if cell.wrong else ''}"
