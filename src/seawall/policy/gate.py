"""
Gates admit attempts to an origin, and are told how these ended: the seam for breaker, bulkhead and users' own.

Rules: an origin's gates are asked in their order, and each gives the attempt a ticket. A ticket is ended exactly once,
whatever is cancelled, whenever. After an attempt has waited at a gate, the gates before it are asked again if their
tickets no longer stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple, Protocol

from ..config.criticality import Criticality
from ..events import Phase
from ..origin import Origin
from .outcome import Outcome

__all__ = ["UNCOUNTED", "Entrant", "Gate", "Result", "Ticket", "Unanswered"]


class Entrant(Protocol):
    """
    An attempt, as a gate sees it.

    Attributes:
        number: The attempt's number, from 1, over all hops of its call.
        phase: How far it got.
        sent_at: When it began to be sent, in seconds on the loop's clock; -inf if nothing of it was.
        waited: Seconds that it has waited so far, those at other gates included.
        is_buffered: The response's body is read at once.
        criticality: How much its call matters.
    """

    number: int
    phase: Phase
    sent_at: float
    waited: float
    is_buffered: bool
    criticality: Criticality

    @property
    def origin(self) -> Origin: ...

    @property
    def method(self) -> str: ...

    def can_be_repeated(self) -> bool:
        """Whether the call goes on with another attempt if this one fails."""

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        """The part that *partition* puts the library's request into."""

    def left(self, now: float) -> float | None:
        """Seconds until its deadline; None if it has none."""


class Result(NamedTuple):
    """
    How an attempt ended.

    Attributes:
        outcome: The attempt's status or error.
        is_failure: Whether it counts against the origin.
        duration: Seconds that it took, without those in which it queued or waited for its caller.
        sent_at: When it began to be sent, in seconds on the loop's clock; -inf if nothing of it was.
        is_rejection: The origin is well, and told it to come later: 429, or a 503 at once beside good answers.
    """

    outcome: Outcome
    is_failure: bool
    duration: float
    sent_at: float = -math.inf
    is_rejection: bool = False


class Unanswered(NamedTuple):
    """
    An attempt that was sent and given up without an answer, so that the server may still be at work on it.

    Attributes:
        sent_at: When it began to be sent, in seconds on the loop's clock.
        timeout: Its read timeout, in seconds; None if it had none.
        is_fault: It counts against the origin; else its caller was impatient.
    """

    sent_at: float
    timeout: float | None
    is_fault: bool


class Ticket:
    """
    A gate's admission of an attempt; it is ended exactly once.

    Attributes:
        held_until: `Phase.HEADERS`, or `Phase.BODY` if the ticket is ended only with the response's body.
    """

    __slots__ = ()

    held_until = Phase.HEADERS

    def is_valid(self) -> bool:
        """Whether the ticket still stands. Asked after the attempt has waited at another gate."""
        return True

    def end(self, result: Result | None, now: float) -> None:
        """
        Take note that the attempt ended, or reached the phase that `held_until` names.

        Args:
            result: None if it says nothing about the origin, because the caller was impatient or a later gate refused.
        """
        raise NotImplementedError

    def answered(self, result: Result, now: float) -> None:
        """Take note that a streamed response's headers came. Only a ticket that is held until the body is told."""

    def unanswered(self, left: Unanswered, now: float) -> None:
        """Take note that the attempt was given up, though the server may still be at work on it; `end` follows."""

    def retract(self, now: float, *, ended_at: float, duration: float) -> None:
        """
        Take note that the body of a streamed response broke, after its headers had been a success for `end`.

        Args:
            ended_at: When `end` was called, in seconds on the loop's clock.
            duration: The one that `end` was given.
        """


class _Uncounted(Ticket):
    """The admission of an attempt whose end says nothing to the gate."""

    __slots__ = ()

    def end(self, result: Result | None, now: float) -> None:
        pass


UNCOUNTED: Final = _Uncounted()


class Gate:
    """
    Admits attempts to one origin.

    Attributes:
        name: The gate's name in events and statistics.
    """

    __slots__ = ()

    name = "gate"

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        """A ticket, without waiting; None if `enter` must decide, by a wait or by an error. Raises nothing."""
        raise NotImplementedError

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        """
        A ticket, within *timeout* seconds; None waits as long as it takes.

        **Cancellation:** must leave nothing behind.

        Raises:
            Rejected: The gate refuses the attempt.
        """
        raise NotImplementedError

    @property
    def is_idle(self) -> bool:
        """Whether no ticket is out and nobody waits, so that the gate may be forgotten with its origin."""
        return True

    def remembers(self, now: float) -> bool:
        """Whether the gate knows something about the origin that would be lost with the gate."""
        return False
