"""
A request's body on its way: a task beside the one that waits for the response, because either may end first.

Rules: it ends with its exchange. Whoever ends the exchange stops it, and waits no longer than `STOP_TIMEOUT` for what
the caller's iterator does about it, so a response that has come is not held up. The task raises nothing: the exchange
looks at what failed, because it knows what has come meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from ..errors import WireError
from .message import Message, slices

__all__ = ["STOP_TIMEOUT", "Sink", "Upload", "pour"]

STOP_TIMEOUT: Final = 0.05  # s for the clean-up of the caller's iterator; after that it goes on by itself


class Sink(Protocol):
    """Where a body goes."""

    def is_refused(self) -> bool:
        """Nothing more of the request is wanted."""

    async def is_expected(self) -> bool:
        """Wait for 100 Continue, but not long: False where the response comes in its place."""

    async def is_sent(self, part: bytes) -> bool:
        """Send *part* as fast as the server takes it; False where it wants no more."""

    def end(self) -> None:
        """That was all."""


class Upload:
    """
    Args:
        send: Sends the body, and returns whether all of it was sent; see `pour`.
        changed: Called when it is stopped, and once it is over.
    Attributes:
        is_going: More may be sent: it is neither over nor stopped.
        is_over: The caller's iterator is closed.
        is_whole: All was sent.
        error: What it failed with, such as an error of the caller's own iterator. What fails after it was stopped
            doesn't matter, because nobody wants the body.
    """

    __slots__ = ("_changed", "_gives_up_at", "_task", "error", "is_going", "is_over", "is_whole")

    def __init__(self, send: Callable[[], Coroutine[Any, Any, bool]], changed: Callable[[], None]) -> None:
        self._changed = changed
        self._gives_up_at = 0.0
        self.is_going = True
        self.is_over = self.is_whole = False
        self.error: BaseException | None = None
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._run(send))
        self._task.add_done_callback(self._ended)

    async def _run(self, send: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        try:
            self.is_whole = await send()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # the exchange raises it; the caller's iterator may have awaited
            if self.is_going:  # a task that was cancelled
                self.error = error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.is_going, self.is_over = False, True
        self._task = None  # it may hold its error, which holds its frames, which hold this
        self._changed()
        del self._changed  # what it belongs to holds this

    @property
    def has_failed(self) -> bool:
        """Whether it failed by an error of the caller's own, for which a complete response doesn't make up."""
        return self.error is not None and not isinstance(self.error, WireError)

    def stop(self) -> None:
        """Now, and only once, because a second cancellation would cut short how the caller's iterator cleans up."""
        if self.is_going and self._task is not None:
            self.is_going = False
            self._gives_up_at = self._task.get_loop().time() + STOP_TIMEOUT
            self._task.cancel()
            self._changed()

    async def stopped(self) -> None:
        """Stop it, and wait until it is over; at most `STOP_TIMEOUT` from when it was stopped first."""
        self.stop()
        if self._task is not None:
            left = self._gives_up_at - self._task.get_loop().time()
            await asyncio.wait([self._task], timeout=max(0.0, left))

    async def settled(self) -> None:
        """The response is complete: raise an error of the caller's, else wait as `stopped` does."""
        if self.has_failed:
            self.raise_error()
        await self.stopped()

    def raise_error(self) -> None:
        """What it failed with, once."""
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # it holds this frame


async def pour(message: Message, sink: Sink) -> bool:
    """A message's body into *sink*, part by part, until all is sent or no more is wanted; returns whether all was."""
    if message.block.expects and not await sink.is_expected():
        return False
    size, parts = 0, aiter(message.body if message.content is None else slices(message.content))
    try:
        async for part in parts:
            if not isinstance(part, bytes):  # len() of an array isn't its bytes, and would frame it wrongly
                part = memoryview(part).tobytes()
            size = message.counted(size, part)
            if not await sink.is_sent(part):
                return False
    finally:
        if (close := getattr(parts, "aclose", None)) is not None:
            await close()
    message.counted(size, None)
    if sink.is_refused():
        return False
    sink.end()
    return True
