"""The request's body on an HTTP/1.1 connection: in slices, as fast as the server takes them."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from ...errors import WriteTimeout
from ..message import CONTINUE_TIMEOUT, SLICE, Message
from ..progress import Progress
from ..upload import pour
from .response import Response

__all__ = ["Sending"]

REFUSED: Final = 300  # a status from which on the server wants no more of the request


class _Line(Protocol):
    """The connection, as far as a body's way goes."""

    can_write: bool

    @property
    def is_closing(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    async def wait_writable(self, until: float | None) -> bool: ...

    def is_serving(self, response: Response) -> bool: ...

    def failure(self, kind: type[WriteTimeout], what: str) -> WriteTimeout: ...


class Sending:
    """
    What the head of *message* left of it; see `Sink`.

    Args:
        response: To the same message.
        timeout: Of a write, in seconds.
    """

    def __init__(
        self, connection: _Line, message: Message, response: Response, progress: Progress, timeout: float | None
    ) -> None:
        self._connection = connection
        self._message = message
        self._response = response
        self._progress = progress
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()

    async def run(self) -> bool:
        """Until all is sent or no more of it is wanted; returns whether all was."""
        return await (pour(self._message, self) if self._message.is_held else self._is_drained())

    def is_refused(self) -> bool:
        """Whether nothing more of the request is wanted: the response says so, or the exchange is over."""
        response, connection = self._response, self._connection
        if response.failure is not None or not connection.is_serving(response) or connection.is_closing:
            return True
        return response.has_head and response.status >= REFUSED

    async def is_expected(self) -> bool:
        response, until = self._response, self._loop.time() + CONTINUE_TIMEOUT
        while not (response.is_continued or response.has_head or response.failure is not None):
            if not await self._connection.wait_writable(until):
                break  # RFC 9110 section 10.1.1: a server need not say it
        return not response.has_head

    async def is_sent(self, part: bytes) -> bool:
        for begin in range(0, len(part), SLICE):
            if self.is_refused():
                return False
            self._write(self._message.part(part[begin : begin + SLICE]))
            if not self._connection.can_write and not await self._is_drained():
                return False
        return True

    def end(self) -> None:
        self._write(self._message.end)

    def _write(self, data: bytes) -> None:
        self._progress.bytes_out += len(data)
        self._connection.write(data)

    async def _is_drained(self) -> bool:
        """Wait until the peer has taken enough of a slice; False where it wants no more. Raises WriteTimeout."""
        connection, timeout = self._connection, self._timeout
        until = None if timeout is None else self._loop.time() + timeout
        while not (connection.can_write or self.is_refused()):
            if not await connection.wait_writable(until):
                raise connection.failure(WriteTimeout, f"too little was taken within {timeout:g} s")
        return connection.can_write
