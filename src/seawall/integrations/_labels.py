"""What keeps the number of a metric's time series finite: which hosts and statuses get a value of their own."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

__all__ = ["OTHER", "Hosts", "Statuses"]

OTHER: Final = "_OTHER"
"""The value of all hosts beyond the limit. Source: OpenTelemetry, which has it for unknown ``http.request.method``."""


class Hosts:
    """
    Gives a host its value of a metric's attribute: its name, or `OTHER`.

    A process that calls a million hosts would otherwise keep a million time series, and so would the database behind
    it. The first hosts keep their names for good, because a series that changes its name looks like a counter's reset.

    Args:
        known: Hosts that always keep their names, and don't count toward *limit*: those that the settings name.
        limit: How many other hosts keep theirs.
    """

    def __init__(self, known: Iterable[str] = (), limit: int = 100) -> None:
        self._limit = limit
        self._others = 0
        self._named: dict[str, str] = {}
        self.add(known)

    def add(self, known: Iterable[str]) -> None:
        """More hosts that always keep their names."""
        self._named.update((host, host) for host in known)

    def __call__(self, host: str) -> str:
        """The value for *host*: O(1), and it holds no more names however many it is asked for."""
        name = self._named.get(host)
        if name is not None:
            return name
        if self._others >= self._limit:
            return OTHER
        self._others += 1
        self._named[host] = host
        return host


class Statuses(Hosts):
    """
    The same for statuses, because an upstream may send all 900 that three digits have.

    Those that HTTP names keep theirs, and the first 20 others, such as those of nginx and Cloudflare.
    """

    def __init__(self) -> None:
        super().__init__((str(int(each)) for each in HTTPStatus), limit=20)

    def __call__(self, outcome: str) -> str:
        """The value for an *outcome*: a status, or the name of an error, which stays what it is."""
        return super().__call__(outcome) if outcome.isdigit() else outcome
