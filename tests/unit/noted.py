"""A transport that notes what it is told, in place of a socket."""

from __future__ import annotations

import asyncio

__all__ = ["Noted", "now", "turns"]


class Noted(asyncio.Transport):
    """Takes all that is written, and reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_reading = True
        self._is_closing = False

    def write(self, data: bytes) -> None:
        self.written += data

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


async def turns() -> None:
    """All tasks go on as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def now() -> float:
    return asyncio.get_running_loop().time()
