"""How long calls wait for an origin that is away for a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .check import number

__all__ = ["GATE", "Ready"]

GATE: Final = "ready"  # the gate's name; what an attempt waits there counts towards its connect timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """
    How long calls wait for an origin that refuses all dials now and answered a moment ago, because it is restarted.

    One prober dials such an origin, after 20 ms, then at doubling intervals up to 1 s; calls wait for it as long as
    their connect timeout and deadline allow. An origin that never answered is not waited for.

    Args:
        max_wait: Seconds after the first refused dial until which calls wait; from then on they fail at once. None
            lets them wait as long as their connect timeout and deadline allow.
        remembered_for: Seconds since its last response for which an origin that refuses is taken for restarting.
    Source: gRPC's wait-for-ready.
    """

    max_wait: float | None = 5.0
    remembered_for: float = 60.0

    def __post_init__(self) -> None:
        if self.max_wait is not None:
            number("Ready", "max_wait", self.max_wait, low=0, above=True)
        number("Ready", "remembered_for", self.remembered_for, low=0, above=True)
