"""`deadline_middleware`, for aiohttp's server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from ..config.propagation import TIMEOUT_HEADER
from ..core.deadline import deadline, remaining
from ..errors import DeadlineExceeded
from ._inbound import MAX_TIMEOUT, TOO_LATE, Inbound, is_late

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

__all__ = ["deadline_middleware"]


def deadline_middleware(
    *,
    header: str = TIMEOUT_HEADER,
    min_timeout: float | None = None,
    max_timeout: float = MAX_TIMEOUT,
    default_timeout: float | None = None,
) -> Middleware:
    """
    For aiohttp's server: ``web.Application(middlewares=[deadline_middleware(max_timeout=10.0)])``.

    An inbound request's timeout becomes the deadline of all calls made to answer it.

    Args:
        header, min_timeout, max_timeout, default_timeout: See `seawall.integrations.asgi.DeadlineMiddleware`.
    Raises:
        TypeError, ValueError: A setting that can't be.
    """
    inbound = Inbound(header, min_timeout, max_timeout, default_timeout)

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        timeout = inbound.timeout(request.headers.get(inbound.header))
        if timeout is None:
            return await handler(request)
        if timeout == 0:
            raise web.HTTPGatewayTimeout(text=TOO_LATE)
        with deadline(timeout):
            try:
                return await handler(request)
            except (DeadlineExceeded, BaseExceptionGroup) as error:
                if _has_begun(request) or remaining() or not is_late(error):
                    raise
                raise web.HTTPGatewayTimeout(text=TOO_LATE) from error

    return middleware


def _has_begun(request: web.Request) -> bool:
    """Whether an answer's headers were written, or wait for the first bytes of its body."""
    return request.writer.output_size > 0 or getattr(request.writer, "_headers_buf", None) is not None
