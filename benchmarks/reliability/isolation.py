"""D: one bad upstream among good ones, and a slow one with a limit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

from seawall.testing import FaultProcess

from .board import SLACK, Board, Check, Verdict, judged, passed
from .child import TIMEOUT, quantile

KINDS = ("blackhole", "hang", "drip", "503")
LIMIT, WAITING = 10, 100
LONG = 14  # s, because a breaker opens for a drip some 8 s after its beginning
SLOW, QUICKER = 0.8, 0.05  # s that an answer takes: within the read timeout, and such that the queue moves on


def isolation(board: Board, bad: str, *, is_kept: bool, origins: int = 10, seconds: float = 8) -> Verdict:
    """One of ten upstreams is bad: the others lose nothing, p99 <= max(1.1 x, + 5 ms), the loop's <= 1.2 x + 1 ms."""
    step, count = "ok" if is_kept else "lie:close", origins // 10
    with FaultProcess() as server:  # a new one, because one that remembers other checks pauses to collect garbage
        good = [f"{server.listen('serve')}/x/{step}" for _ in range(origins)]
        if bad == "blackhole":
            last = [server.listen("blackhole") for _ in range(count)]
        else:
            last = [url.rpartition("/x/")[0] + f"/x/{bad}" for url in good[-count:]]
        job = {"good": good, "urls": [*good[:-count], *last], "bad": count, "seconds": seconds}
        found = board.run("isolation", job)
    base, load = found["baseline"], found["load"]
    ok = load["failed"] == 0 and load["p99"] <= max(1.1 * base["p99"], base["p99"] + 0.005)
    ok = ok and load["lag"]["p99"] <= 1.2 * base["lag"]["p99"] + 0.001
    text = (
        f"{bad}: {load['failed']} of {load['calls']} failed, "
        f"p99 {base['p99'] * 1e3:.1f} -> {load['p99'] * 1e3:.1f} ms, "
        f"loop {base['lag']['p99'] * 1e3:.1f} -> {load['lag']['p99'] * 1e3:.1f} ms"
    )
    if found["bad"] is not None:
        text += f", calls to the bad {found['bad'] * 1e3:.1f} ms at last"
    return passed(ok, text)


def _limited(board: Board, takes: float, rate: float, seconds: float, **queue: int) -> tuple[dict[str, Any], int]:
    """Calls to an upstream that takes this many seconds, with a limit of 10: their ends, and its most connections."""
    name, url = board.origin(f"delay:{takes}")
    job = {"good": board.url("ok")[1], "slow": url}
    setup: dict[str, Any] = {"connections": LIMIT, "bulkhead": {"max_concurrent": LIMIT, **queue}}
    found = board.run("limited", job | {"rate": rate, "seconds": seconds}, **setup)
    return found, board.server.conns()[name]["peak"]


def slow(board: Board) -> Verdict:
    """An upstream that takes 0.8 s, 40 calls in 0.1 s, limit 10: 10 connections at most, and no wait beyond 1 s."""
    found, peak = _limited(board, SLOW, 400, 0.1)  # a client that blocks the loop for 10 ms still makes all 40 calls
    last = max(found["refused"], default=0.0)
    text = f"peak {peak}, {len(found['refused'])} refused, the last after {last:.2f} s"
    return passed(peak == LIMIT and last <= TIMEOUT + SLACK and "no end" not in found["ends"], text)


def queue(board: Board) -> Verdict:
    """10,000 calls in 8 s where 1,600 can be done, limit 10, 100 may wait: refused in <= 5 ms at p99, <= 10 MB, the
    loop's p99 <= 10 ms."""
    found, _ = _limited(board, QUICKER, 1250, 8.0, max_waiting=WAITING)
    refused, lag = found["refused"], found["lag"]["p99"]
    p99 = quantile(refused, 0.99) if refused else 0.0
    text = f"{len(refused)} refused, p99 {p99 * 1e3:.1f} ms, {found['grown']:+.1f} MB, loop {lag * 1e3:.1f} ms"
    ok = p99 <= 0.005 and found["grown"] <= 10 and lag <= 0.010 and "no end" not in found["ends"]
    return passed(ok, text)


CHECKS: dict[str, tuple[float, Check]] = {
    "D1 one of ten blackholed": (4, lambda board: isolation(board, "blackhole", is_kept=True)),
    "D2 the same, new connections": (3, lambda board: isolation(board, "blackhole", is_kept=False)),
    "D3 slow upstream, limit 10": (2, slow),
    "D4 10,000 offered to it": (2, queue),
}


def each_kind(boards: list[Board], origins: int) -> Iterator[str]:
    """A line for each bad upstream, with kept and with new connections: what two of three runs say."""
    for bad, is_kept in product(KINDS, (True, False)):
        check = partial(isolation, bad=bad, is_kept=is_kept, origins=origins, seconds=LONG)
        for board in boards:
            verdict = judged(check, board, most=3)
            kept = "kept" if is_kept else "new connections"
            yield f"{'ok' if verdict.share else 'NO':3} {board.client:20} {kept:16} {verdict.text}"
