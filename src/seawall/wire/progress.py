"""How far an attempt got: what the wire notes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from ..attempts import CONNECTING, HEADERS, QUEUED, SENDING, SENT
from ..config.ready import GATE
from ..events import Dial, Phase
from ..origin import Address

__all__ = ["NEVER", "Progress"]

NEVER = -math.inf


class Progress:
    """
    An attempt in flight. Whatever sends it notes here how far it got.

    Attributes:
        avoid: Addresses where the call failed before.
        queued: Seconds at each gate, or at the cap, that made it wait.
        waited: Seconds in queues, and until the caller gave parts of its body: the origin isn't to blame for them.
        sent_at: When it began to be sent; -inf if nothing was, or if the server was told to drop it.
        bytes_out, bytes_in: What of the request and the response went over the wire, heads included, TLS excluded.
    """

    __slots__ = (
        "address", "avoid", "bytes_in", "bytes_out", "dials", "is_reused", "marks", "now", "phase", "protocol",
        "queued", "sent_at", "source", "started_at", "waited",
    )  # fmt: skip

    def __init__(self, now: Callable[[], float], started_at: float) -> None:
        self.now = now
        self.started_at = started_at
        self.phase = QUEUED
        self.sent_at = NEVER
        self.address: Address | None = None
        self.avoid: tuple[Address, ...] = ()
        self.is_reused = False
        self.protocol = self.source = ""
        self.queued: tuple[tuple[str, float], ...] = ()
        self.bytes_out = self.bytes_in = 0
        self.dials: tuple[Dial, ...] = ()
        self.waited = 0.0
        self.marks: list[Phase | float] = []  # in pairs; one list, because the garbage collector visits each tuple

    def reached(self, phase: Phase) -> None:
        """Forward only; a phase is marked once."""
        if phase > self.phase:
            self.phase = phase
            now = self.now()
            if self.sent_at == NEVER and phase >= SENDING:
                self.sent_at = now
            self.marks += (phase, now - self.started_at)

    def reached_sent(self) -> None:
        """SENDING and SENT at one instant, because the request went out in one piece."""
        if self.phase >= SENDING:
            self.reached(SENT)
            return
        self.phase = SENT
        self.sent_at = now = self.now()
        at = now - self.started_at
        self.marks += (SENDING, at, SENT, at)

    def dialled(self, address: Address, began_at: float, outcome: str) -> None:
        self.dials += (Dial(address, began_at - self.started_at, self.now() - began_at, outcome),)

    def queued_at(self, gate: str, duration: float) -> None:
        """It has waited at a *gate* for *duration* seconds."""
        self.waited += duration
        if duration:
            self.queued += ((gate, duration),)

    def waited_for_origin(self) -> float:
        """Seconds that it has waited for an origin that was away, which count towards its connect timeout."""
        return sum(duration for gate, duration in self.queued if gate == GATE)

    def waited_in_queues(self) -> float:
        """Seconds of `waited` but those that it has waited for an origin that was away."""
        return self.waited - (self.waited_for_origin() if self.queued else 0.0)

    def on_wire(self, now: float) -> float:
        """Seconds since it began to dial, or to send on a connection that was there; 0 where it did neither."""
        began_at = next((at for phase, at in self.each() if phase >= CONNECTING), None)
        return 0.0 if began_at is None else now - self.started_at - began_at

    def answered_in(self, now: float) -> float:
        """Seconds from the request's first byte, or from the dial if no more is known, to the response's head."""
        at: dict[Phase, float] = dict(self.each())
        began_at = at.get(SENDING, at.get(CONNECTING, 0.0))
        return at.get(HEADERS, now - self.started_at) - began_at

    def took_back(self) -> None:
        """The server says that it did nothing with the request."""
        self.phase = min(self.phase, CONNECTING)
        self.sent_at = NEVER

    def can_be_repeated(self) -> bool:
        """Whether the call goes on with another attempt if this one breaks off now."""
        return False

    def dropped(self) -> None:
        """The server was told to stop working on it."""
        self.sent_at = NEVER

    def turned_back(self) -> None:
        """Its dial was refused, and it goes back to wait; only its dials are remembered."""
        self.phase = QUEUED
        self.marks.clear()

    def each(self) -> Iterator[tuple[Phase, float]]:
        """The phases that were reached, each with its instant in seconds since the attempt's start."""
        marks: Iterator[Any] = iter(self.marks)
        return zip(marks, marks, strict=False)
