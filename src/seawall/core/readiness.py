"""Decides whether an attempt whose dial was refused goes back to wait, because its origin is away for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random

from ..config import Bulkhead, Ready
from ..errors import DialError
from ..events import Listener, OriginAway, OriginBack, Phase
from ..policy.origin import OriginState
from ..policy.origins import Origins
from ..policy.ready import Prober, ReadyState
from .attempt import AttemptState
from .call import Hop

__all__ = ["Readiness"]


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

    def turns_back(self, hop: Hop, attempt: AttemptState, error: DialError) -> bool:
        """Whether *attempt*, which failed with *error*, waits at the origin's gate from now on, as if it were new."""
        state = hop.state
        if not error.is_refused or attempt.phase is not Phase.CONNECTING:
            return False  # (another transport's error comes in a later phase)
        if state.away is not None:
            state.away.refused()
        elif not self._is_remembered(state):
            return False
        else:
            self._went_away(state, str(error))
        if hop.has_token and self.waives(hop):
            hop.has_token = False
            self._origins.refund(state, self._now())
        return True

    def waives(self, hop: Hop) -> bool:
        """Whether a retry after a cut is free, because the origin is away: once for each time that it goes."""
        away, retries = hop.state.away, hop.retries
        if away is None or retries is None or retries.waived is away:
            return False
        retries.waived = away
        return True

    def suspect(self, state: OriginState) -> asyncio.Future[None] | None:
        """A connection was cut, as in a restart: dial the origin once, for all; None if that is needless."""
        if self.prober is None or state.away is not None or not self._is_remembered(state):
            return None
        return self.prober.ask(state.origin, partial(self._refused, state))

    async def has_gone(self, state: OriginState) -> bool:
        """
        Whether the origin is away, though maybe no call has found that out yet.

        **Cancellation:** others go on asking.
        """
        if (asked := self.suspect(state)) is not None:
            await asyncio.wait([asked])
        return state.away is not None

    def _refused(self, state: OriginState, error: DialError) -> None:
        if state.away is None:
            self._went_away(state, str(error))

    def _is_remembered(self, state: OriginState) -> bool:
        """Whether the origin answered so lately that it is away if it refuses."""
        settings = state.policy.ready
        if self.prober is None or not isinstance(settings, Ready):
            return False
        return self._now() - state.answered_at <= settings.remembered_for

    def _went_away(self, state: OriginState, reason: str) -> None:
        settings, prober = state.policy.ready, self.prober
        assert isinstance(settings, Ready)
        assert prober is not None
        origin, bulkhead = state.origin, state.policy.bulkhead
        limit = (bulkhead if isinstance(bulkhead, Bulkhead) else Bulkhead()).max_concurrent

        def over() -> None:
            state.came_back()
            self._emit(OriginBack(origin, self._now() - away.away_since))

        away = ReadyState(
            origin, settings, limit=limit, now=self._now, rng=self._rng, prober=prober, reason=reason, over=over
        )
        state.went_away(away)
        self._emit(OriginAway(origin, reason))
