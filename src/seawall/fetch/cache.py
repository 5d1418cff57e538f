"""`Cache`: what was used last, up to a weight."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Cache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Forgets the least recently used values, so that the weights of the others are at most *max_weight* together."""

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._weight = 0
        self._entries: dict[K, tuple[V, int]] = {}  # in the order of use

    def get(self, key: K) -> V | None:
        """None: it isn't there."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self._entries[key] = entry
        return entry[0]

    def put(self, key: K, value: V, *, weight: int) -> None:
        """Keep *value*; the newest one is kept however heavy it is."""
        self._weight += weight - self._entries.pop(key, (None, 0))[1]
        self._entries[key] = (value, weight)
        while self._weight > self._max_weight and len(self._entries) > 1:
            self._weight -= self._entries.pop(next(iter(self._entries)))[1]
