"""The attempts of a call, as its response and its error show them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from .origin import Address, Origin
from .server_timing import ServerTiming, parse

__all__ = ["Attempt", "Dial", "History", "Phase", "Response", "history"]


class Phase(IntEnum):
    """
    How far an attempt got. From SENDING on, the server may have seen part of it.

    Through a proxy, RESOLVING and CONNECTING are the proxy's (TLS to it included), and TUNNEL asks it for a connection.
    """

    QUEUED = 0
    RESOLVING = 1
    CONNECTING = 2
    TUNNEL = 3
    TLS = 4
    SENDING = 5
    SENT = 6
    HEADERS = 7
    BODY = 8


QUEUED, RESOLVING, CONNECTING, TUNNEL, TLS, SENDING, SENT, HEADERS, BODY = Phase
"""For the way of each request, because to look an enum's member up takes as long as two calls (3 % of a request)."""


class Dial(NamedTuple):
    """
    One address that was dialled.

    Attributes:
        at: When the dial began, in seconds since the attempt's start.
        duration: Seconds until it was connected, failed, or was abandoned for a faster one.
        outcome: "connected", "abandoned", or the system's error text.
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
        path: The URL's path, without the query.
        number: The attempt's number, from 1, over all hops of the call.
        delay: Backoff before it, in seconds.
        duration: From its start (queueing included) to its end, in seconds.
        phase: The last phase that it reached.
        status: The response's status; None if there was no response.
        error: Name of the error's class; None if there was none.
        detail: The error's text; empty if there was none.
        protocol: "HTTP/1.1" or "HTTP/2"; empty if no response came.
        is_reused: The connection was open already.
        marks: When each phase was reached, in seconds since the attempt's start.
        source: Where the addresses came from: "dns", "system", "stale", "literal", ...; empty if none were needed.
        dials: Its dials, in the order in which they ended.
        queued: Each gate that made it wait, with the seconds.
        bytes_out, bytes_in: Bytes of request and response that went over the wire until it ended, heads included.
        is_hedge: It was made beside the attempt before it, because that was slow; *delay* is what it was later by.
        is_superseded: Of those two it is the one that the call doesn't go on with. If it was still in flight, it was
            cancelled.
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
    is_hedge: bool = False
    is_superseded: bool = False

    @property
    def outcome(self) -> str:
        """A status ("503"), the class of an error ("ReadTimeout"), "superseded" or "cancelled"."""
        if self.status is not None:
            return str(self.status)
        return self.error or ("superseded" if self.is_superseded else "cancelled")


class History(tuple[Attempt, ...]):
    """
    The attempts of a call, as they ended: ``seawall.history(response)`` or ``seawall.history(error)``.

    As a text it fits a log: ``3 attempts in 1.2 s: 503, ReadTimeout, 503``.

    Attributes:
        note: Why no further attempt was made, if one might have been; else empty.
        retry_after: Seconds that the last response asks to wait; None if it doesn't.
        idempotency_key: The Idempotency-Key that seawall made for the call and the origin where the call ended; None
            if it made none. The caller's request doesn't show it.
        balance: Retry tokens that the origin had left after a failure; None if nothing failed or the budget is off.
        statistics: tenacity's statistics of the last hop; empty if nothing failed.
        server_timing: What the response's Server-Timing headers say, read by `history` when it is given the response;
            empty if it has none.
    """

    note: str = ""
    retry_after: float | None = None
    idempotency_key: str | None = None
    balance: float | None = None
    statistics: Mapping[str, Any] = MappingProxyType({})
    server_timing: tuple[ServerTiming, ...] = ()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(self)

    def __str__(self) -> str:
        count = "1 attempt" if len(self) == 1 else f"{len(self)} attempts"
        # One that was superseded took its time beside the other.
        elapsed = sum(attempt.delay + attempt.duration for attempt in self if not attempt.is_superseded)
        outcomes = ", ".join(attempt.outcome for attempt in self)
        parts = [f"{count} in {elapsed:.3g} s: {outcomes}" if self else "no attempt was made"]
        if self.balance is not None and self.balance < 1:  # else it has decided nothing
            parts.append(f"budget left {self.balance:.1f}")
        if self.note:
            parts.append(self.note)
        return "; ".join(parts)


class Response(Protocol):
    """A response of httpx or httpx2."""

    @property
    def status_code(self) -> int: ...
    @property
    def extensions(self) -> Mapping[str, Any]: ...


def history(outcome: Response | BaseException, /) -> History:
    """
    The attempts of the call that ended with *outcome*: ``seawall.history(error)`` in an ``except httpx.HTTPError``.

    Args:
        outcome: A response of httpx or httpx2, or an error.
    Returns:
        Of an error without attempts of its own, those of its response, as after ``response.raise_for_status()``. Empty
        if seawall made no attempt.
    Raises:
        TypeError: *outcome* is neither.
    """
    is_error = isinstance(outcome, BaseException)
    if not (is_error or hasattr(outcome, "status_code")):
        raise TypeError(f"history() takes a response of httpx or httpx2, or an error, not {outcome!r}")
    response: Any = getattr(outcome, "response", None) if is_error else outcome
    attempts = getattr(outcome, "attempts", None) if is_error else None
    if not isinstance(attempts, History):
        extensions = getattr(response, "extensions", None)
        attempts = extensions.get("seawall") if isinstance(extensions, Mapping) else None
    if not isinstance(attempts, History):
        return History()
    if not attempts.server_timing:  # read only here, because a call whose history nobody asks for must not pay
        attempts.server_timing = parse(_server_timing(response))
    return attempts


def _server_timing(response: Any) -> list[str]:
    """The values of the Server-Timing headers of *response*; empty if it has none, or isn't a response."""
    get_list = getattr(getattr(response, "headers", None), "get_list", None)
    return [] if get_list is None else get_list("server-timing")
