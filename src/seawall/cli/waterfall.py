"""Where the time of a call went: a bar for each phase of each attempt, below each other as they followed in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rich.text import Text

from ..core.lines import about
from ..events import Attempt, Phase
from ..server_timing import ServerTiming
from .complaint import outcome
from .text import printable

__all__ = ["Hop", "hops_of", "waterfall"]

REDIRECTS: Final = (301, 302, 303, 307, 308)
LABEL: Final = 17  # columns of a phase's name, its indent included
TIME: Final = 10  # columns of a duration
SERVER: Final = "      server"
SHORTEST: Final = 0.0005  # seconds; a wait below that isn't one

PHASES: Final = (
    ("DNS", Phase.RESOLVING, "blue"),
    ("connect", Phase.CONNECTING, "cyan"),
    ("proxy", Phase.TUNNEL, "bright_blue"),
    ("TLS", Phase.TLS, "magenta"),
    ("send", Phase.SENDING, "yellow"),
    ("first byte", Phase.SENT, "green"),
    ("transfer", Phase.HEADERS, "bright_green"),
)
"""Name, the mark with which it begins, and colour. Each ends where the next one that came begins."""


class Hop(NamedTuple):
    """
    A call's passage to one URL.

    Attributes:
        attempts: Each with the seconds from the call's start to its own.
        facts: Lines on its connection.
        timings: What its response says of the server's share.
    """

    attempts: list[tuple[float, Attempt]]
    facts: Sequence[str] = ()
    timings: Sequence[ServerTiming] = ()


class Row(NamedTuple):
    """A bar, in seconds from the call's start."""

    label: str
    at: float
    ends_at: float
    style: str
    is_wait: bool = False


def hops_of(attempts: Sequence[Attempt]) -> list[Hop]:
    """*attempts*, a hop for each URL: a redirect is followed by another hop, anything else by a retry."""
    hops: list[Hop] = []
    now, is_new = 0.0, True
    for attempt in attempts:
        if is_new:
            hops.append(Hop([]))
        now += attempt.delay
        hops[-1].attempts.append((now, attempt))
        now += attempt.duration
        is_new = attempt.status in REDIRECTS
    return hops


def waterfall(hops: Sequence[Hop], *, width: int, bar: str = "━", wait: str = "┄") -> Iterator[Text]:
    """
    The lines for *hops*, none of them wider than *width*.

    Args:
        bar, wait: What a bar is made of.
    """
    last_at, last = hops[-1].attempts[-1]
    total = max(last_at + last.duration, 1e-9)
    columns = max(8, width - LABEL - TIME - 2)
    for hop in hops:
        first = hop.attempts[0][1]
        yield _cut(Text(printable(about(first)), "bold"), width)
        for fact in hop.facts:
            yield _cut(Text(f"  {printable(fact)}", "dim"), width)
        for index, (at, attempt) in enumerate(hop.attempts):
            if attempt.delay >= SHORTEST:
                row = Row("  wait", at - attempt.delay, at, "dim", is_wait=True)
                yield _line(row, total, columns, wait)
            yield _cut(_title(attempt), width)
            is_last = index == len(hop.attempts) - 1
            for row in _rows(at, attempt, hop.timings if is_last else ()):
                yield _line(row, total, columns, bar)
                if row.label == SERVER:
                    yield _cut(Text(f"{SERVER}: {printable(_said(hop.timings))}", "dim"), width)
    count = sum(len(hop.attempts) for hop in hops)
    attempts = "1 attempt" if count == 1 else f"{count} attempts"
    redirects = "" if len(hops) == 1 else ", 1 redirect" if len(hops) == 2 else f", {len(hops) - 1} redirects"
    yield _cut(Text(f"{'total':{LABEL}}{_time(total):>{TIME}}  {attempts}{redirects}", "bold"), width)


def _title(attempt: Attempt) -> Text:
    where = str(attempt.address or "") + (", kept alive" if attempt.is_reused else "")
    facts = ", ".join(filter(None, (where, attempt.protocol)))
    is_good = attempt.status is not None and attempt.status < 400
    title = Text(f"  #{attempt.number} ").append(outcome(attempt.outcome), "green" if is_good else "red")
    return title.append(f"  {facts}" if facts else "")


def _rows(at: float, attempt: Attempt, timings: Sequence[ServerTiming]) -> Iterator[Row]:
    """The phases that the attempt came to, and what it waited before them."""
    marks = dict(attempt.marks)
    if attempt.source == "literal":
        marks.pop(Phase.RESOLVING, None)  # an address needs no DNS
    begun = [(name, marks[phase], style) for name, phase, style in PHASES if phase in marks]
    first_at = begun[0][1] if begun else attempt.duration
    if attempt.queued and first_at >= SHORTEST:
        yield Row("    queue", at, at + first_at, "dim", is_wait=True)
    for index, (name, began_at, style) in enumerate(begun):
        ends_at = begun[index + 1][1] if index + 1 < len(begun) else attempt.duration
        if name == "send" and ends_at - began_at < SHORTEST:
            continue  # a small request is sent at once
        yield Row(f"    {name}", at + began_at, at + ends_at, style)
        if name == "first byte" and (share := _share(timings)):
            # A server doesn't say when it began; the middle leaves the network as much before as after it.
            share = min(share, ends_at - began_at)
            middle = at + (began_at + ends_at) / 2
            yield Row(SERVER, middle - share / 2, middle + share / 2, "yellow")


def _share(timings: Sequence[ServerTiming]) -> float:
    """The server's, in seconds: the longest metric, and not their sum, because one may be part of another."""
    return max((timing.duration or 0.0 for timing in timings), default=0.0)


def _said(timings: Sequence[ServerTiming]) -> str:
    return ", ".join(
        f"{timing.name} {_time(timing.duration)}" + f" ({timing.description})" * bool(timing.description)
        for timing in timings
        if timing.duration is not None
    )


def _line(row: Row, total: float, columns: int, piece: str) -> Text:
    begin = min(int(row.at / total * columns), columns - 1)
    length = max(1, min(round(row.ends_at / total * columns), columns) - begin)
    line = Text(f"{row.label:{LABEL}}{_time(row.ends_at - row.at):>{TIME}}  ", "dim" if row.is_wait else "")
    return line.append(" " * begin).append(piece * length, row.style)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
