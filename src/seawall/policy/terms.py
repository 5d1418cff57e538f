"""What the processes that share a limit have agreed on, and what follows for their leases."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..config import Limit

__all__ = ["LEASE", "Terms"]

LEASE: Final = 0.05  # s of a rate that one lease holds at most, because all of a lease waits for its last request
MIN_LIFE: Final = 0.01  # s, though the burst leaves no time, because a timer may be as late


class Terms(NamedTuple):
    """
    Attributes:
        rate: Of all processes, per second.
        burst: Of all processes.
        fallback: As `Limit.fallback`.
    """

    rate: float
    burst: float
    fallback: str

    @classmethod
    def of(cls, limit: Limit) -> Terms:
        assert limit.rate is not None
        return cls(limit.rate / limit.per, limit.size, limit.fallback)

    @property
    def booked_burst(self) -> float:
        """What the store books at once; the other half is for what lives on in leases."""
        return max(1.0, self.burst / 2)

    @property
    def life(self) -> float:
        """Seconds that a lease may be used for."""
        return max(MIN_LIFE, (self.burst - self.booked_burst) / self.rate)

    @property
    def most(self) -> float:
        """The largest lease, unless one request costs more."""
        return min(self.booked_burst, max(1.0, self.rate * LEASE))
