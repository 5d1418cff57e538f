"""`pace`: the limit that keeps a site's wishes: so many seconds from one request to the next."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from ..config import Limit
from ..config.store import LimitStore
from .target import Target, target

__all__ = ["pace"]

TURNS: Final = 1000.0  # what an origin's limit gives out in a second, so that a cost is a number of milliseconds
FREE: Final = 1e-6  # the cost where no interval is set, because a cost can't be 0


def pace(interval: float, delay: Callable[[str], float], *, shared: LimitStore | None = None) -> Limit:
    """
    A limit for a client, retries included, under which an origin's requests are as far apart as it wants.

    Args:
        interval: Seconds from one request of an origin to the next, for all origins; 0 leaves it to *delay*.
        delay: Returns the seconds that an origin has asked for, such as `Robots.delay`.
        shared: Where workers keep it together; None keeps it in this process.
    """

    def cost(request: Any) -> float:
        asked = target(str(request.url))
        wanted = delay(asked.origin) if isinstance(asked, Target) else 0.0
        return max(TURNS * max(interval, wanted), FREE)

    return Limit(rate=TURNS, burst=1, cost=cost, max_wait=math.inf, shared=shared)
