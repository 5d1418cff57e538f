"""The request's body on an HTTP/2 stream: as fast as the windows and the socket allow, in turns with other bodies."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from ...errors import WriteTimeout
from ..message import CONTINUE_TIMEOUT, SLICE, Message
from ..progress import Progress
from ..socket import Waiting
from ..upload import pour
from .chatter import Chatter
from .dialogue import Dialogue
from .response import Response
from .shares import Shares

__all__ = ["Sending"]

HELD_UP_FOR: Final = 1.0  # s after which a wait for the connection's window says something, though the caller ended it
REFUSED: Final = 300  # a status from which on the server wants no more of the request


class _Line(Protocol):
    """The connection, as far as a body's way goes."""

    can_write: bool

    @property
    def dialogue(self) -> Dialogue[Any]: ...

    @property
    def chatter(self) -> Chatter: ...

    @property
    def shares(self) -> Shares: ...

    def progressed(self) -> None: ...

    def held_up(self, since: float) -> None: ...

    def flush(self) -> int: ...


class _Owner(Protocol):
    """The stream."""

    is_closed: bool
    response: Response

    def failure(self, kind: type[WriteTimeout], what: str) -> WriteTimeout: ...


class Sending(Waiting):
    """
    What comes after the head of *message*; see `Sink`.

    Args:
        timeout: Of a write, in seconds.
    Attributes:
        is_over: All was sent, and the stream is ended on this side.
    """

    __slots__ = (
        "_at", "_connection", "_is_held_up", "_message", "_number", "_part", "_progress", "_since", "_stream",
        "_timeout", "is_over",
    )  # fmt: skip

    _part: bytes
    _at: int  # B of the part that are sent
    _since: float  # when it began to wait, or sent something last
    _is_held_up: bool  # it has lacked nothing but the connection's window since it sent something last

    def __init__(self, connection: _Line, stream: _Owner, number: int, message: Message, progress: Progress) -> None:
        super().__init__()
        self._connection = connection
        self._stream = stream
        self._number = number
        self._message = message
        self._progress = progress
        self._timeout = message.timeouts.get("write")
        self.is_over = False

    def is_all_sent_at_once(self) -> bool:
        """Send a small body with its head; False where it is held, or too large for a slice or for the window."""
        content, connection, dialogue = self._message.content, self._connection, self._connection.dialogue
        if content is None or self._message.is_held or not connection.can_write:
            return False
        if self._stream.response.is_decided:  # while a trace function waited: the server may want none of it
            return False
        if len(content) > dialogue.window(self._number):
            return False
        size = dialogue.frame_size
        for begin in range(0, len(content), size):
            part = content[begin : begin + size]
            dialogue.send(self._number, part, is_end=begin + size >= len(content))
        connection.chatter.uploaded(len(content))
        self._progress.bytes_out += connection.flush()
        self.is_over = True
        return True

    async def run(self) -> bool:
        """Until all is sent or no more of it is wanted; returns whether all was."""
        shares = self._connection.shares
        shares.bodies += 1
        try:
            return await pour(self._message, self)
        finally:
            shares.bodies -= 1

    def is_refused(self) -> bool:
        """Whether nothing more of the request is wanted: its response says so, or the stream is over."""
        response = self._stream.response
        if self._stream.is_closed or response.is_reset or response.failure is not None or response.refusal is not None:
            return True
        return response.head is not None and response.head.status >= REFUSED

    async def is_expected(self) -> bool:
        response, until = self._stream.response, self._loop.time() + CONTINUE_TIMEOUT
        while not (response.is_continued or response.is_decided):
            if not await self._wait(until - self._loop.time()):
                break  # RFC 9110 section 10.1.1: a server need not say it
        return not response.is_decided

    async def is_sent(self, part: bytes) -> bool:
        shares = self._connection.shares
        self._part, self._at, self._since, self._is_held_up = part, 0, self._loop.time(), True
        try:
            while not self.is_refused():
                if self.is_part_sent:
                    return True
                if not self.sends_frame():
                    await self._room()
                elif shares.bodies > 1:
                    await asyncio.sleep(0)  # the others' turn
        finally:
            shares.leave(self)
        return False

    async def _room(self) -> None:
        """Wait for some, or until something else happens. Raises WriteTimeout."""
        connection, at = self._connection, self._at
        has_own = connection.dialogue.lanes[self._number].window > 0
        if has_own:
            connection.shares.join(self)
        self._is_held_up = self._is_held_up and has_own and connection.dialogue.shared_window <= 0
        left = None if self._timeout is None else self._since + self._timeout - self._loop.time()
        if not await self._wait(left) and self._at == at:  # else it had its turn just as its time was over
            if self._is_held_up:
                connection.held_up(self._since)
            raise self._stream.failure(WriteTimeout, f"nothing was taken for {self._timeout:g} s")

    @property
    def is_part_sent(self) -> bool:
        return self._at >= len(self._part)

    def sends_frame(self) -> bool:
        """Send a frame of the part; False if a window or the socket has no room, or the server wants no more."""
        connection, at = self._connection, self._at
        if self.is_refused() or not connection.can_write:
            return False
        dialogue = connection.dialogue
        room = min(dialogue.window(self._number), dialogue.frame_size, SLICE)
        if room <= 0:
            return False
        part = self._part[at : at + room]
        dialogue.send(self._number, part)
        connection.chatter.uploaded(len(part))
        connection.progressed()
        self._progress.bytes_out += connection.flush()
        self._at, self._since, self._is_held_up = at + len(part), self._loop.time(), True
        if self._timeout is not None:
            self._expires_at = self._since + self._timeout  # of a wait that goes on for the next frame
        return True

    def end(self) -> None:
        self._connection.dialogue.send(self._number, b"", is_end=True)
        self._progress.bytes_out += self._connection.flush()
        self.is_over = True

    def wake(self) -> None:
        """There may be room for more, or no need for it."""
        self._wake()

    def stop(self) -> None:
        """Nobody waits for room any more."""
        self._stop_timer()
        connection = self._connection
        if connection.shares.has(self) and self._is_held_up and self._loop.time() - self._since >= HELD_UP_FOR:
            connection.held_up(self._since)
