"""
Tells that an origin is away for a moment: it refuses all dials, or its gateway finds no server. Attempts wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from ..config import Bulkhead, Ready
from ..errors import DialError, ProxyOpen
from ..events import Listener, OriginAway, OriginBack, Phase
from ..policy.origin import OriginState
from ..policy.origins import Origins
from ..policy.outcome import Outcome, is_cut
from ..policy.ready import Prober, ReadyState
from ..policy.unserved import Refusals, Unserved, is_unserved
from .attempt import AttemptState
from .call import Hop
from .patient import LEAST, says_when
from .seat import aside

__all__ = ["Readiness"]

PROXY: Final = "proxy"  # what an attempt waits for
MAX_UNASKED: Final = 1.0  # s after which a call asks the breaker again, because the probe of another may have closed it


class Readiness:
    """
    The origins of a client that are away.

    Attributes:
        prober: Dials them; None where calls aren't sent over our wire, so that none is ever away.
    """

    def __init__(self, origins: Origins, *, rng: Random, emit: Listener, now: Callable[[], float]) -> None:
        self.prober: Prober | None = None
        self._origins = origins
        self._rng = rng
        self._emit = emit
        self._now = now

    async def turns_back(self, hop: Hop, attempt: AttemptState, error: DialError | ProxyOpen) -> bool:
        """
        Whether *attempt*, which failed with *error*, begins anew at the origin's gates, as if it were new.

        Because of a proxy's open breaker only a patient one does, after a wait in which it holds nothing.
        """
        state = hop.state
        if isinstance(error, ProxyOpen):
            is_anothers = attempt.phase >= Phase.SENDING  # of a call that an application or a body below has made
            if hop.policy.waits is not True or not says_when(error) or is_anothers:
                return False
            attempt.turned_back()
            with aside(PROXY):
                began_at = self._now()
                await asyncio.sleep(min(max(LEAST, error.retry_after), MAX_UNASKED))
                attempt.queued_at(PROXY, self._now() - began_at)
            return True
        if not error.is_refused or attempt.phase is not Phase.CONNECTING or not hop.request.is_straight:
            return False  # (another transport's error comes in a later phase, and the prober dials straight)
        if isinstance(state.away, ReadyState):
            state.away.refused()
        elif not self._is_remembered(state):
            return False
        else:
            self._refuses(state, str(error))
        if hop.has_token and self.waives(hop):
            hop.has_token = False
            self._origins.refund(state, self._now())
        attempt.turned_back()
        return True

    def waives(self, hop: Hop) -> bool:
        """Whether a retry after a cut is free, because the origin is away: once for each time that it goes."""
        away, retries = hop.state.away, hop.retries
        if away is None or retries is None or retries.waived is away:
            return False
        retries.waived = away
        return True

    def suspect(self, hop: Hop) -> asyncio.Future[None] | None:
        """
        A connection was cut, as in a restart: dial the origin once, for all.

        Returns:
            None if that is needless, or would go round the proxy.
        """
        state = hop.state
        if (
            not hop.request.is_straight
            or self.prober is None
            or state.away is not None
            or not self._is_remembered(state)
        ):
            return None
        return self.prober.ask(state.origin, partial(self._refused, state))

    async def makes_free(self, hop: Hop, outcome: Outcome) -> bool:
        """
        Whether a retry after *outcome* is free, because the origin is away; maybe no call has found that out yet.

        **Cancellation:** others go on asking.
        """
        if is_cut(outcome):
            if (asked := self.suspect(hop)) is not None:
                await asyncio.wait([asked])
        elif not is_unserved(outcome):
            return False
        return self.waives(hop)

    def _refused(self, state: OriginState, error: DialError) -> None:
        if not isinstance(state.away, ReadyState):
            self._refuses(state, str(error))

    def _is_remembered(self, state: OriginState) -> bool:
        """Whether the origin answered so lately that it is away if it refuses."""
        settings = state.policy.ready
        if self.prober is None or not isinstance(settings, Ready):
            return False
        return self._now() - max(state.answered_at, state.refused_at) <= settings.remembered_for

    def _refuses(self, state: OriginState, reason: str) -> None:
        settings, prober = state.policy.ready, self.prober
        assert isinstance(settings, Ready)
        assert prober is not None
        if isinstance(state.away, Unserved):  # the gateway itself is away now
            state.away.end()
        origin, bulkhead = state.origin, state.policy.bulkhead
        limit = (bulkhead if isinstance(bulkhead, Bulkhead) else Bulkhead()).max_concurrent

        away = ReadyState(
            origin,
            settings,
            limit=limit,
            now=self._now,
            rng=self._rng,
            prober=prober,
            reason=reason,
            over=lambda: self._came_back(state),
        )
        self._went_away(state, away, reason)
        state.was_restarted()

    def is_told(self, state: OriginState, attempt: AttemptState, outcome: Outcome, now: float) -> bool:
        """Whether an answer that isn't good only tells once more that a gateway finds no server; note it."""
        settings, began_at = state.policy.ready, attempt.started_at + attempt.waited
        if not is_unserved(outcome):
            state.answered_at, state.served_at = now, max(state.served_at, began_at)
            return False
        state.refused_at = now
        if state.away is not None:
            return isinstance(state.away, Unserved)
        if self.prober is None or not isinstance(settings, Ready):
            return False
        refusals = state.refusals = state.refusals or Refusals()
        breaker = state.breaker
        usual = 0.0 if breaker is None else breaker.usual
        is_row = refusals.add(now, began_at=began_at, served_at=state.served_at, usual=usual)
        is_open = breaker is not None and breaker.state != "closed"
        if not is_row or is_open or now - state.answered_at > settings.remembered_for:
            return False  # (an open breaker would refuse those that the gate sends)
        row = f"{refusals.count} requests in a row with {outcome.status}"
        self._finds_none(state, settings, f"its gateway has answered {row}")
        return True

    def _finds_none(self, state: OriginState, settings: Ready, reason: str) -> None:
        away = Unserved(
            state.origin,
            settings,
            now=self._now,
            rng=self._rng,
            served_at=lambda: state.served_at,
            over=lambda: self._came_back(state),
        )
        self._went_away(state, away, reason)

    def _went_away(self, state: OriginState, away: ReadyState | Unserved, reason: str) -> None:
        state.went_away(away)
        self._emit(OriginAway(state.origin, reason))

    def _came_back(self, state: OriginState) -> None:
        away, now = state.came_back(), self._now()
        duration, has_answered = now - away.away_since, True
        if isinstance(away, Unserved):
            assert state.refusals is not None
            state.refusals.rest(now, duration)
            if has_answered := away.is_served():
                state.was_restarted()
        self._emit(OriginBack(state.origin, duration, has_answered))
