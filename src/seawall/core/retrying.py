"""Decides whether another attempt follows, and when: the layer of retries around tenacity's verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from ..config import Retry
from ..config.criticality import BACKGROUND
from ..events import Denied, OriginPaused, RetryScheduled
from ..policy.denial import Denial
from ..policy.origins import Origins
from ..policy.outcome import THROTTLED, Outcome, Request, is_away_until
from .attempt import Ended
from .call import Hop
from .emitter import Emitter
from .endings import paused
from .exchange import is_nested
from .ledger import Ledger
from .readiness import Readiness
from .seat import PAUSE, aside

if TYPE_CHECKING:
    from ..policy.tenacity import Retries

__all__ = ["Retrying"]


class Retrying:
    """The retries of one client."""

    def __init__(
        self,
        origins: Origins,
        *,
        readiness: Readiness,
        rng: Random,
        emitter: Emitter,
        ledger: Ledger,
        now: Callable[[], float],
    ) -> None:
        self._origins = origins
        self._readiness = readiness
        self._rng = rng
        self._emitter = emitter
        self._ledger = ledger
        self._now = now

    async def after(self, hop: Hop, this: Ended, settings: Retry, started_at: float) -> tuple[Ended, float | None]:
        """
        Decide, after an attempt that wasn't good.

        Returns:
            The attempt, with its response shown if a strategy looks at it, and drained if it isn't the caller's; and
            the seconds until the next attempt, None if there is none.
        Raises:
            Exception: An error that a user's strategy raised; the reply is closed then.
        """
        attempt, outcome, reply = this
        try:
            if reply is not None and settings.is_watched:
                outcome = outcome._replace(response=reply.shown())
            self._hold_back(hop, outcome, settings)
            if hop.retries is None:
                hop.retries = self._begun(hop, settings, started_at)
            wait = await hop.retries.after(outcome, self._now())
            if reply is not None and (wait is not None or hop.retries.raises):
                await reply.discard()
            if wait is None and hop.retries.denial is not None and not is_nested():  # else the outer request decides
                self._ledger.denied_retry(hop, hop.retries.denial)
            return Ended(attempt, outcome, reply), wait
        except BaseException:
            if reply is not None:
                reply.abandon()
            attempt.end(attempt.result, self._now())
            raise
        finally:
            del this, outcome, attempt  # its error holds this frame

    def scheduled(self, hop: Hop, this: Ended, left: int, wait: float) -> None:
        """Tell that another attempt follows *this* one in *wait* seconds, and *left* of them at most."""
        call, request, made = hop.call, hop.request, len(hop.call.attempts)
        about = call.number, request.origin, request.method, request.path
        self._emitter.emit(RetryScheduled(*about, made + 1, made + left, wait, this.outcome.name))

    def _begun(self, hop: Hop, settings: Retry, started_at: float) -> Retries:
        from ..policy.tenacity import Retries  # not above, because importing seawall must not load tenacity

        request = hop.request

        def facts() -> Request:
            return Request(settings.is_idempotent(request.method), request.has_key, request.is_replayable())

        async def afford(outcome: Outcome, delay: float, *, is_free: bool) -> Denial | None:
            assert hop.attempt is not None
            if hop.call.criticality is BACKGROUND and hop.state.is_in_trouble(hop.attempt, self._now()):
                return Denial(Denied.SHED, "no background call is repeated while the origin is in trouble")
            now, connect = self._now(), None if hop.policy.waits is True else request.timeouts.get("connect")
            if is_away_until(outcome) is not None and connect is not None and now + delay >= started_at + connect:
                late = f"the connect timeout of {connect:g} s ends before the origin is dialled again; raise it to wait"
                return Denial(Denied.DEADLINE, late)
            is_free = await self._readiness.makes_free(hop, outcome) or is_free
            is_held_back = hop.is_rejected and hop.state.is_held_back(hop.attempt, now)
            denial, hop.has_token = self._origins.afford(
                hop.state, now, delay, deadline_at=hop.call.deadline_at, is_free=is_free or is_held_back
            )
            return denial

        name = f"{request.method} {request.origin}"
        return Retries(settings, name=name, started_at=started_at, rng=self._rng, request=facts, afford=afford)

    def _hold_back(self, hop: Hop, outcome: Outcome, settings: Retry) -> None:
        """Hold back all calls to the origin, if that is wanted and the origin asks for it."""
        if settings.pause_origin and outcome.retry_after is not None and outcome.status in THROTTLED:
            length = min(outcome.retry_after, settings.max_retry_after)
            if hop.state.pause(self._now(), length):
                self._emitter.emit(OriginPaused(hop.state.origin, length))

    async def sit_out(self, hop: Hop) -> Exception | None:
        """
        Wait until the origin takes calls again; a retry also waits until the breaker may let it through.

        Returns:
            OriginPaused, if the deadline comes before that.
        """
        state, deadline_at = hop.state, hop.call.deadline_at
        with aside(PAUSE):
            is_patient = hop.policy.waits is True
            if hop.kept is not None or is_patient:
                await state.sit_out(deadline_at, is_patient=is_patient)
            while (left := state.paused_until - (now := self._now())) > 0:
                delay = left + self._rng.uniform(0.0, state.pause_spread)
                if deadline_at is not None and delay >= deadline_at - now:
                    return hop.request.adopt(paused(state.origin, left))
                await asyncio.sleep(delay)
        return None
