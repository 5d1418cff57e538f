"""
What HTTP/1.1 and HTTP/2 have in common: a connection as the pool keeps it, and a channel, which carries one exchange.

Rules: nobody asks which of the two a connection is. What differs is a method, or the flag that says whether several
exchanges share one connection.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, Protocol

from ..origin import Address, Origin
from ..route import Destination, origin_of
from .addresses import Load
from .message import Head, Message
from .progress import Progress
from .socket import Socket
from .trace import Trace
from .upload import Upload

__all__ = ["Channel", "Gathered", "Pooled"]


class Gathered(Protocol):
    """
    A body that is wanted whole.

    Attributes:
        size: Bytes of it that have come.
    """

    size: int


class Channel(Protocol):
    """
    What carries one request and its response: an HTTP/1.1 connection while it is in use, or a stream of HTTP/2.

    First `send`, then `whole` or `body`, perhaps after `gather`, then `finish`; or `leave`, or `put_back`, where
    nothing was sent on it.

    Attributes:
        name: What httpcore's trace events begin with.
        protocol: As people write it.
        is_multiplexed: It shares its connection with others.
        is_upgraded: It speaks another protocol now (101, CONNECT).
        good_until: From then on the address may have left the name's record, in loop time.
        upload: The request's body, where that was not sent at once.
    """

    name: ClassVar[str]
    protocol: ClassVar[str]
    is_multiplexed: ClassVar[bool]
    is_upgraded: bool
    upload: Upload | None

    @property
    def address(self) -> Address | None: ...

    @property
    def good_until(self) -> float: ...

    @good_until.setter
    def good_until(self, instant: float) -> None: ...

    @property
    def is_usable(self) -> bool:
        """A request can be sent on it."""

    @property
    def extensions(self) -> dict[str, Any]:
        """httpx's, of the response whose head is there."""

    async def send(self, message: Message, progress: Progress, trace: Trace | None = None) -> Head:
        """
        Send a request, and read the response's head; one below 300 may come while the body is still being sent.

        **Cancellation:** it is closed, as after any failure.

        Raises:
            WireError: What failed.
            InvalidRequest: The body has another length than the headers say, or HTTP/2 can't carry the request.
            Exception: What the caller's own iterator of body parts raised.
        """

    def whole(self) -> bytes | None:
        """The response's body, if all of it has come, and the request is all sent."""

    def gather(self, came: Callable[[int], None], max_size: int | None) -> Gathered | None:
        """
        Before `body`: its bytes are wanted whole, so it may give them as one part, at their end.

        Args:
            came: Called with the size of each piece that comes until then.
            max_size: In bytes; parts of a larger body are given as they come, so that whoever reads them can stop.
        Returns:
            What is gathered; None if it gives the parts as they come.
        """

    def body(self) -> AsyncIterator[bytes]:
        """
        The parts of the response's body, as they come; it ends once the request is sent too.

        Raises:
            WireError: What failed; a ConnectionLost where another task closed the response meanwhile.
            RuntimeError: Another task waits for a part already.
            Exception: What the caller's own iterator of body parts raised.
        """

    def finish(self) -> None:
        """After the body, or instead of its rest: the connection is kept if all was read and sent."""

    def close(self) -> None:
        """Now, whatever has come."""

    def leave(self) -> None:
        """Instead of an exchange: the connection must not be used any more."""

    def put_back(self) -> None:
        """Instead of an exchange: the connection serves others."""


class Pooled(Socket):
    """
    A connection, as the dialler opens it and the pool keeps it.

    Attributes:
        protocol: As people write it.
        is_multiplexed: Several exchanges share it, so it isn't anybody's while it is in use.
        origin: What the pool keeps it for, with the way there, where that isn't straight.
        address: Where it goes; None until it is known.
        good_until: From then on the address may have left the name's record, in loop time.
        ends_at: From then on it is too old to be used again.
        keep_for: Seconds that it may be idle and the server, by its Keep-Alive header, still has it; None where the
            server didn't say.
        rests_until: Until then it isn't used again, because a body may come that the server must not send.
        load: What is in flight to its address, itself included while it is in use; None where nobody counts it.
        on_room: Called with it when one of several exchanges is over.
        on_idle: Called with it and the instant when its last exchange is over, and it can be used again.
    """

    __slots__ = (
        "address",
        "ends_at",
        "good_until",
        "keep_for",
        "load",
        "on_idle",
        "on_room",
        "origin",
        "rests_until",
    )

    protocol: ClassVar[str]
    is_multiplexed: ClassVar[bool]

    def __init__(self, origin: Destination, buffer: memoryview, *, is_secure: bool = False) -> None:
        super().__init__(buffer, is_secure=is_secure)
        self.origin = origin
        self.address: Address | None = None
        self.good_until = self.ends_at = math.inf
        self.keep_for: float | None = None
        self.rests_until = 0.0
        self.load: Load | None = None
        self.on_room: Callable[[Pooled], None] = _nothing
        self.on_idle: Callable[[Pooled, float], None] = _nothing

    @property
    def where(self) -> str:
        """Where it leads, for messages."""
        return f"{self.origin} at {self.address}"

    @property
    def plain_origin(self) -> Origin:
        """The origin of its requests, whatever the way there."""
        return origin_of(self.origin)

    @property
    @abstractmethod
    def is_usable(self) -> bool:
        """It takes an exchange: it is open, and, where it can have only one, idle."""

    @property
    @abstractmethod
    def has_room(self) -> bool:
        """It takes an exchange at once."""

    @abstractmethod
    def channel(self) -> Channel:
        """A channel for the next exchange."""

    @abstractmethod
    def has_unseen(self) -> bool:
        """Whether something came that the loop, which was busy, has not looked at yet, and that says it is over."""

    @abstractmethod
    def agrees(self, chosen: str | None, *, can_fall_back: bool) -> bool:
        """
        The handshake is over: begin, unless the server chose another protocol.

        Args:
            chosen: By ALPN.
            can_fall_back: HTTP/1.1 may be spoken instead.
        Raises:
            ssl.SSLError: The server chose what was not offered.
        """

    @abstractmethod
    def retire(self) -> None:
        """It takes no new exchange; the end comes with the last."""


def _nothing(*_: object) -> None:
    """In place of a callback."""
