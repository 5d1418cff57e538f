"""Attempts as a bulkhead sees them: only their criticality counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT, Criticality

__all__ = ["ANY", "entrant"]

ENTRANTS: Final = {each: SimpleNamespace(criticality=each) for each in (CRITICAL, DEFAULT, BACKGROUND)}
ANY: Final[Any] = ENTRANTS[DEFAULT]


def entrant(criticality: Criticality) -> Any:
    return ENTRANTS[criticality]
