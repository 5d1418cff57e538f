"""
Bounded tables, in which an entry that remembers something is forgotten last.

A scraper sees a million hosts, and an attacker names as many: hosts about which nothing is known must not drive out
the open breaker, the pause or the ejection that other calls depend on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

__all__ = ["MAX_LOOKED_AT", "make_room"]

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")

MAX_LOOKED_AT = 8  # entries per new one, because the cost must not grow with the entries that stay


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
    Forget the least recently used entries, until there are fewer than *size*.

    An entry that *is_busy* stays. One that *remembers* something stays as long as there are fewer than twice *size*.
    """
    for _ in range(MAX_LOOKED_AT):
        if len(table) < size:
            return
        oldest, state = next(iter(table.items()))
        if is_busy(state) or (remembers(state) and len(table) < 2 * size):
            table.move_to_end(oldest)
        else:
            del table[oldest]
