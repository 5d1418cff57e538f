"""How much a call matters."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, TypeAlias

from .check import shown

__all__ = ["BACKGROUND", "CRITICAL", "DEFAULT", "NAMES", "Criticality", "CriticalityName", "rank"]

CriticalityName: TypeAlias = Literal["critical", "default", "background"]


class Criticality(IntEnum):
    """The classes of calls; the lower number goes first. None is 0, so that each is true."""

    CRITICAL = 1  # somebody waits for the answer, and nothing can stand in for it
    DEFAULT = 2
    BACKGROUND = 3  # nobody waits for it now

    @property
    def public(self) -> str:
        """As settings and headers have it."""
        return self.name.lower()


CRITICAL: Final = Criticality.CRITICAL
DEFAULT: Final = Criticality.DEFAULT
BACKGROUND: Final = Criticality.BACKGROUND
NAMES: Final = {each.public: each for each in Criticality}


def rank(setting: str, name: object) -> Criticality:
    """
    The class that a *setting* names.

    Raises:
        TypeError, ValueError: No class has that name.
    """
    if not isinstance(name, str):
        raise TypeError(f'{setting} must be "critical", "default" or "background", not {shown(name)}')
    found = NAMES.get(name)
    if found is None:
        raise ValueError(f'{setting} must be "critical", "default" or "background", not {shown(name)}')
    return found
