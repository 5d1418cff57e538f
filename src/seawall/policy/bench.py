"""
The attempts that sit out one breaker until it may let them through.

Rules: first in, first out. The bench takes each place that becomes free for the first of them, so a newcomer of a later
turn of the loop doesn't overtake that one, and no other is woken in vain. The attempt that is told exchanges the place
for a ticket at the gate; if it doesn't, the next one is told. One timer serves all, and runs only while somebody waits.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from typing import Protocol

__all__ = ["Bench"]


class Breaking(Protocol):
    """A breaker, as those look at it that sit it out; see `BreakerState`."""

    @property
    def state(self) -> str: ...
    @property
    def generation(self) -> int: ...

    def try_acquire(self, now: float) -> int | None: ...
    def shut_for(self, now: float) -> float: ...
    def vacate(self, generation: int) -> bool: ...
    def release(self, generation: int) -> None: ...


class _Sitter:
    """
    An attempt that waits.

    Attributes:
        generation: The breaker's when it came.
        told: Its end: the generation in which a place was taken for it; None if it waits in vain.
    """

    __slots__ = ("deadline_at", "generation", "is_patient", "told")

    def __init__(self, generation: int, deadline_at: float | None, *, is_patient: bool) -> None:
        self.generation = generation
        self.deadline_at = deadline_at
        self.is_patient = is_patient
        self.told: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def waits_in_vain(self, breaker: Breaking, now: float, left: float) -> bool:
        """Whether it needn't wait for another *left* seconds."""
        if self.is_patient or left == math.inf:
            return left == math.inf
        has_failed = breaker.state == "open" and breaker.generation != self.generation
        return has_failed or (self.deadline_at is not None and left >= self.deadline_at - now)


class Bench:
    """
    Args:
        breaker: The one that they sit out.
        now: Loop time.
    """

    __slots__ = ("_breaker", "_is_looking", "_now", "_sitters", "_timer")

    def __init__(self, breaker: Breaking, now: Callable[[], float]) -> None:
        self._breaker = breaker
        self._now = now
        self._sitters: OrderedDict[_Sitter, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._is_looking = False  # soon

    def __len__(self) -> int:
        return len(self._sitters)

    async def sit_out(self, deadline_at: float | None, *, is_patient: bool) -> None:
        """
        Wait until the breaker may let an attempt through.

        It doesn't wait past *deadline_at*, nor once the probes have failed, nor if the breaker is forced open, because
        `enter` then refuses the attempt.

        **Cancellation:** ends the wait; a place that was taken for the attempt goes to the next one.
        **Fairness:** FIFO.

        Args:
            is_patient: It waits for later probes too, and until the deadline strikes.
        """
        breaker = self._breaker
        sitter = _Sitter(breaker.generation, deadline_at, is_patient=is_patient)
        while (left := breaker.shut_for(now := self._now())) > 0 and not sitter.waits_in_vain(breaker, now, left):
            self._sitters[sitter] = None
            if sitter.told.done():  # the breaker has opened again since, so it is the first as before
                self._sitters.move_to_end(sitter, last=False)
                sitter.told = asyncio.get_running_loop().create_future()
            if self._timer is None:
                self._wake_at(now + left)
            try:
                generation = await sitter.told
            except asyncio.CancelledError:
                self._left(sitter)
                raise
            if generation is not None and breaker.vacate(generation):
                self._look_soon()  # by then it has taken the place again, unless another gate keeps it

    def look(self) -> None:
        """The breaker has changed: tell those that needn't wait any longer."""
        if not self._sitters:
            return
        breaker, now, has_told = self._breaker, self._now(), False
        while self._sitters and (generation := breaker.try_acquire(now)) is not None:
            if not self._tell_first(generation):
                breaker.vacate(generation)
                break
            has_told = True
        left = breaker.shut_for(now)
        if has_told and self._sitters:
            self._look_soon()  # the others may be late now, but what was told may still close the breaker at once
        else:
            for sitter in [each for each in self._sitters if each.waits_in_vain(breaker, now, left)]:
                self._tell(sitter, None)
        self._wake_at(now + left)

    def _look_soon(self) -> None:
        if self._sitters and not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._look_again, context=Context())

    def _look_again(self) -> None:
        self._is_looking = False
        self.look()

    def _due(self) -> None:
        self._timer = None
        self.look()

    def _tell_first(self, generation: int) -> bool:
        """Whether there is one that wasn't cancelled."""
        while self._sitters:
            if self._tell(next(iter(self._sitters)), generation):
                return True
        return False

    def _tell(self, sitter: _Sitter, generation: int | None) -> bool:
        del self._sitters[sitter]
        if sitter.told.done():  # it was cancelled, and hasn't run since
            return False
        sitter.told.set_result(generation)
        return True

    def _left(self, sitter: _Sitter) -> None:
        """It was cancelled, maybe after a place was taken for it."""
        self._sitters.pop(sitter, None)
        if not sitter.told.cancelled() and (generation := sitter.told.result()) is not None:
            self._breaker.release(generation)
        if not self._sitters:
            self._wake_at(math.inf)

    def _wake_at(self, instant: float) -> None:
        """Look again at *instant*, if anybody waits then."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sitters and instant < math.inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(instant, self._due, context=Context())  # it inherits no caller's deadline
