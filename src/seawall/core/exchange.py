"""The seam at the bottom: what the layers need of a request, of whatever sends it, and of what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from ..config import Policy
from ..errors import SeawallError
from ..events import BodyEnd, History
from ..origin import Origin
from ..policy.outcome import Outcome

__all__ = ["INSIDE", "Exchange", "Reply", "Request", "is_nested"]


class Request(Protocol):
    """
    A request of the library's, as the layers see it; the same for all attempts of a hop.

    Attributes:
        path: Without the query.
        timeouts: connect, read, write, pool, in seconds; None or missing sets no limit.
        options: Settings of this one call.
        body: The same object over redirects.
        is_repeated: What its attempts lead to is repeated with them, if they fail.
    """

    origin: Origin
    method: str
    path: str
    timeouts: Mapping[str, float | None]
    options: Policy | None
    body: object
    is_repeated: bool

    @property
    def has_key(self) -> bool:
        """Whether it carries an Idempotency-Key."""

    def add(self, name: str, value: str) -> None:
        """Have the attempts from now on carry this header, in place of the request's own, which stays as it is."""

    def is_replayable(self) -> bool:
        """Whether the request's body can be sent from its beginning."""

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        """What *partition* says of the library's request."""

    def adopt(self, error: SeawallError) -> Exception:
        """The same error, of the library's class too."""


class Reply(Protocol):
    """
    What came of one attempt. It owns its connection and its body.

    Attributes:
        response: The library's, opaque here.
        is_whole: Nothing of its body is left to be read.
    """

    response: Any
    is_whole: bool

    def outcome(self) -> Outcome:
        """What its head means."""

    async def read(self) -> None:
        """The body into memory, as part of the attempt."""

    def own(self, over: Callable[[BodyEnd, Exception | None], None]) -> None:
        """Have *over* called once, when the body has ended, with how it did; at once, if it has ended."""

    async def discard(self) -> None:
        """Drain what little is left, so that the reply `is_whole`; or close."""

    def keep(self) -> None:
        """Another attempt is made meanwhile: what is kept is not the object that users' functions were shown."""

    def abandon(self) -> None:
        """Close now, without waiting."""

    def shown(self) -> Any:
        """The response as users' predicates see it: its body is there, unless it is streamed."""

    def attach(self, history: History) -> None:
        """Show the history on the response."""


class Exchange(Protocol):
    """
    What sends requests: our wire, or any transport of the library. Its errors are of the library's classes.

    An *attempt* is an `AttemptState`.
    """

    async def send(self, request: Any, attempt: Any) -> Reply:
        """
        Up to the response's headers; where the body is read at once and was there with them, up to its end.

        **Cancellation:** the connection is closed, its slot given back.
        """

    def failure(self, error: Exception, attempt: Any) -> Outcome | None:
        """What an error means; None: it isn't the transport's, and is raised as it is."""

    def blame(self, request: Any, attempt: Any) -> None:
        """Count a failure against the address that the attempt was sent to, where it was sent to one."""


INSIDE: ContextVar[Request | None] = ContextVar("seawall_inside", default=None)
"""The request whose attempt this task is part of, by way of another transport than our wire."""


def is_nested() -> bool:
    """Whether all that this task does is repeated anyway where it fails, so that another layer would multiply it."""
    outer = INSIDE.get()
    return outer is not None and outer.is_repeated
