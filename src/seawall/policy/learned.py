"""
What an origin's rejections teach about how fast it takes requests. Synchronous; time is an argument.

Rules: a server that rejects politely is well, and what it accepts meanwhile is what it takes. So if more than a tenth
of a second's requests is rejected, by more than chance explains, among others that are accepted, the rate becomes what
was accepted in that second. Whether that helped is looked at a second later: a server that takes so much a second
rejects little then, while one that rejects a share of all requests, whatever their rate is, rejects as large a share as
before. Of such a server nothing is believed for a minute, because a lower rate would only lower what it accepts.
Otherwise the rate grows, slowly at first, because the server has just said no, then faster, because it may take more by
now; once it no longer holds anything back, it is dropped. A server that rejects three requests in a row, has accepted
nothing for a second, and says for how long, isn't asked until then.

Source: TCP's CUBIC (RFC 9438) for the shape of the growth.
"""

from __future__ import annotations

import math
from typing import Final

from .meter import Meter
from .quota import Quota
from .turnstile import Turnstile

__all__ = ["Learned"]

WINDOW: Final = 1.0  # s; longer where fewer requests come than are needed to judge
MAX_WINDOW: Final = 10.0  # s
MIN_COUNT: Final = 30  # requests of a window before there is a rate, because a few say nothing of a share
MIN_COUNT_LATER: Final = 10  # requests of a window while there is one
MIN_REJECTED: Final = 3  # in a window, or in a row; fewer are chance
MIN_SWITCHES: Final = 3  # between accepted and rejected in a window; fewer are a server that was away for a moment
MIN_SHARE: Final = 0.1  # of a window's requests; a smaller one is what retries are for
CERTAIN: Final = 3.0  # standard deviations by which it must be larger before there is a rate
LIKELY: Final = 1.0  # the same while there is one
SAME: Final = 0.5  # of the share from before: less was rejected if the rate was the reason, less accepted if it fell
HEADROOM: Final = 1.05  # times what was accepted, because a rate that is a little low would stay unnoticed
GROWTH: Final = (0.05, 0.05)  # share of the rate per second, and per second squared, since it was set
MIN_RATE: Final = 1.0  # per second; a server that takes less says so by Retry-After
UNBOUND: Final = 2.0  # times the requests that come
BURST: Final = 1.0  # an even pace, because a burst is what servers reject
FORGOTTEN_AFTER: Final = 60.0  # s without a rejection; and for which nothing is believed


class Learned:
    """
    One learned limit.

    Args:
        has_accepted: The origin has accepted other requests in the last second.
    Attributes:
        shut_until: When a server that accepts nothing wants to be asked again.
        turnstile: Where lines wait for its rate.
    """

    __slots__ = (
        "_accepted", "_accepted_at", "_base", "_base_at", "_before", "_disbelieved_until", "_meter", "_rejected",
        "_rejected_at", "_row", "_shut_since", "_switches", "_window_at", "shut_until", "turnstile",
    )  # fmt: skip

    def __init__(self, now: float, *, has_accepted: bool) -> None:
        self.turnstile = Turnstile()
        self._meter: Meter | None = None
        self._base = math.inf  # the rate that was set last
        self._base_at = self._window_at = now
        self._accepted = self._rejected = self._switches = 0  # in this window
        self._row = 0  # rejections since the last accepted request
        self._before: float | None = None  # share that was rejected when the rate was set; None once that was judged
        self._rejected_at = self._shut_since = -math.inf
        self._accepted_at = now if has_accepted else -math.inf
        self._disbelieved_until = self.shut_until = -math.inf

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
        meter = self._current(now)
        return shut if meter is None else max(shut, meter.wait(now, 1.0, ahead))

    def wait_for_rate(self, now: float) -> float:
        """Seconds of `wait` that the rate is the reason of, if no others go first."""
        meter = self._current(now)
        return 0.0 if meter is None else meter.wait(now, 1.0)

    def take(self, now: float, count: float = 1.0) -> None:
        """*count* requests are sent; -1 if one wasn't sent after all."""
        if self._meter is not None:
            self._meter.take(now, count)

    def accepted(self, now: float, *, sent_at: float = math.inf) -> None:
        """A request was accepted, whatever its answer is."""
        self._began(now)
        self._accepted_at = now
        self._accepted += self._counts(sent_at)
        self._switches += self._row > 0
        self._row = 0

    def rejected(self, now: float, *, retry_after: float | None, sent_at: float = math.inf) -> None:
        """
        A request was rejected.

        Args:
            retry_after: Seconds that the answer asks to wait, bounded by the caller.
        """
        if self._meter is None and now - self._rejected_at >= WINDOW:  # a window begins with its first rejection
            self._count_anew()
        self._began(now)
        self._rejected_at = now
        self._rejected += self._counts(sent_at)
        self._switches += self._row == 0
        self._row += 1
        if self._row >= MIN_REJECTED and retry_after is not None and now - self._accepted_at >= WINDOW:
            if now >= self.shut_until + WINDOW:
                self._shut_since = now
            self.shut_until = max(self.shut_until, now + retry_after)

    def was_away(self) -> None:
        """The server was away meanwhile: what was counted says little, nor does a rate that was set just before."""
        self._count_anew()
        if self._before is not None:
            self._meter = self._before = None

    def told(self, now: float, quota: Quota, *, max_shut: float) -> None:
        """The server says how many requests it still takes, and until when."""
        if quota.remaining < 1:
            self.shut_until = max(self.shut_until, now + min(quota.reset, max_shut))

    def is_hopeful(self, now: float, within: float) -> bool:
        """Whether it holds requests back, and one was accepted *within* so many seconds, or the pause is as young."""
        is_holding = self._current(now) is not None or now < self.shut_until
        return is_holding and now - max(self._accepted_at, self._shut_since) < within

    def is_forgotten(self, now: float) -> bool:
        return now - self._rejected_at >= FORGOTTEN_AFTER and now >= max(self.shut_until, self._disbelieved_until)

    def _current(self, now: float) -> Meter | None:
        """The meter, at the rate of now; None if there is none."""
        self._look(now)
        if self._meter is not None and self._before is None:  # it doesn't grow until it is known whether it helped
            since, (linear, square) = now - self._base_at, GROWTH
            self._meter.change_rate(now, self._base * (1.0 + linear * since + square * since * since))
        return self._meter

    def _began(self, now: float) -> None:
        """An answer has come: a window begins with its first one, because a rest before it says nothing of the rate."""
        self._look(now)
        if not (self._accepted or self._rejected):
            self._window_at = now

    def _count_anew(self) -> None:
        self._accepted = self._rejected = self._switches = 0

    def _counts(self, sent_at: float) -> bool:
        """Whether the answer to what was sent then tells of the present rate; a server's queue may be a second long."""
        return self._before is None or sent_at >= self._base_at

    def _look(self, now: float) -> None:
        """Judge the window, if it is over, and begin another."""
        length = now - self._window_at
        count, accepted = self._accepted + self._rejected, self._accepted
        least, deviations = (MIN_COUNT, CERTAIN) if self._meter is None else (MIN_COUNT_LATER, LIKELY)
        if not count or length < WINDOW or (count < least and length < MAX_WINDOW):
            return
        is_mixed = self._switches >= MIN_SWITCHES or self._meter is not None
        share = self._rejected / count if self._rejected >= MIN_REJECTED and is_mixed else 0.0
        is_much = share - deviations * math.sqrt(share * (1.0 - share) / count) >= MIN_SHARE
        before, self._before = self._before, None
        self._base_at = now if before is not None else self._base_at
        self._count_anew()
        if before is not None and share >= before * SAME and 1.0 - share >= (1.0 - before) * SAME:
            self._meter = None
            self._disbelieved_until = now + FORGOTTEN_AFTER
        elif is_much and now >= self._disbelieved_until and (accepted or self._meter is not None):
            rate = HEADROOM * accepted / length if accepted else self.rate / 2
            self._base, self._base_at, self._before = min(self.rate, max(rate, MIN_RATE)), now, share
            self._meter = self._meter or Meter(self._base, BURST)
            self._meter.change_rate(now, self._base)
        elif not is_much and self.rate >= UNBOUND * count / length:
            self._meter = None  # it holds nothing back any more
