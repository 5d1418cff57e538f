"""
A request's body on its way: a task beside whoever waits for the answer, because either may end first.

Rules: it ends with its exchange. Whoever ends that stops it, and waits no longer than `STOP_TIMEOUT` for what the
caller's iterator does about it: an answer that is there is not held up by that. The task raises nothing: what failed is
looked at by the exchange, which knows what has come meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..errors import WireError

__all__ = ["STOP_TIMEOUT", "Upload"]

STOP_TIMEOUT: Final = 0.05  # s for the clean-up of the caller's iterator; after that it goes on by itself


class Upload:
    """
    Args:
        send: Sends the body; returns whether all of it was sent.
        changed: Called when it is stopped, and once it is over.
    Attributes:
        is_going: More may be sent: it is neither over nor stopped.
        is_over: The caller's iterator is closed.
        is_whole: All was sent.
        error: What it failed with, such as an error of the caller's own iterator. What fails after it was stopped is of
            no matter, because nobody wants the body.
    """

    __slots__ = ("_changed", "_gives_up_at", "_task", "error", "is_going", "is_over", "is_whole")

    def __init__(self, send: Callable[[], Coroutine[Any, Any, bool]], changed: Callable[[], None]) -> None:
        self._changed = changed
        self._gives_up_at = 0.0
        self.is_going = True
        self.is_over = self.is_whole = False
        self.error: Exception | None = None
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._run(send))
        self._task.add_done_callback(self._ended)

    async def _run(self, send: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        try:
            self.is_whole = await send()
        except Exception as error:  # noqa: BLE001  # the exchange raises it
            if self.is_going:
                self.error = error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.is_going, self.is_over = False, True
        self._task = None  # it may hold its error, that its frames, and they this
        self._changed()
        del self._changed  # what it belongs to holds this

    @property
    def has_failed(self) -> bool:
        """Whether a complete answer doesn't make up for the error, because it is the caller's and not the server's."""
        return self.error is not None and not isinstance(self.error, WireError)

    def stop(self) -> None:
        """Now, and only once: a second cancellation would cut short how the caller's iterator cleans up."""
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
        """The answer is complete: raise an error of the caller's, else wait as `stopped` does."""
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
