"""
What admits an attempt to an origin, and what is told how the attempt ended: the seam for breaker, bulkhead and others.

Rules: an origin's gates are asked in their order, and each gives the attempt a ticket. A ticket is ended exactly once,
whatever is cancelled, whenever. A gate that makes attempts wait doesn't hold up the gates before it: they are asked
again after the wait, where their ticket no longer stands.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, Protocol

from ..events import Phase
from ..origin import Origin
from .outcome import Outcome

__all__ = ["Entrant", "Gate", "Result", "Ticket"]


class Entrant(Protocol):
    """
    An attempt, as a gate sees it.

    Attributes:
        number: Of the attempt, from 1, over all hops of its call.
        waited: Seconds that it has waited so far, at other gates among them.
    """

    number: int
    waited: float

    @property
    def origin(self) -> Origin: ...

    @property
    def method(self) -> str: ...

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        """What *partition* makes of the library's request."""


class Result(NamedTuple):
    """
    How an attempt ended.

    Attributes:
        outcome: Its status or error.
        is_failure: It counts against the origin.
        duration: Seconds that it took, without those in which it queued or waited for its caller.
    """

    outcome: Outcome
    is_failure: bool
    duration: float


class Ticket:
    """
    An attempt's admission by a gate, which is ended exactly once.

    Attributes:
        held_until: `Phase.HEADERS`, or `Phase.BODY` where the ticket is ended only with the response's body.
    """

    __slots__ = ()

    held_until = Phase.HEADERS

    def is_valid(self) -> bool:
        """Whether the ticket still stands. Asked after the attempt has waited at another gate."""
        return True

    def end(self, result: Result | None, now: float) -> None:
        """
        The attempt ended, or came to what `held_until` names.

        Args:
            result: None: it says nothing of the origin, because the caller was impatient or a later gate refused.
        """
        raise NotImplementedError

    def retract(self, now: float, *, ended_at: float, duration: float) -> None:
        """
        The body of a streamed response broke, after `end` was told of a success when the headers had come.

        Args:
            ended_at: When that was, in seconds on the loop's clock.
            duration: What `end` was told.
        """


class Gate:
    """
    Admits attempts to one origin.

    Attributes:
        name: In events and statistics.
    """

    __slots__ = ()

    name = "gate"

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        """A ticket, without waiting; None: `enter` decides, by a wait or by an error."""
        raise NotImplementedError

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        """
        A ticket, within *timeout* seconds; None waits as long as it takes.

        **Cancellation:** must leave nothing behind.

        Raises:
            Rejected: The gate lets the attempt not in.
        """
        raise NotImplementedError

    @property
    def is_idle(self) -> bool:
        """Whether no ticket is out and nobody waits, so that the gate may be forgotten with its origin."""
        return True

    def remembers(self, now: float) -> bool:
        """Whether the gate knows something of the origin that would be lost with it."""
        return False
