"""How far a job of ``seawall fetch`` is: a table that changes in a terminal, a line now and then elsewhere, or JSON."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..fetch.page import Kind
from ..fetch.progress import OriginProgress, Progress
from ..fetch.sources import Sources
from ..origin import Origin
from ..stats import OriginStats
from .text import printable

__all__ = ["Frame", "Host", "Watch", "as_json", "line", "screen"]

SPAN: Final = 10.0  # seconds over which a rate is measured
PORTS: Final = {"http": 80, "https": 443}
WIDER: Final = [("waiting", 7), ("connections", 11)]
WIDE: Final = 120  # columns from which on the table says more


class Host(NamedTuple):
    """
    Attributes:
        state: What holds its URLs up; empty if nothing does.
        last: Name of its last failure.
    """

    name: str
    done: int
    failed: int
    in_flight: int
    waiting: int
    connections: int
    state: str
    last: str


class Frame(NamedTuple):
    """
    A job at one instant.

    Attributes:
        rate: URLs a second, lately; *speed*: bytes a second.
        known: Entries that were done before, or stand in the list twice.
        in_flight: Requests; *waiting*: URLs that wait for their turn, their next attempt, or their host.
        share: How much of the list is done, from 0 to 1; None if nobody knows.
        left: Seconds until its end, by the rate; None if nobody knows.
        hosts: Those in trouble first, then the busiest.
    """

    elapsed: float
    done: int
    good: int
    failed: int
    skipped: int
    known: int
    in_flight: int
    waiting: int
    rate: float
    speed: float
    share: float | None
    left: float | None
    hosts: tuple[Host, ...]


class Watch:
    """Looks at a job from time to time."""

    def __init__(
        self,
        progress: Progress,
        sources: Sources,
        origins: Callable[[], Mapping[Origin, OriginStats]],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._sources = sources
        self._origins = origins
        self._now = now
        self._began_at = now()
        self._samples: deque[tuple[float, int, int]] = deque([(self._began_at, 0, 0)])

    def look(self) -> Frame:
        """The job now."""
        progress, now = self._progress, self._now()
        self._samples.append((now, progress.done, progress.bytes))
        while len(self._samples) > 2 and self._samples[1][0] <= now - SPAN:
            self._samples.popleft()
        then, done, size = self._samples[0]
        span = max(now - then, 1e-9)
        rate = (progress.done - done) / span
        total, seen, hosts = self._total(), progress.done + progress.known, self._hosts()
        in_flight = sum(host.in_flight for host in hosts)
        return Frame(
            now - self._began_at,
            progress.done,
            progress.pages[Kind.GOOD],
            progress.pages[Kind.FAILED],
            progress.pages[Kind.SKIPPED],
            progress.known,
            in_flight,
            max(0, progress.begun - in_flight),
            rate,
            (progress.bytes - size) / span,
            None if total is None else seen / max(total, 1.0),
            None if total is None or rate <= 0 else (total - seen) / rate,
            hosts,
        )

    def _total(self) -> float | None:
        """How many entries the list has, by how many there are in the part of it that was read; None: nobody knows."""
        size, read = self._sources.size, self._sources.read
        pulled = self._progress.pulled + self._progress.known
        if size is None or (size and not read):
            return None
        return pulled * size / read if read else 0.0

    def _hosts(self) -> tuple[Host, ...]:
        stats = {_spelled(origin): each for origin, each in self._origins().items()}
        hosts = [_host(name, each, stats.get(name)) for name, each in self._progress.origins.items() if name]
        return tuple(
            sorted(hosts, key=lambda host: (not host.state, -host.in_flight - host.waiting, -host.done, host.name))
        )


def _spelled(origin: Origin) -> str:
    text = origin.site
    return text.removesuffix(f":{origin.port}") if PORTS.get(origin.scheme) == origin.port else text


def _host(name: str, progress: OriginProgress, stats: OriginStats | None) -> Host:
    connections = 0 if stats is None else stats.connections
    state = "" if stats is None else _state(stats)
    in_flight = 0 if stats is None else stats.in_flight
    waiting = max(0, progress.begun - in_flight)
    return Host(name, progress.done, progress.failed, in_flight, waiting, connections, state, progress.last)


def _state(stats: OriginStats) -> str:
    if stats.breaker == "open":
        return f"breaker open, {max(0.0, stats.next_probe):.0f} s"
    if stats.breaker == "half-open":
        return "breaker half-open"
    if stats.away_for:
        return f"away for {stats.away_for:.0f} s"
    if stats.paused_for > 0:
        return f"paused, {stats.paused_for:.0f} s"
    if stats.limited:
        return f"limited, {stats.limited} wait"
    return ""


def screen(frame: Frame, *, width: int, height: int) -> RenderableType:
    """One frame, for a terminal of this size."""
    is_wide = width >= WIDE
    table = Table(box=SIMPLE_HEAD, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("host", ratio=3, no_wrap=True, overflow="ellipsis")
    for title, size in [("done", 9), ("good", 7), ("in flight", 9), *(WIDER if is_wide else [])]:
        table.add_column(title, justify="right", no_wrap=True, width=size)
    table.add_column("state", ratio=2, no_wrap=True, overflow="ellipsis")
    if is_wide:
        table.add_column("last failure", ratio=2, no_wrap=True, overflow="ellipsis")
    room = max(1, height - 7)
    for host in frame.hosts[:room]:
        table.add_row(
            Text(printable(host.name), "yellow" if host.state else ""),
            f"{host.done:,}",
            _good(host.done - host.failed, host.done),
            str(host.in_flight),
            *([str(host.waiting), str(host.connections)] if is_wide else []),
            _health(host),
            *([Text(printable(host.last), "dim")] if is_wide else []),
        )
    others = len(frame.hosts) - room
    more = [Text(f" and {others:,} more hosts", "dim")] if others > 0 else []
    return Group(_bar(frame), _counts(frame), table, *more)


def _health(host: Host) -> Text:
    if host.state:
        return Text(host.state, "yellow")
    if host.done and host.done == host.failed:
        return Text("failing", "red")
    return Text("connecting" if host.waiting and not host.connections else "well", "dim")


def _bar(frame: Frame) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1))
    times = f"{_clock(frame.elapsed)}" + ("" if frame.left is None else f", about {_clock(frame.left)} left")
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    if frame.share is None:
        grid.add_row(ProgressBar(pulse=True, animation_time=frame.elapsed), times)
    else:
        grid.add_row(ProgressBar(total=1.0, completed=frame.share), f"{frame.share * 100:.0f} % of the list  {times}")
    return grid


def _counts(frame: Frame) -> Text:
    parts: list[tuple[str, str]] = [(f"{frame.done:,} URLs", "bold"), ("  ", "")]
    good = _good(frame.good, frame.done)
    parts += [(f"{good.plain} good", good.style if isinstance(good.style, str) else "")]
    for count, what in [(frame.failed, "failed"), (frame.skipped, "skipped"), (frame.known, "done before")]:
        if count:
            parts.append((f"  {count:,} {what}", "dim"))
    parts.append((f"  {frame.rate:,.0f}/s  {_size(frame.speed)}/s  {frame.in_flight} in flight", ""))
    if frame.waiting:
        parts.append((f"  {frame.waiting:,} waiting", "dim"))
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _good(good: int, done: int) -> Text:
    if not done:
        return Text("–", "dim")
    share = good / done
    text = "100 %" if share == 1 else f"{int(share * 1000) / 10:.1f} %"
    return Text(text, "green" if share >= 0.99 else "yellow" if share >= 0.5 else "red")


def line(frame: Frame) -> str:
    """One frame as a line of text, for an output that is not a terminal."""
    share = "" if frame.share is None else f", {frame.share * 100:.0f} % of the list"
    left = "" if frame.left is None else f", about {_clock(frame.left)} left"
    troubled = sum(bool(host.state) for host in frame.hosts)
    parts = [
        f"{frame.done:,} URLs ({_good(frame.good, frame.done).plain} good)",
        f"{frame.rate:,.0f} URLs/s",
        f"{_size(frame.speed)}/s",
        f"{frame.in_flight} in flight",
        f"{frame.waiting:,} waiting",
        *([f"{troubled} hosts held up"] if troubled else []),
    ]
    return f"{_clock(frame.elapsed)}  {', '.join(parts)}{share}{left}"


def as_json(frame: Frame) -> str:
    """One frame, for machines."""
    said: dict[str, Any] = {name: value for name, value in frame._asdict().items() if name != "hosts"}
    held_up = {host.name: host.state for host in frame.hosts if host.state}
    return json.dumps({"event": "progress", **said, "held_up": held_up})


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
