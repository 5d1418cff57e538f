"""The tickets of an attempt. Users write some, so one that raises breaks no call, and leaves no other held."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..careful import Careful
from ..policy.gate import Result, Ticket

__all__ = ["end_all", "tell"]

logger = Careful("seawall.limit")


def end_all(tickets: Iterable[Ticket], result: Result | None, now: float) -> None:
    """End all *tickets*."""
    for ticket in tickets:
        try:
            ticket.end(result, now)
        except Exception:
            logger.exception("%r raised as it was ended", ticket)


def tell(ticket: Ticket, how: Callable[[Ticket], None]) -> None:
    """Tell a *ticket* how its attempt goes, by calling *how* with it."""
    try:
        how(ticket)
    except Exception:
        logger.exception("%r raised as it was told how its attempt goes", ticket)
