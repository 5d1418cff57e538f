"""The seam at the bottom: what the layers need of a request, of the exchange that sends it, and of its reply."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from ..config import Policy
from ..errors import SeawallError
from ..events import History
from ..origin import Origin
from ..policy.outcome import Outcome
from ..wire.body import Over, Reading

__all__ = ["INSIDE", "Exchange", "Reply", "Request", "is_nested"]


class Request(Protocol):
    """
    A request of the library's, as the layers see it; the same for all attempts of a hop.

    Attributes:
        path: The URL's path, without the query.
        timeouts: connect, read, write, pool, in seconds; None or missing sets no limit.
        options: Settings of this one call.
        body: The request's body, the same object over redirects.
        streamed: Stands in for a body that isn't in memory, so that two attempts can't send it at once; else None.
        is_repeated: Its attempts are repeated if they fail, and all that they lead to with them.
        is_straight: The origin itself is dialled, from any address of this machine.
    """

    origin: Origin
    method: str
    path: str
    timeouts: Mapping[str, float | None]
    options: Policy | None
    body: object
    is_repeated: bool
    is_straight: bool

    @property
    def streamed(self) -> object: ...

    @property
    def has_key(self) -> bool:
        """Whether it carries an Idempotency-Key."""

    def add(self, name: str, value: str) -> None:
        """Have later attempts carry this header in place of the request's own; the request stays as it is."""

    def is_replayable(self) -> bool:
        """Whether the request's body can be sent from its beginning."""

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        """The part that *partition* puts the library's request into."""

    def adopt(self, error: SeawallError) -> Exception:
        """*error* as the caller gets it: a new one, which is of the library's class too, unless it has such a class."""


class Reply(Protocol):
    """
    The reply to one attempt. It owns its connection and its body.

    Attributes:
        response: The library's, opaque here.
        is_whole: Its body was read to the end.
    """

    response: Any
    is_whole: bool

    def outcome(self) -> Outcome:
        """The outcome that its head means."""

    async def read(self) -> None:
        """Read the body into memory, as part of the attempt."""

    def own(self, over: Over, reading: Reading | None = None) -> None:
        """
        Have *over* called once with how the body ended, when it does; at once, if it has.

        Args:
            reading: Is given the body's parts when it is read, and returns them to the reader.
        """

    async def discard(self) -> None:
        """Drain the rest if it is little, so that the reply `is_whole`; else close."""

    def keep(self) -> None:
        """Keep the reply while another attempt is made, in another object than users' functions were shown."""

    def abandon(self) -> None:
        """Close now, without waiting."""

    def shown(self) -> Any:
        """The response as users' predicates see it: its body is there, unless it is streamed."""

    def attach(self, history: History) -> None:
        """Show the history on the response."""


class Exchange(Protocol):
    """
    Sends requests: over our wire, or any transport of the library. Its errors are of the library's classes.

    An *attempt* is an `AttemptState`.
    """

    async def send(self, request: Any, attempt: Any) -> Reply:
        """
        Send, and wait for the response's headers; for a body that is read at once too, if it came with them.

        **Cancellation:** the connection is closed, and its slot is given back.
        """

    def failure(self, error: Exception, attempt: Any) -> Outcome | None:
        """The outcome that an error means; None if it isn't the transport's, so that it is raised as it is."""

    def blame(self, request: Any, attempt: Any) -> None:
        """Count a failure against the address that the attempt was sent to, if it was sent to one."""


INSIDE: ContextVar[Request | None] = ContextVar("seawall_inside", default=None)
"""The request whose attempt this task is part of, through another transport than our wire."""


def is_nested() -> bool:
    """Whether all that this task does is repeated anyway if it fails, so that another layer would multiply it."""
    outer = INSIDE.get()
    return outer is not None and outer.is_repeated
