"""
One direction of a connection, through whatever is wrong with it. Pure: no I/O, the time is an argument.

Rules: order is kept, and no byte is lost unless the connection ends: what a toxic holds back goes on when it is taken
away. An end (FIN, RST) travels behind the data that it follows. A packet has the instant that was planned for it, so
late timers don't add up.
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
    """An item, and the instant it goes on at; inf: not before the toxic is taken away."""

    at: float
    item: Item


class Toxic:
    """What is wrong in one direction of a connection."""

    __slots__ = ()

    @property
    def max_held(self) -> int:
        """Bytes held back before the sender is paused."""
        return 64 * 1024

    def begin(self, stage: Stage, now: float) -> None:
        """Plan what needs no data to happen."""

    def plan(self, stage: Stage, packet: Packet) -> Iterator[Packet]:
        """What becomes of *packet*, and when; in order."""
        raise NotImplementedError


@dataclass(slots=True)
class Stage:
    """
    One toxic at work in one direction of one connection.

    Attributes:
        key: By which it is found again.
        busy_until: No earlier than this goes the next packet on.
        passed: Bytes let through.
        ending: The end that the toxic itself will make.
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
        """What goes on by *now*."""
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
            self.ending = self.ending._replace(at=math.inf)  # it was made
        return gone


class Flow:
    """One direction of one connection: packets through stages, in the order these were added."""

    def __init__(self) -> None:
        self._stages: list[Stage] = []
        self._freed: list[Packet] = []

    @property
    def next_at(self) -> float:
        """When `step` has something to do; inf: never, unless something arrives or changes."""
        return min((stage.next_at for stage in self._stages), default=math.inf)

    @property
    def is_full(self) -> bool:
        """So much is held back that the sender should wait."""
        return any(stage.held_bytes >= stage.toxic.max_held for stage in self._stages)

    def add(self, key: object, toxic: Toxic, rng: Random, now: float) -> None:
        stage = Stage(key, toxic, rng)
        toxic.begin(stage, now)
        self._stages.append(stage)

    def remove(self, key: object, now: float) -> None:
        """Take a toxic away, if it is here; the next `step` lets go what it held."""
        for index, stage in enumerate(self._stages):
            if stage.key is key:
                del self._stages[index]
                held = [Packet(now, packet.item) for packet in stage.held]
                self._freed += self._through(index, held, now)
                return

    def step(self, arrived: Iterable[Item], now: float) -> list[Item]:
        """What comes out by *now*."""
        freed, self._freed = self._freed, []
        through = self._through(0, [Packet(now, item) for item in arrived], now)
        return [packet.item for packet in freed + through]

    def _through(self, index: int, packets: list[Packet], now: float) -> list[Packet]:
        for stage in self._stages[index:]:
            packets = stage.step(packets, now)
        return packets


def _size(packet: Packet) -> int:
    return len(packet.item) if isinstance(packet.item, bytes) else 0
