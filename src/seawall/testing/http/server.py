"""A server on loopback that answers with one function of yours, down to the bytes."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from ..service import Service
from .port import Incoming, Port
from .request import Request

__all__ = ["Handler", "Request", "Server"]

Handler = Callable[[Request], Coroutine[Any, Any, None]]


class Server(Service):
    """
    A server that is one async function of a `Request`.

    ``async with Server(handler) as server``, or ``with`` for tests without a loop.

    Attributes:
        requests: All requests, in order, with their bodies. Tests count here, never in the client.
    """

    def __init__(
        self, handler: Handler, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._handler = handler
        self._tls = tls
        self._asked = port
        self._port: Port | None = None
        self.host = host
        self.requests: list[Request] = []

    @property
    def port(self) -> int:
        return self._listening.port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return self._listening.open

    @property
    def peak(self) -> int:
        """The most connections that were open at once."""
        return self._listening.peak

    @property
    def connections(self) -> int:
        """All connections that were accepted."""
        return self._listening.connections

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """The number of requests by method and target."""
        return Counter((request.method, request.target) for request in self.requests)

    @property
    def _listening(self) -> Port:
        if self._port is None:
            raise RuntimeError("Server is not running: enter it with `async with` or `with`")
        return self._port

    async def _open(self) -> None:
        self._port = Port("server", (self._meet,), self._serve, host=self.host, port=self._asked)
        self._port.listen()

    async def _close(self) -> None:
        if self._port is not None:
            await self._port.aclose()

    def _check(self) -> None:
        for failure in self._listening.failures:
            raise failure

    async def _meet(self, incoming: Incoming) -> None:
        await incoming.serve(self._tls)

    async def _serve(self, request: Request) -> None:
        await request.read()
        self.requests.append(request)
        await self._handler(request)
