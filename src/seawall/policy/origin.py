"""What one origin has: its policy, bulkhead, breaker and budget, and how an attempt passes them."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from ..config import Bulkhead, Policy
from ..errors import BreakerOpen
from ..origin import Origin
from .breaker import BreakerState
from .budget import BudgetState
from .bulkhead import BulkheadState
from .memory import make_room

__all__ = ["OriginState", "bulkhead_of"]

MAX_PARTS = 1024  # of one origin
TROUBLE_WEIGHT = 0.2  # of the last attempt: four failures in a row are trouble, the three of one call are not
TROUBLE_BEGINS = 0.5  # share of failures; the breaker's
TROUBLE_ENDS = 0.25
TROUBLE_LASTS = 30.0  # s without news; then it is forgotten
HOPELESS_AFTER = 5.0  # s in trouble; as long as a breaker is open, and longer than a restart or a blip
PAUSE_SPREAD = 0.1  # of a pause: over so much of its length again those start who were held back
MAX_DEATHS = 8  # of connections, whose streams' errors may still come
SHED_SHARE = 0.1  # of the recent attempts failed: from here on, a standing queue is shed


@dataclass(slots=True)
class OriginState:
    """One origin's layers; None where one is switched off."""

    origin: Origin
    policy: Policy
    bulkhead: BulkheadState | None
    breaker: BreakerState | None
    budget: BudgetState | None
    now: Callable[[], float]
    parts: OrderedDict[Hashable, BulkheadState] = field(default_factory=OrderedDict)
    trouble: float = 0.0  # share of failures among the last few attempts
    troubled_since: float | None = None
    noted_at: float = 0.0
    paused_until: float = 0.0
    pause_spread: float = 0.0
    deaths: tuple[object, ...] = ()  # the last of connections that were counted
    moved: asyncio.Future[None] | None = None  # by the breaker's next move; None: nobody waits for it

    # The breaker

    def enter(self, now: float) -> int | None:
        """
        The breaker's admission, to be given to `leave` once.

        Raises:
            BreakerOpen: It lets nobody through.
        """
        breaker = self.breaker
        if breaker is None:
            return None
        generation = breaker.try_acquire(now)
        if generation is None:
            retry_after, open_for = breaker.shut_for(now), now - breaker.moved_at
            raise BreakerOpen(
                f"{self.origin}: breaker {breaker.state} for {open_for:.1f} s: {breaker.reason}; next probe in "
                f"{retry_after:.1f} s (Breaker.failure_rate, Breaker.open_for)",
                origin=self.origin,
                retry_after=retry_after,
                reason=breaker.reason,
                open_for=open_for,
            )
        return generation

    def enter_again(self, generation: int | None, now: float) -> int | None:
        """After the queue: the same admission if it still stands, else a new one, or BreakerOpen."""
        if self.breaker is None or generation is None or self.breaker.is_valid(generation):
            return generation
        return self.enter(now)

    def leave(
        self,
        generation: int | None,
        now: float,
        *,
        is_failure: bool | None,
        duration: float = 0.0,
        retry_after: float | None = None,
        is_streamed: bool = False,
    ) -> int | None:
        """
        End an admission.

        Args:
            is_failure: None: it says nothing of the origin.
            is_streamed: Its body is still to come; `body_ended` says what came of it.
        Returns:
            The breaker's generation after that, for `body_ended`; None: the breaker heard nothing, because it is off or
            has moved since the admission.
        """
        if is_failure is not None and (is_failure or (self.trouble and not is_streamed)):
            self._note(now, is_failure=is_failure)
        if self.breaker is None or generation is None or self.breaker.generation != generation:
            return None
        if is_failure is None:
            self.breaker.release(generation)
        else:
            self.breaker.record(generation, now, is_failure=is_failure, duration=duration, retry_after=retry_after)
        return self.breaker.generation

    def body_ended(
        self,
        generation: int | None,
        now: float,
        *,
        is_failure: bool,
        recorded_at: float,
        duration: float = 0.0,
    ) -> None:
        """
        The body ended of which `leave` was told a success when its headers were there.

        Args:
            generation: What `leave` returned.
            duration: What `leave` was told.
        """
        if is_failure or self.trouble:
            self._note(now, is_failure=is_failure)
        if is_failure and self.breaker is not None and generation is not None:
            self.breaker.retract(generation, now, recorded_at=recorded_at, duration=duration)

    def is_first(self, death: object) -> bool:
        """Whether this end of a connection wasn't counted before: of all its streams, the first one's error counts."""
        if death in self.deaths:
            return False
        self.deaths = (*self.deaths[1 - MAX_DEATHS :], death)
        return True

    def shut_for(self, now: float) -> float:
        """Seconds until the breaker may let an attempt through, as things stand; inf where it is forced open."""
        return 0.0 if self.breaker is None else self.breaker.shut_for(now)

    async def sit_out(self, deadline_at: float | None) -> None:
        """
        Wait until the breaker may let somebody through: for a retry, which was promised when it was still closed.

        Not past *deadline_at*, nor once the probes have failed, nor where the breaker is forced open: the attempt is
        then refused by `enter`.

        **Cancellation:** ends the wait; nothing is left behind.
        """
        if (breaker := self.breaker) is None:
            return
        generation = breaker.generation
        while (left := breaker.shut_for(now := self.now())) > 0:
            has_failed = breaker.state == "open" and breaker.generation != generation
            if has_failed or left == math.inf or (deadline_at is not None and left >= deadline_at - now):
                return
            if self.moved is None:
                self.moved = asyncio.get_running_loop().create_future()
            await asyncio.wait([self.moved], timeout=left)

    def has_moved(self) -> None:
        """The breaker has: wake those who wait for that."""
        moved, self.moved = self.moved, None
        if moved is not None:
            moved.set_result(None)

    def is_hopeless(self, now: float) -> bool:
        """
        Whether it has been in trouble for so long that a retry would only be more of the same.

        What the breaker sees in many attempts, this sees in few: a thousand clients of a call every three seconds each
        have a budget that never ends, and together are the outage.
        """
        if self.troubled_since is None or now - self.noted_at >= TROUBLE_LASTS:
            return False
        return now - self.troubled_since >= HOPELESS_AFTER

    def _note(self, now: float, *, is_failure: bool) -> None:
        if now - self.noted_at >= TROUBLE_LASTS:
            self.trouble, self.troubled_since = 0.0, None
        self.noted_at = now
        self.trouble += ((1.0 if is_failure else 0.0) - self.trouble) * TROUBLE_WEIGHT
        if self.trouble >= TROUBLE_BEGINS:
            self.troubled_since = now if self.troubled_since is None else self.troubled_since
        elif not is_failure and self.trouble < TROUBLE_ENDS:
            self.trouble, self.troubled_since = 0.0, None

    # A pause that the origin asked for

    def pause(self, now: float, length: float) -> None:
        """Hold back all new attempts for *length* s, and a little longer each, so that they don't come together."""
        if now + length > self.paused_until:
            self.paused_until = now + length
            self.pause_spread = length * PAUSE_SPREAD

    # The bulkhead

    def part(self, key: Hashable) -> BulkheadState:
        """The bulkhead of a part of the origin, made at first sight."""
        found = self.parts.get(key)
        if found is not None:
            self.parts.move_to_end(key)
            return found
        assert isinstance(self.policy.bulkhead, Bulkhead)
        make_room(self.parts, MAX_PARTS, is_busy=lambda part: not part.is_idle)
        found = self.parts[key] = bulkhead_of(f"{self.origin}, part {key!r}", self.policy.bulkhead)
        return found

    async def queue(self, bulkhead: BulkheadState, timeout: float | None) -> float:
        """
        Wait for a permit: *timeout* s at most, less where a standing queue waits for a failing origin.

        Returns:
            s that it took.
        Raises:
            BulkheadFull: None in time.
        """
        began_at = self.now()
        if timeout is not None and isinstance(self.policy.bulkhead, Bulkhead):
            is_standing = bulkhead.standing_for(began_at) >= timeout
            if is_standing and self.breaker is not None and self.breaker.failure_share(began_at) >= SHED_SHARE:
                timeout = min(timeout, self.policy.bulkhead.shed_after)
        await bulkhead.acquire(timeout)
        return self.now() - began_at

    @property
    def bulkheads(self) -> list[BulkheadState]:
        """All of them."""
        return [*self.parts.values()] if self.bulkhead is None else [self.bulkhead, *self.parts.values()]

    @property
    def is_idle(self) -> bool:
        """Nothing of it is in use, and nothing was set by hand: it may be forgotten."""
        return all(bulkhead.is_idle for bulkhead in self.bulkheads) and not (self.breaker and self.breaker.is_forced)

    def remembers(self, now: float) -> bool:
        """Whether it knows of a breaker that isn't closed, of a pause or of trouble: it is forgotten last."""
        if now < self.paused_until or (self.troubled_since is not None and now - self.noted_at < TROUBLE_LASTS):
            return True
        breaker = self.breaker
        if breaker is None or breaker.state == "closed":
            return False
        return breaker.retry_after(now) > 0 or now - breaker.moved_at < TROUBLE_LASTS


def bulkhead_of(name: str, settings: Bulkhead) -> BulkheadState:
    return BulkheadState(
        name, settings.max_concurrent, setting="Bulkhead.max_concurrent", max_waiting=settings.max_waiting
    )
