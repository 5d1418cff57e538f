"""
Bounded tables, in which what remembers something goes last.

A scraper sees a million hosts, and an attacker names as many: strangers of whom nothing is known must not drive out the
open breaker, the pause or the ejection that others depend on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

__all__ = ["MAX_LOOKED_AT", "make_room"]

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")

MAX_LOOKED_AT = 8  # entries per new one, in search of room: the cost must not grow with those that stay


def _never(_: object) -> bool:
    return False


def make_room(
    table: OrderedDict[K, S],
    size: int,
    *,
    is_busy: Callable[[S], bool] = _never,
    remembers: Callable[[S], bool] = _never,
) -> None:
    """
    Forget the least recently used, until there are fewer than *size*.

    What *is_busy* stays. What *remembers* something stays as long as there are fewer than twice as many as *size*.
    """
    for _ in range(MAX_LOOKED_AT):
        if len(table) < size:
            return
        oldest, state = next(iter(table.items()))
        if is_busy(state) or (remembers(state) and len(table) < 2 * size):
            table.move_to_end(oldest)
        else:
            del table[oldest]
