"""When a second attempt is made beside a slow one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from .check import number, shown

__all__ = ["Hedge"]

QUANTILE: Final = re.compile(r"p([5-9]\d(?:\.\d{1,2})?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """
    When a second attempt is made beside one whose response doesn't begin.

    The first good response is the call's, and the other attempt is cancelled. For requests that may be sent twice: GET,
    HEAD, OPTIONS, TRACE, QUERY, or with an Idempotency-Key; with a body that is in memory, if they have one.

    It needs a permit that is free at once, a closed breaker, and a token of the `Budget`. So in an outage there is
    none.

    Args:
        after: When the second attempt is made. "p95": once the first has taken longer than 95 % of the origin's
            responses took to begin, of the last 20 to 30 s; there is none before 50 of these are known, nor if that is
            more than 2 s. Or in seconds, > 0. "p95": The Tail at Scale, which pays 5 % more requests for it.
        max_extra: Upper bound of second attempts, as a share of the calls that could have one, > 0 and <= 1. 0.05: what
            "p95" needs.
    Source: https://research.google/pubs/the-tail-at-scale/
    """

    after: str | float = "p95"
    max_extra: float = 0.05
    quantile: float | None = field(init=False, repr=False, compare=False, default=None)
    """*after* as a share, 0.95; None if it is in seconds."""

    def __post_init__(self) -> None:
        if isinstance(self.after, str):
            found = QUANTILE.fullmatch(self.after)
            if found is None:
                text = f'Hedge.after must be from "p50" to "p99.99", or a number of seconds, not {shown(self.after)}'
                raise ValueError(text)
            object.__setattr__(self, "quantile", float(found[1]) / 100)
        else:
            number("Hedge", "after", self.after, low=0, above=True)
        number("Hedge", "max_extra", self.max_extra, low=0, high=1, above=True)
