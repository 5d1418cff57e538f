"""
Trouble: an origin answers so few of its requests that only a smaller limit lets it work off its queue.

Rules: it begins when 3 of the last 10 outcomes became ghosts, nothing has overtaken these, and more is out than the
limit would let out. It is over when at most 5 % became ghosts for 10 s, and the last second was good. A share of
failures alone doesn't begin it, because an endpoint that hangs by itself leaves no ghosts that last; nor do a breaker's
few probes, which nothing could overtake. Meanwhile the limit is X x T / 3 (Little's law): X the answers of a good
second, T the read timeout. So whatever is sent waits in the server's queue for a third of its timeout at most, and is
answered in time. Nothing is compared with a past latency, so nothing can drift. Synchronous; time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["Trouble"]

LOOKED_AT: Final = 10  # outcomes
BEGINS_AT: Final = 3  # ghosts among them
SECONDS: Final = 10  # that are remembered, and that trouble lasts at least
HEALTHY, OVER, BAD = 0.10, 0.05, 0.30  # shares of a second's outcomes that became ghosts
FALLS_BY = 0.2  # the share of X that a bad second takes
FLOOR = 4  # attempts; fewer would make a quick server wait for us
PARTS = 3.0  # of a timeout; from 2 to 10 all recover alike


class Second(NamedTuple):
    """What ended in one second: answers, what became ghosts, and these two with what was overtaken."""

    answers: int
    ghosts: int
    outcomes: int

    @property
    def is_healthy(self) -> bool:
        return self.answers > 0 and self.ghosts <= HEALTHY * self.outcomes

    @property
    def is_bad(self) -> bool:
        return self.answers > 0 and self.ghosts >= BAD * self.outcomes


class Trouble:
    """
    Whether an origin is in trouble, and the limit that follows.

    Args:
        ceiling: The limit while there is no trouble, and the highest one in it.
        moved: Called with the reason when trouble has begun, and when it is over.
    Attributes:
        limit: The present limit.
        since: When trouble began; None if there is none.
        outcomes: Attempts that were answered, became ghosts or were overtaken, since the beginning. Whoever sees an
            answer adds one, because each attempt would pay for a call.
        next_at: When the present second ends, and `pass_time` has to be called before anything is counted.
    """

    __slots__ = (
        "_begun", "_ceiling", "_ghosts", "_last", "_moved", "_overtaken", "_seconds", "_throughput", "_timeouts",
        "limit", "next_at", "outcomes", "since",
    )  # fmt: skip

    def __init__(self, ceiling: int, moved: Callable[[str], None]) -> None:
        self._ceiling = self.limit = ceiling
        self._moved = moved
        # Tuples, because an empty deque takes 760 B, and most origins are never in trouble.
        self._seconds: tuple[Second, ...] = ()  # the last `SECONDS`
        self._begun = 0, 0, 0  # outcomes, ghosts and overtaken ones, as the present second began
        self._last: tuple[int, ...] = ()  # which outcomes became ghosts; `BEGINS_AT` at most
        self._timeouts: tuple[float, ...] = ()  # read timeouts of ghosts; `LOOKED_AT` at most
        self._throughput = 0.0  # X; 0 if it isn't known
        self.outcomes = self._ghosts = self._overtaken = 0
        self.since: float | None = None
        self.next_at = -math.inf

    def unanswered(self, now: float, timeout: float | None, *, ghosts: int, out: int) -> None:
        """
        An attempt was given up without an answer, and not because its caller was impatient.

        Args:
            timeout: Its read timeout.
            ghosts: How many of those that no impatient caller left are held, itself included; 0 if it was overtaken.
            out: How many attempts are in flight or ghosts, itself included.
        """
        self.outcomes += 1
        if not ghosts:
            self._overtaken += 1
            return
        self._ghosts += 1
        self._timeouts = (*self._timeouts, math.inf if timeout is None else timeout)[-LOOKED_AT:]
        self._last = (*self._last, self.outcomes)[-BEGINS_AT:]
        is_share = len(self._last) == BEGINS_AT and self.outcomes - self._last[0] < LOOKED_AT
        if (
            self.since is None
            and is_share
            and ghosts >= BEGINS_AT
            and out >= self._bound()
            and self._timeout() < math.inf
        ):
            self.since = now
            self.limit = self._bound()
            self._moved(f"{BEGINS_AT} of the last {LOOKED_AT} attempts got no answer, nor did any that was sent later")

    def pass_time(self, now: float) -> None:
        """Note the seconds that are over, and what they say about throughput, trouble and the limit."""
        if now < self.next_at:
            return
        if now - self.next_at > SECONDS:  # at the first attempt, or after a long silence
            self._seconds = ()
            self.next_at = now
        while self.next_at <= now:
            self._note_second()
            self.next_at += 1.0
        if self.since is None:
            return
        ghosts, outcomes = sum(each.ghosts for each in self._seconds), sum(each.outcomes for each in self._seconds)
        is_over = self._seconds[-1].is_healthy and ghosts <= OVER * outcomes
        if now - self.since >= SECONDS and is_over:
            self.since = None
            self.limit = self._ceiling
            self._last = ()
            self._moved(f"at most {OVER:.0%} of the attempts got no answer for {SECONDS} s")
        else:
            self.limit = self._bound()

    def _note_second(self) -> None:
        begun, self._begun = self._begun, (self.outcomes, self._ghosts, self._overtaken)
        outcomes, ghosts, overtaken = (now - before for now, before in zip(self._begun, begun, strict=True))
        second = Second(outcomes - ghosts - overtaken, ghosts, outcomes)
        self._seconds = (*self._seconds, second)[-SECONDS:]
        if self.since is None:
            good = [each.answers for each in self._seconds if each.is_healthy]
            self._throughput = max(good, default=self._throughput)
        elif second.is_healthy:
            self._throughput = max(self._throughput, second.answers)
        elif second.is_bad:
            self._throughput *= 1 - FALLS_BY

    def _timeout(self) -> float:
        """T: the median read timeout of the last ghosts; inf if that has none."""
        return sorted(self._timeouts)[len(self._timeouts) // 2]

    def _bound(self) -> int:
        timeout = self._timeout()
        if not self._throughput or timeout == math.inf:
            return self._ceiling
        return min(max(FLOOR, int(self._throughput * timeout / PARTS)), self._ceiling)
