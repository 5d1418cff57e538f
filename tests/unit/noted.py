"""In place of a socket and of a clock: a transport that notes what it is told, and an instant that is set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

__all__ = ["At", "Dripping", "Noted", "now", "turns"]


class At:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Noted(asyncio.Transport):
    """Takes all that is written, and reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_reading = True
        self._is_closing = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    abort = close

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass


class Dripping:
    """A body that waits after its first part, and, once it is stopped, goes on cleaning up until `go_on` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go_on = asyncio.Event()
        self.is_stopped = self.is_closed = False
        self.cancellations = 0
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"x"
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.is_stopped = True
            self.cancellations += 1
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.cancellations += 1
                raise
            self.is_closed = True
            if self._error is not None:
                raise self._error


async def turns() -> None:
    """All tasks go on as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def now() -> float:
    return asyncio.get_running_loop().time()
