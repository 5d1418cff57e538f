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
outcome: it is never retried, and counts for the breaker only where it was our own deadline that struck, not a caller's.

What a call ends with covers all its attempts: where the last one wasn't sent, because a layer of ours refused it or the
origin couldn't be reached, the caller gets what came of the last one that was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from ..config import Bulkhead, Policy, Propagation, Retry
from ..config.hosts import find
from ..errors import SeawallError, WireError
from ..events import BodyEnd, BodyEnded, CallEnded, Phase, RetryScheduled
from ..policy.bulkhead import BulkheadState
from ..policy.cap import Slots
from ..policy.origin import OriginState
from ..policy.origins import Origins
from ..policy.outcome import (
    THROTTLED,
    Outcome,
    Request,
    is_failure,
    is_refused,
    is_sent,
    is_suspect,
    is_transparent,
)
from ..policy.propagation import headers
from ..wire.progress import Progress
from . import clock
from .call import Call, Hop, Patience
from .emitter import Emitter
from .endings import bad_status, closed, exceeded, fail, given_up, paused
from .exchange import Exchange, is_nested
from .in_flight import Underway
from .timer import Timer

if TYPE_CHECKING:
    from ..policy.retry import Retries

__all__ = ["Layers"]

R = TypeVar("R")

GATEWAY_TIMEOUT = 504


class Headers(NamedTuple):
    """
    What is known of an attempt whose response is streamed, once its headers are there.

    Attributes:
        number: The attempt's.
        is_good: It was recorded as a success, which its body may still belie.
        at: When, in seconds on the loop's clock.
        took: Seconds until then, without those in which it queued or waited for its caller.
        generation: The breaker's after that; None: it heard nothing of the attempt.
    """

    progress: Progress
    number: int
    is_good: bool
    at: float
    took: float
    generation: int | None


class Ended(NamedTuple, Generic[R]):
    """
    What came of an attempt.

    Attributes:
        release: Gives back the permit that the response's body holds.
        headers: Where the response is streamed.
        later: How an attempt after it ended, which says less.
    """

    outcome: Outcome
    response: R | None
    release: Callable[[], None] | None
    headers: Headers | None = None
    later: Outcome | None = None


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
        emitter: Emitter,
        rng: Random,
    ) -> None:
        self._rng = rng
        self._emitter = emitter
        self._told = dict.fromkeys(propagation.hosts, propagation) if propagation is not None else {}
        self.origins = Origins(base, per_host, rng=rng, emit=emitter.emit, now=clock.now)
        self.slots = Slots(max_connections)
        self.underway = Underway()
        self._now = clock.now

    def begin(self, *, is_buffered: bool, patience: Patience | None = None) -> Call:
        """
        A new call of this task; `finish` ends it.

        Args:
            patience: The client's own timeouts; None: they are not known.
        """
        self._now = self.underway.on_loop()
        call = Call(self, self._now(), is_buffered=is_buffered, patience=patience)
        call.is_silent = self._emitter.is_silent  # asked once, because asking the log costs more than the rest of this
        return call

    def finish(self, call: Call) -> None:
        """It is over, however it ended."""
        call.is_over = True
        if not call.is_silent:
            outcome = call.outcome or (call.attempts[-1].outcome if call.attempts else "")
            self._emitter.emit(CallEnded(call.origin, len(call.attempts), outcome, call.note))

    def refuse(self, call: Call | None, error: BaseException) -> None:
        """A hop that can't be begun: where it would have been a call of its own, that began and ended with *error*."""
        if call is None or call.owner is not self or call.is_over:
            call = self.begin(is_buffered=False)
            call.failed(error)
            self.finish(call)

    # The way of a request, top-down

    def run(self, exchange: Exchange[R], call: Call | None = None) -> Coroutine[Any, Any, R]:
        """
        One hop of *call* through the layers; of a new one, where there is none or it is somebody else's.

        Returns:
            The response of the last attempt that was sent, its history attached.
        Raises:
            DeadlineExceeded, ClientClosed, or the error of the last attempt that was sent, with ``attempts``; of the
            last one, where none was.
        """
        if call is None or call.owner is not self or call.is_over:
            return self._alone(exchange, call)
        return self._hop(exchange, call)

    async def _alone(self, exchange: Exchange[R], outer: Call | None) -> R:
        """A call of one hop; *outer*, of another client's, is told whether anything of it was sent."""
        call = self.begin(is_buffered=False)
        try:
            return await self._hop(exchange, call)
        except BaseException as error:
            fail(call, error, exchange.adopt)
            raise
        finally:
            if outer is not None and call.has_sent:
                outer.has_sent_elsewhere = True
            self.finish(call)

    async def _hop(self, exchange: Exchange[R], call: Call) -> R:
        """One of its hops."""
        exchange.is_buffered = call.is_buffered
        call.origin, call.outcome, call.note = exchange.origin, "", ""
        hop: Hop | None = None
        try:
            state = self.origins[exchange.origin]
            policy = state.policy if exchange.options is None else exchange.options.over(state.policy)
            if not call.is_timed:
                call.set_deadline(policy, exchange.options, exchange.timeouts)
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
        """
        Retry: attempts until one is good, or not worth or safe to be followed by another.

        Returns:
            What came of the last; or of one before, where the last says less.
        """
        settings = hop.policy.retry if isinstance(hop.policy.retry, Retry) else None
        is_part = is_nested()
        if is_part and settings is not None:
            settings = replace(settings, max_attempts=1)
        if settings is not None:
            is_idempotent = settings.is_idempotent(exchange.method)
            if settings.idempotency_key and not (is_idempotent or exchange.has_key):
                exchange.add("Idempotency-Key", hop.call.key_of(exchange.body, exchange.origin))
            hop.is_repeated = is_part or ((is_idempotent or exchange.has_key) and settings.max_attempts > 1)
        state, now, delay = hop.state, started_at, 0.0
        while True:
            if state.paused_until > now or (hop.kept is not None and state.shut_for(now) > 0):
                refusal = await self._sit_out(hop, exchange, is_retry=hop.kept is not None)
                if refusal is not None:
                    if hop.kept is not None:
                        kept: Ended[R] = hop.kept
                        return kept._replace(later=Outcome(Phase.QUEUED, refusal))
                    try:
                        raise hop.ended(refusal)
                    finally:
                        del refusal  # it holds this frame
                delay += self._now() - now
                now = self._now()
            attempt = await self._attempt(hop, exchange, now, delay)
            outcome, response, release, _, _ = attempt
            wait: float | None = None
            try:
                if settings is not None and not _is_good(outcome, settings):
                    if response is not None and settings.is_watched:
                        outcome = outcome._replace(response=exchange.shown(response))
                        attempt = attempt._replace(outcome=outcome)
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
                del attempt, outcome  # its error holds this frame
                raise
            if wait is None:
                if is_part and hop.retries is not None:
                    hop.retries.note = ""  # whoever it is part of decides
                try:
                    return attempt if hop.kept is None else _last_word(hop.kept, attempt)
                finally:
                    del attempt, outcome  # its error holds this frame
            if release is not None:
                release()
            if hop.kept is None or is_sent(outcome) or not is_sent(hop.kept.outcome):
                answer = None if response is None else exchange.kept(response)
                hop.kept = Ended(outcome._replace(response=None), answer, None, attempt.headers)
            if hop.progress is not None and hop.progress.address is not None and not is_transparent(outcome):
                hop.avoid += (hop.progress.address,)
            hop.last_error, hop.progress = outcome.error or hop.last_error, None
            hop.timer.reschedule(hop.call.deadline_at)  # the body of this attempt may have pushed it ahead
            self._emitter.emit(RetryScheduled(exchange.origin, len(hop.call.attempts) + 1, wait, outcome.name))
            del attempt, outcome, response  # nothing of it is held meanwhile: its error holds this frame
            await asyncio.sleep(wait)
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
        headers: Headers | None = None
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
            progress.reached(outcome.phase)  # as its class tells: another transport doesn't say where it is
        finally:
            attempts, now = hop.call.attempts, self._now()
            attempt = progress.end(now, exchange.origin, len(attempts) + 1, delay, name, detail)
            attempts.append(attempt)
            retry_after = None
            if outcome is not None:
                failed, retry_after = is_failure(outcome), outcome.retry_after
                if failed:
                    failed = _is_fault(outcome, hop, exchange.timeouts)
            else:  # cancelled: by a deadline, or by somebody else
                is_late = hop.timer.is_expired and not self.underway.is_closed
                if is_late and hop.is_cut_by_fault(exchange.timeouts, now=now, waited=exchange.waited(now)):
                    failed = True
                else:
                    failed = None
            if failed:
                exchange.blame(progress)
            took = attempt.duration - progress.waited
            generation = state.leave(
                generation,
                now,
                is_failure=failed,
                duration=took,
                retry_after=retry_after,
                is_streamed=not hop.call.is_buffered,
            )
            if hop.retries is None and progress.phase >= Phase.CONNECTING:
                self.origins.deposit(state, now)
            if outcome is None or response is None or hop.call.is_buffered:
                if bulkhead is not None:
                    bulkhead.release()
                    bulkhead = None
            elif outcome.error is None:
                headers = Headers(progress, attempt.number, failed is False, now, took, generation)
            if hop.has_token:
                hop.has_token = False
                if progress.phase < Phase.CONNECTING:
                    self.origins.refund(state, now)
            if not hop.call.is_silent:
                self._emitter.emit(attempt)
        assert outcome is not None  # an error that is none of the transport's was raised
        try:
            if outcome.error is not None:
                response = None
            return Ended(outcome, response, None if bulkhead is None else bulkhead.release, headers)
        finally:
            del outcome  # its error holds this frame

    # Parts of it

    def _retries(self, hop: Hop, exchange: Exchange[R], settings: Retry, started_at: float) -> Retries:
        from ..policy.retry import Retries  # not above: importing seawall loads no tenacity, a client does

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
            if told.timeout_header is not None:
                hop.is_hurried = hop.call.is_hurried(left, exchange.timeouts)
            for name, value in headers(told, attempt=len(hop.call.attempts) + 1, left=left, read=read):
                exchange.add(name, value)

    def _hold_back(self, hop: Hop, outcome: Outcome, settings: Retry) -> None:
        """All calls to the origin, where that is wanted and it asks for it."""
        if settings.pause_origin and outcome.retry_after is not None and outcome.status in THROTTLED:
            hop.state.pause(self._now(), min(outcome.retry_after, settings.max_retry_after))

    async def _sit_out(self, hop: Hop, exchange: Exchange[R], *, is_retry: bool) -> Exception | None:
        """
        Wait until the origin takes calls again, and a retry until its breaker may let it through.

        Returns:
            OriginPaused, where the deadline is before that.
        """
        state, deadline_at = hop.state, hop.call.deadline_at
        if is_retry:
            await state.sit_out(deadline_at)
        while (left := state.paused_until - (now := self._now())) > 0:
            delay = left + self._rng.uniform(0.0, state.pause_spread)
            if deadline_at is not None and delay >= deadline_at - now:
                return exchange.adopt(paused(state.origin, left))
            await asyncio.sleep(delay)
        return None

    def _end(self, hop: Hop, exchange: Exchange[R], last: Ended[R]) -> R:
        """What the caller gets of the *last* attempt."""
        outcome, response, release, headers, later = last
        history, error, retries = hop.history(), outcome.error, hop.retries
        history.retry_after = outcome.retry_after
        if retries is not None:
            history.note, history.statistics = retries.note, dict(retries.statistics)
            history.balance = hop.balance
            hop.call.note = history.note
            if response is not None and (retries.raises if later is None else _raises(outcome, hop.policy)):
                error = exchange.adopt(bad_status(exchange.origin, outcome, exchange.shown(response), history))
        earlier = hop.last_error if hop.last_error is not error else None
        if later is not None:
            assert later.error is not None
            earlier = later.error
            history.note = hop.call.note = "; ".join(filter(None, (_why_not(later), history.note)))
            hop.call.outcome = outcome.name
            if error is None and response is not None and not exchange.is_whole(response):
                error = exchange.adopt(given_up(exchange.origin, outcome, later.error))
        if outcome.is_settled:
            history.note = hop.call.note = history.note or "a layer below has retried it"
        if error is None:
            assert response is not None
            exchange.attach(response, history)
            if headers is not None:
                exchange.own(response, self._over(hop, exchange, headers, release))
            return response
        if release is not None:
            release()
        try:
            raise hop.ended(error, history) from (error.__cause__ or earlier)
        finally:
            del last, outcome, error, earlier, later  # they hold this frame

    def _over(
        self, hop: Hop, exchange: Exchange[R], headers: Headers, release: Callable[[], None] | None
    ) -> Callable[[BodyEnd, Exception | None], None]:
        """What is told how the body of a streamed response ended."""
        state = hop.state

        def over(end: BodyEnd, error: Exception | None) -> None:
            if release is not None:
                release()
            now = self._now()
            if headers.is_good:
                failed: bool | None = False
                if error is not None and (outcome := exchange.failure(error, headers.progress)) is not None:
                    failed = _is_fault(outcome, hop, exchange.timeouts) if is_failure(outcome) else None
                if failed:
                    exchange.blame(headers.progress)
                if failed is not None:
                    state.body_ended(
                        headers.generation, now, is_failure=failed, recorded_at=headers.at, duration=headers.took
                    )
            if not self._emitter.is_silent:
                name, detail = (end.value, "") if error is None else (type(error).__name__, str(error))
                duration = now - headers.progress.started_at
                self._emitter.emit(BodyEnded(exchange.origin, headers.number, duration, name, detail))

        return over


def _is_fault(outcome: Outcome, hop: Hop, timeouts: Mapping[str, float | None]) -> bool | None:
    """
    Whether a failure is the origin's, and new.

    Not the timeout of a request which is far shorter than its client's, nor a 504 by which the origin heeds the little
    time that it was told of; nor the end of a connection that was counted for another of its streams.
    """
    error = outcome.error
    if error is None:
        return None if hop.is_hurried and outcome.status == GATEWAY_TIMEOUT else True
    if outcome.expired is not None and hop.call.is_hasty(outcome.expired, timeouts):
        return None
    death = error.death if isinstance(error, WireError) else None
    return True if death is None or hop.state.is_first(death) else None


def _last_word(kept: Ended[R], last: Ended[R]) -> Ended[R]:
    """The *last* attempt; or the one that was *kept*, where the last wasn't sent, and so says nothing of the call."""
    outcome = last.outcome
    if outcome.error is None or is_sent(outcome) or not (is_refused(outcome) or is_sent(kept.outcome)):
        return last
    return kept._replace(later=outcome)


def _why_not(later: Outcome) -> str:
    """Why an attempt wasn't sent."""
    return f"a retry was refused: {later.error}" if is_refused(later) else f"a retry wasn't sent: {later.error!r}"


def _raises(outcome: Outcome, policy: Policy) -> bool:
    """Whether an answer that no further attempt follows is raised."""
    settings = policy.retry
    return isinstance(settings, Retry) and settings.raise_on_status and outcome.status in settings.statuses


def _is_good(outcome: Outcome, settings: Retry) -> bool:
    """Nothing to decide: tenacity need not be asked. With a predicate of the user's, it always is."""
    return settings.retry is None and outcome.error is None and not is_suspect(outcome, settings)
