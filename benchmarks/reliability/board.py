"""One client, the servers of the checks, and the verdict of a check."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from seawall.testing import FaultProcess

from ..clients import CLIENTS
from ..machine import child

SLACK = 0.15  # s, because the machine is shared


class Verdict(NamedTuple):
    """
    Attributes:
        share: Of the points, from 0 to 1; None if the check could not run.
        text: What was seen.
        own: Settings for this client alone, which have no counterpart in the others.
    """

    share: float | None
    text: str
    own: tuple[str, ...] = ()


class NotRun(Exception):
    """The check needs something that this machine or this client doesn't have."""


@dataclass
class Board:
    """
    Attributes:
        is_apart: Whether it runs in a namespace, where port 53 is available.
        seen: What one check leaves for the next.
        own: What the running check has set for this client alone.
    """

    client: str
    server: FaultProcess
    authority: Path
    is_apart: bool
    keys: int = 0
    seen: dict[str, Any] = field(default_factory=dict)
    own: dict[str, None] = field(default_factory=dict)

    def key(self) -> str:
        """A new, unique key."""
        self.keys += 1
        return f"check-{self.client}-{self.keys}"

    def url(self, script: str) -> tuple[str, str]:
        """A new key, and the URL of its script."""
        key = self.key()
        return key, f"{self.server.url}/x/{script}?key={key}"

    def origin(self, step: str) -> tuple[str, str]:
        """Open a port; returns its name, and a URL on it."""
        name = self.key()
        return name, f"{self.server.listen('serve', name=name)}/x/{step}?key={name}"

    def run(self, check: str, job: dict[str, Any], *, patience: float = 120, **setup: Any) -> Any:
        """Run the client's process; returns what it saw. ValueError: it failed, or took over *patience* seconds."""
        told = {"authority": str(self.authority)} | setup
        if CLIENTS[self.client].package == "seawall":
            self.own |= dict.fromkeys(setup.get("own", ())) | ({"bulkhead": None} if "bulkhead" in setup else {})
        module = "benchmarks.reliability.child"
        output = child(module, check, self.client, json.dumps(job), json.dumps(told), seconds=patience)
        return json.loads(output.splitlines()[-1])

    def each(self, *calls: tuple[str, str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Make one call after another, each with its method, URL and options."""
        found: list[dict[str, Any]] = self.run("each", {"calls": calls})
        return found

    def attempts(self, key: str) -> int:
        return len(self.server.attempts(key))


Check = Callable[[Board], Verdict]


def passed(ok: bool, text: str) -> Verdict:
    return Verdict(float(ok), text)


def part(good: int, all_: int, text: str) -> Verdict:
    """The share of cells that are right."""
    return Verdict(good / all_, text)


def is_error(end: dict[str, Any]) -> bool:
    """Whether a call, as `child.one` reports it, ended in an error: it did end, without a status."""
    return not end["end"].isdigit() and end["end"] != "no end"


def judged(check: Check, board: Board, *, most: int = 1) -> Verdict:
    """The verdict of the majority of this many runs, which is the median's."""
    found: list[Verdict] = []
    board.own.clear()
    while True:
        try:
            found.append(check(board)._replace(own=tuple(board.own)))
        except NotRun as why:
            return Verdict(None, str(why))
        except (ValueError, OSError, subprocess.SubprocessError) as error:
            found.append(Verdict(0, str(error)[-200:], tuple(board.own)))
        if sum(each.share == found[-1].share for each in found) > most // 2:
            return found[-1]
