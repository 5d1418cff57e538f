"""
An inbound request's timeout becomes the deadline of all calls that are made to answer it: for ASGI and for aiohttp.

Rules: the header is relative (clocks differ), in ms, and read from callers who may be wrong: what is no number is
ignored, and nobody gets longer than `max_timeout`. A request that has less than `min_timeout` left is answered with 504
unhandled: an answer would come too late, so what a stranger asks for in 1 ms must not cost an upstream a request. To
raise it to the minimum instead would have the service work for a caller that has given up.
Nothing of the handler's own is cancelled; only calls of seawall end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..config.check import number
from ..config.propagation import TIMEOUT_HEADER, check_header
from ..core.deadline import deadline, remaining
from ..errors import DeadlineExceeded

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

__all__ = ["DeadlineMiddleware", "deadline_middleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_TIMEOUT: Final = 60.0  # s; nginx's and most load balancers' own
MIN_TIMEOUT: Final = 0.02  # s; as Propagation.margin: what an answer needs for its way back
TOO_LATE: Final = b"the deadline that the request came with has passed\n"


def parse_timeout(value: str | None, *, max_timeout: float) -> float | None:
    """
    Seconds that an inbound header gives, at most *max_timeout*; garbage is None.

    Args:
        value: Whole milliseconds, >= 0.
    """
    if value is None or not (value.isascii() and value.strip().isdigit()):
        return None
    return min(max_timeout, int(value) / 1000.0) if len(value) < 16 else max_timeout


class _Inbound:
    """What both frameworks' middlewares know: the header's name, and the bounds."""

    def __init__(
        self, header: str, min_timeout: float | None, max_timeout: float, default_timeout: float | None
    ) -> None:
        check_header("header", header)
        number("middleware", "max_timeout", max_timeout, low=0, above=True)
        if min_timeout is None:
            min_timeout = min(MIN_TIMEOUT, max_timeout)
        number("middleware", "min_timeout", min_timeout, low=0, high=max_timeout)
        if default_timeout is not None:
            number("middleware", "default_timeout", default_timeout, low=0, high=max_timeout, above=True)
        self.header = header
        self._min_timeout = min_timeout
        self._max_timeout = max_timeout
        self._default_timeout = default_timeout

    def timeout(self, value: str | None) -> float | None:
        """s that a request has; 0: too little to begin with it; None: nobody said."""
        timeout = parse_timeout(value, max_timeout=self._max_timeout)
        if timeout is None:
            return self._default_timeout
        return timeout if timeout >= self._min_timeout else 0.0


class DeadlineMiddleware:
    """
    For ASGI applications (FastAPI, Starlette, ...): ``app.add_middleware(DeadlineMiddleware, max_timeout=10.0)``.

    A DeadlineExceeded that the application lets through is answered with 504 too, unless an answer was begun.

    Args:
        app: The application.
        header: What the caller sends, in whole ms. As `Propagation.timeout_header`.
        min_timeout: s below which a request is answered with 504 at once. None stands for 0.02, which an answer needs
            for its way back, or for *max_timeout* where that is less.
        max_timeout: s that a request gets at most, whatever it asks for.
        default_timeout: s for a request without the header; None: no deadline.
    Raises:
        TypeError, ValueError: A setting that can't be.
    """

    def __init__(
        self,
        app: App,
        *,
        header: str = TIMEOUT_HEADER,
        min_timeout: float | None = None,
        max_timeout: float = MAX_TIMEOUT,
        default_timeout: float | None = None,
    ) -> None:
        self._app = app
        self._inbound = _Inbound(header, min_timeout, max_timeout, default_timeout)
        self._name = header.lower().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        value = None
        if scope["type"] == "http":
            value = next((value.decode("latin-1") for name, value in scope["headers"] if name == self._name), None)
        timeout = self._inbound.timeout(value) if scope["type"] == "http" else None
        if timeout is None:
            await self._app(scope, receive, send)
            return
        if timeout == 0:
            await _too_late(send)
            return
        has_begun = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        with deadline(timeout):
            try:
                await self._app(scope, receive, sending)
            except (DeadlineExceeded, BaseExceptionGroup) as error:
                if has_begun or remaining() or not _is_late(error):
                    raise
                await _too_late(send)


def _is_late(error: BaseException) -> bool:
    """A deadline that passed, or several at once, as task groups raise them."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_late, error.exceptions))
    return isinstance(error, DeadlineExceeded)


async def _too_late(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(TOO_LATE))]
    await send({"type": "http.response.start", "status": 504, "headers": headers})
    await send({"type": "http.response.body", "body": TOO_LATE})


def deadline_middleware(
    *,
    header: str = TIMEOUT_HEADER,
    min_timeout: float | None = None,
    max_timeout: float = MAX_TIMEOUT,
    default_timeout: float | None = None,
) -> Middleware:
    """
    The same for aiohttp: ``web.Application(middlewares=[deadline_middleware(max_timeout=10.0)])``.

    Args:
        header, min_timeout, max_timeout, default_timeout: See `DeadlineMiddleware`.
    """
    from aiohttp import web

    inbound = _Inbound(header, min_timeout, max_timeout, default_timeout)

    def has_begun(request: web.Request) -> bool:
        """Whether an answer's headers were written, or wait for the first bytes of its body."""
        return request.writer.output_size > 0 or getattr(request.writer, "_headers_buf", None) is not None

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        timeout = inbound.timeout(request.headers.get(inbound.header))
        if timeout is None:
            return await handler(request)
        if timeout == 0:
            raise web.HTTPGatewayTimeout(text=TOO_LATE.decode())
        with deadline(timeout):
            try:
                return await handler(request)
            except (DeadlineExceeded, BaseExceptionGroup) as error:
                if has_begun(request) or remaining() or not _is_late(error):
                    raise
                raise web.HTTPGatewayTimeout(text=TOO_LATE.decode()) from error

    return middleware
