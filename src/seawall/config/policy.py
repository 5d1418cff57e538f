"""The layers for one host, or one call."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from .breaker import Breaker
from .budget import Budget
from .bulkhead import Bulkhead
from .check import number, shown
from .retry import Retry
from .unset import UNSET, Unset

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    The layers for one host, or one call; what it doesn't set comes from the client.

    Args:
        deadline: Seconds of wall clock for a whole call; None disables it. Left out everywhere, it is derived from the
            request's own timeouts: (connect + read) x max_attempts.
        retry, bulkhead, breaker, budget: Settings of the layer; None switches it off.
    """

    deadline: float | Unset | None = UNSET
    retry: Retry | Unset | None = UNSET
    bulkhead: Bulkhead | Unset | None = UNSET
    breaker: Breaker | Unset | None = UNSET
    budget: Budget | Unset | None = UNSET
    _types: ClassVar[dict[str, type]] = {"retry": Retry, "bulkhead": Bulkhead, "breaker": Breaker, "budget": Budget}

    def __post_init__(self) -> None:
        if self.deadline is not UNSET and self.deadline is not None:
            number("Policy", "deadline", self.deadline, low=0, above=True)
        for name, expected in self._types.items():
            value = getattr(self, name)
            if value is not UNSET and value is not None and not isinstance(value, expected):
                raise TypeError(f"{name} must be a seawall.{expected.__name__} or None (off), not {shown(value)}")

    def over(self, base: Policy) -> Policy:
        """This policy, with what it leaves out taken from *base*."""
        names = [each.name for each in fields(Policy)]
        mine = {name: getattr(self, name) for name in names}
        return Policy(**{name: getattr(base, name) if value is UNSET else value for name, value in mine.items()})
