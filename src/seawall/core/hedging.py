"""
Hedging: a second attempt beside one whose response doesn't begin. The first good response wins.

Rules: the first attempt stays in its call's task, so that without a second it is as if there were no hedging. The
second has a task of its own, which ends with `Race.close`, whatever ends the race. It needs what a retry needs, and at
once: it never waits at a gate. Of two attempts that fail, the call goes on with the first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from ..attempts import CONNECTING, HEADERS
from ..config import Hedge, Retry, Unset
from ..errors import SeawallError
from ..events import HedgeStarted
from ..policy.hedge import HedgeState
from ..policy.line import INSTANT
from ..policy.origins import Origins
from ..policy.outcome import Outcome
from .attempt import AttemptState
from .call import Hop
from .emitter import Emitter
from .exchange import Reply, Request, is_nested
from .ledger import Ledger
from .telling import Telling
from .words import said

__all__ = ["Hedging", "failed"]

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})  # RFC 9110 section 9.2.1, RFC 10008
LATER: Final = frozenset({408, 429})  # the server wants the request at another time


class Second(AttemptState):
    """The attempt that is made beside the first."""

    __slots__ = ()

    is_hedge = True


class Hedging:
    """Makes second attempts beside slow ones, for one client."""

    def __init__(
        self, origins: Origins, *, ledger: Ledger, telling: Telling, emitter: Emitter, now: Callable[[], float]
    ) -> None:
        self._origins = origins
        self._ledger = ledger
        self._telling = telling
        self._emitter = emitter
        self._now = now

    async def send(self, hop: Hop, settings: Hedge | Unset, request: Request, first: AttemptState) -> Reply:
        """The first good reply. If it isn't that of the *first* attempt, the hop's attempt is the other one."""
        assert isinstance(settings, Hedge)  # a client leaves nothing unset
        state, now = hop.state, self._now()
        is_safe = request.method in SAFE or request.has_key
        if not is_safe or request.streamed is not None or is_nested():
            return await hop.exchange.send(request, first)
        known = state.hedge = state.hedge or HedgeState(now)
        if hop.retries is None:
            known.deposit(settings.max_extra)
        after = known.after(settings.quantile, now) if settings.quantile else float(settings.after)
        race = Race(self, hop, first, after)
        try:
            reply = await race.run()
        except BaseException:
            if hop.attempt is first:  # else it was counted as the call went on with the second
                now = self._now()
                known.outlasted(first.on_wire(now), now)
            raise
        finally:
            race.close()
        assert hop.attempt is not None
        if is_good(hop, reply.outcome()):
            now = self._now()
            known.began(hop.attempt.on_wire(now), now)
        return reply

    def begin(self, hop: Hop, first: AttemptState, after: float) -> Second | None:
        """The second attempt, admitted; None if it must not be made."""
        state, request, call, now = hop.state, hop.request, hop.call, self._now()
        assert state.hedge is not None
        if state.hedge.allowance < 1.0 or not state.is_well(now):
            return None
        avoid = hop.avoid if first.address is None else (*hop.avoid, first.address)
        late, number = now - first.started_at, len(call.attempts) + 2
        second = Second(self._now, now, request, number, late, avoid, None, call, hop.timer)
        second.share(first)
        is_admitted = False
        try:
            is_admitted = second.passes(state.gates) and self._origins.withdraw(state, now)
        finally:  # where a user's gate raises, too, which the loop logs
            if not is_admitted:
                second.end(None, now)
        if not is_admitted:
            return None
        state.hedge.allowance -= 1.0
        if self._telling.has_any:
            self._telling.tell(hop, second, now)
        call.is_silent = False
        self._emitter.emit(
            HedgeStarted(call.number, request.origin, request.method, request.path, second.number, after)
        )
        return second

    def unspent(self, hop: Hop, second: AttemptState) -> None:
        """Give back what the *second* attempt took, if it was never on the wire."""
        assert hop.state.hedge is not None
        if second.phase < CONNECTING:
            hop.state.hedge.deposit(1.0)
            self._origins.refund(hop.state, self._now())

    def superseded(
        self, hop: Hop, attempt: AttemptState, outcome: Outcome | None, error: str | None, detail: str
    ) -> None:
        """*attempt* is over, and the call goes on with the other; *outcome* is None if it was in flight."""
        now, state = self._now(), hop.state
        assert state.hedge is not None
        if attempt.is_hedge:
            self.unspent(hop, attempt)
        else:
            state.hedge.outlasted(attempt.on_wire(now), now)
        self._ledger.ended(hop, attempt, outcome, now, is_ours=False, error=error, detail=detail, is_superseded=True)


class Race:
    """An attempt, and the one that is made beside it once it has been on the wire for *after* seconds."""

    __slots__ = (
        "_after", "_cancelling", "_first", "_has_struck", "_hedging", "_hop", "_is_first_out", "_reply",
        "_second", "_sending", "_task", "_timer",
    )  # fmt: skip

    def __init__(self, hedging: Hedging, hop: Hop, first: AttemptState, after: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._hedging = hedging
        self._hop = hop
        self._first = first
        self._after = after
        self._task = task
        self._cancelling = task.cancelling()
        self._is_first_out = True
        self._has_struck = False  # the first attempt was cancelled, because the second has won
        self._second: Second | None = None  # until it is over, or handed on
        self._reply: Reply | None = None  # its good reply
        self._sending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> Reply:
        """The reply of the attempt that wins, the hop's; the other one was told of, or `close` does it."""
        hop, first = self._hop, self._first
        self._look_in(self._after)
        try:
            reply = await hop.exchange.send(hop.request, first)
        except asyncio.CancelledError:
            if not self._has_taken_over():
                raise
            return self._seconds(None, None, "")
        except Exception as error:
            if self._second is None:
                raise
            outcome, name, detail = failed(hop, first, error)
            try:
                if (outcome is None and not self._has_struck) or not await self._is_won(outcome, name, detail):
                    raise
                return self._seconds(outcome, name, detail)
            finally:
                del outcome  # its error holds this frame
        try:
            outcome = reply.outcome()
            if self._second is None or is_good(hop, outcome) or not await self._is_won(outcome, None, ""):
                return reply
        except BaseException:
            reply.abandon()
            raise
        reply.abandon()
        return self._seconds(outcome, None, "")

    def close(self) -> None:
        """The race is over; what is left of the second attempt ends."""
        self._is_first_out = False
        if self._timer is not None:
            self._timer.cancel()
        if self._has_struck:  # and the first attempt ended otherwise all the same
            self._has_struck = False
            self._task.uncancel()
        if self._sending is not None:
            self._sending.cancel()
        self._sending = None
        del self._task  # either task's error holds this race
        if self._second is not None:
            if self._reply is not None:
                self._reply.abandon()
            self._lost(None, None, "")

    # The second attempt

    def _look_in(self, seconds: float) -> None:
        if seconds < math.inf:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Begin the second attempt, if the first has been on the wire for long enough."""
        first, hop = self._first, self._hop
        left = self._after - first.on_wire(first.now())
        if left > INSTANT:
            self._look_in(left)
        elif first.phase < HEADERS:
            self._second = self._hedging.begin(hop, first, self._after)
            if self._second is not None:
                self._sending = asyncio.get_running_loop().create_task(self._send(self._second))

    async def _send(self, second: Second) -> None:
        hop = self._hop
        try:
            reply = await hop.exchange.send(hop.request, second)
        except Exception as error:  # noqa: BLE001  # the race's, whatever it is
            if self._second is not None:
                self._lost(*failed(hop, second, error))
            return
        if self._second is None:  # the race was over, and the transport took no notice of its cancellation
            reply.abandon()
        elif is_good(hop, outcome := reply.outcome()):
            self._reply = reply
            if self._is_first_out:
                self._has_struck = True
                self._task.cancel()
        else:
            reply.abandon()
            self._lost(outcome, None, "")

    def _lost(self, outcome: Outcome | None, error: str | None, detail: str) -> None:
        """The call goes on with the first attempt."""
        second, self._second = self._second, None
        assert second is not None
        self._hedging.superseded(self._hop, second, outcome, error, detail)

    # How the first one ended

    def _has_taken_over(self) -> bool:
        """Whether the second attempt has cancelled the first, and nobody else has."""
        if not self._has_struck:
            return False
        self._has_struck = False
        return self._task.uncancel() <= self._cancelling

    async def _is_won(self, outcome: Outcome | None, error: str | None, detail: str) -> bool:
        """
        Whether the second attempt wins, now that the first has ended without a good reply.

        **Cancellation:** the call ends with the second, because the first is over; the history has both ends.
        """
        self._is_first_out = False
        try:
            if self._sending is not None:
                await asyncio.wait([self._sending])
        except asyncio.CancelledError:
            if self._second is not None:
                if outcome is not None:
                    self._hop.last_error = outcome.error or self._hop.last_error
                self._hedging.unspent(self._hop, self._second)
                self._hand_over(outcome, error, detail)
            if self._reply is not None:
                self._reply.abandon()
            raise
        finally:
            del outcome  # its error holds this frame
        return self._reply is not None

    def _seconds(self, outcome: Outcome | None, error: str | None, detail: str) -> Reply:
        """The second attempt's reply; *outcome*, *error* and *detail* are the first one's end."""
        reply, self._reply = self._reply, None
        assert reply is not None
        self._hand_over(outcome, error, detail)
        return reply

    def _hand_over(self, outcome: Outcome | None, error: str | None, detail: str) -> None:
        """The call goes on with the second attempt."""
        second, self._second = self._second, None
        assert second is not None
        hop, first = self._hop, self._first
        if outcome is None and error is None and second.address != first.address:  # else the ledger knows whose fault
            hop.exchange.blame(hop.request, first)
        self._hedging.superseded(hop, first, outcome, error, detail)
        hop.attempt = second


def is_good(hop: Hop, outcome: Outcome) -> bool:
    """Whether a response ends the race."""
    if outcome.error is not None or outcome.status is None or outcome.status >= 500 or outcome.status in LATER:
        return False
    retry = hop.policy.retry
    return not isinstance(retry, Retry) or outcome.status not in retry.suspects


def failed(hop: Hop, attempt: AttemptState, error: Exception) -> tuple[Outcome | None, str, str]:
    """
    The outcome that *error* means, its class, and its text.

    None for the outcome: It isn't the transport's but the caller's, such as one that the request's own body raised.
    """
    name, detail = said(error)
    if attempt.is_of_source(error):
        return None, name, detail
    mine = hop.request.adopt(error) if isinstance(error, SeawallError) else error
    try:
        outcome = hop.exchange.failure(mine, attempt)
        if outcome is not None:
            attempt.reached(outcome.phase)  # its class tells the phase, because another transport doesn't report it
        return outcome, name, detail
    finally:
        del mine, error  # they hold this frame
