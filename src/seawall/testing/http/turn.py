"""One request that a step is about to answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from .connection import Connection
from .request import Request
from .step import BadStep, Step

__all__ = ["Turn"]


@dataclass(slots=True)
class Turn:
    """
    The argument of a step.

    Attributes:
        number: The request's number among those with its key, from 1.
        memory: What steps remember between the requests with one key.
        base_url: The server's URL, with its address.
        wall: Seconds since 1970, for dates.
    """

    request: Request
    key: str
    number: int
    step: Step
    base_url: str
    rng: Random
    wall: float
    memory: dict[str, float] = field(default_factory=dict)

    @property
    def connection(self) -> Connection:
        """Its HTTP/1.1 connection."""
        wire = self.request.wire
        if not isinstance(wire, Connection):
            raise BadStep(f"{self.step} needs HTTP/1.1, and this request came over {wire.protocol}")
        return wire

    @property
    def body(self) -> bytes:
        """The body of a good answer: which request it answers, so that a test sees when a client mixes answers up."""
        return json.dumps({"key": self.key, "attempt": self.number, "step": str(self.step)}).encode()

    async def reply(self, status: int = 200, fields: Mapping[str, str] | None = None) -> None:
        """Send *status*, and say which request it answers."""
        await self.request.reply(status, self.body, {"content-type": "application/json"} | dict(fields or {}))

    async def write(self, data: bytes) -> None:
        """Send bytes of an HTTP/1.1 answer, as they are."""
        await self.connection.send(self.request, data)
