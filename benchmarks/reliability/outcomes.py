"""
A scoreboard: what HTTP clients make of outages, bad upstreams, cancellation and garbage; a process for each scenario.

The checks of the founding notes' scoreboard that no other benchmark has: the matrix of faults is ``faults``, names are
``dns``, costs are ``layers``. A check passes as a whole, or it doesn't.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seawall.testing import FaultProcess

from .machine import child, conditions
from .reliability_client import CLIENTS, DEADLINE, RATE, SECONDS

SLACK = 0.15  # s
CERTIFICATES = ("expired", "not_yet_valid", "wrong_host", "self_signed", "untrusted_root", "no_intermediate")
LATE = ["drip", "drip:headers", "info_endless", "delay:0.5+redirect:10"]
ISOLATED = ("blackhole", "hang", "drip", "503")
Verdict = tuple[bool, str]


@dataclass
class Board:
    """One client before one server."""

    client: str
    server: FaultProcess
    authority: str
    keys: int = 0

    def url(self, script: str) -> tuple[str, str]:
        """A key of its own, and the URL."""
        self.keys += 1
        key = f"{self.client}-{self.keys}"
        return key, f"{self.server.url}/x/{script}?key={key}"

    def run(self, check: str, job: dict[str, Any]) -> Any:
        output = child(
            "benchmarks.reliability_client", check, self.client, json.dumps(job), self.authority, seconds=120
        )
        return json.loads(output.splitlines()[-1])

    def each(self, *calls: tuple[str, str, dict[str, Any]]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run("each", {"calls": calls})
        return found

    def attempts(self, key: str) -> int:
        return len(self.server.attempts(key))


def root_cause(board: Board) -> Verdict:
    """DNS, refused, certificate, handshake, timeout: five classes of error."""
    server, n = board.server, board.client
    urls = [
        "http://no-such-name.invalid/",
        server.listen("refuse", name=f"{n}-refuse"),
        server.listen("tls:expired", name=f"{n}-expired"),
        server.listen("tls_garbage", name=f"{n}-garbage"),
        board.url("hang")[1],
    ]
    ends = [end["end"] for end in board.each(*(("GET", url, {}) for url in urls))]
    return len(set(ends)) == 5, ", ".join(dict.fromkeys(ends))


def deadline(board: Board) -> Verdict:
    """What drips, sends 103 for ever or redirects slowly ends by 3 s."""
    ends = board.each(*(("GET", board.url(step)[1], {"follow": True}) for step in LATE))
    late = [
        f"{step} {end['seconds']:.1f} s"
        for step, end in zip(LATE, ends, strict=True)
        if end["seconds"] > DEADLINE + SLACK + 0.1
    ]
    return not late, "; ".join(late)


def deadline_over_retries(board: Board) -> Verdict:
    """503 for ever with Retry-After 1: over by 3 s, and the answer or its error comes out."""
    (end,) = board.each(("GET", board.url("503:1")[1], {}))
    return end["seconds"] <= DEADLINE + SLACK and end["end"] != "no end", f"{end['end']} after {end['seconds']:.1f} s"


def upload(board: Board) -> Verdict:
    """A server that never reads 32 MB: a timeout after 1 s."""
    (end,) = board.each(("POST", board.url("hang:request")[1], {"body": 32 * 2**20}))
    return end["seconds"] <= 1 + SLACK + 0.2 and "imeout" in end["end"], f"{end['end']} after {end['seconds']:.1f} s"


def amplification(board: Board) -> tuple[Verdict, Verdict]:
    """100 % 503 at 100 calls/s: attempts <= 1.1 x calls + 20; then 99 % good within 2 s."""
    key, bad = board.url("503")
    found = board.run("outage", {"bad": bad, "good": board.url("ok")[1]})
    attempts, calls = board.attempts(key), found["calls"]
    well = [end == "200" for at, end in found["after"] if at >= 2.0]
    share = sum(well) / len(well) if well else 0.0
    return (attempts <= 1.1 * calls + 20, f"{attempts / calls:.2f} attempts a call"), (
        share >= 0.99,
        f"{share:.1%} good",
    )


def some_fail(board: Board) -> Verdict:
    """5 % fail: >= 99.9 % good with <= 1.07 attempts a call."""
    key, url = board.url("chance:0.05+503")
    ends = board.run("flaky", {"url": url})
    share, factor = ends.get("200", 0) / 2000, board.attempts(key) / 2000
    return share >= 0.999 and factor <= 1.07, f"{share:.2%} good, {factor:.2f} attempts a call"


def retry_after(board: Board) -> Verdict:
    """Waited for where it is 1 s or a date; past and garbage: not; a day: the answer at once."""
    wrong = []
    for script, low, high in (
        ("503:1,ok", 1.0, 1.4),
        ("503:d2,ok", 0.9, 2.4),
        ("503:d-5,ok", 0, 1.5),
        ("503:zz,ok", 0, 1.5),
    ):
        key, url = board.url(script)
        board.each(("GET", url, {}))
        at = [received.at for received in board.server.attempts(key)]
        gap = at[1] - at[0] if len(at) > 1 else None
        if gap is None or not low <= gap <= high:
            wrong.append(f"{script}: {'no retry' if gap is None else f'{gap:.1f} s'}")
    (end,) = board.each(("GET", board.url("503:86400")[1], {}))
    if end["end"] != "503" or end["seconds"] > 0.1 + SLACK:
        wrong.append(f"a day: {end['end']} after {end['seconds']:.1f} s")
    return not wrong, "; ".join(wrong)


def post(board: Board) -> Verdict:
    """Sent once where it may have been done; again with a key, the same body."""
    wrong = []
    for step in ("reset", "close", "hang", "503"):
        key, url = board.url(step)
        board.each(("POST", url, {"body": "order"}))
        if board.attempts(key) != 1:
            wrong.append(f"{step}: {board.attempts(key)}")
    key, url = board.url("reset,ok")
    board.each(("POST", url, {"body": "order", "headers": {"idempotency-key": '"k"'}}))
    seen = board.server.attempts(key)
    if len(seen) != 2 or len({each.sha256 for each in seen}) != 1:
        wrong.append(f"with a key: {len(seen)}")
    return not wrong, "; ".join(wrong)


def permanent(board: Board) -> Verdict:
    """Bad certificates, 501, 404: one attempt each."""
    server, wrong = board.server, []
    for certificate in CERTIFICATES:
        name = f"{board.client}-permanent-{certificate}"
        board.each(("GET", server.listen(f"tls:{certificate}", name=name), {}))
        if (count := server.conns()[name]["connections"]) != 1:
            wrong.append(f"{certificate}: {count}")
    for step in ("501", "404"):
        key, url = board.url(step)
        board.each(("GET", url, {}))
        if board.attempts(key) != 1:
            wrong.append(f"{step}: {board.attempts(key)}")
    return not wrong, "; ".join(wrong)


def one_shot(board: Board) -> Verdict:
    """A body that can be read once, and 503: no short body is ever sent."""
    key, url = board.url("503,ok")
    board.each(("PUT", url, {"body": "iterator"}))
    lengths = [each.length for each in board.server.attempts(key)]
    return set(lengths) == {10_000}, f"bodies of {lengths}"


def isolation(board: Board, bad: str, *, is_kept: bool) -> Verdict:
    """One of ten upstreams is bad: the others lose nothing, p99 <= max(1.1 x, + 5 ms), the loop's <= 1.2 x + 1 ms."""
    server = board.server
    board.keys += 1
    step = "ok" if is_kept else "lie:close"
    good = [f"{server.listen('serve', name=f'{board.client}-{board.keys}-{n}')}/x/{step}" for n in range(10)]
    last = good[9].rpartition("/x/")[0] + f"/x/{bad}"
    if bad == "blackhole":
        last = server.listen("blackhole", name=f"{board.client}-{board.keys}-bad")
    found = board.run("isolation", {"good": good, "urls": [*good[:9], last]})
    base, load = found["baseline"], found["load"]
    is_good = load["failed"] == 0 and load["p99"] <= max(1.1 * base["p99"], base["p99"] + 0.005)
    is_good = is_good and load["lag"]["p99"] <= 1.2 * base["lag"]["p99"] + 0.001
    text = (
        f"{bad}: {load['failed']} of {load['calls']} failed, "
        f"p99 {base['p99'] * 1e3:.1f} -> {load['p99'] * 1e3:.1f} ms, "
        f"loop {base['lag']['p99'] * 1e3:.1f} -> {load['lag']['p99'] * 1e3:.1f} ms"
    )
    if found["bad"] is not None:
        text += f", calls to the bad one {found['bad'] * 1e3:.1f} ms at last"
    return is_good, text


def cancels(board: Board) -> Verdict:
    """10,000 calls cancelled at 0 to 12 ms: then 20 of 20 are good; at the end no connection is left."""
    name = f"{board.client}-cancel"
    url = board.server.listen("serve", name=name)
    found = board.run("cancels", {"slow": f"{url}/x/delay:0.006", "good": f"{url}/x/ok"})
    left = board.server.conns()[name]["open"]
    return found["good"] == 20 and left == 0, f"{found['good']} of 20 good, {left} connections left"


def closing(board: Board) -> Verdict:
    """aclose() with 100 in flight takes <= 1 s, and leaves none."""
    found = board.run("closing", {"slow": board.url("hang")[1]})
    return found["seconds"] <= 1.0 + SLACK and not found["open"], f"{found['seconds']:.2f} s, {found['open']} left"


def bomb(board: Board) -> Verdict:
    """100 kB that become 100 MB, where a client has a limit 10 MB: an error, the loop <= 50 ms late, <= 64 MB."""
    found = board.run("bomb", {"url": board.url("bomb")[1], "good": board.url("ok")[1]})
    text = f"{found['end']}, loop {found['lag'] * 1e3:.0f} ms, {found['grown'] / 2**20:.0f} MB"
    return not found["end"].isdigit() and found["lag"] <= 0.05 and found["grown"] <= 64 * 2**20, text


def garbage(board: Board) -> Verdict:
    """A cut gzip body, length and chunks at once, headers without end: errors; a stray answer goes to nobody."""
    steps = ("encoded:gzip_truncated", "malformed:length_and_chunked", "endless_headers")
    ends = board.each(*(("GET", board.url(step)[1], {}) for step in steps))
    wrong = [
        f"{step}: {end['end']}"
        for step, end in zip(steps, ends, strict=True)
        if end["end"].isdigit() or end["end"] == "no end"
    ]
    key, _ = board.url("ok:5000")
    later = {"pause": 0.02}  # at once, nobody could tell
    first, following = board.url("second_answer")[1], f"{board.server.url}/x/ok:5000?key={key}"
    ends = board.each(("GET", first, {}), ("GET", following, later))
    if ends[1]["end"] != "200" or ends[1]["size"] != 5000:
        wrong.append(f"second_answer: the next got {ends[1]['end']}, {ends[1]['size']} bytes")
    return not wrong, "; ".join(wrong)


def secrets(board: Board) -> Verdict:
    """A redirect to another origin takes neither Authorization nor cookies along."""
    key, url = board.url("location:origin")
    board.each(("GET", url, {"follow": True, "headers": {"authorization": "secret", "cookie": "a=secret"}}))
    told = [name for each in board.server.attempts(key)[1:] for name, value in each.headers if "secret" in value]
    return not told, ", ".join(told)


def lag(board: Board) -> Verdict:
    """100 calls a second, half of them to faults: the loop's p99 <= 5 ms, most <= 50 ms."""
    steps = [
        "reset",
        "close",
        "503",
        "hang",
        "hang:body",
        "reset:body",
        "malformed:not_http",
        "drip:body",
        "encoded:gzip_bad",
        "500",
    ]
    found = board.run("mixed", {"good": board.url("ok")[1], "bad": [board.url(step)[1] for step in steps]})
    return found["p99"] <= 0.005 and found[
        "max"
    ] <= 0.05, f"p99 {found['p99'] * 1e3:.1f} ms, most {found['max'] * 1e3:.0f} ms"


CHECKS: dict[str, tuple[int, Callable[[Board], Verdict]]] = {
    "A4 root cause is typed": (3, root_cause),
    "B1 a deadline over drips": (6, deadline),
    "B2 a deadline over retries": (3, deadline_over_retries),
    "B3 upload that nobody reads": (1, upload),
    "C2 5 % failures": (2, some_fail),
    "C4 Retry-After": (2, retry_after),
    "C5 POST": (3, post),
    "C7 permanent failures": (2, permanent),
    "C8 one-shot body": (1, one_shot),
    "D1 one of ten blackholed": (4, lambda board: isolation(board, "blackhole", is_kept=True)),
    "D2 the same, new connections": (3, lambda board: isolation(board, "blackhole", is_kept=False)),
    "F1 10,000 cancels": (6, cancels),
    "F3 closing with 100 in flight": (2, closing),
    "G1 bomb": (2, bomb),
    "G2 garbage is noticed": (2, garbage),
    "G3 secrets on a redirect": (1, secrets),
    "H1 event loop under faults": (2, lag),
}
BOTH = ("C1 amplification in an outage", 4), ("C3 recovery after it", 2)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks reliability", description=__doc__)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--only", default="", help="checks whose name has this in it")
    parser.add_argument("--isolation", action="store_true", help="each bad upstream, kept and new connections, instead")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    names = options.clients.split(",")
    print(conditions(tuple(names), arguments, "reliability"))
    found: dict[str, dict[str, list[Any]]] = {}
    with tempfile.TemporaryDirectory() as folder, FaultProcess() as server:
        authority = Path(folder) / "ca.pem"
        authority.write_text(server.ca())
        boards = {name: Board(name, server, str(authority)) for name in names}
        if options.isolation:
            for bad in ISOLATED:
                for is_kept in (True, False):
                    for name, board in boards.items():
                        ok, text = isolation(board, bad, is_kept=is_kept)
                        kept = "kept" if is_kept else "new connections"
                        print(f"{'ok' if ok else 'NO':3} {name:14} {kept:16} {text}", flush=True)
            return 0
        for check, (points, judge) in CHECKS.items():
            if options.only not in check:
                continue
            for name, board in boards.items():
                _note(found, check, points, name, _judged(judge, board))
        if options.only in BOTH[0][0] or options.only in BOTH[1][0]:
            for name, board in boards.items():
                try:
                    verdicts: tuple[Verdict, Verdict] = amplification(board)
                except (ValueError, subprocess.SubprocessError) as error:
                    verdicts = ((False, str(error)), (False, str(error)))
                for (check, points), verdict in zip(BOTH, verdicts, strict=True):
                    _note(found, check, points, name, verdict)
    print("\n" + table(found, names))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _judged(judge: Callable[[Board], Verdict], board: Board) -> Verdict:
    try:
        return judge(board)
    except (ValueError, subprocess.SubprocessError) as error:
        return False, str(error)[-200:]


def _note(found: dict[str, dict[str, list[Any]]], check: str, points: int, name: str, verdict: Verdict) -> None:
    ok, text = verdict
    print(f"{'ok' if ok else 'NO':3} {check:32} {name:14} {text}", flush=True)
    found.setdefault(check, {})[name] = [points, ok, text]


def table(found: dict[str, dict[str, list[Any]]], names: list[str]) -> str:
    """In Markdown."""
    heads = [f"{name} {version(name)}" for name in names]
    rows = ["| check | points | " + " | ".join(heads) + " |", "|---" * (len(names) + 2) + "|"]
    sums = dict.fromkeys(names, 0)
    total = 0
    for check, cells in sorted(found.items()):
        points = next(iter(cells.values()))[0]
        total += points
        for name, (_, ok, _) in cells.items():
            sums[name] += points if ok else 0
        rows.append(f"| {check} | {points} | " + " | ".join("yes" if cells[name][1] else "no" for name in names) + " |")
    rows.append(f"| sum | {total} | " + " | ".join(str(sums[name]) for name in names) + " |")
    return "\n".join(rows) + "\n"


assert RATE * SECONDS < 10_000  # as many requests as the server remembers of a key
