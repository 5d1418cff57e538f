"""What a call does at its bottom: the seam between the layers and whatever sends a request."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from ..config import Policy
from ..errors import SeawallError
from ..events import BodyEnd, History
from ..origin import Origin
from ..policy.outcome import Outcome
from ..wire.progress import Progress

__all__ = ["INSIDE", "Exchange", "Pacer", "is_nested"]

R = TypeVar("R")


class Pacer(Protocol):
    """Is told of the parts of a body that is streamed."""

    is_repeated: bool  # what the attempt leads to is repeated with it, if it fails

    def sent(self) -> None:
        """One of the request's."""

    def received(self, size: int) -> None:
        """One of the response's, *size* bytes long."""


class Exchange(Protocol[R]):
    """
    What a call does at its bottom. Its responses `R` are opaque here, its errors already of httpx's classes.

    Attributes:
        timeouts: connect, read, write, pool; s, None or missing: none.
        options: Settings of this one call.
        body: The request's, the same object over redirects.
        is_buffered: The response's body is read at once, by `read`: it belongs to the attempt.
    """

    origin: Origin
    method: str
    timeouts: Mapping[str, float | None]
    options: Policy | None
    body: object
    is_buffered: bool

    @property
    def has_key(self) -> bool:
        """The request carries an Idempotency-Key."""

    def add(self, name: str, value: str) -> None:
        """Have the attempts from now on carry this header, in place of the request's own; that stays as it is."""

    def is_replayable(self) -> bool:
        """Whether the request's body can be sent from its beginning."""

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        """What *partition* says of the request."""

    async def send(self, progress: Progress, pacer: Pacer) -> R:
        """Up to the response's headers; where the body is read at once and was there with them, up to its end."""

    def waited(self, now: float) -> float:
        """Seconds that the attempt has waited for the caller to give parts of the request's body."""

    def is_whole(self, response: R) -> bool:
        """Nothing of its body is left to be read."""

    async def read(self, response: R, pacer: Pacer) -> None:
        """The response's body into memory."""

    def own(self, response: R, over: Callable[[BodyEnd, Exception | None], None]) -> None:
        """Have *over* called once, when the response's body ended, with how it did; at once, if it has ended."""

    async def discard(self, response: R) -> None:
        """Drain what little is left, so that the response `is_whole`; or close."""

    def kept(self, response: R) -> R:
        """What is kept of a response that was discarded, while another attempt is made: not the object itself."""

    def abandon(self, response: R) -> None:
        """Close now, without waiting."""

    def outcome(self, response: R, progress: Progress) -> Outcome:
        """What the response means."""

    def failure(self, error: Exception, progress: Progress) -> Outcome | None:
        """What an error means; None: it's none of the transport's, and is raised as it is."""

    def blame(self, progress: Progress) -> None:
        """Count a failure against the address that the attempt was sent to, where it was sent to one."""

    def adopt(self, error: SeawallError) -> Exception:
        """The same error, of httpx's class too."""

    def shown(self, response: R) -> R:
        """The response as users' predicates see it: its body is there, unless it is streamed."""

    def attach(self, response: R, history: History) -> None:
        """Show the history on the response."""


INSIDE: ContextVar[Pacer | None] = ContextVar("seawall_inside", default=None)
"""The hop whose attempt this task is part of, by way of another transport than our wire."""


def is_nested() -> bool:
    """Whether all that this task does is repeated anyway where it fails, so that another layer would multiply it."""
    outer = INSIDE.get()
    return outer is not None and outer.is_repeated
