"""What a call does at its bottom: the seam between the layers and whatever sends a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from .errors import SeawallError
from .events import History, Progress
from .origin import Origin
from .policy.outcome import Outcome
from .settings import Policy

__all__ = ["Exchange"]

R = TypeVar("R")


class Exchange(Protocol[R]):
    """
    What a call does at its bottom. Its responses `R` are opaque here, its errors already of httpx's classes.

    Attributes:
        timeouts: connect, read, write, pool; s, None or missing: none.
        options: Settings of this one call.
        is_buffered: The response's body is read at once, by `read`: it belongs to the attempt.
    """

    origin: Origin
    method: str
    timeouts: Mapping[str, float | None]
    options: Policy | None
    is_buffered: bool

    @property
    def has_key(self) -> bool:
        """The request carries an Idempotency-Key."""

    def is_replayable(self) -> bool:
        """Whether the request's body can be sent from its beginning."""

    def watch(self, sent: Callable[[], None]) -> None:
        """Have *sent* called for each part of a request body that is streamed."""

    async def send(self, progress: Progress) -> R:
        """Up to the response's headers."""

    async def read(self, response: R, received: Callable[[int], None]) -> None:
        """The response's body into memory; *received* is told of each part's size."""

    def own(self, response: R, release: Callable[[], None]) -> None:
        """Have *release* called once, when the response's body is closed."""

    async def discard(self, response: R) -> None:
        """Drain what little is left, or close."""

    def abandon(self, response: R) -> None:
        """Close now, without waiting."""

    def outcome(self, response: R, progress: Progress) -> Outcome:
        """What the response means."""

    def failure(self, error: Exception, progress: Progress) -> Outcome | None:
        """What an error means; None: it's none of the transport's, and is raised as it is."""

    def adopt(self, error: SeawallError) -> Exception:
        """The same error, of httpx's class too."""

    def attach(self, response: R, history: History) -> None:
        """Show the history on the response."""
