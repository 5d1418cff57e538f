"""
The faults of a TCP connection that Toxiproxy has: https://github.com/Shopify/toxiproxy#toxics

Rules: a toxic is a frozen value, and decides what each packet of one direction becomes, and when. Pure: its stage
brings the time and the random generator. FIN is that of a program that closes its socket: a side that still sends gets
RST.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from ...config.check import count, number
from .flow import End, Packet, Stage, Toxic

__all__ = ["Bandwidth", "Latency", "Limit", "Reset", "Slicer", "SlowClose", "Timeout", "parse"]

TICK = 0.01  # s; a bandwidth is shared out in pieces of that length


@dataclass(frozen=True, slots=True)
class Latency(Toxic):
    """
    Each packet, and each end, comes *delay* ± *jitter* later. Packets wait side by side, so throughput stays the same.

    Args:
        delay, jitter: In seconds; jitter <= delay.
    """

    delay: float
    jitter: float = 0.0

    @property
    def max_held(self) -> int:
        return 6 * 1024 * 1024  # as much as Linux lets be in flight: the largest tcp_rmem

    def __post_init__(self) -> None:
        number("Latency", "delay", self.delay, low=0)
        number("Latency", "jitter", self.jitter, low=0, high=self.delay)

    def plan(self, stage: Stage, packet: Packet) -> Iterator[Packet]:
        delay = self.delay + stage.rng.uniform(-self.jitter, self.jitter)
        stage.busy_until = max(stage.busy_until, packet.at + delay)
        yield Packet(stage.busy_until, packet.item)


@dataclass(frozen=True, slots=True)
class Bandwidth(Toxic):
    """
    At most *rate* bytes/s, for each connection and direction separately.

    Args:
        rate: In bytes/s, > 0. Toxiproxy's is in KB/s.
    """

    rate: float

    @property
    def max_held(self) -> int:
        return max(64 * 1024, int(self.rate / 10))  # 0.1 s of data, so that the next data arrives in time

    def __post_init__(self) -> None:
        number("Bandwidth", "rate", self.rate, low=0, above=True)

    def plan(self, stage: Stage, packet: Packet) -> Iterator[Packet]:
        stage.busy_until = max(stage.busy_until, packet.at)
        if isinstance(packet.item, End):
            yield Packet(stage.busy_until, packet.item)
            return
        size = max(1, int(self.rate * TICK))
        for start in range(0, len(packet.item), size):
            piece = packet.item[start : start + size]
            stage.busy_until += len(piece) / self.rate
            yield Packet(stage.busy_until, piece)


@dataclass(frozen=True, slots=True)
class Slicer(Toxic):
    """
    Data goes on in pieces of *size* ± *variation*, each in a write of its own. Without a delay the receiver's kernel
    may join them again.

    Args:
        size: In bytes, >= 1.
        delay: Between pieces, in seconds. Toxiproxy's is in µs.
        variation: In bytes, < size.
    """

    size: int
    delay: float = 0.0
    variation: int = 0

    def __post_init__(self) -> None:
        count("Slicer", "size", self.size, low=1)
        number("Slicer", "delay", self.delay, low=0)
        count("Slicer", "variation", self.variation, low=0)
        if self.variation >= self.size:
            raise ValueError(f"Slicer.variation must be < size ({self.size}), not {self.variation}")

    def plan(self, stage: Stage, packet: Packet) -> Iterator[Packet]:
        stage.busy_until = max(stage.busy_until, packet.at)
        if isinstance(packet.item, End):
            yield Packet(stage.busy_until, packet.item)
            return
        start = 0
        while start < len(packet.item):
            size = self.size + stage.rng.randint(-self.variation, self.variation)
            yield Packet(stage.busy_until, packet.item[start : start + size])
            start += size
            stage.busy_until += self.delay


@dataclass(frozen=True, slots=True)
class Limit(Toxic):
    """
    FIN to both sides once *max_bytes* have passed since it was added; counted for each connection separately.

    Args:
        max_bytes: >= 0; 0 strikes at the first byte.
    """

    max_bytes: int

    def __post_init__(self) -> None:
        count("Limit", "max_bytes", self.max_bytes, low=0)

    def plan(self, stage: Stage, packet: Packet) -> Iterator[Packet]:
        if isinstance(packet.item, End):
            yield packet
            return
        data = packet.item[: self.max_bytes - stage.passed]
        stage.passed += len(data)
        if data:
            yield Packet(packet.at, data)
        if stage.passed >= self.max_bytes:
            yield Packet(packet.at, End.CLOSE)


@dataclass(frozen=True, slots=True)
class Timeout(Toxic):
    """
    A pulled cable: nothing comes through, nor does an end. It comes when the toxic is removed (Toxiproxy drops it).

    Args:
        after: FIN to both sides after so many seconds from the start of the connection, or from when the toxic was
            added to an open one. None or 0 disables it; then a connection that both sides have closed is over.
    """

    after: float | None = None

    def __post_init__(self) -> None:
        if self.after is not None:
            number("Timeout", "after", self.after, low=0)

    def begin(self, stage: Stage, now: float) -> None:
        if self.after:
            stage.ending = Packet(now + self.after, End.CLOSE)

    def plan(self, stage: Stage, packet: Packet) -> Iterator[Packet]:
        yield Packet(math.inf, packet.item)


@dataclass(frozen=True, slots=True)
class Reset(Toxic):
    """
    RST to both sides instead of the first data: of the answer with "down", of the request with "up".

    `Link.reset_connections` also resets idle connections.

    Args:
        after: Seconds from that data to the RST.
    """

    after: float = 0.0

    def __post_init__(self) -> None:
        number("Reset", "after", self.after, low=0)

    def plan(self, stage: Stage, packet: Packet) -> Iterator[Packet]:
        if stage.ending is None and isinstance(packet.item, bytes):
            stage.ending = Packet(packet.at + self.after, End.RESET)
        yield packet if stage.ending is None else Packet(math.inf, packet.item)


@dataclass(frozen=True, slots=True)
class SlowClose(Toxic):
    """
    Ends, FIN or RST, come late; data does not.

    Args:
        delay: In seconds.
    """

    delay: float

    def __post_init__(self) -> None:
        number("SlowClose", "delay", self.delay, low=0)

    def plan(self, stage: Stage, packet: Packet) -> Iterator[Packet]:
        yield Packet(packet.at + self.delay, packet.item) if isinstance(packet.item, End) else packet


def parse(text: str) -> Toxic:
    """
    Parse a toxic such as ``Latency:0.1:0.02``: its name, then its settings in order.

    Raises:
        ValueError, TypeError: No toxic has that name, or it doesn't take these settings.
    """
    kinds: dict[str, Any] = {
        kind.__name__.lower(): kind for kind in (Bandwidth, Latency, Limit, Reset, Slicer, SlowClose, Timeout)
    }
    name, *words = text.split(":")
    kind = kinds.get(name.strip().lower())
    if kind is None:
        near = difflib.get_close_matches(name.lower(), kinds, n=1)
        hint = f"near: {kinds[near[0]].__name__}; " if near else ""
        raise ValueError(f"unknown toxic {name!r}; {hint}all: {', '.join(each.__name__ for each in kinds.values())}")
    if len(words) > len(fields(kind)):
        raise ValueError(f"{kind.__name__} takes at most {len(fields(kind))} settings, not {len(words)}")
    numbers: list[float] = []
    for setting, word in zip(fields(kind), words, strict=False):
        try:
            numbers.append(int(word) if word.isdecimal() else float(word))
        except ValueError:
            raise ValueError(f"{kind.__name__}.{setting.name} must be a number, not {word!r}") from None
    made: Toxic = kind(*numbers)
    return made
