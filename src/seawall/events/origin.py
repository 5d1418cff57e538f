"""What happens to an origin, its connections and its addresses."""

from __future__ import annotations

from typing import NamedTuple

from ..origin import Address, Origin

__all__ = [
    "AddressEjected",
    "AddressReadmitted",
    "BreakerMoved",
    "ConnectionClosed",
    "ConnectionOpened",
    "LimitDegraded",
    "LimitMoved",
    "LimitRestored",
    "OriginAway",
    "OriginBack",
    "OriginPaused",
]


class ConnectionOpened(NamedTuple):
    """A connection was dialled and secured, and can be used. *protocol*: "HTTP/1.1" or "HTTP/2"."""

    origin: Origin
    address: Address
    protocol: str


class ConnectionClosed(NamedTuple):
    """A connection was closed, by whichever side."""

    origin: Origin
    address: Address
    protocol: str


class BreakerMoved(NamedTuple):
    """A breaker's state changed: closed, open, half-open."""

    origin: Origin
    previous: str
    state: str
    reason: str


class LimitMoved(NamedTuple):
    """
    An origin's trouble began, or is over: an adaptive bulkhead has another limit now (``Bulkhead(adaptive=True)``).

    Attributes:
        limit: How many attempts may be in flight; while trouble lasts, it may move further every second.
        ghosts: Attempts that were sent and given up, and hold a permit because the server may still be at work on them.
    """

    origin: Origin
    limit: int
    ghosts: int
    reason: str


class LimitDegraded(NamedTuple):
    """
    The store of an origin's shared limit or bulkhead doesn't answer, so this process goes by its *fallback*.

    Attributes:
        gate: "limit" or "bulkhead".
        fallback: What holds meanwhile: "share", "open" or "closed"; of several limits all, such as "open, share".
        processes: How many processes share it, this one included, by what the store said last.
    """

    origin: Origin
    gate: str
    fallback: str
    processes: int
    reason: str


class LimitRestored(NamedTuple):
    """The store of an origin's shared limit or bulkhead (*gate*) answers again, after *duration* seconds."""

    origin: Origin
    gate: str
    duration: float


class OriginPaused(NamedTuple):
    """An origin asked all its callers to wait, for *duration* seconds (``Retry(pause_origin=True)``)."""

    origin: Origin
    duration: float


class OriginAway(NamedTuple):
    """
    An origin that answered a moment ago refuses all dials now, or its gateway finds no server, and calls wait for it.

    Source: `seawall.Ready`.
    """

    origin: Origin
    reason: str


class OriginBack(NamedTuple):
    """
    Calls no longer wait for an origin that was away for *duration* seconds.

    Attributes:
        has_answered: It has answered, or takes connections and is only slow; else it was waited for long enough.
    """

    origin: Origin
    duration: float
    has_answered: bool = True


class AddressEjected(NamedTuple):
    """An address of a name that has several failed too often: it is tried last for *duration* seconds."""

    origin: Origin
    address: Address
    duration: float


class AddressReadmitted(NamedTuple):
    """An ejected address is used like the others again; noticed when the next connection is dialled."""

    origin: Origin
    address: Address
