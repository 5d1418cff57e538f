"""Where processes keep the limits and permits that they share: the seam for Redis, and for stores of others."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from .check import count, shown

__all__ = [
    "Booking",
    "BulkheadStore",
    "Claim",
    "Grant",
    "LimitStore",
    "OpenBulkheadStore",
    "OpenStore",
    "Share",
    "check_shared",
]

FALLBACKS: Final = ("share", "open", "closed")


class Share(NamedTuple):
    """
    What a process asks of one limit.

    Attributes:
        key: Which limit of the group it is; the same in each process.
        rate: Of all processes, per second, > 0.
        burst: What may be booked at once after a pause, >= 1.
        amount: What to book, >= 0. More than *burst* is booked once nothing is owed.
        charge: What to add to what is owed, without a wait, because requests have taken more than they had booked;
            negative if they have taken less.
    """

    key: str
    rate: float
    burst: float
    amount: float
    charge: float


class Booking(NamedTuple):
    """
    What a store answers.

    Attributes:
        wait: Seconds from the answer on until what was asked for may be used; if nothing was booked, until it is worth
            asking again, at least 0.01.
        is_booked: It is this process' own from then on; False if nothing was booked, because *wait* is longer than it
            asked for, or because the store can't book ahead. Charges are made in either case.
        processes: How many processes have lately asked the same group, this one included; >= 1.
        receipt: What `OpenStore.give_back` needs.
    """

    wait: float
    is_booked: bool = True
    processes: int = 1
    receipt: Any = None


class OpenStore(Protocol):
    """A store as one engine uses it, on one event loop."""

    async def book(self, group: str, shares: Sequence[Share], *, process: str, max_wait: float) -> Booking:
        """
        Book all *shares* for the same instant, or none.

        It should raise at once when the store can't be reached: the caller has a timeout, a breaker, and a local share.

        Args:
            group: The origin; limits of one group are booked together.
            process: An id of the process that asks.
            max_wait: Seconds; if the wait would be longer, nothing is booked.

        Raises:
            Exception: Whatever is wrong; until the store answers again, the process uses its local share.

        **Cancellation:** what has been booked is lost.
        """
        ...

    async def give_back(self, group: str, receipt: Any) -> None:
        """Undo a booking, as far as nothing has been booked after it."""

    async def aclose(self) -> None:
        """Close the connections."""


@runtime_checkable
class LimitStore(Hashable, Protocol):
    """
    Which store it is: ``Limit(shared=...)``. Two that are equal are the same store.

    An implementation can be short: a `book` that asks another limiter, and answers ``Booking(0.0)`` if that admits so
    many requests now, or ``Booking(wait, is_booked=False)`` if not, is enough.
    """

    def open(self) -> OpenStore:
        """The store for one engine; called in a running event loop, without waiting for anything."""
        ...


class Claim(NamedTuple):
    """
    What a process holds of the permits of a shared bulkhead, and what it could use: a heartbeat too.

    Attributes:
        key: Which bulkhead of the group it is; the same in each process.
        max_concurrent: Permits of all processes, >= 1.
        keeps: Permits that the process goes on holding whatever the store answers, >= 0, because attempts are in flight
            with them, or may begin meanwhile. What it held beyond them is given back.
        wanted: Permits that it could use, >= 0; those for attempts that wait included.
        spare: Permits beyond those that it would have at hand, >= 0, if nobody waits for them.
        ttl: Seconds after which the others have its permits if it doesn't claim again, > 0.
        number: Grows with each claim of a process. One that arrives after a later one must change nothing.
    """

    key: str
    max_concurrent: int
    keeps: int
    wanted: int
    spare: int
    ttl: float
    number: int


class Grant(NamedTuple):
    """
    What a store answers. The process then holds *permits*, or what it keeps, if that is more.

    Attributes:
        permits: How many attempts of the process may be in flight, >= 0. Less than it keeps tells it to come down,
            because others wait; it gives back the rest with later claims.
        owed: How many more are its due: others have been told to come down. It then asks again soon.
        waiting: How many permits others could use and don't have. While there are any, it holds none to spare.
        processes: As `Booking.processes`.
        is_known: False if the store had nothing of this process, because that has lapsed or is lost.
    """

    permits: int
    owed: int = 0
    waiting: int = 0
    processes: int = 1
    is_known: bool = True


class OpenBulkheadStore(Protocol):
    """A store of permits as one engine uses it, on one event loop."""

    async def claim(self, group: str, claim: Claim, *, process: str) -> Grant:
        """
        Take note of a process' claim, and grant what the others leave.

        Args:
            group: The origin.
            process: An id of the process.

        Raises:
            Exception: As `OpenStore.book`.

        **Cancellation:** what has been granted is given back by the next claim, or lapses.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""


@runtime_checkable
class BulkheadStore(Hashable, Protocol):
    """
    Which store it is: ``Bulkhead(shared=...)``. Two that are equal are the same store; one that is a `LimitStore` too
    is opened once for both.
    """

    def open(self) -> OpenBulkheadStore:
        """The store for one engine; called in a running event loop, without waiting for anything."""
        ...


def check_shared(owner: str, shared: object, fallback: object, processes: object) -> None:
    """Refuse settings of sharing that can't be."""
    if shared is not None and (isinstance(shared, type) or not isinstance(shared, BulkheadStore)):
        raise TypeError(f'{owner}.shared must be a store, such as Redis("redis://..."), not {shown(shared)}')
    if fallback not in FALLBACKS:
        raise ValueError(f"{owner}.fallback must be one of {', '.join(FALLBACKS)}, not {shown(fallback)}")
    count(owner, "processes", processes, low=1)
