"""
The breaker of one origin: closed, open, half-open. Synchronous; time and chance are arguments.

Rules: it sees attempts, not calls. Each admission carries the generation it was made in, and an outcome of an older
generation changes nothing: what began before the breaker opened can neither close nor reopen it. An admission is ended
once, by `record` or, where the outcome says nothing (cancelled, rejected by ourselves), by `release`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from ..settings import Breaker

__all__ = ["BreakerState"]

BUCKETS = 10


class BreakerState:
    """What lives of `seawall.Breaker`."""

    __slots__ = (
        "_buckets",
        "_moved",
        "_openings",
        "_probe_failures",
        "_probes_done",
        "_probes_out",
        "_rng",
        "_settings",
        "_span",
        "_until",
        "generation",
        "state",
    )

    def __init__(self, settings: Breaker, *, rng: Random, moved: Callable[[str, str, str], None]) -> None:
        self._settings = settings
        self._span = settings.window / BUCKETS
        self._rng = rng
        self._moved = moved
        self._buckets: deque[list[float]] = deque()  # [starts at, attempts, failures]
        self._openings = 0
        self._until = 0.0
        self._probes_out = self._probes_done = self._probe_failures = 0
        self.generation = 0
        self.state = "closed"

    def __repr__(self) -> str:
        return f"<BreakerState {self.state} probes {self._probes_out}/{self._settings.probes}>"

    def try_acquire(self, now: float) -> int | None:
        """The generation of an admission, or None: leave the origin alone."""
        if self.state == "closed":
            return self.generation
        if self.state == "open":
            if now < self._until:
                return None
            self._move("half-open", "time for probes")
            self._probes_out = self._probes_done = self._probe_failures = 0
        if self._probes_out + self._probes_done >= self._settings.probes:
            return None
        self._probes_out += 1
        return self.generation

    def is_valid(self, generation: int) -> bool:
        """Whether an admission still stands: for those who queued after it."""
        return generation == self.generation

    def retry_after(self, now: float) -> float:
        """s until it is worth asking again; 0 where the probes' outcome is awaited."""
        return max(0.0, self._until - now) if self.state == "open" else 0.0

    def release(self, generation: int) -> None:
        """End an admission that says nothing of the origin; a probe gives its place back."""
        if generation == self.generation and self.state == "half-open":
            self._probes_out -= 1

    def record(self, generation: int, now: float, *, is_failure: bool) -> None:
        """End an admission with its outcome."""
        if generation != self.generation:
            return
        if self.state == "half-open":
            self._probes_out -= 1
            self._probes_done += 1
            self._probe_failures += is_failure
            self._decide(now)
            return
        bucket = self._bucket(now)
        bucket[1] += 1
        if is_failure:
            bucket[2] += 1
            self._forget(now)
            calls, failures = self._totals()
            if calls >= self._settings.min_calls and failures >= calls * self._settings.failure_rate:
                self._open(now, f"{failures:.0f} of {calls:.0f} attempts failed in {self._settings.window:g} s")

    def failure_share(self, now: float) -> float:
        """Failures / attempts of the window; 0 where there were none."""
        self._forget(now)
        calls, failures = self._totals()
        return failures / calls if calls else 0.0

    def _decide(self, now: float) -> None:
        allowed = self._settings.probes * self._settings.failure_rate
        if self._probe_failures >= allowed:
            self._open(now, f"{self._probe_failures} of {self._probes_done} probes failed")
        elif self._probes_done == self._settings.probes:
            self._buckets.clear()
            self._openings = 0
            self._move("closed", "the probes succeeded")

    def _open(self, now: float, reason: str) -> None:
        self._openings += 1
        length = min(self._settings.max_open_for, self._settings.open_for * 2.0 ** max(0, self._openings - 3))
        self._until = now + length * self._rng.uniform(0.9, 1.1)
        self._buckets.clear()
        self._move("open", reason)

    def _move(self, state: str, reason: str) -> None:
        previous, self.state = self.state, state
        self.generation += 1
        self._moved(previous, state, reason)

    def _bucket(self, now: float) -> list[float]:
        if not self._buckets or now - self._buckets[-1][0] >= self._span:
            self._forget(now)
            self._buckets.append([now, 0, 0])
        return self._buckets[-1]

    def _forget(self, now: float) -> None:
        while self._buckets and now - self._buckets[0][0] >= self._settings.window:
            self._buckets.popleft()

    def _totals(self) -> tuple[float, float]:
        return sum(b[1] for b in self._buckets), sum(b[2] for b in self._buckets)
