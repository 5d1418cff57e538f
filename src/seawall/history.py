"""The attempts of a call, as its response and its error show them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from .origin import Address, Origin

__all__ = ["Attempt", "Dial", "History", "Phase"]


class Phase(IntEnum):
    """How far an attempt got. From SENDING on, the server may have seen something of it."""

    QUEUED = 0
    RESOLVING = 1
    CONNECTING = 2
    TLS = 3
    SENDING = 4
    SENT = 5
    HEADERS = 6
    BODY = 7


class Dial(NamedTuple):
    """
    One address that was dialled.

    Attributes:
        at: When, in seconds since the attempt's start.
        duration: Seconds until it was connected, failed, or was abandoned for another that was faster.
        outcome: "connected", "abandoned", or the system's words.
    """

    address: Address
    at: float
    duration: float
    outcome: str


class Attempt(NamedTuple):
    """
    One request on the wire.

    Attributes:
        call: Number of the call.
        path: Without the query.
        number: From 1, over all hops of the call.
        delay: Backoff before it, in seconds.
        duration: From its start (queueing included) to its end, in seconds.
        phase: The last one reached.
        status: The answer's; None where there was none.
        error: Name of the error's class; None where there was none.
        detail: The error's text; empty where there was none.
        protocol: "HTTP/1.1" or "HTTP/2"; empty where no answer came.
        is_reused: The connection was open already.
        marks: When each phase was reached, in seconds since the attempt's start.
        source: Where the addresses came from: "dns", "system", "stale", "literal", ...; empty where none were needed.
        dials: In the order in which they ended.
        queued: Seconds that it waited at each gate that made it wait.
        bytes_out, bytes_in: What of request and response went over the wire, heads included, until the attempt ended.
    """

    call: int
    origin: Origin
    method: str
    path: str
    number: int
    delay: float
    duration: float
    phase: Phase
    status: int | None
    error: str | None
    detail: str
    address: Address | None
    protocol: str
    is_reused: bool
    marks: tuple[tuple[Phase, float], ...]
    source: str
    dials: tuple[Dial, ...]
    queued: tuple[tuple[str, float], ...]
    bytes_out: int
    bytes_in: int

    @property
    def outcome(self) -> str:
        """A status ("503"), the class of an error ("ReadTimeout"), or "cancelled"."""
        return str(self.status) if self.status is not None else self.error or "cancelled"


class History(tuple[Attempt, ...]):
    """
    The attempts of a call, in order: ``response.extensions["seawall"]`` and ``error.attempts``.

    As a text it is what a log needs: ``3 attempts in 1.2 s: 503, ReadTimeout, 503``.

    Attributes:
        note: Why no further attempt was made, where one might have been; else empty.
        retry_after: s that the last answer asks to wait; None where it doesn't.
        idempotency_key: The Idempotency-Key that seawall made for the call and the origin where the call ended; None
            where it made none. The caller's request doesn't show it.
        balance: Retry tokens that the origin had left after a failure; None where nothing failed or the budget is off.
        statistics: tenacity's, of the last hop; empty where nothing failed.
    """

    note: str = ""
    retry_after: float | None = None
    idempotency_key: str | None = None
    balance: float | None = None
    statistics: Mapping[str, Any] = MappingProxyType({})

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(self)

    def __str__(self) -> str:
        count = "1 attempt" if len(self) == 1 else f"{len(self)} attempts"
        elapsed = sum(attempt.delay + attempt.duration for attempt in self)
        parts = [f"{count} in {elapsed:.3g} s: {', '.join(attempt.outcome for attempt in self)}"]
        if self.balance is not None:
            parts.append(f"budget left {self.balance:.1f}")
        if self.note:
            parts.append(self.note)
        return "; ".join(parts)
