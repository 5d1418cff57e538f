"""A call and its hops: their facts while they are in flight. Nothing here waits or decides."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from ..config import UNSET, Policy, Retry
from ..config.criticality import NAMES
from ..errors import CallerLeft, DeadlineExceeded, PartlySent, Rejected, SeawallError
from ..events import Attempt, CallEnded, CallStarted, History, Phase
from ..origin import Address, Origin
from ..policy.origin import OriginState
from ..policy.outcome import Outcome
from .attempt import AttemptState, Ended
from .criticality import CRITICALITY
from .deadline import CALLER, INHERITED, earliest
from .exchange import INSIDE, Exchange, Request
from .job import JOB
from .timer import Timer
from .words import about

if TYPE_CHECKING:
    from ..policy.tenacity import Retries

E = TypeVar("E", bound=Exception)
F = TypeVar("F", bound=BaseException)

__all__ = ["CURRENT", "Call", "Hop", "Patience"]

FAIR_SHARE = 0.5  # of the client's own patience: a failure after less time is rather its caller's fault
FAIR_TIMEOUT = 5.0  # seconds; httpx's default, so a request that waits as long is as patient as one that sets none


class Patience(Protocol):
    """A client's own timeouts, in seconds; None sets no limit. ``httpx.Timeout`` is one."""

    @property
    def connect(self) -> float | None: ...
    @property
    def read(self) -> float | None: ...
    @property
    def write(self) -> float | None: ...


class Key(NamedTuple):
    """An Idempotency-Key, and the body and origin that it was made for."""

    value: str
    body: object
    origin: Origin


class Call:
    """
    What a user asked for; its hops (redirects, steps of an authentication) share it.

    Attributes:
        number: Unique within its client.
        is_between_hops: It is in flight, and none of its hops is: the client's next request is its next hop.
        started: The event of its beginning; None if no observer listens.
        handed_to: The exchange of a mount, which has layers of its own and is given the next hop at once; else None.
        is_late: The client was draining when it was begun, so it is refused.
        caller: The caller that it is made for, which may leave; None if nobody says so.
        criticality: How much it matters.
        patience: The client's own timeouts, by which those of a request are judged; None if they are not known.
        request: The last hop's; None before the first.
        outcome: What the caller gets; empty if that is the last attempt's outcome.
        note: Why no further attempt was made.
        rejected_by: The gate on this side that ended it, or "deadline"; empty if none did.
        retries: How many were begun.
    """

    __slots__ = (
        "_own_timeout", "_theirs_at", "attempts", "caller", "criticality", "deadline_at", "handed_to", "hard_at",
        "has_sent_elsewhere", "is_between_hops", "is_buffered", "is_late", "is_silent", "is_timed", "key", "note",
        "number", "outcome", "owner", "patience", "ready", "rejected_by", "request", "retries", "soft_at", "started",
        "started_at",
    )  # fmt: skip

    def __init__(self, owner: object, number: int, now: float, patience: Patience | None) -> None:
        self.owner = owner
        self.number = number
        self.started_at = now
        self.is_buffered = False  # the body is read at once, and belongs to the attempt
        self.patience = patience
        self.caller = CALLER.get()
        self.criticality = CRITICALITY.get()
        self.handed_to: object = None
        self.is_between_hops = True
        self.has_sent_elsewhere = False  # by a mount, or a transport below, that has layers of its own
        self.is_late = self.is_timed = self.is_silent = False  # silent: no observer is told of it
        self.started: CallStarted | None = None
        self.hard_at: float | None = None  # the one that the caller or the client set
        self.soft_at: float | None = None  # the one derived from the timeouts; a body that comes in may pass it
        self.deadline_at: float | None = None  # the earlier of the two
        self._theirs_at: float | None = None  # the caller's part of hard_at: inherited, or set for this call
        self._own_timeout: float | None = None  # the other part: the client's or its policy's
        self.request: Request | None = None
        self.outcome = self.note = self.rejected_by = ""
        self.retries = 0
        self.attempts: list[Attempt] = []
        self.key: Key | None = None  # the last one that we made
        self.ready: Any = None  # a response that httpx must still be given

    def key_of(self, request: Request) -> str:
        """
        The Idempotency-Key for the body and the origin of *request*; made of the job's id, if the call is of a job.

        A redirect within an origin takes the key along. No other origin learns it, because it could misuse it there.
        """
        key, body, origin = self.key, request.body, request.origin
        if key is None or key.body is not body or key.origin != origin:
            job = JOB.get()
            # From the system, because nobody can predict it, and a forked process draws others. In quotes, as the draft
            # has it.
            value = f'"{uuid.uuid4()}"' if job is None else job.key(request)
            self.key = key = Key(value, body, origin)
        return key.value

    def redirected(self, request: object, following: object) -> None:
        """*following* is the redirect of *request*, and takes over its key if the request stands for an empty body."""
        if self.key is not None and self.key.body is request:
            self.key = self.key._replace(body=following)

    def set_terms(self, policy: Policy, options: Policy | None, timeouts: Mapping[str, float | None]) -> None:
        """
        Fix criticality and deadline, once and at the first hop, by *policy*, which *options* are merged into already.
        """
        self.is_timed = True
        if policy.criticality is not UNSET:
            self.criticality = NAMES[policy.criticality]
        self.hard_at = self._theirs_at = INHERITED.get()
        if policy.deadline is UNSET:
            connect, read = timeouts.get("connect"), timeouts.get("read")
            if connect is not None and read is not None:
                attempts = policy.retry.max_attempts if isinstance(policy.retry, Retry) else 1
                self.soft_at = self.started_at + (connect + read) * attempts
        elif policy.deadline is not None:
            at = self.started_at + policy.deadline
            self.hard_at = earliest(self.hard_at, at)
            if options is None or options.deadline is UNSET:
                self._own_timeout = policy.deadline
            else:
                self._theirs_at = self.hard_at
        hard_at, soft_at = self.hard_at, self.soft_at
        self.deadline_at = soft_at if hard_at is None else hard_at if soft_at is None else min(hard_at, soft_at)

    def yardstick(self, struck_at: float, timeouts: Mapping[str, float | None]) -> float | None:
        """
        Seconds that the client gives its calls, if the client's own deadline struck.

        Returns:
            None if it was the caller's: inherited, set for this call, or derived from hasty timeouts of its own; and if
            the caller has left.
        """
        if self.has_caller_left:
            return None
        if self._own_timeout is not None:
            own_at = self.started_at + self._own_timeout
            return None if self._theirs_at is not None and self._theirs_at < own_at else self._own_timeout
        if self.soft_at is None or (self._theirs_at is not None and self._theirs_at <= struck_at):
            return None
        if self.is_hasty("connect", timeouts) or self.is_hasty("read", timeouts):
            return None
        return self.soft_at - self.started_at

    def is_hurried(self, left: float | None, timeouts: Mapping[str, float | None]) -> bool:
        """Whether an upstream that is told *left* seconds or the read timeout gets less time than the client gives."""
        read = timeouts.get("read")
        if left is None or self.deadline_at is None or (read is not None and read < left):
            return self.is_hasty("read", timeouts)
        timeout = self.yardstick(self.deadline_at, timeouts)
        return timeout is None or left < timeout * FAIR_SHARE

    def is_hasty(self, kind: str, timeouts: Mapping[str, float | None]) -> bool:
        """
        Whether a request's own "connect", "read" or "write" timeout is less than half of the client's.

        A timeout of 5 s or more never is, because a client that waits for minutes would otherwise never notice a hang.
        """
        mine, own = timeouts.get(kind), getattr(self.patience, kind, None)
        return mine is not None and own is not None and mine < min(own * FAIR_SHARE, FAIR_TIMEOUT)

    def failed(self, error: F) -> F:
        """Note what the caller gets instead of a response."""
        self.is_silent = False  # the log has a line for a call that was rejected here
        self.outcome = "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
        self.note = getattr(getattr(error, "attempts", None), "note", "")
        self.rejected_by = self._refusal(error)
        return error

    def _refusal(self, error: BaseException) -> str:
        """The gate that rejected the call, or "deadline"; empty if it ended in another way."""
        if isinstance(error, DeadlineExceeded):
            return "" if isinstance(error, CallerLeft) else "deadline"
        if isinstance(error, PartlySent) and self.attempts and self.attempts[-1].phase is Phase.QUEUED:
            return error.reason.by if isinstance(error.reason, Rejected) else ""
        return error.by if isinstance(error, Rejected) else ""

    def history(self) -> History:
        """All its attempts, and why no more followed."""
        history = History(self.attempts)
        history.note = self.note
        return history

    def ended(self, now: float) -> CallEnded:
        """The event of its end."""
        about = self.request or self.started
        return CallEnded(
            self.number,
            None if self.request is None else self.request.origin,
            "" if about is None else about.method,
            "" if about is None else about.path,
            len(self.attempts),
            self.outcome or (self.attempts[-1].outcome if self.attempts else ""),
            self.note,
            now - self.started_at,
            self.retries,
            self.rejected_by,
        )

    @property
    def has_caller_left(self) -> bool:
        return self.caller is not None and self.caller.has_left

    @property
    def has_sent(self) -> bool:
        """Whether a server may have seen any part of the call."""
        return self.has_sent_elsewhere or any(attempt.phase >= Phase.SENDING for attempt in self.attempts)


class Hop:
    """
    A call's passage through the layers to one origin: its settings, and what was last seen.

    Attributes:
        avoid: Addresses at which its attempts failed.
        is_rejected: The origin rejected its last attempt, so the limit holds its retry back.
        has_token: It holds a token of the budget, for a retry that isn't in flight yet.
        attempt: The attempt in flight; None between two attempts.
        kept: The end of an attempt that was sent: the call's outcome, unless a later one says more.
        later: The outcome of an attempt after the one that the call ends with; it says less.
        retries: None before the first failure.
    """

    __slots__ = (
        "attempt", "avoid", "call", "exchange", "has_token", "is_rejected", "kept", "last_error", "later", "now",
        "policy", "request", "retries", "state", "timer",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        request: Request,
        exchange: Exchange,
        state: OriginState,
        policy: Policy,
        timer: Timer,
        now: Callable[[], float],
    ) -> None:
        self.call = call
        self.request = request
        self.exchange = exchange
        self.state = state
        self.policy = policy
        self.timer = timer
        self.now = now
        self.avoid: tuple[Address, ...] = ()
        self.has_token = self.is_rejected = False
        self.attempt: AttemptState | None = None
        self.kept: Ended | None = None
        self.later: Outcome | None = None
        self.last_error: Exception | None = None
        self.retries: Retries | None = None

    def settings(self) -> Retry | None:
        """The settings that repeat its attempts; part of another request's attempt isn't repeated here."""
        request, settings = self.request, self.policy.retry
        outer = INSIDE.get()  # `is_nested` and `Retry.is_idempotent` inlined, because each request would pay for them
        is_part = outer is not None and outer.is_repeated
        if not isinstance(settings, Retry):
            request.is_repeated = is_part
            return None
        if is_part:
            settings = replace(settings, max_attempts=1)
        is_safe = settings.methods is None or request.method in settings.methods or request.has_key
        if settings.idempotency_key and not is_safe:
            request.add("Idempotency-Key", self.call.key_of(request))
            is_safe = True
        request.is_repeated = is_part or (is_safe and settings.max_attempts > 1)
        return settings

    def is_cut_by_fault(self, attempt: AttemptState, now: float) -> bool:
        """
        Whether the deadline that cut *attempt* shows a fault of the origin's.

        It does if it was the client's own, and the attempt was on the wire for at least half of it, because then no
        caller, queue or earlier attempt has used it up.
        """
        assert self.timer.when is not None
        timeout = self.call.yardstick(self.timer.when, self.request.timeouts)
        return timeout is not None and attempt.on_wire(now) - attempt.waited_for_body(now) >= timeout * FAIR_SHARE

    def history(self) -> History:
        history = History(self.call.attempts)
        key = self.call.key
        if key is not None and key.origin == self.state.origin:
            history.idempotency_key = key.value
        return history

    @property
    def balance(self) -> float | None:
        """Retry tokens of the origin; None if it has no budget."""
        return None if self.state.budget is None else self.state.budget.balance(self.now())

    def ended(self, error: E, history: History | None = None) -> E:
        """*error* with the attempts on it: ``attempts`` for code, a note for people."""
        if history is None:
            history = self.history()
            if self.retries is not None:
                history.statistics = dict(self.retries.statistics)
        history.balance = self.balance
        if isinstance(error, SeawallError) and not error.attempts:  # else another layer of ours has said it
            error.args = (
                f"{error}; {about(self.request, history, self.policy.retry, self.now() - self.call.started_at)}",
            )
        with suppress(AttributeError):  # an error of others may not take it
            error.attempts = history  # type: ignore[attr-defined]
        error.add_note(f"seawall: {history}")
        return error

    def close(self) -> None:
        """The hop ended: free its errors at once, without waiting for a garbage collection."""
        if self.call.caller is not None:
            self.call.caller.timers.discard(self.timer)
        self.request.is_repeated = False
        self.attempt = self.kept = self.later = self.last_error = None
        if self.retries is not None:
            self.retries.close()
            self.retries = None


CURRENT: ContextVar[Call | None] = ContextVar("seawall_call", default=None)
"""The call that this task is in; its hops find it here, because httpx doesn't pass it on."""
