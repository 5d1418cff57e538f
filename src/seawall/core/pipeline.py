"""
One call through the layers. This file, and no other, says in which order they stand:

1. the deadline is above all, because no combination of queueing, backoff and Retry-After may outlive it;
2. retry is above the gates and the choice of an address: each attempt chooses anew, and a sleeper holds no permit;
   hedging, where it is on, is below the gates of the first attempt and above those of the second;
3. the gates of the origin admit an attempt, the breaker before the queues, because an open one must cost no queueing.
   It is asked again after a queue, because it may have opened meanwhile, and sees attempts, not calls. While the origin
   is away, a gate for that comes before it, and an attempt whose dial is refused goes back to it; while the origin is
   in trouble, one that refuses background attempts is the first of all;
4. the bulkhead is the last gate: a permit is one attempt in flight, until its body is closed;
5. the exchange is at the bottom: our wire, or any transport of the library. It is passed in, and its responses are
   opaque here.

Rules: a ticket is ended exactly once, whatever is cancelled, whenever. `CancelledError` isn't an outcome: it is never
retried, and counts for the breaker only if our own deadline struck, not a caller's.

A call's end covers all its attempts: if the last one wasn't sent, because a gate refused it or the origin couldn't be
reached, the caller gets the outcome of the last one that was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from random import Random
from typing import Any

from ..config import Policy, Propagation, Retry
from ..errors import DialError, ProxyOpen
from ..events import CallStarted
from ..origin import Origin
from ..policy.gate import Gate
from ..policy.origins import Origins
from ..policy.outcome import Outcome, is_cut, is_sent, is_transparent
from . import clock
from .attempt import AttemptState, Ended
from .call import CURRENT, Call, Hop, Patience
from .emitter import Emitter
from .endings import closed, conclude, draining, exceeded, fail, last_word, refused, struck
from .exchange import Exchange, Request
from .hedging import Hedging, failed
from .in_flight import InFlight
from .ledger import Ledger
from .passing import Passing
from .readiness import Readiness
from .retrying import Retrying
from .seat import BACKOFF, aside
from .telling import Telling
from .timer import Timer

__all__ = ["Pipeline"]

logger = logging.getLogger("seawall.call")


class Pipeline:
    """
    All layers, shared by the transports of one client.

    Args:
        base: The client's policy, which *per_host* overrides.
        propagation: Headers that upstreams are sent; None sends none.
        gates: Functions of an origin, each of which may give it one more gate, between breaker and bulkhead.
    Attributes:
        observe: Adds an observer, which hears of calls that begin from then on.
        rng: Chance.
        runs_code: Gates of the user's may make calls of their own.
    """

    def __init__(
        self,
        base: Policy,
        per_host: Mapping[str, Policy],
        *,
        propagation: Propagation | None,
        emitter: Emitter,
        rng: Random,
        gates: Iterable[Callable[[Origin], Gate | None]] = (),
    ) -> None:
        gates = tuple(gates)
        self.runs_code = bool(gates)
        self._emitter = emitter
        self.rng = rng
        self._telling = Telling(propagation, emitter)
        self.observe = self._telling.add
        self._now = clock.now
        self.origins = Origins(base, per_host, rng=rng, emit=emitter.emit, now=clock.now, gates=gates)
        self.readiness = Readiness(self.origins, rng=rng, emit=emitter.emit, now=clock.now)
        self.in_flight = InFlight()
        self.ledger = Ledger(self.origins, self.readiness, emitter, self.in_flight)
        self._retrying = Retrying(
            self.origins, readiness=self.readiness, rng=rng, emitter=emitter, ledger=self.ledger, now=clock.now
        )
        self._hedging = Hedging(self.origins, ledger=self.ledger, telling=self._telling, emitter=emitter, now=clock.now)

    def begin(self, *, is_buffered: bool, patience: Patience | None = None) -> Call:
        """
        A new call of this task; `finish` ends it.

        Args:
            patience: The client's own timeouts; None if they are not known.
        """
        in_flight = self.in_flight
        loop = asyncio._get_running_loop()  # asyncio documents it for extensions
        if loop is None or loop is not in_flight.loop:
            self._now = in_flight.on_loop()
        self.ledger.calls += 1
        call = Call(self, self.ledger.calls, self._now(), patience)
        call.is_buffered = is_buffered
        if in_flight.is_draining:
            call.is_late = in_flight.is_late()
        in_flight.calls.add(call)
        # Asked once, because asking the log costs more than the rest of this function.
        call.is_silent = not self._emitter.has_listeners and not logger.isEnabledFor(logging.DEBUG)
        return call

    def announce(self, call: Call, method: str, origin: Origin, path: str) -> None:
        """Tell observers that *call* has begun; must be called once, if it isn't silent."""
        call.started = CallStarted(call.number, method, origin if origin.host else None, path)
        self._emitter.emit(call.started)

    def finish(self, call: Call) -> None:
        """*call* is over, however it ended."""
        call.is_between_hops = False
        self.in_flight.calls.discard(call)
        if self.in_flight.is_draining:
            self.in_flight.ended()
        if not call.is_silent:
            self._emitter.emit(call.ended(self._now()), call.history)

    def refuse(self, call: Call | None, method: str, origin: Origin, path: str, error: BaseException) -> None:
        """A hop can't be begun; if it would have been a call of its own, that began and ended with *error*."""
        if call is None or call.owner is not self or not call.is_between_hops:
            call = self.begin(is_buffered=False)
            if not call.is_silent:
                self.announce(call, method, origin, path)
            call.failed(error)
            self.finish(call)

    # The way of a request, top-down

    def run(self, exchange: Exchange, request: Request, call: Call | None = None) -> Coroutine[Any, Any, Any]:
        """
        One hop of *call* through the layers; of a new call, if there is none, if it is another client's, or if one of
        its hops is in flight, which the new call is then part of.

        Returns:
            The response of the last attempt that was sent, with its history attached.
        Raises:
            DeadlineExceeded, ClientClosed, or the error of the last attempt that was sent, with ``attempts``; of the
            last one, if none was sent.
        """
        if call is None or call.owner is not self or not call.is_between_hops:
            return self._alone(exchange, request, call)
        return self._hop(exchange, request, call)

    async def _alone(self, exchange: Exchange, request: Request, outer: Call | None) -> Any:
        """A call of one hop; *outer*, the call that it is part of, is told whether any of it was sent."""
        whole: Call | None = None  # whose hop it is
        if outer is not None and outer.handed_to is not None:
            whole, outer.handed_to = outer if outer.handed_to is exchange else None, None
        call = self.begin(is_buffered=whole is not None and whole.is_buffered)
        try:
            if not call.is_silent:
                self.announce(call, request.method, request.origin, request.path)
            return await self._hop(exchange, request, call, whole)
        except BaseException as error:
            fail(call, error, request.adopt)
            raise
        finally:
            if outer is not None and call.has_sent:
                outer.has_sent_elsewhere = True
            self.finish(call)

    async def _hop(self, exchange: Exchange, request: Request, call: Call, whole: Call | None = None) -> Any:
        """One hop of *call*, under its deadline; also of the *whole* call, if that is another client's."""
        call.request, call.outcome, call.note = request, "", ""
        call.is_between_hops = False
        hop: Hop | None = None
        in_flight = self.in_flight
        try:
            known = self.origins.states  # what `Origins.__getitem__` does with one that is known, without its call
            state = known.get(request.origin)
            if state is None:
                state = self.origins[request.origin]
            else:
                known.move_to_end(request.origin)
            policy = state.policy if request.options is None else request.options.over(state.policy)
            if not call.is_timed:
                call.set_terms(policy, request.options, request.timeouts)
            if in_flight.is_closed or call.is_late:
                raise request.adopt((closed if in_flight.is_closed else draining)(request.origin))
            deadline_at, now = call.deadline_at, self._now()
            hop = Hop(call, request, exchange, state, policy, Timer(in_flight.timers, deadline_at), self._now)
            caller = call.caller
            if (deadline_at is not None and deadline_at <= now) or (caller is not None and caller.has_left):
                raise request.adopt(hop.ended(exceeded(hop, now)))
            with hop.timer:
                in_flight.hops.add(hop)
                if caller is not None:
                    caller.timers.add(hop.timer)
                last = await self._attempts(hop, now)
                reply, is_first = last.reply, hop.retries is None and hop.later is None and call.is_buffered
                if is_first and reply is not None and last.outcome.retry_after is None and not last.outcome.is_settled:
                    reply.attach(hop.history())  # most calls end here; `conclude` does the same, and more
                    return reply.response
                try:
                    return conclude(hop, last, self.ledger, Passing(hop, in_flight, whole or call))
                finally:
                    del last  # its error holds this frame
        except TimeoutError as expiry:
            if hop is None or not hop.timer.is_expired:
                raise
            raise struck(hop, is_closed=in_flight.is_closed) from (hop.last_error or expiry)
        finally:
            call.is_between_hops = True
            if hop is not None:
                in_flight.hops.discard(hop)
                if in_flight.is_closed:
                    in_flight.left()
                if hop.has_token:
                    self.origins.refund(hop.state, self._now())
                hop.close()

    async def _attempts(self, hop: Hop, started_at: float) -> Ended:
        """
        Retry: make attempts until one is good, or another isn't worth it or isn't safe.

        Returns:
            The end of the last attempt; or of one before, if the last says less.
        """
        settings, policy = hop.settings(), hop.policy
        state, call, now, delay = hop.state, hop.call, started_at, 0.0
        left = 0 if settings is None else settings.max_attempts
        while True:
            if state.paused_until > now or ((hop.kept is not None or policy.waits is True) and state.shut_for(now) > 0):
                refusal = await self._retrying.sit_out(hop)
                if refusal is not None:
                    self.ledger.refused(hop, refusal, None)
                    return refused(hop, refusal)
                delay += self._now() - now
                now = self._now()
            left -= 1
            this = await self._attempt(hop, settings if left > 0 else None, now, delay)
            wait = None
            if settings is not None and not _is_good(this.outcome, settings):
                token = CURRENT.set(call)  # for calls that a predicate of the user's makes
                try:
                    this, wait = await self._retrying.after(hop, this, settings, started_at)
                except BaseException:
                    del this  # its error holds this frame
                    raise
                finally:
                    with suppress(ValueError):  # it is closed in another context
                        CURRENT.reset(token)
            if wait is None:
                try:
                    return this if hop.kept is None else last_word(hop, this)
                finally:
                    del this  # its error holds this frame
            call.is_silent = False  # the log has a line for a call that gives up after a retry
            call.retries += 1
            self._retrying.scheduled(hop, this, left, wait)
            self._set_aside(hop, this)
            del this  # nothing of it may be held meanwhile: its error holds this frame
            with aside(BACKOFF):
                await asyncio.sleep(wait)
            now, delay = self._now(), wait

    async def _attempt(self, hop: Hop, retry: Retry | None, now: float, delay: float) -> Ended:
        """One attempt through the gates and the exchange, and how it ended."""
        call, request, hedge = hop.call, hop.request, hop.policy.hedge
        if self.in_flight.is_closed:
            raise request.adopt(closed(request.origin))
        number = len(call.attempts) + 1
        attempt = hop.attempt = AttemptState(self._now, now, request, number, delay, hop.avoid, retry, call, hop.timer)
        reply = outcome = error_name = None
        detail = ""
        try:
            gates = hop.state.gates  # of now, because a rejection may add one
            for gate in gates:
                ticket = gate.try_enter(attempt, now)
                if ticket is None:
                    await attempt.queue(hop.state, gates, is_patient=hop.policy.waits is True)
                    break
                attempt.tickets.append(ticket)
            while reply is None:
                if self._telling.has_any:
                    self._telling.tell(hop, attempt, self._now())
                try:
                    reply = await (
                        hop.exchange.send(request, attempt)
                        if hedge is None
                        else self._hedging.send(hop, hedge, request, attempt)
                    )
                except (DialError, ProxyOpen) as error:
                    if not await self.readiness.turns_back(hop, attempt, error):
                        raise
                if reply is None:
                    await attempt.queue(hop.state, hop.state.gates, is_patient=hop.policy.waits is True)
            if call.is_buffered and not reply.is_whole:
                await reply.read()
            outcome = reply.outcome()
            if hop.state.limit is not None and hop.state.limit.is_watching:
                outcome = outcome._replace(response=reply.shown())
        except Exception as error:
            outcome, error_name, detail = failed(hop, hop.attempt, error)
            if outcome is None:
                raise
            if is_cut(outcome):
                self.readiness.suspect(hop)
        finally:
            is_ours = hop.timer.is_expired and not self.in_flight.is_closed
            attempt = hop.attempt  # a second one, if the call goes on with that
            self.ledger.ended(hop, attempt, outcome, self._now(), is_ours=is_ours, error=error_name, detail=detail)
            del attempt  # an outcome's error holds this frame
        assert outcome is not None  # an error that isn't the transport's was raised
        try:
            assert hop.attempt is not None
            # The constructor takes three times as long.
            return tuple.__new__(Ended, (hop.attempt, outcome, reply if outcome.error is None else None))
        finally:
            del outcome

    # Parts of it

    def _set_aside(self, hop: Hop, this: Ended) -> None:
        """Another attempt follows: keep *this* one if the call may still end with it."""
        attempt, outcome, reply = this
        attempt.end(attempt.result, self._now())
        if hop.kept is None or is_sent(outcome) or not is_sent(hop.kept.outcome):
            if reply is not None:
                reply.keep()
            hop.kept = Ended(attempt, outcome._replace(response=None), reply)
        if attempt.address is not None and not is_transparent(outcome):
            hop.avoid += (attempt.address,)
        hop.last_error, hop.attempt = outcome.error or hop.last_error, None
        hop.timer.reschedule(hop.call.deadline_at)  # this attempt's body may have pushed it ahead


def _is_good(outcome: Outcome, settings: Retry) -> bool:
    """Whether tenacity need not be asked; with a predicate of the user's, it always is."""
    return settings.retry is None and outcome.error is None and outcome.status not in settings.suspects
