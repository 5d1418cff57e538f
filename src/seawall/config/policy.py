"""The layers for one host, or one call."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, ClassVar, Final

from .check import number, shown
from .layers import Breaker, Budget, Bulkhead
from .retry import Retry

__all__ = ["UNSET", "Options", "Policy", "Unset", "options"]


class Unset(Enum):
    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    The layers for one host, or one call; what is left out comes from the client.

    Args:
        deadline: s of wall clock for a whole call; None: none. Left out everywhere: derived from the request's own
            timeouts, (connect + read) x max_attempts.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Policy):
    """What `options` makes. *idempotency_key*: in place of the one of `Retry`."""

    idempotency_key: bool | Unset = UNSET

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        if not isinstance(self.idempotency_key, bool | Unset):
            raise TypeError(f"options: idempotency_key must be True or False, not {shown(self.idempotency_key)}")

    def over(self, base: Policy) -> Policy:
        policy = Policy.over(self, base)
        if self.idempotency_key is UNSET:
            return policy
        retry = policy.retry if isinstance(policy.retry, Retry) else Retry(max_attempts=1)
        return replace(policy, retry=replace(retry, idempotency_key=self.idempotency_key))


def options(
    *,
    deadline: float | Unset | None = UNSET,
    retry: Retry | Unset | None = UNSET,
    idempotency_key: bool | Unset = UNSET,
) -> dict[str, Any]:
    """
    Settings for one call, for httpx's ``extensions``: ``client.get(url, extensions=seawall.options(deadline=1.0))``.

    Only what belongs to a call can be set here; bulkhead, breaker and budget are shared by an origin's calls.
    """
    return {"seawall": Options(deadline=deadline, retry=retry, idempotency_key=idempotency_key)}
