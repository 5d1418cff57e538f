"""`call.Exchange` over a transport of httpx's or the user's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

from ..core.exchange import INSIDE, Pacer
from ..errors import SeawallError
from ..events import Phase
from ..wire.pool import Pool
from ..wire.progress import Progress
from .exchange import DRAIN_TIMEOUT, Body, Exchange
from .proxies import check_refusal

__all__ = ["OverTransport"]

logger = logging.getLogger("seawall")


class OverTransport(Exchange):
    """
    Over a transport of httpx or of the user's. It takes a slot of the client-wide cap, until its body is closed.

    Whether anything was sent is told by the class of the error, and only for httpx's own transports: others have been
    seen to call a lost connection a ConnectTimeout.
    """

    def __init__(
        self,
        request: httpx.Request,
        send: Callable[[httpx.Request], Awaitable[httpx.Response]],
        pool: Pool,
        *,
        is_trusted: bool,
        max_size: int | None,
        closing: set[asyncio.Task[None]],
    ) -> None:
        super().__init__(request, max_size=max_size)
        self._send = send
        self._closing = closing
        self._pool = pool
        self._foreign: _Foreign | None = None  # the body of the attempt, if it isn't in memory
        self.is_trusted = is_trusted

    async def send(self, progress: Progress, pacer: Pacer) -> httpx.Response:
        self.watch(progress, pacer)
        pool, pool_timeout = self._pool, self.timeouts.get("pool")
        left = None if pool_timeout is None else max(0.0, pool_timeout - progress.waited)
        give_back = await pool.take_slot(left, self.origin)
        response: httpx.Response | None = None
        self._foreign = None
        request = self.outgoing()
        try:
            progress.reached(Phase.CONNECTING)
            token = INSIDE.set(pacer)
            try:
                response = await self._send(request)
            finally:
                INSIDE.reset(token)
            progress.reached(Phase.HEADERS)
            if not isinstance(response.stream, httpx.AsyncByteStream):
                raise TypeError(f"{self._send!r} must return a response with an async stream, not {response.stream!r}")
            if not (isinstance(response.stream, httpx.ByteStream) or response.is_closed):
                response.stream = self._foreign = _Foreign(response.stream, self._closing)
            elif isinstance(response.stream, httpx.ByteStream) and not response.is_stream_consumed:
                self._check_size(len(b"".join(response.stream)))
            await self._decoded(response, pacer)
        except SeawallError:
            # Ours of the body; another seawall's, or one that an application below let through, which says nothing of
            # OUR request.
            progress.reached(Phase.SENDING)
            give_back()
            raise
        except BaseException as error:
            give_back()
            if self.is_trusted and isinstance(error, httpx.ProxyError):
                check_refusal(error, self.origin)
            raise
        super().own(response, lambda end, error: give_back())
        if isinstance(response.stream, Body) and self._max_size is not None and not self.is_buffered:
            response.stream.watch(self._check_size)
        return response

    async def read(self, response: httpx.Response, pacer: Pacer) -> None:
        """A stream that broke is closed before its error is handed on, as with httpx; a cancellation doesn't wait."""
        try:
            await super().read(response, pacer)
        except asyncio.CancelledError:
            raise
        except BaseException:
            if self._foreign is not None:
                await self._foreign.closed()
            raise

    def _closer(self, stream: object) -> Callable[[], None]:
        if isinstance(stream, Body) or self._foreign is None:
            return super()._closer(stream)
        return self._foreign.close_soon


class _Foreign(httpx.AsyncByteStream):
    """
    A stream of another transport's, which is closed in a task of its own.

    Only an await closes it, and the caller may be being cancelled; and what that transport does there may take longer
    than a deadline allows.

    Args:
        closing: Where the task is noted: closing the client waits for it.
    """

    def __init__(self, stream: httpx.AsyncByteStream, closing: set[asyncio.Task[None]]) -> None:
        self._stream = stream
        self._closing = closing
        self._task: asyncio.Task[None] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        """At most 50 ms are waited for it, and that once."""
        if self._task is None:
            self._begin()
            await self.closed()

    async def closed(self) -> None:
        """Wait for the task that closes it, where there is one; at most 50 ms."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=DRAIN_TIMEOUT)

    def close_soon(self) -> None:
        """Without waiting."""
        if self._task is None:
            self._begin()

    def _begin(self) -> None:
        self._task = task = asyncio.get_running_loop().create_task(_close(self._stream))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(stream: httpx.AsyncByteStream) -> None:
    try:
        await stream.aclose()
    except Exception:
        logger.debug("%r: closing it failed", stream, exc_info=True)
