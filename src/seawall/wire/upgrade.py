"""
A connection as httpcore's network stream: ``response.extensions["network_stream"]``, as httpx-ws uses it.

It has that one's methods and errors, but isn't a subclass, because httpcore takes as long to load as all the rest, and
most calls never ask for it. So does its successor's, for whose clients there is `core`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, Self

from .socket import Socket

__all__ = ["Facts", "Tunnel", "Upgradable"]

NOT_UPGRADED = "the server didn't switch protocols: the connection speaks HTTP, and serves other requests too"
NAMES = {"client_addr": "sockname", "server_addr": "peername"}


class Upgradable(Protocol):
    """A connection that may come to speak another protocol."""

    error: Exception | None

    @property
    def is_readable(self) -> bool:
        """Bytes have come, or the connection's end."""

    def info(self, name: str) -> Any: ...

    async def receive(self, max_bytes: int, timeout: float | None) -> bytes | None: ...

    async def transmit(self, data: bytes, timeout: float | None) -> bool: ...

    async def handshake(self, context: ssl.SSLContext, server_hostname: str | None) -> None: ...

    def close(self) -> None: ...

    def close_softly(self) -> None: ...


class Facts:
    """
    What there is to know of a connection that others share: `get_extra_info`, and nothing else.

    Whoever makes one sets its connection, because each response has one, and a constructor would cost a call.
    """

    __slots__ = ("connection",)

    connection: Socket

    def get_extra_info(self, info: str) -> Any:
        return self.connection.info(NAMES.get(info, info))


class Tunnel:
    """
    Reads and writes past HTTP, after 101 or CONNECT. After any other response there is only `get_extra_info`, because
    the connection goes on to serve other requests while somebody may still hold this.

    Attributes:
        core: Imports httpcore, or what it is called where the request came from; called at a tunnel's first use, and
            not as it fails, when there may be no descriptor left to read it with.
        is_open: The response switched protocols.
    Raises:
        httpcore.ReadError, WriteError, ReadTimeout, WriteTimeout: As httpcore's own streams do.
    """

    __slots__ = ("connection", "core", "is_open")

    connection: Upgradable
    core: Callable[[], ModuleType]
    is_open: bool

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        httpcore = self.core()
        if not self.is_open:
            raise httpcore.ReadError(NOT_UPGRADED)
        data = await self.connection.receive(max_bytes, timeout)
        if data is None:
            raise httpcore.ReadTimeout(f"nothing came for {timeout:g} s")
        if not data and self.connection.error is not None:
            raise httpcore.ReadError(str(self.connection.error)) from self.connection.error
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        httpcore = self.core()
        if not self.is_open:
            raise httpcore.WriteError(NOT_UPGRADED)
        try:
            if not await self.connection.transmit(buffer, timeout):
                raise httpcore.WriteTimeout(f"nothing was taken for {timeout:g} s")
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        if self.is_open:
            self.connection.close_softly()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Self:
        httpcore = self.core()
        if not self.is_open:
            raise httpcore.ConnectError(NOT_UPGRADED)
        try:
            async with asyncio.timeout(timeout):
                await self.connection.handshake(ssl_context, server_hostname)
        except TimeoutError as error:
            self.connection.close()
            raise httpcore.ConnectTimeout(f"no TLS within {timeout:g} s") from error
        except OSError as error:
            self.connection.close()
            raise httpcore.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self.connection.is_readable
        return self.connection.info(NAMES.get(info, info))
