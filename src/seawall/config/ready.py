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
    How long calls wait for an origin that answered a moment ago and is away now, because it is restarted.

    It is away if it refuses all dials: one prober dials it, after 20 ms, then at doubling intervals up to 1 s. It is
    away too if its gateway answers five requests in a row with 502, 503 or 504 and no Retry-After, over 0.1 s or three
    times as long as a good answer takes: one call after another is sent, after 0.1 s, then at doubling intervals up to
    0.5 s, mostly one that can be repeated. Meanwhile calls wait as long as their connect timeout and deadline allow. An
    origin that never answered is not waited for.

    Args:
        max_wait: Seconds for which an origin that is away is waited for. From then on calls fail at once if it refuses
            dials, and are sent if its gateway answers. None waits as long as timeouts and deadlines allow.
        remembered_for: Seconds since its last good answer for which an origin is taken for restarting.
    Source: gRPC's wait-for-ready.
    """

    max_wait: float | None = 5.0
    remembered_for: float = 60.0

    def __post_init__(self) -> None:
        if self.max_wait is not None:
            number("Ready", "max_wait", self.max_wait, low=0, above=True)
        number("Ready", "remembered_for", self.remembered_for, low=0, above=True)
