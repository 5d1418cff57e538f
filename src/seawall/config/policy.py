"""The layers for one host, or one call."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from .breaker import Breaker
from .budget import Budget
from .bulkhead import Bulkhead
from .check import number, shown
from .criticality import CriticalityName, rank
from .hedge import Hedge
from .limit import Limit
from .ready import Ready
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
        retry, hedge, bulkhead, breaker, budget, ready: Settings of the layer; None switches it off.
        limit: A `Limit`, or several that all hold; None switches off what rejections teach too.
        waits: True has a call wait for permits, limits, an origin that is away and an open breaker as long as its
            deadline allows; False has it fail early, after the request's pool and connect timeouts, and at once if the
            breaker is open.
        criticality: How much the calls matter: "critical", "default" or "background"; see `seawall.criticality`, which
            holds where this is left out. It isn't a setting of the client.
    """

    deadline: float | Unset | None = UNSET
    retry: Retry | Unset | None = UNSET
    bulkhead: Bulkhead | Unset | None = UNSET
    breaker: Breaker | Unset | None = UNSET
    budget: Budget | Unset | None = UNSET
    ready: Ready | Unset | None = UNSET
    limit: Limit | tuple[Limit, ...] | Unset | None = UNSET
    waits: bool | Unset = UNSET
    hedge: Hedge | Unset | None = UNSET
    criticality: CriticalityName | Unset = UNSET
    _types: ClassVar[dict[str, type]] = {
        "retry": Retry,
        "bulkhead": Bulkhead,
        "breaker": Breaker,
        "budget": Budget,
        "ready": Ready,
        "hedge": Hedge,
    }

    def __post_init__(self) -> None:
        if self.deadline is not UNSET and self.deadline is not None:
            number("", "deadline", self.deadline, low=0, above=True)
        for name, expected in self._types.items():
            value = getattr(self, name)
            if value is not UNSET and value is not None and not isinstance(value, expected):
                raise TypeError(f"{name} must be a seawall.{expected.__name__} or None (off), not {shown(value)}")
        if isinstance(self.limit, list):
            object.__setattr__(self, "limit", tuple(self.limit))
        limits = self.limit if isinstance(self.limit, tuple) else (self.limit,)
        if self.limit == ():
            raise ValueError("limit must not be an empty tuple; None switches limits off")
        if self.limit is not UNSET and self.limit is not None and not all(isinstance(each, Limit) for each in limits):
            raise TypeError(
                f"limit must be a seawall.Limit, several in a tuple, or None (off), not {shown(self.limit)}"
            )
        if len({each.shared for each in limits if isinstance(each, Limit) and each.shared is not None}) > 1:
            raise ValueError("limits that hold together can't be shared through different stores")
        if not isinstance(self.waits, bool | Unset):
            raise TypeError(f"waits must be True or False, not {shown(self.waits)}")
        if self.criticality is not UNSET:
            rank("criticality", self.criticality)

    @classmethod
    def batch(cls, *, max_attempts: int = 10, **settings: Any) -> Self:
        """
        A policy for jobs that must be done rather than soon: it waits instead of failing, and makes many attempts.

        ``AsyncClient(per_host={"*.example.com": seawall.Policy.batch()})``. A service that answers somebody does better
        with the defaults, which fail early.

        Args:
            max_attempts: Attempts in all, within the deadline. 10: with full jitter, about 23 s of backoff. They take
                no budget, because waiting for breakers and limits spares the origin anyway.
            settings: Those of `Policy`; a *retry* takes the place of the one with *max_attempts*.
        """
        return cls(
            **{
                "retry": Retry(max_attempts=max_attempts),
                "budget": None,
                "waits": True,
                "ready": Ready(max_wait=None),
                **settings,
            }
        )

    def over(self, base: Policy) -> Policy:
        """This policy, with what it leaves out taken from *base*."""
        names = [each.name for each in fields(Policy)]
        mine = {name: getattr(self, name) for name in names}
        return Policy(**{name: getattr(base, name) if value is UNSET else value for name, value in mine.items()})
