"""`Progress`: how far a job is, for those who watch it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .page import Kind, Page

__all__ = ["OriginProgress", "Progress"]

MAX_ORIGINS: Final = 1_000


class OriginProgress:
    """
    Attributes:
        begun: URLs that are being fetched, or wait for their turn or their next attempt.
        done, failed: URLs that ended, and how many of them failed.
        last: Name of the last failure; empty if there was none.
    """

    __slots__ = ("begun", "done", "failed", "last")

    def __init__(self) -> None:
        self.begun = self.done = self.failed = 0
        self.last = ""


class Progress:
    """
    Counts of this process, and not of those before it.

    Attributes:
        known: Entries that were passed over, because an earlier process did them or the list has them twice.
        pulled: Entries that were taken from the list to be fetched.
        pages: Pages by kind.
        bytes: Of good pages' bodies.
        attempts: In all.
    """

    def __init__(self) -> None:
        self.known = self.pulled = self.bytes = self.attempts = 0
        self.pages = dict.fromkeys(Kind, 0)
        self._origins: dict[str, OriginProgress] = {}  # in the order of use

    @property
    def done(self) -> int:
        """Pages of all kinds."""
        return sum(self.pages.values())

    @property
    def begun(self) -> int:
        """URLs that are being fetched, or wait for their turn or their next attempt."""
        return sum(origin.begun for origin in self._origins.values())

    @property
    def origins(self) -> Mapping[str, OriginProgress]:
        """Those with URLs that are begun, and the last ones without, a thousand together."""
        return self._origins

    def begin(self, origin: str) -> None:
        """A URL of *origin* is begun."""
        progress = self._origins.pop(origin, None) or OriginProgress()
        progress.begun += 1
        self._origins[origin] = progress
        if len(self._origins) > MAX_ORIGINS:
            oldest = next(iter(self._origins))
            if not self._origins[oldest].begun:
                del self._origins[oldest]
            else:  # look further the next time
                self._origins[oldest] = self._origins.pop(oldest)

    def end(self, origin: str, page: Page | None) -> None:
        """It has ended; None: it was cancelled."""
        progress = self._origins[origin]
        progress.begun -= 1
        if page is None:
            return
        progress.done += 1
        self.pages[page.kind] += 1
        self.attempts += page.attempts
        self.bytes += len(page.body)
        if page.kind is Kind.FAILED:
            progress.failed += 1
            progress.last = page.name
