"""`Report`: what a journal says about its job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .page import Kind

__all__ = ["Report", "Tally"]


class Tally(NamedTuple):
    """
    Pages that ended in the same way.

    Attributes:
        name: A status, or the class of an error.
        pages: How many.
        url, said: One of them, and what was said of it.
    """

    kind: Kind
    name: str
    pages: int
    url: str
    said: str


class Report(NamedTuple):
    """
    What a journal says.

    Attributes:
        tallies: The most frequent first.
        job: What the job was asked to do.
        started_at, committed_at: Seconds since 1970: the first start, and the last thing noted.
        is_complete: Whether the whole list was read and done.
        is_running: Whether a process works on it.
    """

    tallies: tuple[Tally, ...]
    job: Mapping[str, str]
    started_at: float
    committed_at: float
    is_complete: bool
    is_running: bool

    def count(self, kind: Kind | None = None) -> int:
        """How many pages there are, of all kinds or of one."""
        return sum(tally.pages for tally in self.tallies if kind in (None, tally.kind))
