"""One stream of an HTTP/2 connection as both sides see it: which side may still send, how much. Source: RFC 9113."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from .compression import Field
from .credit import Credit

__all__ = ["L", "Lane", "Listener"]


class Listener(Protocol):
    """A stream, as far as it is told what came."""

    def got_head(self, fields: tuple[Field, ...], *, is_end: bool) -> None:
        """A block of headers: of its response, of an interim one, or trailers."""

    def got_data(self, data: bytes, size: int, *, is_end: bool) -> None:
        """A part of its body, and the *size* by which the windows are smaller, padding included."""

    def got_reset(self, code: int) -> None:
        """It is over on both sides, because either has reset it."""

    def wake(self) -> None:
        """There may be room for more of the request."""


L = TypeVar("L", bound=Listener)


class Lane(Credit, Generic[L]):
    """
    One stream's state (section 5.1).

    Attributes:
        is_sent, is_answered: We have, or the server has, ended it.
        is_reset: Either has broken it off.
    """

    __slots__ = ("is_answered", "is_reset", "is_sent", "listener")

    def __init__(self, listener: L, window: int, room: int, *, is_sent: bool) -> None:
        super().__init__(window, room)
        self.listener = listener
        self.is_sent = is_sent
        self.is_answered = self.is_reset = False

    @property
    def is_over(self) -> bool:
        return self.is_reset or (self.is_sent and self.is_answered)
