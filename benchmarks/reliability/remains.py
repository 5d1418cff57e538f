"""F, G and H: what is left after cancellation and faults, what garbage does, and what the layers cost."""

from __future__ import annotations

import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from seawall.testing import FaultProcess

from .board import SLACK, Board, Check, Verdict, is_error, passed

FAULTS = (
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
)
ENDURED = [step for step in FAULTS if step != "drip:body"] + [
    "lie:close"
]  # because clients without a deadline drip for ever
CALLS = 10_000
WITHOUT_BREAKER = {"breaker": None}  # because seawall's would keep the faults away


def cancels(board: Board) -> Verdict:
    """10,000 calls cancelled at 0 to 12 ms, at most 10 connections: a second later no more descriptors, tasks and
    connections than good ones leave, and 20 of 20 are good within 50 ms."""
    name, url = board.origin("ok")
    job = {"slow": url.replace("/ok", "/delay:0.006"), "good": url, "server": board.server.url, "name": name}
    found = board.run("cancels", job, connections=10)
    left = {kind: count for kind, count in found["after"].items() if count > found["before"][kind]}
    text = f"{found['good']} of 20 good, the slowest {found['slowest'] * 1e3:.0f} ms, {left or 'nothing'} left"
    return passed(found["good"] == 20 and found["slowest"] <= 0.05 and not left, text)


def closing(board: Board) -> Verdict:
    """aclose() with 100 in flight takes <= 1 s, and leaves none; a server that is started again is used within 1 s."""
    found = board.run("closing", {"slow": board.url("hang")[1]}, timeout=10.0, deadline=20.0)
    ok = found["seconds"] <= 1.0 + SLACK and not found["open"]
    first = median(_restarted(board) for _ in range(3))
    text = f"{found['seconds']:.2f} s, {found['open']} left; good {first:.2f} s after the server is"
    return passed(ok and first <= 1.0, text)


def _restarted(board: Board) -> float:
    """Seconds from when a server listens again, after 2 s without it, to the first good answer."""
    with FaultProcess() as server:
        port, url = int(server.url.rpartition(":")[2]), f"{server.url}/x/ok?key=k"
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(board.run, "restart", {"url": url, "rate": 50, "seconds": 8.0})
            while not server.attempts("k") and not load.done():
                time.sleep(0.05)
            time.sleep(1)
            os.kill(server.pid, signal.SIGKILL)
            time.sleep(2)
            with FaultProcess(port=port):
                back_at = time.monotonic()
                ends = load.result()
    return min((at - back_at for at, end in ends if at >= back_at and end == "200"), default=math.inf)


def bomb(board: Board) -> Verdict:
    """100 kB that become 100 MB, where a client has a limit 10 MB: an error, the loop <= 50 ms late, <= 64 MB."""
    job = {"url": board.url("bomb")[1], "good": board.url("ok")[1]}
    found = board.run("bomb", job, own={"max_response_size": 10_000_000})
    text = f"{found['end']}, loop {found['lag'] * 1e3:.0f} ms, {found['grown'] / 2**20:.0f} MB"
    return passed(not found["end"].isdigit() and found["lag"] <= 0.05 and found["grown"] <= 64 * 2**20, text)


def garbage(board: Board) -> Verdict:
    """A cut gzip body, length and chunks at once, headers without end: errors; a stray answer goes to nobody."""
    steps = ("encoded:gzip_truncated", "malformed:length_and_chunked", "endless_headers")
    ends = board.each(*(("GET", board.url(step)[1], {}) for step in steps))
    wrong = [f"{step}: {end['end']}" for step, end in zip(steps, ends, strict=True) if not is_error(end)]
    key, _ = board.url("ok:5000")
    later = {"pause": 0.02}  # at once, nobody could tell
    first, following = board.url("second_answer")[1], f"{board.server.url}/x/ok:5000?key={key}"
    ends = board.each(("GET", first, {}), ("GET", following, later))
    if ends[1]["end"] != "200" or ends[1]["size"] != 5000:
        wrong.append(f"second_answer: the next got {ends[1]['end']}, {ends[1]['size']} bytes")
    return passed(not wrong, "; ".join(wrong))


def secrets(board: Board) -> Verdict:
    """A redirect to another origin is followed, and takes neither Authorization nor cookies along."""
    key, url = board.url("location:origin")
    board.each(("GET", url, {"follow": True, "headers": {"authorization": "secret", "cookie": "a=secret"}}))
    _, *after = board.server.attempts(key)
    told = [name for each in after for name, value in each.headers if "secret" in value]
    return passed(len(after) == 1 and not told, ", ".join(told) or f"{len(after)} after the redirect")


def lag(board: Board) -> Verdict:
    """100 calls a second, half of them to ten faults, each an origin of its own: the others are good, the loop's p99 is
    <= 5 ms, most <= 50 ms."""
    made = [board.origin(step) for step in FAULTS]
    found = board.run("mixed", {"good": board.origin("ok")[1], "bad": [url for _, url in made]}, own=WITHOUT_BREAKER)
    unseen = [step for step, (key, _) in zip(FAULTS, made, strict=True) if not board.attempts(key)]
    ok = found["p99"] <= 0.005 and found["max"] <= 0.05 and set(found["good"]) == {"200"} and not unseen
    text = f"p99 {found['p99'] * 1e3:.1f} ms, most {found['max'] * 1e3:.0f} ms, of the others {found['good']}"
    return passed(ok, text + (f", no {unseen} seen" if unseen else ""))


def endurance(board: Board) -> Verdict:
    """10,000 calls over ten faults, each an origin of its own, as many attempts or more: nothing is left, <= 5 MB
    from the 2,000th on, nothing complains."""
    made = [board.origin(step) for step in ENDURED]
    job = {"urls": [url for _, url in made], "calls": CALLS}
    unadapted = {"adaptive": False}  # because the hangs' bulkhead would hold permits for them, and refuse calls
    found = board.run("endurance", job, patience=300, own=WITHOUT_BREAKER, bulkhead=unadapted)
    more = {name: found["after"][name] - count for name, count in found["before"].items()}
    left = {name: count for name, count in more.items() if count > 0}
    attempts = sum(board.attempts(key) for key, _ in made)
    text = f"{attempts} attempts, {left or 'nothing'} left, {found['grown']:+.1f} MB"
    if found["complaints"]:
        text += f"; {sum(found['complaints'].values())} x {next(iter(found['complaints']))[:60]}"
    ok = attempts >= CALLS and not left and not found["complaints"] and found["grown"] <= 5.0
    return passed(ok, text)


def layers(board: Board) -> Verdict:
    """On success, its own layers: <= 0.3 ms a call, >= 90 % of the speed without."""
    found = board.run("layers", {"url": board.url("ok")[1], "rounds": 20})
    added = found["p50"]["with"] - found["p50"]["without"]
    speed = found["rate"]["with"] / found["rate"]["without"]
    return passed(added <= 0.0003 and speed >= 0.9, f"{added * 1e6:+.0f} µs, {speed:.0%} of the speed")


CHECKS: dict[str, tuple[float, Check]] = {
    "F1 10,000 cancels": (6, cancels),
    "F2 10,000 calls over faults": (4, endurance),
    "F3 closing with 100 in flight": (2, closing),
    "G1 bomb": (2, bomb),
    "G2 garbage is noticed": (2, garbage),
    "G3 secrets on a redirect": (1, secrets),
    "H1 event loop under faults": (2, lag),
    "H2 cost of the layers": (1, layers),
}
