"""E: names; each client resolves them by itself if port 53 is available, or else is pointed at a DNS server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..clients import CLIENTS
from ..dns import servers
from ..dns_server import FIRST, SECOND, tell
from ..namespace import PORT
from .board import SLACK, Board, Check, NotRun, Verdict, passed
from .child import DEADLINE, quantile

DEAD, RATE = 14, 40  # s, and calls a second
DEAD_NAMES, NEW_NAMES = 50, 25
AT_ONCE = 1000


@dataclass
class Names:
    """
    A DNS server, and an HTTP server that answers with the address that the request came to.

    Attributes:
        port, hole: The ports of the HTTP server; on the second, 127.0.0.1 and ::1 swallow every SYN.
    """

    board: Board
    server: str
    port: str
    hole: str

    def url(self, name: str) -> str:
        return f"http://{name}.test:{self.port}/"

    def queries(self) -> int:
        """Both families, and what was asked again."""
        return int(tell(self.server, "stats").split()[1])

    def run(self, check: str, job: dict[str, Any], **setup: Any) -> Any:
        nameserver = None if self.board.is_apart else self.server
        return self.board.run(check, job, nameserver=nameserver, **setup)


@contextmanager
def served(board: Board) -> Iterator[Names]:
    if not board.is_apart and not CLIENTS[board.client].is_told:
        raise NotRun("can't be pointed at a DNS server, and port 53 is not available")
    with servers(PORT if board.is_apart else 0) as found:
        yield Names(board, *found)


def outage(board: Board) -> Verdict:
    """The server is silent for 14 s of 18, TTL 1, no connection kept: all are served, p99 + 5 ms."""
    with served(board) as names:
        phases = [("", 2.0), (f"dead-{DEAD}", float(DEAD)), ("", 2.0)]
        job = {"url": names.url("u1.ttl-1"), "phases": phases, "rate": RATE, "server": names.server}
        before, dead, after = names.run("steady", job, is_kept=False)
    usual, meanwhile = (sorted(end["seconds"] for end in ends) for ends in (before, dead))
    good = [end["end"] == "200" for end in [*dead, *after]]
    base, p99 = quantile(usual, 0.9), quantile(meanwhile, 0.99)  # because the first few of 80 have no cached name
    text = f"{sum(good) / len(good):.1%} served, p99 {base * 1e3:.1f} -> {p99 * 1e3:.1f} ms"
    return passed(all(good) and p99 <= base + 0.005, text)


def dead_name(board: Board) -> Verdict:
    """A name whose server is silent: the call ends within 3 s, and a second later no thread or descriptor is left."""
    with served(board) as names:
        job = {"good": names.url("u1.ttl-60"), "bad": names.url("u2.drop")}
        end = names.run("dead_name", job)
    left = {kind: count for kind, count in end["after"].items() if count > end["before"][kind]}
    text = f"{end['end']} after {end['seconds']:.1f} s, {left or 'nothing'} left"
    return passed(end["end"] != "no end" and end["seconds"] <= DEADLINE + SLACK and not left, text)


def beside_dead(board: Board) -> Verdict:
    """50 dead names in flight, 5 new ones a second: all of these are served, p99 + 10 ms."""
    with served(board) as names:
        kinds = {"dead": (DEAD_NAMES, "drop"), "alone": (10, "ttl-60"), "beside": (NEW_NAMES, "ttl-60")}
        job = {kind: [names.url(f"{kind}{n}.{label}") for n in range(count)] for kind, (count, label) in kinds.items()}
        found = names.run("beside", job)
    good = sum(end["end"] == "200" for end in found["beside"])
    alone, beside = (quantile(sorted(end["seconds"] for end in found[kind]), 0.99) for kind in ("alone", "beside"))
    text = f"{good} of {NEW_NAMES} served, p99 {alone * 1e3:.1f} -> {beside * 1e3:.1f} ms"
    return passed(good == NEW_NAMES and beside <= alone + 0.010, text)


def late(board: Board) -> Verdict:
    """A name server that used to be quick needs 400 ms once, where it is allowed 1 s: the call is served."""
    with served(board) as names:
        labels = ("u1.ttl-60", "u2.ttl-60", "u3.delay-400")
        calls: list[Any] = [("GET", names.url(label), {}) for label in labels]
        *_, end = names.run("each", {"calls": calls})
    return passed(end["end"] == "200", f"{end['end']} after {end['seconds']:.1f} s")


def burst(board: Board) -> Verdict:
    """1,000 calls at once to a new name: <= 2 queries; the first of others is cancelled: 999 are served."""
    patient = {"timeout": 10.0, "deadline": 20.0}
    with served(board) as names:
        job = {"url": names.url("u1.delay-50"), "calls": AT_ONCE, "cancel": False}
        names.run("burst", job, **patient)
        queries = names.queries()
        ends = names.run("burst", {"url": names.url("u2.delay-200"), "calls": AT_ONCE, "cancel": True}, **patient)
    return passed(queries <= 2 and ends == {"200": AT_ONCE - 1}, f"{queries} queries, {ends}")


def moved(board: Board) -> Verdict:
    """A name of TTL 1 moves: used within 2 s; "no such name" is asked at most once a second; a failure is not kept."""
    with served(board) as names:
        job = {"url": names.url("u1.flip-1.ttl-1"), "phases": [("", 5.0)], "rate": 20, "server": names.server}
        (ends,) = names.run("steady", job, is_kept=False)
        last_old = max((end["at"] for end in ends if end["body"] == FIRST), default=0.0) - 1.0
        is_moved = ends[-1]["body"] == SECOND and last_old <= 2.0 + SLACK
        tell(names.server, "reset")
        names.run("steady", {"url": names.url("u2.nx"), "phases": [("", 2.0)], "rate": 10, "server": names.server})
        asked = names.queries() / 2
        calls = [("GET", names.url("u3.failfirst-1"), {"pause": pause}) for pause in (0, 0.1)]
        (_, again) = names.run("each", {"calls": calls})
    text = f"old for {last_old:.1f} s, {asked:.0f} queries in 2 s, then {again['end']}"
    return passed(is_moved and asked <= 3 and again["end"] == "200", text)


def half_dead(board: Board) -> Verdict:
    """Of two addresses the first, or the IPv6 one, refuses or swallows SYNs: served within 300 ms, 4 of 4."""
    slow = []
    with served(board) as names:
        for name, port in (("refused", names.port), ("six", names.port), ("two", names.hole), ("six", names.hole)):
            (end,) = names.run("each", {"calls": [("GET", f"http://{name}.test:{port}/", {})]})
            if end["end"] != "200" or end["seconds"] > 0.3 + SLACK:
                slow.append(f"{name}: {end['end']} after {end['seconds']:.2f} s")
    return passed(not slow, "; ".join(slow))


CHECKS: dict[str, tuple[float, Check]] = {
    "E1 DNS is dead": (4, outage),
    "E2 a dead name": (2, dead_name),
    "E3 50 dead names": (3, beside_dead),
    "E4 a late answer": (1, late),
    "E5 1,000 calls for a name": (2, burst),
    "E6 a name moves": (1, moved),
    "E7 half-dead names": (2, half_dead),
}
