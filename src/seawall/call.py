"""
One call through the layers. This file, and no other, says in which order they stand:

1. the deadline is above all: no combination of queueing, backoff and Retry-After may outlive it;
2. retry is above the breaker, the bulkhead and the choice of an address: each attempt picks anew, and a sleeper holds
   no permit;
3. the breaker is above the bulkhead: an open one costs no queueing. It is asked again after the queue, for it may
   have opened meanwhile, and sees attempts, not calls;
4. the bulkhead is above the exchange: a permit is one attempt in flight, until its body is closed;
5. the exchange is at the bottom: our wire, or any httpx transport. It is passed in, and its responses are opaque here.

Rules: an admission and a permit are given back exactly once, whatever is cancelled, whenever. `CancelledError` is no
outcome: it is never retried, and counts for the breaker only where it was our own deadline that struck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from .clock import Clock
from .endings import bad_status, closed, exceeded, paused
from .errors import OriginPaused, SeawallError
from .events import CallEnded, Events, Phase, RetryScheduled
from .exchange import Exchange, is_nested
from .hop import Call, Hop
from .hosts import find
from .policy.bulkhead import BulkheadState
from .policy.origin_state import OriginState
from .policy.origins import Origins
from .policy.outcome import THROTTLED, Outcome, Request, is_failure, is_suspect, is_transparent
from .policy.propagation import headers
from .policy.slots import Slots
from .settings import Bulkhead, Policy, Propagation, Retry
from .timer import Timer
from .underway import Underway

if TYPE_CHECKING:
    from .policy.retry import Retries

__all__ = ["Layers"]

R = TypeVar("R")


class Ended(NamedTuple, Generic[R]):
    """What came of an attempt: the response if there is one, and what gives back the permit that its body holds."""

    outcome: Outcome
    response: R | None
    release: Callable[[], None] | None


class Layers:
    """
    The state of all layers, shared by the transports of one client.

    Args:
        base: The client's policy; *per_host* lies over it.
        max_connections: The client-wide cap; None: none.
        propagation: What upstreams are told; None: nothing.
    """

    def __init__(
        self,
        base: Policy,
        per_host: Mapping[str, Policy],
        *,
        max_connections: int | None,
        propagation: Propagation | None,
        events: Events,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._events = events
        self._told = dict.fromkeys(propagation.hosts, propagation) if propagation is not None else {}
        self.origins = Origins(base, per_host, rng=rng, events=events, now=clock.now)
        self.slots = Slots(max_connections)
        self.underway = Underway(clock)
        self._now = clock.now

    def begin(self, *, is_buffered: bool) -> Call:
        """A new call of this task."""
        self._now = self.underway.on_loop()
        return Call(self, self._now(), is_buffered=is_buffered)

    # The way of a request, top-down

    async def run(self, exchange: Exchange[R], call: Call | None = None) -> R:
        """
        One hop of *call* through the layers; of a new one, where there is none or it is somebody else's.

        Returns:
            The response of the last attempt, its history attached.
        Raises:
            DeadlineExceeded, ClientClosed, or the error of the last attempt, with ``attempts``.
        """
        if call is None or call.owner is not self or call.is_over:
            call = self.begin(is_buffered=False)
        exchange.is_buffered = call.is_buffered
        hop: Hop | None = None
        try:
            state = self.origins[exchange.origin]
            policy = state.policy if exchange.options is None else exchange.options.over(state.policy)
            if not call.is_timed:
                call.set_deadline(policy, exchange.timeouts)
            if self.underway.is_closed:
                raise exchange.adopt(closed(exchange.origin))
            deadline_at, now = call.deadline_at, self._now()
            hop = Hop(call, state, policy, Timer(self.underway.timers, deadline_at), self._now)
            if deadline_at is not None and deadline_at <= now:
                raise exchange.adopt(hop.ended(exceeded(hop, now)))
            with hop.timer:
                self.underway.add(hop)
                return self._end(hop, exchange, await self._attempts(hop, exchange, now))
        except TimeoutError as expiry:
            if hop is None or not hop.timer.is_expired:
                raise
            error = closed(exchange.origin) if self.underway.is_closed else exceeded(hop, self._now())
            self._events.emit(CallEnded(exchange.origin, len(call.attempts), type(error).__name__, ""))
            try:
                raise exchange.adopt(hop.ended(error)) from (hop.last_error or expiry)
            finally:
                del error  # it holds this frame
        finally:
            if hop is not None:
                self.underway.discard(hop)
                if hop.has_token:
                    self.origins.refund(hop.state, self._now())
                hop.close()

    async def _attempts(self, hop: Hop, exchange: Exchange[R], started_at: float) -> Ended[R]:
        """Retry: attempts until one is good, or not worth or safe to be followed by another; the last."""
        settings = hop.policy.retry if isinstance(hop.policy.retry, Retry) else None
        is_part = is_nested()
        if is_part and settings is not None:
            settings = replace(settings, max_attempts=1)
        if settings is not None:
            is_idempotent = settings.is_idempotent(exchange.method)
            if settings.idempotency_key and not (is_idempotent or exchange.has_key):
                exchange.add("Idempotency-Key", hop.call.key_of(exchange.body, exchange.origin))
            hop.is_repeated = is_part or ((is_idempotent or exchange.has_key) and settings.max_attempts > 1)
        now, delay = started_at, 0.0
        self.origins.deposit(hop.state, started_at)
        while True:
            if hop.state.paused_until > now:
                delay += await self._sit_out(hop, exchange, now, is_retry=hop.retries is not None)
                now = self._now()
            attempt = await self._attempt(hop, exchange, now, delay)
            outcome, response, release = attempt
            wait: float | None = None
            try:
                if settings is not None and not _is_good(outcome, settings):
                    if response is not None and settings.is_watched:
                        outcome = outcome._replace(response=exchange.shown(response))
                    self._hold_back(hop, outcome, settings)
                    if hop.retries is None:
                        hop.retries = self._retries(hop, exchange, settings, started_at)
                    wait = await hop.retries.after(outcome, self._now())
                    if response is not None and (wait is not None or hop.retries.raises):
                        await exchange.discard(response)
            except BaseException:
                if response is not None:
                    exchange.abandon(response)
                if release is not None:
                    release()
                raise
            if wait is None:
                if is_part and hop.retries is not None:
                    hop.retries.note = ""  # whoever it is part of decides
                return Ended(outcome, response, release)
            if release is not None:
                release()
            del attempt, response
            if hop.progress is not None and hop.progress.address is not None and not is_transparent(outcome):
                hop.avoid += (hop.progress.address,)
            hop.last_error, hop.progress = outcome.error or hop.last_error, None
            hop.timer.reschedule(hop.call.deadline_at)  # the body of this attempt may have pushed it ahead
            self._events.emit(RetryScheduled(exchange.origin, len(hop.call.attempts) + 1, wait, outcome.name))
            await self._clock.sleep(wait)
            now, delay = self._now(), wait

    async def _attempt(self, hop: Hop, exchange: Exchange[R], now: float, delay: float) -> Ended[R]:
        """Breaker, bulkhead, exchange: one attempt, and what came of it."""
        if self.underway.is_closed:
            raise exchange.adopt(closed(exchange.origin))
        state = hop.state
        progress = hop.begin(now)
        generation: int | None = None
        response: R | None = None
        outcome: Outcome | None = None
        bulkhead: BulkheadState | None = None
        name, detail = "cancelled", ""
        try:
            generation = state.enter(now)
            entered = self._bulkhead(state, exchange)
            if entered is not None and not entered.try_acquire():
                progress.waited = await state.queue(entered, exchange.timeouts.get("pool"))
                bulkhead = entered
                generation = state.enter_again(generation, self._now())
            bulkhead = entered
            if self._told:
                self._tell(hop, exchange)
            response = await exchange.send(progress, hop)
            if hop.call.is_buffered and not exchange.is_whole(response):
                await exchange.read(response, hop)
            outcome = exchange.outcome(response, progress)
            name = outcome.name
        except SeawallError as error:
            outcome = exchange.failure(exchange.adopt(error), progress)
            name, detail = type(error).__name__, str(error)
        except Exception as error:
            outcome = exchange.failure(error, progress)
            name, detail = type(error).__name__, str(error)
            if outcome is None:
                raise
        finally:
            attempts, now = hop.call.attempts, self._now()
            attempt = progress.end(now, exchange.origin, len(attempts) + 1, delay, name, detail)
            attempts.append(attempt)
            if outcome is not None:
                failed = is_failure(outcome)
            else:
                # Cancelled: by our own deadline, while the server was to do something, or by somebody else.
                is_late = hop.timer.is_expired and not self.underway.is_closed and progress.phase >= Phase.CONNECTING
                failed = True if is_late else None
            took, retry_after = attempt.duration - progress.waited, None if outcome is None else outcome.retry_after
            state.leave(generation, now, is_failure=failed, duration=took, retry_after=retry_after)
            if bulkhead is not None and (outcome is None or response is None or hop.call.is_buffered):
                bulkhead.release()
                bulkhead = None
            if hop.has_token:
                hop.has_token = False
                if progress.phase < Phase.CONNECTING:
                    self.origins.refund(state, now)
            if not self._events.is_silent:
                self._events.emit(attempt)
        assert outcome is not None  # an error that is none of the transport's was raised
        try:
            if outcome.error is not None:
                response = None
            return Ended(outcome, response, None if bulkhead is None else bulkhead.release)
        finally:
            del outcome  # its error holds this frame

    # Parts of it

    def _retries(self, hop: Hop, exchange: Exchange[R], settings: Retry, started_at: float) -> Retries:
        from .policy.retry import Retries  # at the first failure: tenacity takes 5 ms to load

        def request() -> Request:
            return Request(settings.is_idempotent(exchange.method), exchange.has_key, exchange.is_replayable())

        def afford(delay: float, *, is_free: bool) -> str:
            why, hop.has_token = self.origins.afford(
                hop.state, self._now(), delay, deadline_at=hop.call.deadline_at, is_free=is_free
            )
            return why

        name = f"{exchange.method} {exchange.origin}"
        return Retries(settings, name=name, started_at=started_at, rng=self._rng, request=request, afford=afford)

    def _bulkhead(self, state: OriginState, exchange: Exchange[R]) -> BulkheadState | None:
        """The one whose permit an attempt takes; None: none."""
        settings = state.policy.bulkhead
        if not isinstance(settings, Bulkhead) or settings.partition is None:
            return state.bulkhead
        return state.part(exchange.part(settings.partition))

    def _tell(self, hop: Hop, exchange: Exchange[R]) -> None:
        """Of this attempt, to those who are to be told."""
        told = find(exchange.origin.host, self._told)
        if told is not None:
            deadline_at, read = hop.call.deadline_at, exchange.timeouts.get("read")
            left = None if deadline_at is None else deadline_at - self._now()
            for name, value in headers(told, attempt=len(hop.call.attempts) + 1, left=left, read=read):
                exchange.add(name, value)

    def _hold_back(self, hop: Hop, outcome: Outcome, settings: Retry) -> None:
        """All calls to the origin, where that is wanted and it asks for it."""
        if settings.pause_origin and outcome.retry_after is not None and outcome.status in THROTTLED:
            hop.state.pause(self._now(), min(outcome.retry_after, settings.max_retry_after))

    async def _sit_out(self, hop: Hop, exchange: Exchange[R], began_at: float, *, is_retry: bool) -> float:
        """
        Wait until the origin takes calls again; s that it took. Raises OriginPaused where the deadline is before that.
        """
        state, deadline_at, now = hop.state, hop.call.deadline_at, began_at
        while (left := state.paused_until - now) > 0:
            delay = left + self._rng.uniform(0.0, state.pause_spread)
            # Of a retry, what was sent before is what counts: the deadline then ends the call, raised from that.
            if deadline_at is not None and delay >= deadline_at - now and not is_retry:
                self._events.emit(CallEnded(state.origin, len(hop.call.attempts), OriginPaused.__name__, ""))
                raise exchange.adopt(hop.ended(paused(state.origin, left)))
            await self._clock.sleep(delay)
            now = self._now()
        return now - began_at

    def _end(self, hop: Hop, exchange: Exchange[R], last: Ended[R]) -> R:
        """What the caller gets of the *last* attempt."""
        outcome, response, release = last
        history, error, retries = hop.history(), outcome.error, hop.retries
        history.retry_after = outcome.retry_after
        if retries is not None:
            history.note, history.statistics = retries.note, dict(retries.statistics)
            history.balance = hop.balance
            if response is not None and retries.raises:
                error = exchange.adopt(bad_status(exchange.origin, outcome, exchange.shown(response), history))
        if outcome.is_settled:
            history.note = history.note or "a layer below has retried it"
        if not self._events.is_silent:
            self._events.emit(CallEnded(exchange.origin, len(history), outcome.name, history.note))
        if error is None:
            assert response is not None
            exchange.attach(response, history)
            if release is not None:
                exchange.own(response, release)
            return response
        if release is not None:
            release()
        earlier = hop.last_error if hop.last_error is not error else None
        try:
            raise hop.ended(error, history) from (error.__cause__ or earlier)
        finally:
            del last, outcome, error  # it holds this frame


def _is_good(outcome: Outcome, settings: Retry) -> bool:
    """Nothing to decide: tenacity need not be asked. With a predicate of the user's, it always is."""
    return settings.retry is None and outcome.error is None and not is_suspect(outcome, settings)
