"""
Tools that patch httpx or httpcore: mocks take an entry point's place, instrumentation wraps it.

Rules: wherever either is patched, the attempt passes both, as it would with httpx: it is sent by httpx's stock
transport, whose pool is httpcore's, whose connection is our wire. So a mock answers as it does for httpx, and what a
tool lets through (production traffic that is watched, a pass-through route) goes the way that it goes without the tool.
What is whose is told by ``__module__`` and ``__wrapped__`` at each attempt: a patch may come and go, and seawall may be
imported after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpcore
import httpx

__all__ = ["WirePool", "WireTransport", "is_any_patched", "is_patched"]


class WirePool(httpcore.AsyncConnectionPool):
    """
    Our wire in the place of httpcore's pool, for one attempt; that pool's own code runs only where it is patched.

    Args:
        answer: Our wire, with httpcore's types.
    """

    def __init__(self, answer: Callable[[httpcore.Request], Awaitable[httpcore.Response]]) -> None:
        super().__init__()
        self._answer = answer

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        if is_patched(httpcore.AsyncConnectionPool):
            return await super().handle_async_request(request)
        return await self._answer(request)

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        return _WireConnection(self._answer, origin)


class _WireConnection(httpcore.AsyncConnectionInterface):
    """What httpcore's own pool gets for its one request."""

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
        self._pool = pool


def is_patched(owner: type) -> bool:
    """Whether *owner*'s entry point is replaced (by one of another module) or wrapped."""
    function = owner.handle_async_request  # type: ignore[attr-defined]
    module = getattr(function, "__module__", None) or ""
    return hasattr(function, "__wrapped__") or module.partition(".")[0] != owner.__module__.partition(".")[0]


def is_any_patched() -> bool:
    """Whether httpx's transport is, or httpcore's pool. The answer for the functions that were seen last is kept."""
    functions = httpx.AsyncHTTPTransport.handle_async_request, httpcore.AsyncConnectionPool.handle_async_request
    if functions not in _KNOWN:
        _KNOWN.clear()
        _KNOWN[functions] = is_patched(httpx.AsyncHTTPTransport) or is_patched(httpcore.AsyncConnectionPool)
    return _KNOWN[functions]


_KNOWN: dict[object, bool] = {}
