"""`DeadlineMiddleware`, for ASGI applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from ..config.propagation import TIMEOUT_HEADER
from ..core.deadline import deadline, remaining
from ..errors import DeadlineExceeded
from ._inbound import MAX_TIMEOUT, TOO_LATE, Inbound, is_late

__all__ = ["DeadlineMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class DeadlineMiddleware:
    """
    For ASGI applications (FastAPI, Starlette, ...): ``app.add_middleware(DeadlineMiddleware, max_timeout=10.0)``.

    An inbound request's timeout becomes the deadline of all calls made to answer it. A DeadlineExceeded that the
    application lets through is answered with 504 too, unless an answer was begun.

    Args:
        app: The application.
        header: The caller's header, in whole ms. As `Propagation.timeout_header`.
        min_timeout: Seconds below which a request is answered with 504 at once. None stands for 0.02, which an answer
            needs for its way back, or for *max_timeout* where that is less.
        max_timeout: Seconds that a request gets at most, whatever it asks for.
        default_timeout: Seconds for a request without the header; None sets no deadline.
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
        self._inbound = Inbound(header, min_timeout, max_timeout, default_timeout)
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
                if has_begun or remaining() or not is_late(error):
                    raise
                await _too_late(send)


async def _too_late(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(TOO_LATE))]
    await send({"type": "http.response.start", "status": 504, "headers": headers})
    await send({"type": "http.response.body", "body": TOO_LATE.encode()})
