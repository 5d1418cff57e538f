"""How far a job is, and what it says of hosts."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from seawall.cli.live import Watch
from seawall.fetch.page import Kind, Page, Problem
from seawall.fetch.progress import Progress
from seawall.origin import Origin
from seawall.stats import OriginStats

CALM = OriginStats(0, 64, 0, "closed", 0.0, math.inf, 0, 0.0, 30.0, 30.0, 1, 2, ())


def page(kind: Kind = Kind.GOOD) -> Page:
    problem = None if kind is Kind.GOOD else Problem("404", "")
    return Page("http://a/", b"", kind, 200, body=b"x" * 10, attempts=2, problem=problem)


def watched(origins: dict[Origin, OriginStats], **sources: Any) -> tuple[Progress, Watch, list[float]]:
    progress, clock = Progress(), [0.0]
    given = SimpleNamespace(**{"read": 0, "size": 1000, **sources})
    return progress, Watch(progress, given, lambda: origins, now=lambda: clock[0]), clock  # type: ignore[arg-type]


def test_rate_and_rest():
    """The rate is that of the last ten seconds; the half of the list that was read has 200 entries."""
    progress, watch, clock = watched({}, read=500)
    progress.pulled, progress.known = 190, 10
    for second in range(1, 31):
        clock[0] = float(second)
        for _ in range(2 if second <= 20 else 5):
            progress.begin("http://a")
            progress.end("http://a", page())
        frame = watch.look()
    assert (frame.elapsed, frame.done, frame.good, frame.share) == (30.0, 90, 90, 0.25)
    assert (frame.rate, frame.speed) == (5.0, 50.0)
    assert frame.left == (400 - 90 - 10) / 5
    assert progress.attempts == 180


@pytest.mark.parametrize("size", [None, 0])
def test_nobody_knows(size):
    """Of a pipe there is no share and no rest; an empty list is read as soon as it is begun."""
    _, watch, _ = watched({}, size=size)
    frame = watch.look()
    assert (frame.share, frame.left) == (None if size is None else 0.0, None)


def test_what_is_in_flight():
    """Is what the host has permits for; other URLs that were begun wait."""
    origins = {Origin("http", "a.test", 80): CALM._replace(in_flight=4)}
    progress, watch, _ = watched(origins)
    for name in ["http://a.test"] * 10 + ["http://b.test"]:
        progress.begin(name)
    frame = watch.look()
    assert (frame.in_flight, frame.waiting) == (4, 7)
    assert [(host.in_flight, host.waiting) for host in frame.hosts] == [(4, 6), (0, 1)]


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, ""),
        ({"breaker": "open", "next_probe": 3.4}, "breaker open, 3 s"),
        ({"breaker": "half-open"}, "breaker half-open"),
        ({"away_for": 12.0}, "away for 12 s"),
        ({"paused_for": 30.0}, "paused, 30 s"),
        ({"limited": 9}, "limited, 9 wait"),
    ],
)
def test_what_holds_a_host_up(changed, state):
    """Is found by its origin, with the port that it has by default or another one; hosts in trouble come first."""
    origins = {
        Origin("https", "a.test", 443): CALM._replace(**changed),
        Origin("http", "b.test", 443): CALM,
        Origin("http", "c.test", 80): CALM,
    }
    progress, watch, _ = watched(origins)
    for name in ("http://c.test", "http://c.test", "http://b.test:443", "https://a.test", ""):
        progress.begin(name)
    hosts = watch.look().hosts
    assert [(host.name, host.connections) for host in hosts if host.name == "https://a.test"] == [("https://a.test", 2)]
    assert {host.name: host.state for host in hosts} == {
        "https://a.test": state,
        "http://b.test:443": "",
        "http://c.test": "",
    }
    assert hosts[0].name == ("https://a.test" if state else "http://c.test")


def test_counts():
    """Pages by kind, failures by host with the last one's name, and what was cancelled is none."""
    progress = Progress()
    for kind in (Kind.GOOD, Kind.FAILED, Kind.SKIPPED, None):
        progress.begin("http://a")
        progress.end("http://a", None if kind is None else page(kind))
    progress.begin("http://a")
    (origin,) = progress.origins.values()
    assert (origin.done, origin.failed, origin.begun, origin.last) == (3, 1, 1, "404")
    assert (progress.done, progress.begun, list(progress.pages.values())) == (3, 1, [1, 1, 1])
