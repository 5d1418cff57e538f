"""
A request's body on its way: a task beside whoever waits for the answer, because either may end first.

Rules: it ends with its exchange. Whoever ends that stops it, and what may send the same body again waits for its end.
The task raises nothing: what failed is looked at by the exchange, which knows what has come meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Upload"]


class Upload:
    """
    Args:
        send: Sends the body; returns whether all of it was sent.
        changed: Called once it is over, whatever ended it.
    Attributes:
        is_over: Nothing more is going to be sent.
        is_whole: All was sent.
        error: What it failed with, such as an error of the caller's own iterator.
    """

    __slots__ = ("_changed", "_task", "error", "is_over", "is_whole")

    def __init__(self, send: Callable[[], Coroutine[Any, Any, bool]], changed: Callable[[], None]) -> None:
        self._changed = changed
        self.is_over = self.is_whole = False
        self.error: Exception | None = None
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._run(send))
        self._task.add_done_callback(self._ended)

    async def _run(self, send: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        try:
            self.is_whole = await send()
        except Exception as error:  # noqa: BLE001  # the exchange raises it
            self.error = error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.is_over = True
        self._task = None  # it may hold its error, that its frames, and they this
        self._changed()
        del self._changed  # what it belongs to holds this

    def stop(self) -> None:
        """Now; `stopped` waits for what the caller's iterator does about it."""
        if self._task is not None:
            self._task.cancel()

    async def stopped(self) -> None:
        """Stop it, and wait until it is over: only then may another attempt send the same body."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def raise_error(self) -> None:
        """What it failed with, once."""
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # it holds this frame
