"""Where processes keep a limit that they share: the seam for Redis, and for stores and limiters of others."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

__all__ = ["Booking", "LimitStore", "OpenStore", "Share"]


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
        wait: Seconds from the answer on until what was asked for may be used.
        is_booked: It is this process' own from then on; False if *wait* is longer than it asked for, and nothing was
            booked. Charges are made in either case.
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
