"""
The gate of an origin that is away: it answered a moment ago, and now refuses all dials, because it is restarted.

Rules: the gate is among the origin's gates only while the origin is away. One prober dials; calls wait at the gate,
first in first out, and hold nothing. Half of the origin's limit passes once the prober has a connection, because a
server that has just started may not bear more; the rest passes at the first response. A call that doesn't need a new
connection doesn't wait. The prober stops once nobody waits, and begins again with the next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from ..config.ready import GATE, Ready
from ..errors import DialError
from ..origin import Origin
from .fifo import Fifo
from .gate import UNCOUNTED, Entrant, Gate, Result, Ticket

__all__ = ["Prober", "ReadyState"]

FIRST_INTERVAL: Final = 0.02  # s from the refused dial to the prober's first one; it doubles from then on
LONGEST_WAITED: Final = 0.25  # s between two dials while calls wait, because each would wait that much longer
LONGEST: Final = 1.0  # s between two dials once calls fail at once
JITTER: Final = 0.25  # share of an interval that is left to chance, so that clients don't dial together
SETTLES_IN: Final = 1.0  # s after the connection that the rest passes without a response, which may be slow by nature


class Prober(Protocol):
    """What dials an origin, as the gate sees it."""

    def start(self, origin: Origin, away: ReadyState) -> None:
        """Dial when *away* says, in a task that inherits nothing; one that runs for *origin* is ended."""

    def ask(self, origin: Origin, refused: Callable[[DialError], None]) -> asyncio.Future[None]:
        """Dial once, for all that ask at the same time; *refused* is called if the origin refuses."""

    def has_room(self, origin: Origin) -> bool:
        """Whether an open connection takes a request at once."""


class _Pass(Ticket):
    """The admission to an origin that is just back. All of an origin's are the same object."""

    __slots__ = ("_ready",)

    def __init__(self, ready: ReadyState) -> None:
        self._ready = ready

    def end(self, result: Result | None, now: float) -> None:
        self._ready.left(has_answered=result is not None and result.outcome.status is not None)


class ReadyState(Gate):
    """
    An origin that is away, from the first refused dial to the first response.

    Args:
        limit: Attempts that the origin may have in flight.
        now: Loop time.
        reason: Why its dials fail.
        over: Called once the origin is back; the gate is no longer needed then.
    Attributes:
        away_since: When the first dial was refused.
        next_at: When the prober dials next; None while it doesn't run.
    """

    __slots__ = (
        "_interval", "_is_asked", "_is_connected", "_is_over", "_max_first", "_now", "_origin", "_over", "_pass",
        "_passed", "_prober", "_reason", "_rng", "_settings", "_waiters", "away_since", "next_at",
    )  # fmt: skip

    name = GATE

    def __init__(
        self,
        origin: Origin,
        settings: Ready,
        *,
        limit: int,
        now: Callable[[], float],
        rng: Random,
        prober: Prober,
        reason: str,
        over: Callable[[], None],
    ) -> None:
        self._origin = origin
        self._settings = settings
        self._max_first = max(1, limit // 2)
        self._now = now
        self._rng = rng
        self._prober = prober
        self._reason = reason
        self._over = over
        self._waiters: Fifo[Ticket | None] = Fifo()
        self._pass = _Pass(self)
        self._passed = 0  # attempts that hold a pass
        self._interval = FIRST_INTERVAL
        self._is_asked = self._is_connected = self._is_over = False
        self.away_since = now()
        self.next_at: float | None = None

    def __repr__(self) -> str:
        state = "back" if self._is_over else "connected" if self._is_connected else "away"
        return f"<ReadyState {self._origin} {state} passed {self._passed} waiting {self.waiting}>"

    @property
    def waiting(self) -> int:
        """How many attempts wait."""
        return len(self._waiters)

    @property
    def standing(self) -> int:
        """As `waiting`, for another thread; see `Turns.standing`."""
        return self._waiters.standing

    # The gate

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        if self._is_over or self._prober.has_room(self._origin):
            return UNCOUNTED  # it needs no new connection, so it says nothing about whether the origin is back
        if self._is_connected and self._passed < self._max_first and not self.waiting:
            self._passed += 1
            return self._pass
        return None

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        """
        Wait for the origin.

        **Cancellation:** the caller leaves the queue; a pass that was handed over meanwhile goes to the next waiter.
        **Fairness:** FIFO.

        Raises:
            DialError: It was not back in time, or has been away for `Ready.max_wait`.
        """
        began_at = self._now()
        if self._is_connected:
            pass
        elif self.next_at is None:
            self._dial_from(began_at if self._is_late(began_at) else began_at + self._jittered())
        elif self._is_late(began_at) and began_at < self.next_at:  # else the prober is dialling, and its end is near
            self._is_asked = True
            raise self._told(began_at)
        given = await self._waiters.wait(timeout, expired=lambda: self._told(began_at), undo=self._undo)
        if given is None:
            raise self._told(began_at)
        return given

    @property
    def is_idle(self) -> bool:
        return not self._passed and not self.waiting

    def remembers(self, now: float) -> bool:
        return True

    def left(self, *, has_answered: bool) -> None:
        """An attempt that had a pass is over: the rest may pass, or, without a response, one more."""
        self._passed -= 1
        if has_answered:
            self._end()
        else:
            self._release()

    # What the prober and other dials find

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits, or was told since the last dial."""
        return self._is_asked or self.waiting > 0

    def dialled(self) -> float | None:
        """
        The prober was refused, or found that it isn't wanted.

        Returns:
            Seconds until its next dial; None ends it.
        """
        now = self._now()
        if not self.is_wanted:
            self.next_at = None
            return None
        self._is_asked = False
        longest = LONGEST if self._is_late(now) else LONGEST_WAITED
        self._interval = min(longest, self._interval * 2)
        self.next_at = now + self._jittered()
        max_wait = self._settings.max_wait
        if max_wait is not None and now < self.away_since + max_wait:
            self.next_at = min(self.next_at, self.away_since + max_wait)  # a last dial for those that wait
        elif max_wait is not None:
            while self._waiters.give(None):
                pass
        return self.next_at - now

    def connected(self) -> float:
        """
        The prober has left a connection in the pool, or met another failure, which the calls must see themselves.

        Returns:
            Seconds until `settled`.
        """
        self._is_connected, self.next_at = True, None
        self._release()
        return SETTLES_IN

    def settled(self) -> None:
        """No response has come since `connected`: the rest passes nevertheless."""
        self._end()

    def refused(self) -> None:
        """A call's own dial was refused, which may be the first after the origin had seemed to be back."""
        if self._is_connected and not self._is_over:
            self._is_connected = False
            self._dial_from(self._now() + self._jittered())

    # Parts of it

    def _is_late(self, now: float) -> bool:
        max_wait = self._settings.max_wait
        return max_wait is not None and now >= self.away_since + max_wait

    def _jittered(self) -> float:
        return self._interval * self._rng.uniform(1.0 - JITTER, 1.0)

    def _dial_from(self, instant: float) -> None:
        self.next_at = instant
        self._prober.start(self._origin, self)

    def _release(self) -> None:
        while self._is_connected and not self._is_over and self._passed < self._max_first:
            if not self._waiters.give(self._pass):
                break
            self._passed += 1

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        while self._waiters.give(self._pass):
            self._passed += 1
        self._over()

    def _undo(self, given: Ticket | None) -> None:
        if given is not None:
            given.end(None, self._now())

    def _told(self, began_at: float) -> DialError:
        now = self._now()
        retry_at = now if self.next_at is None else self.next_at
        return DialError(
            f"{self._origin}: away for {now - self.away_since:.3g} s, and dialled again in {retry_at - now:.3g} s "
            f"({self._reason}); raise Ready.max_wait, the connect timeout or deadline= to wait longer",
            origin=self._origin,
            elapsed=now - began_at,
            is_away=True,
            retry_at=retry_at,
        )
