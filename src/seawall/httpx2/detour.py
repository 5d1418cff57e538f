# Written by scripts/twin.py from ../_httpx/detour.py: change that file, and run the script.
"""
Our wire beneath httpx2's stock transport and httpcore2's pool: the way that a patched attempt takes, see `mocks`.

Only a patched attempt imports it, because httpcore2 takes as long to load as all the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import httpcore2
import httpx2

from .mocks import is_patched

__all__ = ["WirePool", "WireTransport"]


class Undialled(httpcore2.AsyncNetworkBackend):
    """Dials nothing: what goes round our wire would go round its DNS and its guard as well."""

    async def connect_tcp(self, *_: Any, **arguments: Any) -> NoReturn:
        raise RuntimeError(
            f"{httpcore2.__name__} {httpcore2.__version__}, which a tool has patched, would dial by itself, round "
            "seawall's wire and guard: install a release that seawall's requirements allow, or remove the tool"
        )

    connect_unix_socket = connect_tcp


class WirePool(httpcore2.AsyncConnectionPool):
    """
    Our wire in the place of httpcore2's pool, for one attempt. That pool's own code runs only where it is patched, and
    dials nothing, whatever a release of httpcore2 makes of our connection.

    Args:
        answer: Our wire, with httpcore2's types.
    """

    def __init__(self, answer: Callable[[httpcore2.Request], Awaitable[httpcore2.Response]]) -> None:
        super().__init__(network_backend=Undialled())
        self._answer = answer

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        if is_patched(httpcore2.AsyncConnectionPool):
            return await super().handle_async_request(request)
        return await self.create_connection(request.url.origin).handle_async_request(request)

    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.AsyncConnectionInterface:
        return _Connection(_WireConnection(self._answer, origin), origin)


class _Connection(httpcore2.AsyncHTTPConnection):
    """
    httpcore2's own, which has dialled already: its entry point is where tools look on.

    A release that keeps what it has dialled under another name finds nothing, and then can't dial.
    """

    def __init__(self, connection: _WireConnection, origin: httpcore2.Origin) -> None:
        super().__init__(origin, network_backend=Undialled())
        self._connection = self._below = connection

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        if is_patched(httpcore2.AsyncHTTPConnection):
            return await super().handle_async_request(request)
        return await self._below.handle_async_request(request)


class _WireConnection(httpcore2.AsyncConnectionInterface):
    """httpcore2's connection below that, for its one request."""

    def __init__(
        self, answer: Callable[[httpcore2.Request], Awaitable[httpcore2.Response]], origin: httpcore2.Origin
    ) -> None:
        self._answer = answer
        self._origin = origin

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        return await self._answer(request)

    async def aclose(self) -> None:
        """Its connection belongs to our wire."""

    def info(self) -> str:
        return "seawall"

    def can_handle_request(self, origin: httpcore2.Origin) -> bool:
        return origin == self._origin

    def is_available(self) -> bool:
        return False

    def has_expired(self) -> bool:
        return False

    def is_idle(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False


class WireTransport(httpx2.AsyncHTTPTransport):
    """httpx2's stock transport, over our wire."""

    def __init__(self, pool: WirePool) -> None:
        attributes, name = self._stock()
        vars(self).update(attributes, **{name: pool})

    @classmethod
    @functools.cache
    def _stock(cls) -> tuple[dict[str, Any], str]:
        """All that httpx2's constructor sets, and under which name its pool is; looked for by type, and once."""
        made = cls.__new__(cls)
        super(WireTransport, made).__init__(verify=False, trust_env=False)
        for name, value in vars(made).items():
            if isinstance(value, httpcore2.AsyncConnectionPool):
                return vars(made), name
        raise RuntimeError(
            f"{httpx2.__name__} {httpx2.__version__}, which a tool has patched, has no pool that seawall's wire can take "
            "the place of: install a release that seawall's requirements allow, or remove the tool"
        )
