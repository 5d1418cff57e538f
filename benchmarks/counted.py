"""A server that counts what is in flight at it, because only there it is seen how many a fleet sends at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable

__all__ = ["Counted"]


class Counted:
    """
    A server on loopback that counts the requests that it has at the same time.

    Args:
        hold: Awaited for each request, given its path, before it is answered.
    Attributes:
        now, most: Requests at the moment, and the most so far.
        clients: For each path how many it has at the moment.
        busy: Seconds of requests that have ended.
        took: Seconds from the first request to the last one's end.
    """

    def __init__(self, hold: Callable[[str], Awaitable[object]]) -> None:
        self._hold = hold
        self.now = 0
        self.clients: Counter[str] = Counter()
        self.changed = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self.most = 0
        self.busy = self.took = 0.0
        self._began_at = math.inf

    async def serve(self, address: str) -> str:
        """Begin; returns the URL."""
        self._server = await asyncio.start_server(self._connection, address, 0, backlog=1024)
        return "http://{}:{}".format(*self._server.sockets[0].getsockname())

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self.changed.clear()
            await self.changed.wait()

    async def aclose(self) -> None:
        self._server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                left = asyncio.create_task(reader.read(1))  # a client that is killed leaves
                try:
                    is_left = await self._request(head.split()[1], left)
                finally:
                    left.cancel()
                    await asyncio.wait([left])
                if is_left:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _request(self, path: str, left: asyncio.Task[bytes]) -> bool:
        self._count(path, 1)
        began_at = time.monotonic()
        self._began_at = min(began_at, self._began_at)
        held = asyncio.create_task(self._held(path))
        try:
            await asyncio.wait((held, left), return_when=asyncio.FIRST_COMPLETED)
            return left.done()
        finally:
            held.cancel()
            ended_at = time.monotonic()
            self.busy += ended_at - began_at
            self.took = ended_at - self._began_at
            self._count(path, -1)

    async def _held(self, path: str) -> bytes:
        await self._hold(path)
        return b""

    def _count(self, path: str, more: int) -> None:
        self.now += more
        self.clients[path] += more
        self.most = max(self.most, self.now)
        self.changed.set()
