"""A request as a server got it, and the means to answer, badly if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

__all__ = ["Gone", "Request", "Wire"]

WITHOUT_BODY = frozenset({204, 304, *range(100, 200)})  # RFC 9110 section 6.4.1


class Gone(Exception):
    """The client went away."""


class Wire(Protocol):
    """What a request needs of its connection."""

    protocol: str

    async def read(self, request: Request, limit: int | None) -> bool: ...
    async def answer(self, request: Request, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    async def begin(self, request: Request, status: int, headers: list[tuple[str, str]]) -> None: ...
    async def send(self, request: Request, data: bytes) -> None: ...
    async def flushed(self) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...
    def abort(self) -> None: ...


class Request:
    """
    One request as the server got it, and the means to answer, badly if need be.

    Attributes:
        headers: By lower-case name, the last of each; `fields` has all, in order, as they came.
        body: As far as it was read.
        connection: Number of its connection at this server, from 1.
        number: Number of this request on that connection, from 1.
        is_complete: The whole body was read.
        is_answered: The head of an answer, no interim one, was sent.
        on_read: Called when more of the body was read.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        method: str,
        target: str,
        version: str,
        fields: list[tuple[str, str]],
        connection: int,
        number: int,
        stream: int = 0,
    ) -> None:
        self._wire = wire
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields
        self.headers = {name.lower(): value for name, value in fields}
        self.body = b""
        self.connection = connection
        self.number = number
        self.stream = stream
        self.is_complete = False
        self.is_answered = False
        self.on_read: Callable[[Request], None] | None = None

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} number {self.number} of connection {self.connection}>"

    @property
    def wire(self) -> Wire:
        """Its connection."""
        return self._wire

    async def read(self, limit: int | None = None) -> bytes:
        """
        The body, or no more than its first *limit* bytes and what came with them; says "100 Continue" if asked to.

        Raises:
            Gone: The client went away before its end.
        """
        if not self.is_complete:
            try:
                self.is_complete = await self._wire.read(self, limit)
            finally:
                if self.on_read is not None:
                    self.on_read(self)
        return self.body

    async def reply(
        self, status: int = 200, body: bytes = b"ok", fields: Mapping[str, str] | None = None, **headers: str
    ) -> None:
        """A good answer; ``retry_after="1"`` becomes ``retry-after: 1``, as does *fields* ``{"retry-after": "1"}``."""
        given = list((fields or {}).items()) + [(name.replace("_", "-"), value) for name, value in headers.items()]
        if status in WITHOUT_BODY:
            body = b""
        elif not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in given):
            given.insert(0, ("content-length", str(len(body))))
        self.is_answered = True
        await self._wire.answer(self, status, given, b"" if self.method == "HEAD" else body)

    async def send(self, data: bytes) -> None:
        """Just these bytes; over HTTP/2, as the stream's data."""
        await self._wire.send(self, data)

    async def begin(self, status: int = 200, fields: Mapping[str, str] | None = None) -> None:
        """Status line and headers (over HTTP/2: HEADERS) alone."""
        self.is_answered = True
        await self._wire.begin(self, status, list((fields or {}).items()))

    async def hang(self) -> None:
        """Say nothing more, until the client goes."""
        await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """FIN, after a close_notify over TLS; what the client still sends is read, so that no RST follows."""
        self._wire.close()

    def abort(self) -> None:
        """FIN, without a close_notify over TLS."""
        self._wire.abort()

    def reset(self) -> None:
        """RST."""
        self._wire.reset()
