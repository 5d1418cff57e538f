"""
Our wire beneath httpx's stock transport and httpcore's pool: the way that a patched attempt takes, see `mocks`.

Only a patched attempt imports it, because httpcore takes as long to load as all the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import httpcore
import httpx

from .mocks import is_patched

__all__ = ["WirePool", "WireTransport"]


class Undialled(httpcore.AsyncNetworkBackend):
    """Dials nothing: what goes round our wire would go round its DNS and its guard as well."""

    async def connect_tcp(self, *_: Any, **arguments: Any) -> NoReturn:
        raise RuntimeError(
            f"{httpcore.__name__} {httpcore.__version__}, which a tool has patched, would dial by itself, round "
            "seawall's wire and guard: install a release that seawall's requirements allow, or remove the tool"
        )

    connect_unix_socket = connect_tcp


class WirePool(httpcore.AsyncConnectionPool):
    """
    Our wire in the place of httpcore's pool, for one attempt. That pool's own code runs only where it is patched, and
    dials nothing, whatever a release of httpcore makes of our connection.

    Args:
        answer: Our wire, with httpcore's types.
    """

    def __init__(self, answer: Callable[[httpcore.Request], Awaitable[httpcore.Response]]) -> None:
        super().__init__(network_backend=Undialled())
        self._answer = answer

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        if is_patched(httpcore.AsyncConnectionPool):
            return await super().handle_async_request(request)
        return await self.create_connection(request.url.origin).handle_async_request(request)

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        return _Connection(_WireConnection(self._answer, origin), origin)


class _Connection(httpcore.AsyncHTTPConnection):
    """
    httpcore's own, which has dialled already: its entry point is where tools look on.

    A release that keeps what it has dialled under another name finds nothing, and then can't dial.
    """

    def __init__(self, connection: _WireConnection, origin: httpcore.Origin) -> None:
        super().__init__(origin, network_backend=Undialled())
        self._connection = self._below = connection

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        if is_patched(httpcore.AsyncHTTPConnection):
            return await super().handle_async_request(request)
        return await self._below.handle_async_request(request)


class _WireConnection(httpcore.AsyncConnectionInterface):
    """httpcore's connection below that, for its one request."""

    def __init__(
        self, answer: Callable[[httpcore.Request], Awaitable[httpcore.Response]], origin: httpcore.Origin
    ) -> None:
        self._answer = answer
        self._origin = origin

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        return await self._answer(request)

    async def aclose(self) -> None:
        """Its connection belongs to our wire."""

    def info(self) -> str:
        return "seawall"

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        return origin == self._origin

    def is_available(self) -> bool:
        return False

    def has_expired(self) -> bool:
        return False

    def is_idle(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False


class WireTransport(httpx.AsyncHTTPTransport):
    """httpx's stock transport, over our wire."""

    def __init__(self, pool: WirePool) -> None:
        attributes, name = self._stock()
        vars(self).update(attributes, **{name: pool})

    @classmethod
    @functools.cache
    def _stock(cls) -> tuple[dict[str, Any], str]:
        """All that httpx's constructor sets, and under which name its pool is; looked for by type, and once."""
        made = cls.__new__(cls)
        super(WireTransport, made).__init__(verify=False, trust_env=False)
        for name, value in vars(made).items():
            if isinstance(value, httpcore.AsyncConnectionPool):
                return vars(made), name
        raise RuntimeError(
            f"{httpx.__name__} {httpx.__version__}, which a tool has patched, has no pool that seawall's wire can take "
            "the place of: install a release that seawall's requirements allow, or remove the tool"
        )
