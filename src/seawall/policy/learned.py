"""
What an origin's answers teach about how fast it takes requests. Synchronous; time is an argument.

Rules: a server that rejects politely is well, and what it accepts meanwhile is what it takes. So after the first
rejection the accepted requests of a second are counted, and that is the rate. A later rejection sets the rate to what
was accepted of late, but at least to a half. Between rejections the rate grows, slowly at first, because the server has
just said no, then faster, because it may take more by now. It only ever lowers what would be sent. A server that
accepts nothing, and says for how long, isn't asked until then. What a server says it still takes is spread over the
time for which it says so.

Source: TCP's CUBIC (RFC 9438) for the shape of the growth.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from .meter import Meter
from .quota import Quota

__all__ = ["Learned"]

MEASURED_FOR: Final = 1.0  # s in which accepted requests are counted before there is a rate
SPAN: Final = 2.0  # s in which they are counted afterwards
DEBOUNCE: Final = 0.1  # s in which further rejections say nothing new, because they were on their way already
GROWTH: Final = (0.05, 0.05)  # share of the rate per second, and per second squared, since the last rejection
SPREAD: Final = 0.1  # share of what a server says it still takes that may go at once
MIN_RATE: Final = 0.5  # per second; a server that takes less says so by Retry-After
BURST: Final = 1.0  # an even pace, because a burst is what servers reject
FORGOTTEN_AFTER: Final = 60.0  # s without a rejection
MAX_COUNTED: Final = 4096  # accepted requests that are remembered


class Learned:
    """
    One learned limit.

    Args:
        has_accepted: The origin has accepted other requests in the last second.
    Attributes:
        shut_until: When a server that accepts nothing wants to be asked again.
    """

    __slots__ = (
        "_accepted", "_accepted_at", "_base", "_base_at", "_began_at", "_measured_from", "_meter", "_rejected_at",
        "_told",
        "_told_until",
        "shut_until",
    )  # fmt: skip

    def __init__(self, now: float, *, has_accepted: bool) -> None:
        self._began_at = self._base_at = now
        self._measured_from: float | None = now  # None while nothing is accepted that could be counted
        self._base = math.inf  # the rate that the last rejection taught
        self._meter: Meter | None = None
        self._told: Meter | None = None  # what the server said, until it no longer holds
        self._told_until = -math.inf
        self.shut_until = self._rejected_at = -math.inf
        self._accepted_at = now if has_accepted else -math.inf
        self._accepted: deque[float] = deque(maxlen=MAX_COUNTED)

    @property
    def rate(self) -> float:
        """Requests a second; inf while there is no limit but a pause."""
        return math.inf if self._meter is None else self._meter.rate

    def wait(self, now: float, ahead: int = 0, *, shut_until: float = math.inf) -> float:
        """
        Seconds until a request may be sent, if *ahead* others go first.

        Args:
            shut_until: What it was when the request came, because what others are told since holds only those back.
        """
        shut = max(0.0, min(self.shut_until, shut_until) - now)
        for meter in (self._current(now), self._told if now < self._told_until else None):
            if meter is not None:
                shut = max(shut, meter.wait(now, 1.0, ahead))
        return shut

    def take(self, now: float, count: float = 1.0) -> None:
        """*count* requests are sent; -1 if one wasn't sent after all."""
        for meter in (self._meter, self._told):
            if meter is not None:
                meter.take(now, count)

    def accepted(self, now: float) -> None:
        """A request was accepted, whatever its answer is."""
        self._accepted_at = now
        self._accepted.append(now)
        if self._measured_from is None:
            self._measured_from = now

    def rejected(self, now: float, *, retry_after: float | None) -> None:
        """
        A request was rejected.

        Args:
            retry_after: Seconds that the answer asks to wait, bounded by the caller.
        """
        is_new = now - self._rejected_at >= DEBOUNCE
        self._rejected_at = now
        meter = self._current(now)
        if retry_after is not None and now - self._accepted_at >= MEASURED_FOR:
            self.shut_until = max(self.shut_until, now + retry_after)
            self._measured_from = None
        elif meter is not None and is_new:
            self._set(meter, now, min(meter.rate, max(self._accepted_rate(now), meter.rate / 2)))

    def told(self, now: float, quota: Quota, *, max_shut: float) -> None:
        """The server says how many requests it still takes, and until when."""
        reset = min(quota.reset, max_shut)
        if quota.remaining < 1:
            self.shut_until = max(self.shut_until, now + reset)
            return
        rate = quota.remaining / max(quota.reset, DEBOUNCE)
        if self._told is None or now >= self._told_until:
            self._told = Meter(rate, max(1.0, SPREAD * quota.remaining))
        else:
            self._told.slow_down(now, rate)
        self._told_until = now + reset

    def is_hopeful(self, now: float, within: float) -> bool:
        """Whether a request was accepted *within* so many seconds, or this is as young."""
        return now - max(self._accepted_at, self._began_at) < within

    def is_forgotten(self, now: float) -> bool:
        return now - self._rejected_at >= FORGOTTEN_AFTER and now >= max(self.shut_until, self._told_until)

    def _current(self, now: float) -> Meter | None:
        """The meter, at the rate of now; None while accepted requests are counted, or where there were none."""
        if self._meter is not None:
            since, (linear, square) = now - self._base_at, GROWTH
            self._meter.slow_down(now, self._base * (1.0 + linear * since + square * since * since))
            return self._meter
        begin = self._measured_from
        if begin is not None and now - begin >= MEASURED_FOR and self._rejected_at >= begin and self._accepted:
            self._meter = Meter(1.0, BURST)
            self._set(self._meter, now, self._accepted_rate(now))
        return self._meter

    def _set(self, meter: Meter, now: float, rate: float) -> None:
        self._base, self._base_at = max(MIN_RATE, rate), now
        meter.slow_down(now, self._base)

    def _accepted_rate(self, now: float) -> float:
        """Requests a second that were accepted of late."""
        begin = self._began_at if self._measured_from is None else self._measured_from
        accepted, span = self._accepted, min(SPAN, now - begin)
        while accepted and accepted[0] < now - span:
            accepted.popleft()
        return len(accepted) / span if span > 0 else 0.0
