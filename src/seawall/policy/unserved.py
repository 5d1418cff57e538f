"""
The gate of an origin whose gateway finds no server: a moment ago it served requests, and now it answers all with 502,
503 or 504, because the server behind it is restarted.

Rules: a single good answer shows that the origin serves, so only answers in a row, over some time, begin it. Then calls
wait at the gate, first in first out, and hold nothing; one of them is sent at a time, at doubling intervals, mostly one
that can be repeated, because the gateway may refuse it too. The first one that is served lets all others pass. So
does the end of `Ready.max_wait`: whoever is refused from then on is told so by the gateway itself. The gate then rests
for longer than it was shut, and for a minute if requests are refused right after it, so an origin of which only a part
is gone is rarely held up for the sake of that part.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from random import Random
from typing import Final

from ..config.ready import GATE, Ready
from ..origin import Origin
from .fifo import Fifo
from .gate import UNCOUNTED, Entrant, Gate, Result, Ticket
from .outcome import Outcome

__all__ = ["Refusals", "Unserved", "is_unserved"]

STATUSES: Final = frozenset({502, 503, 504})
MIN_COUNT, MIN_SECONDS = 5, 0.1  # answers in a row, and from the first of them, before the origin is unserved
OUTLASTS: Final = 3.0  # times what a good answer takes
FIRST_INTERVAL, LONGEST = 0.1, 0.5  # s between two attempts that are sent; some of them are lost
JITTER: Final = 0.25  # share of an interval that is left to chance, so that clients don't ask together
TURNS: Final = 5  # of these one is for whoever can't be repeated, though others wait
PATIENCE: Final = 0.8  # share of a call's deadline, so that it ends with an answer in place of DeadlineExceeded
RESTS: Final = 10.0  # times as long as it was shut, but no longer than a doubt
DOUBTED_WITHIN, DOUBTED_FOR = 1.0, 60.0  # s; after a restart no request is refused so soon, so only a part is gone


def is_unserved(outcome: Outcome) -> bool:
    """Whether a gateway may have answered because it found no server; one that says when to come back has found one."""
    return outcome.status in STATUSES and outcome.retry_after is None and outcome.teaches and not outcome.is_settled


class Refusals:
    """
    The answers in a row by which a gateway says that it finds no server.

    Attributes:
        count: How many there are.
    """

    __slots__ = ("_ended_at", "_first", "_rests_until", "_since", "count")

    def __init__(self) -> None:
        self.count = 0
        self._first = self._since = -math.inf  # when the first of them began, and when it was refused
        self._rests_until = self._ended_at = -math.inf

    def add(self, now: float, *, began_at: float, served_at: float, usual: float) -> bool:
        """
        Count one, and tell whether they are enough.

        Args:
            began_at: When the request began that was refused.
            served_at: When the last one began that was served.
            usual: Seconds that those take, which a row must outlast, because refusals are quicker.
        """
        if served_at >= self._first:
            self.count, self._first, self._since = 0, began_at, now
        self.count += 1
        if self._ended_at <= began_at < self._ended_at + DOUBTED_WITHIN:
            self._rests_until = self._ended_at + DOUBTED_FOR
        least = max(MIN_SECONDS, OUTLASTS * usual)
        return self.count >= MIN_COUNT and now - self._since >= least and now >= self._rests_until

    def rest(self, now: float, length: float) -> None:
        """The gate was shut for *length* seconds."""
        self._ended_at, self._rests_until = now, now + min(length * RESTS, DOUBTED_FOR)


class _Served(Ticket):
    """The admission of an attempt that is sent to see whether it is served. All of an origin's are the same object."""

    __slots__ = ("_unserved",)

    def __init__(self, unserved: Unserved) -> None:
        self._unserved = unserved

    def end(self, result: Result | None, now: float) -> None:
        if self._unserved.is_served():
            self._unserved.end()


class _Late(Exception):
    """An attempt has waited long enough, and is sent, because only the gateway knows what is wrong."""


class Unserved(Gate):
    """
    An origin whose gateway finds no server, until that serves a request.

    Args:
        served_at: When the last request began that the origin served.
        over: The gate calls it once, as it lets all pass.
    Attributes:
        away_since: When it began.
    """

    __slots__ = (
        "_interval", "_is_over", "_next_at", "_now", "_origin", "_others", "_over", "_repeatable",
        "_rng", "_served", "_served_at", "_timer", "_turns", "_until", "away_since",
    )  # fmt: skip

    name = GATE

    def __init__(
        self,
        origin: Origin,
        settings: Ready,
        *,
        now: Callable[[], float],
        rng: Random,
        served_at: Callable[[], float],
        over: Callable[[], None],
    ) -> None:
        self._origin = origin
        self._now = now
        self._rng = rng
        self._served_at = served_at
        self._over = over
        self._repeatable: Fifo[Ticket] = Fifo(self._left)
        self._others: Fifo[Ticket] = Fifo(self._left)
        self._served = _Served(self)
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._turns = 0
        self._interval = FIRST_INTERVAL
        self.away_since = now()
        self._until = math.inf if settings.max_wait is None else self.away_since + settings.max_wait
        self._next_at = self._after(self.away_since)

    def __repr__(self) -> str:
        return f"<Unserved {self._origin} {'over' if self._is_over else 'unserved'} waiting {self.waiting}>"

    @property
    def waiting(self) -> int:
        """How many attempts wait."""
        return len(self._repeatable) + len(self._others)

    @property
    def standing(self) -> int:
        """As `waiting`, for another thread; see `Turns.standing`."""
        return self._repeatable.standing + self._others.standing

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        if self._is_past(now):
            self.end()
        if self._is_over:
            return UNCOUNTED
        if now < self._next_at or self.waiting:
            return None
        self._next_at = self._after(now)
        return self._served

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        """
        Wait until the origin serves again, at most *timeout* seconds; then the attempt is sent nevertheless.

        **Cancellation:** the caller leaves the queue; if it was the one to be sent, the next one is.
        **Fairness:** FIFO, but those that can be repeated are the first to be sent.
        """
        waiters = self._repeatable if attempt.can_be_repeated() else self._others
        if (left := attempt.left(self._now())) is not None:
            timeout = left * PATIENCE if timeout is None else min(timeout, left * PATIENCE)
        try:
            return await waiters.wait(timeout, expired=_Late, undo=self._undo, joined=self._set_timer)
        except _Late:
            return UNCOUNTED

    @property
    def is_idle(self) -> bool:
        return not self.waiting

    def remembers(self, now: float) -> bool:
        return True

    def is_served(self) -> bool:
        """Whether the origin has given another answer than a gateway's since."""
        return self._served_at() > self.away_since

    def end(self) -> None:
        """Let all pass, now and from now on."""
        if self._is_over:
            return
        self._is_over = True
        for waiters in (self._repeatable, self._others):
            while waiters.give(UNCOUNTED):
                pass
        self._over()

    # Parts of it

    def _is_past(self, now: float) -> bool:
        return now >= self._until or self.is_served()

    def _after(self, now: float) -> float:
        interval, self._interval = self._interval, min(LONGEST, self._interval * 2)
        return now + interval * self._rng.uniform(1.0 - JITTER, 1.0)

    def _undo(self, given: Ticket) -> None:
        if given is self._served and not self._is_over:
            self._next_at = self._now()
            self._send(self._next_at)

    def _set_timer(self) -> None:
        if self._timer is None and not self._is_over:
            due_at = min(self._next_at, self._until)
            self._timer = asyncio.get_running_loop().call_at(due_at, self._due, due_at)

    def _due(self, instant: float) -> None:
        """It is time to send the next one, or to let all pass; a loop's clock may say that a little early."""
        self._timer = None
        if self._is_past(instant):
            self.end()
        else:
            self._send(instant)

    def _send(self, instant: float) -> None:
        """Send the next one, and wait for the time of the one after it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._turns += 1
        first, second = self._repeatable, self._others
        if self._turns % TURNS == 0:
            first, second = second, first
        if first.give(self._served) or second.give(self._served):
            self._next_at = self._after(instant)
        if self.waiting:
            self._set_timer()

    def _left(self) -> None:
        """A waiter has left: no timer runs for nobody."""
        if self._timer is not None and not self._repeatable.queues and not self._others.queues:
            self._timer.cancel()
            self._timer = None
