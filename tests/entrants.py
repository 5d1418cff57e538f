"""Attempts as far as gates look at them: a bulkhead sees only their criticality, a limit their headers too."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from types import SimpleNamespace
from typing import Any, Final

from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT, Criticality
from seawall.events import Phase

__all__ = ["ANY", "Tenant", "entrant"]

ENTRANTS: Final = {each: SimpleNamespace(criticality=each) for each in (CRITICAL, DEFAULT, BACKGROUND)}
ANY: Final[Any] = ENTRANTS[DEFAULT]


def entrant(criticality: Criticality) -> Any:
    return ENTRANTS[criticality]


class Tenant:
    """A tenant's attempt, without credentials."""

    phase, sent_at, is_buffered, criticality = Phase.QUEUED, -math.inf, True, DEFAULT

    def __init__(self, tenant: object) -> None:
        self._request = SimpleNamespace(headers={"x-tenant": tenant})

    def part(self, function: Callable[[object], Hashable]) -> Hashable:
        return function(self._request)

    def left(self, now: float) -> None:
        return None
