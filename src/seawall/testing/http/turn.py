"""One request that is about to be answered by a step."""

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
    What a step is given.

    Attributes:
        number: The request is the n-th of its key, from 1.
        memory: What steps keep between the requests of one key.
        base_url: The server's, by address.
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
            raise BadStep(f"{self.step} can be had over HTTP/1.1 only, and this is {wire.protocol}")
        return wire

    @property
    def body(self) -> bytes:
        """What a good answer says: whose it is. A client that shows another's was given the wrong one."""
        return json.dumps({"key": self.key, "attempt": self.number, "step": str(self.step)}).encode()

    async def reply(self, status: int = 200, fields: Mapping[str, str] | None = None) -> None:
        """*status*, and whose answer it is."""
        await self.request.reply(status, self.body, {"content-type": "application/json"} | dict(fields or {}))

    async def write(self, data: bytes) -> None:
        """Bytes of an HTTP/1.1 answer, as they are."""
        await self.connection.send(self.request, data)
