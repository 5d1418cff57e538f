"""
The breaker of one origin: closed, open, half-open. Synchronous; time and chance are arguments.

Rules: it sees attempts, not calls. Each admission carries the generation it was made in, and an outcome of an older
generation changes nothing, because an attempt that began before the breaker opened must neither close nor reopen it. An
admission is ended once: by `record`, or by `release` if the outcome says nothing (the attempt was cancelled, or seawall
rejected it). If probes don't end within `open_for`, others take their places, so the breaker never sticks half-open.

A streamed response is recorded when its headers have come, because a probe must not be out for as long as a stream
lasts, and because quick failures would otherwise be counted before the successes of long streams. If the body is cut,
`retract` takes the success back and counts a failure instead.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from random import Random

from ..config import Breaker
from ..errors import BreakerOpen
from .admission import Admission, Probe
from .bench import Bench
from .gate import Entrant, Gate, Ticket

__all__ = ["BreakerState", "next_probe"]

BUCKETS, WIDTH = 10, 4
EMPTY = array("d", (-math.inf, 0, 0, 0)) * BUCKETS
"""A bucket is its beginning, attempts, failures, slow attempts. Flat, so the garbage collector sees one object."""
GOOD = 16  # durations of good attempts that are remembered

FORCED = ("forced open", "forced closed")
REMEMBERED_FOR = 30.0  # seconds after its last move


class BreakerState(Gate):
    """
    The live state of a `seawall.Breaker`: ``client.breakers["https://api.example.com"]``.

    Attributes:
        state: "closed", "open", "half-open", "forced open" or "forced closed".
        reason: Why it last moved.
        moved_at: When it last moved, in seconds on the loop's clock.
        durations: Those of the last good attempts, in seconds; NaN where there was none.
    """

    __slots__ = (
        "_admission", "_bench", "_buckets", "_good_count", "_last", "_moved", "_now", "_probe_failures",
        "_probes_done", "_probes_out", "_probing_since", "_rng", "_settings", "_slow_call", "_span", "_until",
        "durations", "generation", "moved_at", "reason", "state",
    )  # fmt: skip

    name = "breaker"

    def __init__(
        self, settings: Breaker, *, rng: Random, moved: Callable[[str, str, str], None], now: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._span = settings.window / BUCKETS
        self._slow_call = math.inf if settings.slow_call is None else settings.slow_call
        self._rng = rng
        self._moved = moved
        self._now = now
        self._buckets, self._last = EMPTY[:], 0
        self.durations, self._good_count = array("d", (math.nan,)) * GOOD, 0
        self._until = self._probing_since = 0.0
        self._probes_out = self._probes_done = self._probe_failures = 0
        self.generation = 0
        self._bench: Bench | None = None  # made at first use, because most origins need none
        self._admission = Admission(self, 0)
        self.state = "closed"
        self.reason = ""
        self.moved_at = 0.0

    def __repr__(self) -> str:
        return f"<BreakerState {self.state} probes {self._probes_out}/{self._settings.probes}>"

    # By hand

    @property
    def is_forced(self) -> bool:
        return self.state in FORCED

    @property
    def window(self) -> float:
        return self._settings.window

    @property
    def usual(self) -> float:
        """The median of `durations`; 0 if there is none."""
        good = sorted(each for each in self.durations if not math.isnan(each))
        middle = len(good) // 2  # by hand, because `statistics` takes 2 ms of each process's start
        return (good[middle] + good[~middle]) / 2 if good else 0.0

    def force_open(self) -> None:
        """Let no attempt through until `reset`."""
        self._move(FORCED[0], "by hand", self._now())

    def force_closed(self) -> None:
        """Let every attempt through until `reset`, however it ends."""
        self._move(FORCED[1], "by hand", self._now())

    def reset(self) -> None:
        """Close the breaker and forget all outcomes."""
        self._buckets = EMPTY[:]
        self._move("closed", "by hand", self._now())

    def forget(self, reason: str) -> None:
        """Close it and forget all outcomes, those of attempts in flight too, unless it is held by hand."""
        if self.is_forced:
            return
        self._buckets = EMPTY[:]
        if self.state != "closed":
            self._move("closed", reason, self._now())
        else:
            self.generation += 1
            self._admission = Admission(self, self.generation)

    # As a gate

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        if self.state == "closed":
            return self._admission
        generation = self.try_acquire(now)
        if generation is None:
            return None
        return Probe(self, generation) if self.state == "half-open" else self._admission

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        """
        Never waits.

        Raises:
            BreakerOpen: The breaker lets no attempt through.
        """
        now = self._now()
        retry_after, open_for = self.shut_for(now), now - self.moved_at
        raise BreakerOpen(
            f"{attempt.origin}: breaker {self.state} for {open_for:.1f} s: {self.reason}; {next_probe(retry_after)} "
            "(Breaker.failure_rate, Breaker.open_for)",
            origin=attempt.origin,
            retry_after=retry_after,
            reason=self.reason,
            open_for=open_for,
        )

    async def sit_out(self, deadline_at: float | None, *, is_patient: bool) -> None:
        """As `Bench.sit_out`."""
        if self._bench is None:
            self._bench = Bench(self, self._now)
        await self._bench.sit_out(deadline_at, is_patient=is_patient)

    @property
    def waiting(self) -> int:
        """How many attempts sit it out."""
        return 0 if self._bench is None else len(self._bench)

    @property
    def is_idle(self) -> bool:
        return not (self.is_forced or self.waiting)

    def remembers(self, now: float) -> bool:
        return self.state != "closed" and (self.retry_after(now) > 0 or now - self.moved_at < REMEMBERED_FOR)

    # What attempts meet

    def try_acquire(self, now: float) -> int | None:
        """The generation of an admission; None if the breaker lets no attempt through."""
        if self.state == "closed":
            return self.generation
        if self.state in FORCED:
            return self.generation if self.state == FORCED[1] else None
        if self.state == "open" and now >= self._until:
            self._move("half-open", "time for probes", now)
            self._probes_out = self._probes_done = self._probe_failures = 0
            self._probing_since = now
        elif self.state == "half-open" and now >= self._probing_since + self._settings.open_for:
            self._probes_out = 0  # the probes may be stuck; those that still end are counted
            self._probing_since = now
        if self.state == "open" or self._probes_out + self._probes_done >= self._settings.probes:
            return None
        self._probes_out += 1
        return self.generation

    def retry_after(self, now: float) -> float:
        """Seconds until it is worth asking again; 0 if the breaker isn't open, inf if it is forced open."""
        if self.state == FORCED[0]:
            return math.inf
        return max(0.0, self._until - now) if self.state == "open" else 0.0

    def shut_for(self, now: float) -> float:
        """
        Seconds until the breaker may let an attempt through; 0 if it lets one through now, inf if it is forced open.

        While all probes are out, these are the seconds until others take their places; the probes may decide sooner.
        """
        if self.state == "half-open" and self._probes_out + self._probes_done >= self._settings.probes:
            return max(0.0, self._probing_since + self._settings.open_for - now)
        return self.retry_after(now)

    def release(self, generation: int) -> None:
        """End an admission that says nothing about the origin; a probe gives its place to whoever waits for one."""
        if self.vacate(generation) and self._bench is not None:
            self._bench.look()

    def vacate(self, generation: int) -> bool:
        """Give a probe's place back and tell nobody; returns whether it was one."""
        is_probe = generation == self.generation and self.state == "half-open"
        if is_probe:
            self._probes_out = max(0, self._probes_out - 1)
        return is_probe

    def record(
        self,
        generation: int,
        now: float,
        *,
        is_failure: bool,
        duration: float = 0.0,
        retry_after: float | None = None,
    ) -> None:
        """
        End an admission with its outcome.

        Args:
            duration: Seconds that the attempt took, without those in which it queued or waited for its caller.
            retry_after: Seconds that the response asks to wait; if this outcome opens the breaker, that stays open
                for at least as long, up to `max_open_for`.
        """
        if generation != self.generation or self.state in FORCED:
            return
        is_slow = duration >= self._slow_call
        if self.state == "half-open":
            self._probes_out = max(0, self._probes_out - 1)
            self._probes_done += 1
            self._probe_failures += is_failure or is_slow
            self._decide(now, retry_after)
            return
        buckets, last = self._buckets, self._last
        if now - buckets[last] >= self._span:
            # The next bucket is the oldest: it began ten spans ago, and ten spans are the window.
            last = self._last = (last + WIDTH) % len(buckets)
            buckets[last : last + WIDTH] = array("d", (now, 0, 0, 0))
        buckets[last + 1] += 1
        if is_failure or is_slow:
            buckets[last + 2] += is_failure
            buckets[last + 3] += is_slow
            self._judge(now, retry_after)
        else:
            self.durations[self._good_count % GOOD] = duration
            self._good_count += 1

    def retract(self, generation: int, now: float, *, recorded_at: float, duration: float = 0.0) -> None:
        """
        Count a failure in place of the success recorded at *recorded_at*, when the headers had come: the body was cut.

        Args:
            generation: The one after that record, because the record may have closed or opened the breaker.
            duration: The one that was recorded, because a slow probe counts as failed already.
        """
        if generation != self.generation or self.state in FORCED or self.state == "open":
            return
        if self.state == "half-open":
            if duration < self._slow_call:
                self._probe_failures += 1
                self._decide(now, None)
            return
        # The failure goes into the attempt's own bucket, because both must leave the window together.
        buckets = self._buckets
        begun = (at for at in range(0, len(buckets), WIDTH) if buckets[at] <= recorded_at)
        at = max(begun, key=lambda at: buckets[at], default=None)
        if at is None or now - buckets[at] >= self._settings.window:
            self.record(generation, now, is_failure=True)  # the attempt has left the window
            return
        buckets[at + 2] += 1
        self._judge(now, None)

    def _judge(self, now: float, retry_after: float | None) -> None:
        """Open the breaker, if too many attempts of the window failed or were slow."""
        calls, failures, slow = self._totals(now, self._settings.window)
        if calls < self._settings.min_calls:
            return
        if failures >= calls * self._settings.failure_rate:
            what = f"{failures:.0f} of {calls:.0f} attempts failed"
        elif slow >= calls * self._settings.slow_rate:
            what = f"{slow:.0f} of {calls:.0f} attempts took {self._slow_call:g} s or longer"
        else:
            return
        self._open(now, f"{what} in {self._settings.window:g} s", retry_after)

    def good(self, now: float, within: float) -> float:
        """How many attempts of the last *within* seconds succeeded."""
        calls, failures, _ = self._totals(now, within)
        return calls - failures

    def failure_share(self, now: float) -> float:
        """Share of the window's attempts that failed; 0 if there were none."""
        calls, failures, _ = self._totals(now, self._settings.window)
        return failures / calls if calls else 0.0

    def _decide(self, now: float, retry_after: float | None) -> None:
        allowed = self._settings.probes * self._settings.failure_rate
        if self._probe_failures >= allowed:
            self._open(now, f"{self._probe_failures} of {self._probes_done} probes failed", retry_after)
        elif self._probes_done >= self._settings.probes:
            self._move("closed", "the probes succeeded", now)

    def _open(self, now: float, reason: str, retry_after: float | None) -> None:
        settings = self._settings
        length = settings.open_for
        if retry_after is not None:
            length = max(length, min(retry_after, settings.max_open_for))
        self._until = now + length * self._rng.uniform(0.9, 1.1)
        self._buckets = EMPTY[:]
        self._move("open", reason, now)

    def _move(self, state: str, reason: str, now: float) -> None:
        previous, self.state = self.state, state
        self.reason, self.moved_at = reason, now
        self.generation += 1
        self._admission = Admission(self, self.generation)
        self._moved(previous, state, reason)
        if self._bench is not None and state != "half-open":  # whoever made it so has the first place
            self._bench.look()

    def _totals(self, now: float, within: float) -> tuple[float, float, float]:
        """The attempts, failures and slow attempts of the last *within* seconds."""
        buckets = self._buckets
        begins = [begin for begin in range(0, len(buckets), WIDTH) if now - buckets[begin] < within]
        calls, failures, slow = (sum(buckets[begin + at] for begin in begins) for at in range(1, WIDTH))
        return calls, failures, slow


def next_probe(retry_after: float) -> str:
    return "its reset() closes it" if retry_after == math.inf else f"next probe in {retry_after:.1f} s"
