"""One query that the server received, for logs and tests."""

from __future__ import annotations

from dataclasses import dataclass

from .plan import Transport

__all__ = ["Query"]


@dataclass(frozen=True, slots=True)
class Query:
    """
    Attributes:
        at: When it came, in seconds on `time.monotonic`.
        name, kind: Both are empty if the message was not a query.
        port: The source port of the client.
        done: What the server did, in words: ``NOERROR 127.0.0.1 after 300 ms``, ``silence``, ``truncated``.
    """

    at: float
    name: str
    kind: str
    transport: Transport
    done: str
    port: int = 0

    def __str__(self) -> str:
        return f"{self.transport} {self.kind or '?'} {self.name or '?'}: {self.done}"
