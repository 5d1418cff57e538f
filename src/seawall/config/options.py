"""What can be set for one call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .check import shown
from .criticality import CriticalityName
from .hedge import Hedge
from .policy import Policy
from .retry import Retry
from .unset import UNSET, Unset

__all__ = ["Options", "options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Policy):
    """
    What `options` makes.

    Args:
        idempotency_key: Takes the place of the one of `Retry`.
    """

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
    waits: bool | Unset = UNSET,
    hedge: Hedge | Unset | None = UNSET,
    criticality: CriticalityName | Unset = UNSET,
) -> dict[str, Any]:
    """
    Settings for one call, for httpx's ``extensions``: ``client.get(url, extensions=seawall.options(deadline=1.0))``.

    Only what belongs to a call can be set here; bulkhead, breaker and budget are shared by an origin's calls.
    """
    made = Options(
        deadline=deadline,
        retry=retry,
        idempotency_key=idempotency_key,
        waits=waits,
        hedge=hedge,
        criticality=criticality,
    )
    return {"seawall": made}
