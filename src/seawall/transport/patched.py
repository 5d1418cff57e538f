"""
Tools that patch httpx: mocks take an entry point's place, instrumentation wraps it.

Rules: a mock (from another module, wrapping nothing) gets the attempt through the stock transport, as it would with
httpx. Instrumentation (``__wrapped__``) gets it on a stock transport whose pool is our wire: what production sends
never goes another way because somebody watches. Looked up at each attempt: a patch may come and go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpcore
import httpx

__all__ = ["WirePool", "WireTransport", "is_instrumented", "is_mocked"]


class WirePool(httpcore.AsyncConnectionPool):
    """
    Our wire in the place of httpcore's pool, for one attempt whose way is instrumented.

    Args:
        answer: Our wire, with httpcore's types.
    """

    def __init__(self, answer: Callable[[httpcore.Request], Awaitable[httpcore.Response]]) -> None:
        super().__init__()
        self._answer = answer

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        if is_instrumented(httpcore.AsyncConnectionPool):
            return await super().handle_async_request(request)
        return await self._answer(request)

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        return _WireConnection(self._answer, origin)


class _WireConnection(httpcore.AsyncConnectionInterface):
    """What httpcore's own pool uses for its one request, where that pool is instrumented."""

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


def _is_patched(owner: type) -> bool:
    function = owner.handle_async_request  # type: ignore[attr-defined]
    module = getattr(function, "__module__", None) or ""
    return hasattr(function, "__wrapped__") or module.partition(".")[0] != owner.__module__.partition(".")[0]


def is_instrumented(owner: type) -> bool:
    """Wrapped by a tool that calls the original (OpenTelemetry, VCR, ...)."""
    return _is_patched(owner) and hasattr(owner.handle_async_request, "__wrapped__")  # type: ignore[attr-defined]


def is_mocked(owner: type) -> bool:
    """Replaced (respx, pytest-httpx, ...): from another module, and it wraps nothing."""
    return _is_patched(owner) and not hasattr(owner.handle_async_request, "__wrapped__")  # type: ignore[attr-defined]
