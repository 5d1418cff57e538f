"""How much the calls of this task matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..config.criticality import DEFAULT, Criticality, CriticalityName, rank

__all__ = ["CRITICALITY", "criticality", "ranked"]

CRITICALITY: ContextVar[Criticality] = ContextVar("seawall_criticality", default=DEFAULT)


@contextmanager
def criticality(name: CriticalityName) -> Iterator[None]:
    """
    All calls that are begun inside, by this task and by tasks that it starts, are of this class; the innermost counts.

    Where permits or turns are short, "critical" calls get them before "default" ones, and these before "background"
    ones, for which nobody waits now: prefetches, syncs, reports. See the guide on criticality.

    Raises:
        ValueError, TypeError: No class has that name.
    """
    with ranked(rank("criticality", name)):
        yield


@contextmanager
def ranked(criticality: Criticality) -> Iterator[None]:
    """As `criticality`, of a class that is known."""
    token = CRITICALITY.set(criticality)
    try:
        yield
    finally:
        CRITICALITY.reset(token)
