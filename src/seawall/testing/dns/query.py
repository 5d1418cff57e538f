"""One query that came, for logs and tests."""

from __future__ import annotations

from dataclasses import dataclass

from .plan import Transport

__all__ = ["Query"]


@dataclass(frozen=True, slots=True)
class Query:
    """
    Attributes:
        at: s, of the loop's clock, which is `time.monotonic` but for virtual time.
        name, kind: Both empty: it was no query.
        port: The sender's: its source port.
        done: In words: ``NOERROR 127.0.0.1 after 300 ms``, ``silence``, ``truncated``.
    """

    at: float
    name: str
    kind: str
    transport: Transport
    done: str
    port: int = 0

    def __str__(self) -> str:
        return f"{self.transport} {self.kind or '?'} {self.name or '?'}: {self.done}"
