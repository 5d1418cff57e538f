"""How far an attempt got on its way: what the wire tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..events import Dial, Phase
from ..origin import Address

__all__ = ["Progress"]


class Progress:
    """An attempt in flight. The exchange says where it is."""

    __slots__ = (
        "address", "avoid", "bytes_in", "bytes_out", "dials", "is_reused", "marks", "now", "phase", "protocol",
        "queued", "source", "started_at", "waited",
    )  # fmt: skip

    def __init__(self, now: Callable[[], float], started_at: float) -> None:
        self.now = now
        self.started_at = started_at
        self.phase = Phase.QUEUED
        self.address: Address | None = None
        self.avoid: tuple[Address, ...] = ()  # addresses where the call failed before
        self.is_reused = False
        self.protocol = self.source = ""
        self.queued: tuple[tuple[str, float], ...] = ()  # seconds at each gate, or at the cap, that made it wait
        self.bytes_out = self.bytes_in = 0  # over the wire, heads included
        self.dials: tuple[Dial, ...] = ()
        self.waited = 0.0  # s in the bulkhead's queue, and for the caller to give parts of its body: not the origin's
        self.marks: list[Phase | float] = []  # in pairs; one list, for the garbage collector sees each tuple

    def reached(self, phase: Phase) -> None:
        """Forward only; a phase is marked once."""
        if phase > self.phase:
            self.phase = phase
            self.marks += (phase, self.now() - self.started_at)

    def dialled(self, address: Address, began_at: float, outcome: str) -> None:
        self.dials += (Dial(address, began_at - self.started_at, self.now() - began_at, outcome),)

    def on_wire(self, now: float) -> float:
        """Seconds since it began to dial, or to send on a connection that was there; 0 where it did neither."""
        began_at = next((at for phase, at in self.each() if phase >= Phase.CONNECTING), None)
        return 0.0 if began_at is None else now - self.started_at - began_at

    def took_back(self) -> None:
        """The server says that it did nothing of what was sent."""
        self.phase = min(self.phase, Phase.CONNECTING)

    def each(self) -> Iterator[tuple[Phase, float]]:
        """The phases that were reached, and when, in seconds since the attempt's start."""
        marks: Iterator[Any] = iter(self.marks)
        return zip(marks, marks, strict=False)
