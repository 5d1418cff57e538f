"""
Connections that several exchanges share, by origin: which of them takes the next one.

Rules: a stream costs no slot of the cap, so calls of other origins that wait for one don't matter; only the connection
that must go to them takes no new streams. The calls of the same origin that wait have the first turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..origin import Address
from ..route import Destination
from .connection import Channel, Pooled

__all__ = ["Shared"]


class Cap(Protocol):
    """The cap, as far as streams have to do with it."""

    waiting: int

    def is_waiting(self, origin: Destination) -> bool: ...

    def owes(self, origin: Destination) -> bool: ...

    def hand_over(self, origin: Destination, given: object) -> None: ...


class Shared:
    """
    Args:
        use: Called with a connection that is in use from now on; returns whether it was idle.
    Attributes:
        by_origin: Connections with streams or without, the oldest first.
    """

    def __init__(self, cap: Cap, use: Callable[[Pooled], bool]) -> None:
        self._cap = cap
        self._use = use
        self.by_origin: dict[Destination, dict[Pooled, None]] = {}

    def add(self, connection: Pooled) -> None:
        self.by_origin.setdefault(connection.origin, {})[connection] = None

    def discard(self, connection: Pooled) -> None:
        """It is closed."""
        shared = self.by_origin[connection.origin]
        del shared[connection]
        if not shared:
            del self.by_origin[connection.origin]

    def take(self, origin: Destination, now: float, avoid: Sequence[Address]) -> Channel | None:
        """A stream where there is room, to none of *avoid*; None while other calls of *origin* wait for a slot."""
        shared = list(self.by_origin.get(origin, ()))
        if self._cap.waiting:
            if self._cap.is_waiting(origin):
                return None
            shared = [connection for connection in shared if not self._is_draining(connection)]
        for connection in shared:
            if now >= connection.ends_at or not connection.is_usable:
                connection.retire()
                continue
            if not connection.has_room or connection.address in avoid:
                continue
            if self._use(connection) and connection.has_unseen():
                connection.close()
                continue
            return connection.channel()
        return None

    def offer(self, connection: Pooled) -> None:
        """It has room again, which goes to the calls of its origin that have waited longest."""
        if self._cap.waiting and self._is_draining(connection):
            return
        while connection.has_room and self._cap.is_waiting(connection.origin):
            self._use(connection)
            self._cap.hand_over(connection.origin, connection.channel())

    def _is_draining(self, connection: Pooled) -> bool:
        """Whether its slot must go to another origin, while its own has more of them to work with."""
        shared = self.by_origin[connection.origin]
        return len(shared) > 1 and next(iter(shared)) is connection and self._cap.owes(connection.origin)
