"""
A connection as httpcore's network stream: ``response.extensions["network_stream"]``, as httpx-ws uses it.

It has that one's methods and errors, but is no subclass: httpcore takes as long to load as all the rest, and most calls
never ask for it.
"""

from __future__ import annotations

import asyncio
import ssl
from types import ModuleType
from typing import Any, Self

from .http1.connection import Connection
from .socket import Stream

__all__ = ["Facts", "Tunnel"]

NOT_UPGRADED = "the server didn't switch protocols: the connection speaks HTTP, and serves other requests too"
NAMES = {"client_addr": "sockname", "server_addr": "peername"}


class Facts:
    """What there is to know of a connection that others share: `get_extra_info`, and nothing else."""

    def __init__(self, connection: Stream) -> None:
        self._stream = connection

    def get_extra_info(self, info: str) -> Any:
        return self._stream.info(NAMES.get(info, info))


class Tunnel(Facts):
    """
    Reads and writes past HTTP, after 101 or CONNECT. Of any other connection there is only `get_extra_info`, because
    that goes on to serve other requests while somebody may still hold this.

    Raises:
        httpcore.ReadError, WriteError, ReadTimeout, WriteTimeout: As httpcore's own streams do.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        httpcore = _httpcore()
        if not self._connection.is_upgraded:
            raise httpcore.ReadError(NOT_UPGRADED)
        data = await self._connection.receive(max_bytes, timeout)
        if data is None:
            raise httpcore.ReadTimeout(f"nothing came for {timeout:g} s")
        if not data and self._connection.error is not None:
            raise httpcore.ReadError(str(self._connection.error)) from self._connection.error
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        httpcore = _httpcore()
        if not self._connection.is_upgraded:
            raise httpcore.WriteError(NOT_UPGRADED)
        try:
            if not await self._connection.transmit(buffer, timeout):
                raise httpcore.WriteTimeout(f"nothing was taken for {timeout:g} s")
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        if self._connection.is_upgraded:
            self._connection.close_softly()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Self:
        httpcore = _httpcore()
        if not self._connection.is_upgraded:
            raise httpcore.ConnectError(NOT_UPGRADED)
        try:
            async with asyncio.timeout(timeout):
                await self._connection.handshake(ssl_context, server_hostname)
        except TimeoutError as error:
            self._connection.close()
            raise httpcore.ConnectTimeout(f"no TLS within {timeout:g} s") from error
        except OSError as error:
            self._connection.close()
            raise httpcore.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._connection.has_ended or bool(self._connection.tunnelled)
        return super().get_extra_info(info)


def _httpcore() -> ModuleType:
    """Loaded at a tunnel's first use, and not as it fails: then there may be no descriptor to read a module with."""
    import httpcore

    return httpcore
