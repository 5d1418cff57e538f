"""
An HTTP/1.1 connection that may speak another protocol after a response (RFC 9110 section 7.8), and what came of that.

Rules: what nobody takes isn't read on, so a peer can't fill the memory.
"""

from __future__ import annotations

import ssl
from contextvars import Context
from typing import Final

from ...route import Destination
from ..connection import Pooled

__all__ = ["HIGH_WATER", "Upgradable"]

HIGH_WATER: Final = 256 * 1024  # B; the connection pauses reading while its caller has more than that to take


class Upgradable(Pooled):
    """
    Attributes:
        is_upgraded: It speaks another protocol.
        tunnelled: What came of that.
    """

    __slots__ = ("_has_ended", "_is_paused", "_may_lag", "is_upgraded", "tunnelled")

    def __init__(self, origin: Destination, buffer: memoryview, *, is_secure: bool = False) -> None:
        super().__init__(origin, buffer, is_secure=is_secure)
        self.is_upgraded = False
        self.tunnelled = bytearray()
        self._has_ended = self._is_paused = self._may_lag = False

    @property
    def is_readable(self) -> bool:
        """Bytes of the other protocol have come, or the connection's end, whoever ended it."""
        return self._has_ended or self.is_closed or bool(self.tunnelled)

    def _tunnel(self, data: bytes) -> None:
        self.tunnelled += data
        if len(self.tunnelled) > HIGH_WATER:
            self._pause()
        self._wake()

    async def handshake(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        """As `Socket.handshake`; bytes that came before are an error, because they would pass for protected ones."""
        if self.tunnelled:
            raise ConnectionAbortedError("the peer sent bytes before TLS began, which nothing protects")
        await super().handshake(context, server_hostname)

    async def receive(self, max_bytes: int, timeout: float | None) -> bytes | None:
        """Some bytes of the other protocol, ``b""`` at its end, None after *timeout* s. RuntimeError: another reads."""
        until = None if timeout is None else self._loop.time() + timeout
        while not self.tunnelled:
            if self._has_ended or self.is_closed:
                return b""
            if not await self._wait(None if until is None else until - self._loop.time()):
                return None
        data = bytes(self.tunnelled[:max_bytes])
        del self.tunnelled[:max_bytes]
        self._resume()
        return data

    def _pause(self) -> None:
        if not self._is_paused and self._transport is not None and not self.is_closed:
            self._is_paused = self._may_lag = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None and not self.is_closed:
            self._is_paused = False
            Context().run(self._transport.resume_reading)  # it keeps the one that it is called in
