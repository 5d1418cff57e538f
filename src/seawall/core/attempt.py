"""One attempt in flight: its facts, and the tickets that it holds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from ..attempts import Attempt, Phase
from ..config import Retry
from ..config.criticality import BACKGROUND, Criticality
from ..config.ready import GATE
from ..errors import BreakerOpen, Rejected, Shed
from ..origin import Address, Origin
from ..policy.gate import Gate, Result, Ticket, Unanswered
from ..policy.outcome import Outcome
from ..wire.progress import NEVER, Progress
from .deadline import Pace, earliest
from .exchange import Reply, Request
from .patient import Gated, says_when, wait_out
from .seat import aside
from .tickets import end_all, tell
from .timer import Timer

__all__ = ["AttemptState", "Ended"]

LIMIT = "limit"  # the name of that gate


class Bounds(Protocol):
    """What an attempt sees of its call; see `Call`."""

    number: int
    is_buffered: bool
    criticality: Criticality
    hard_at: float | None
    soft_at: float | None


class AttemptState(Progress):
    """
    The live state of a `seawall.Attempt`. Its arguments are positional, because keywords double what making one takes.

    Attributes:
        request: The request that it sends.
        is_buffered: The response's body is read at once, and belongs to the attempt.
        criticality: How much its call matters.
        number: The attempt's number, from 1, over all hops of the call.
        delay: Backoff before it, in seconds.
        headers: Headers that it sends beside those of the caller's request.
        tickets: Tickets of the gates that it has passed, except those that are ended.
        retry: The settings of retries; None if no attempt follows it.
        is_patient: It has waited at a gate as a patient one, so that the pool timeout is left for the cap.
        is_hurried: Its upstream was told of less time than the client gives by itself.
        is_told: Observers have heard of its beginning.
        is_hedge: It is made beside another, which is slow.
        result: What its headers counted as when they came, which the body of a streamed response may still belie.
        ended_at: When its headers came.
    """

    __slots__ = (
        "__weakref__", "_bounds", "_ended", "_pace", "_parted", "_source_error", "_timer", "asked_at", "criticality",
        "delay", "ended_at", "given", "headers", "is_buffered", "is_hurried", "is_patient", "is_told", "number",
        "request", "result", "retry", "tickets",
    )  # fmt: skip

    is_hedge = False

    def __init__(
        self,
        now: Callable[[], float],
        started_at: float,
        request: Request,
        number: int,
        delay: float,
        avoid: tuple[Address, ...],
        retry: Retry | None,
        bounds: Bounds,
        timer: Timer,
    ) -> None:
        super().__init__(now, started_at)
        self.request = request
        self.number = number
        self.delay = delay
        self.avoid = avoid
        self.is_buffered = bounds.is_buffered
        self.criticality = bounds.criticality
        self.retry = retry
        self._bounds = bounds
        self._timer = timer
        self.headers: dict[str, str] | None = None
        self._parted: dict[Callable[[Any], Hashable], Hashable] | None = None
        self.tickets: list[Ticket] = []
        self._ended: list[Ticket] = []
        self.is_hurried = self.is_patient = False
        self.result: Result | None = None
        self.ended_at = 0.0
        self.given = 0.0  # seconds that it has waited for the caller to give parts of the request's body
        self.asked_at: float | None = None  # when the wait for a part began
        self._pace: Pace | None = None
        self._source_error: Exception | None = None
        self.is_told = False

    # What gates see

    @property
    def origin(self) -> Origin:
        return self.request.origin

    @property
    def method(self) -> str:
        return self.request.method

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        parted = self._parted = self._parted or {}
        if partition not in parted:  # asked once, because a second call may name another queue than the full one
            parted[partition] = self.request.part(partition)
        return parted[partition]

    def share(self, other: AttemptState) -> None:
        """Be in the same parts as *other*, which sends the same request."""
        self._parted = other._parted

    def left(self, now: float) -> float | None:
        ends_at = earliest(self._bounds.hard_at, self._bounds.soft_at)
        return None if ends_at is None else max(0.0, ends_at - now)

    # Its admission

    async def queue(self, origin: Gated, gates: tuple[Gate, ...], *, is_patient: bool) -> None:
        """
        Pass those of *gates* that are left, beginning with a wait at the first of them.

        If the origin has gone away meanwhile, the attempt begins anew, because its dial would be refused; so does a
        background one if trouble has begun.

        Args:
            is_patient: It waits as long as its deadline allows, for a breaker and for the end of trouble too; else the
                request's pool timeout bounds its waits: once for a limit, and once for all other gates.
        Raises:
            Rejected, DialError: One of the gates refuses it.
        """
        self.is_patient = is_patient
        while True:
            try:
                await self._wait(gates, is_patient=is_patient)
            except (BreakerOpen, Shed) as error:
                if not (is_patient and says_when(error)):
                    raise
                await wait_out(self, error, gates, origin)
                gates = origin.gates
            news = origin.away, origin.shed if self.criticality is BACKGROUND else None
            if any(gate is not None and gate not in gates for gate in news):
                self.end(None, self.now())
                gates = origin.gates
            if self.passes(gates):
                return

    def waited_in_queues(self) -> float:
        return 0.0 if self.is_patient else super().waited_in_queues()

    def can_be_repeated(self) -> bool:
        settings, request = self.retry, self.request
        if settings is None or settings.is_limited:
            return False
        is_safe = settings.is_idempotent(request.method) or request.has_key
        return is_safe and (self.is_buffered or self.phase < Phase.HEADERS) and request.is_replayable()

    def turned_back(self) -> None:
        super().turned_back()
        self.end(None, self.now())

    def passes(self, gates: Sequence[Gate]) -> bool:
        """Pass the gates that are left as far as no wait is needed; returns whether all are passed."""
        for gate in gates[len(self.tickets) :]:
            ticket = gate.try_enter(self, self.now())
            if ticket is None:
                return False
            self.tickets.append(ticket)
        return True

    async def _wait(self, gates: Sequence[Gate], *, is_patient: bool) -> None:
        """Wait at the first gate that is left; those before it are asked again if their tickets no longer stand."""
        gate, timeouts = gates[len(self.tickets)], self.request.timeouts
        if gate.name == GATE:
            timeout, waited = timeouts.get("connect"), self.waited_for_origin()
        else:
            limited = sum(took for name, took in self.queued if name == LIMIT)  # which may have a wait of its own
            timeout, waited = timeouts.get("pool"), self.waited_in_queues() - limited
        self.tickets.append(
            await self._enter(gate, None if is_patient or timeout is None else max(0.0, timeout - waited))
        )
        for index, earlier in enumerate(self.tickets[:-1]):
            if not earlier.is_valid():
                again = gates[index]
                renewed = again.try_enter(self, self.now())
                self.tickets[index] = await self._enter(again, 0.0) if renewed is None else renewed
                end_all([earlier], None, self.now())

    async def _enter(self, gate: Gate, timeout: float | None) -> Ticket:
        began_at = self.now()
        try:
            with aside(gate.name):
                return await gate.enter(self, timeout)
        except Rejected as error:
            error.by = error.by or gate.name
            raise
        finally:
            self.queued_at(gate.name, self.now() - began_at)

    # What its exchange tells it

    def sent(self) -> None:
        """A part of the request's body was taken, which pushes the deadline ahead if it is only derived."""
        if (pace := self._paced()) is not None:
            self._timer.reschedule(earliest(self._bounds.hard_at, pace.sent(self.now())))

    def received(self, size: int) -> None:
        """*size* bytes of the response's body came, which pushes it ahead too."""
        if (pace := self._paced()) is not None:
            self._timer.reschedule(earliest(self._bounds.hard_at, pace.received(size, self.now())))

    def _paced(self) -> Pace | None:
        if self._pace is None and self._bounds.soft_at is not None:
            self._pace = Pace(self._bounds.soft_at)
        return self._pace

    def asks(self) -> None:
        """The caller's next part of the request's body is awaited."""
        self.asked_at = self.now()

    def got(self) -> None:
        """The part has come, or never will."""
        if self.asked_at is not None:
            waited, self.asked_at = self.now() - self.asked_at, None
            self.given += waited
            self.waited += waited

    def source_failed(self, error: Exception) -> None:
        """The caller's own body raised *error*."""
        self._source_error = error  # until the end, because the two hold each other

    def is_of_source(self, error: Exception) -> bool:
        """Whether the caller's own body raised *error*, or the cause that another transport gave it."""
        source = self._source_error
        return source is not None and (error is source or error.__cause__ is source)

    def waited_for_body(self, now: float) -> float:
        """Seconds that it has waited for the caller to give parts of the request's body, the present wait included."""
        return self.given if self.asked_at is None else self.given + now - self.asked_at

    # Its end

    def headers_came(self, result: Result | None, now: float) -> None:
        """End the tickets that aren't held until the body, because a streamed response's headers have come."""
        self.result, self.ended_at = result, now
        self._ended = [ticket for ticket in self.tickets if getattr(ticket, "held_until", None) is not Phase.BODY]
        self.tickets = [ticket for ticket in self.tickets if getattr(ticket, "held_until", None) is Phase.BODY]
        end_all(self._ended, result, now)
        if result is not None:
            for ticket in self.tickets:
                tell(ticket, lambda ticket: ticket.answered(result, now))

    def unanswered(self, now: float, *, is_fault: bool) -> None:
        """It ends without an answer; if the server may be at work on it, its tickets are told so."""
        if self.sent_at > NEVER:
            left = Unanswered(self.sent_at, self.request.timeouts.get("read"), is_fault)
            for ticket in self.tickets:
                tell(ticket, lambda ticket: ticket.unanswered(left, now))

    def retract(self, now: float) -> None:
        """Take the success back, because the body broke after the headers had counted as one."""
        assert self.result is not None
        ended_at, duration = self.ended_at, self.result.duration
        for ticket in self._ended:
            tell(ticket, lambda ticket: ticket.retract(now, ended_at=ended_at, duration=duration))

    def end(self, result: Result | None, now: float) -> None:
        """End the tickets that it holds; a second call does nothing."""
        tickets, self.tickets, self._source_error = self.tickets, [], None
        end_all(tickets, result, now)

    def record(
        self, now: float, status: int | None, error: str | None, detail: str, *, is_superseded: bool = False
    ) -> Attempt:
        """The record of the attempt."""
        request = self.request
        marks: Iterator[Any] = iter(self.marks)  # `each` inlined, because each request would pay for its call
        fields = (
            self._bounds.number,
            request.origin,
            request.method,
            request.path,
            self.number,
            self.delay,
            now - self.started_at,
            self.phase,
            status,
            error,
            detail,
            self.address,
            self.protocol,
            self.is_reused,
            tuple(zip(marks, marks, strict=False)),
            self.source,
            self.dials,
            self.queued,
            self.bytes_out,
            self.bytes_in,
            self.is_hedge,
            is_superseded,
        )
        return tuple.__new__(Attempt, fields)  # the constructor takes twice as long, and each attempt ends here


class Ended(NamedTuple):
    """
    How an attempt ended.

    Attributes:
        reply: The reply; None if the attempt failed.
    """

    attempt: AttemptState
    outcome: Outcome
    reply: Reply | None
