"""
One direction of a connection, through its toxics. Pure: no I/O, the time is an argument.

Rules: packets keep their order, and no byte is lost unless the connection ends: what a toxic holds back goes on when
the toxic is removed. An end (FIN, RST) travels behind the data that it follows. A packet keeps its planned instant, so
that late timers don't add up.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import NamedTuple, TypeAlias

__all__ = ["End", "Flow", "Item", "Packet", "Stage", "Toxic"]


class End(Enum):
    EOF = "one side sends no more (FIN); the other may go on"
    CLOSE = "FIN to both sides"
    RESET = "RST to both sides"


Item: TypeAlias = bytes | End


class Packet(NamedTuple):
    """An item, and the instant when it goes on; inf means not before the toxic is removed."""

    at: float
    item: Item


class Toxic:
    """A fault in one direction of a connection."""

    __slots__ = ()

    @property
    def max_held(self) -> int:
        """Bytes that are held back before the sender is paused."""
        return 64 * 1024

    def begin(self, stage: Stage, now: float) -> None:
        """Plan what happens without any data."""

    def plan(self, stage: Stage, packet: Packet) -> Iterator[Packet]:
        """The packets that *packet* becomes, with their instants, in order."""
        raise NotImplementedError


@dataclass(slots=True)
class Stage:
    """
    One toxic at work in one direction of one connection.

    Attributes:
        key: Identifies it for `Flow.remove`.
        busy_until: The earliest instant for the next packet.
        passed: Bytes that went through.
        ending: The end that the toxic itself will cause.
    """

    key: object
    toxic: Toxic
    rng: Random
    busy_until: float = 0.0
    passed: int = 0
    ending: Packet | None = None
    held: deque[Packet] = field(default_factory=deque)
    held_bytes: int = 0

    @property
    def next_at(self) -> float:
        held_at = self.held[0].at if self.held else math.inf
        return held_at if self.ending is None else min(held_at, self.ending.at)

    def step(self, arrived: Iterable[Packet], now: float) -> list[Packet]:
        """Take what arrived; returns what goes on by *now*."""
        for packet in arrived:
            for planned in self.toxic.plan(self, packet):
                self.held.append(planned)
                self.held_bytes += _size(planned)
        gone = []
        while self.held and self.held[0].at <= now:
            gone.append(self.held.popleft())
            self.held_bytes -= _size(gone[-1])
        if self.ending is not None and self.ending.at <= now:
            gone.append(self.ending)
            self.ending = self.ending._replace(at=math.inf)  # it has happened
        return gone


class Flow:
    """One direction of one connection: packets through stages, in the order these were added."""

    def __init__(self) -> None:
        self._stages: list[Stage] = []
        self._freed: list[Packet] = []

    @property
    def next_at(self) -> float:
        """When `step` must be called; inf if only an arrival or a change gives it anything to do."""
        return min((stage.next_at for stage in self._stages), default=math.inf)

    @property
    def is_full(self) -> bool:
        """Whether so much is held back that the sender must wait."""
        return any(stage.held_bytes >= stage.toxic.max_held for stage in self._stages)

    def add(self, key: object, toxic: Toxic, rng: Random, now: float) -> None:
        stage = Stage(key, toxic, rng)
        toxic.begin(stage, now)
        self._stages.append(stage)

    def remove(self, key: object, now: float) -> None:
        """Remove a toxic, if it is here; the next `step` returns what it held back."""
        for index, stage in enumerate(self._stages):
            if stage.key is key:
                del self._stages[index]
                held = [Packet(now, packet.item) for packet in stage.held]
                self._freed += self._through(index, held, now)
                return

    def step(self, arrived: Iterable[Item], now: float) -> list[Item]:
        """Take what arrived; returns what comes out by *now*."""
        freed, self._freed = self._freed, []
        through = self._through(0, [Packet(now, item) for item in arrived], now)
        return [packet.item for packet in freed + through]

    def _through(self, index: int, packets: list[Packet], now: float) -> list[Packet]:
        for stage in self._stages[index:]:
            packets = stage.step(packets, now)
        return packets


def _size(packet: Packet) -> int:
    return len(packet.item) if isinstance(packet.item, bytes) else 0
