"""Time that takes none."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["VirtualLoop"]


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An event loop whose clock starts at 0 and jumps to the next timer whenever there is nothing else to do.

    Every timeout, delay and TTL of a client runs on the loop's clock, so a scenario of minutes takes milliseconds, and
    its instants are exact. Not for real sockets: the clock would not wait for them.

    With anyio's pytest plugin::

        @pytest.fixture
        def anyio_backend():
            return "asyncio", {"loop_factory": VirtualLoop}
    """

    def __init__(self) -> None:
        self._virtual_now = 0.0
        super().__init__(_Jumping(selectors.DefaultSelector(), self._jump))

    def time(self) -> float:
        return self._virtual_now

    def _jump(self, delay: float) -> None:
        self._virtual_now += delay


class _Jumping(selectors.BaseSelector):
    """A selector that, in place of waiting, moves the clock."""

    def __init__(self, inner: selectors.BaseSelector, jump: Callable[[float], None]) -> None:
        self._inner = inner
        self._jump = jump

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.get_key(fileobj)

    def close(self) -> None:
        self._inner.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return self._inner.select(None)  # no timer: only a thread or a socket can bring news
        ready = self._inner.select(0)
        if not ready and timeout > 0:
            self._jump(timeout)
        return ready
