"""`core.exchange.Exchange` over a transport of httpx's or the user's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import ClassVar, Final

import httpx

from ..careful import Careful
from ..core.attempt import AttemptState
from ..core.exchange import INSIDE
from ..errors import ProxyRefused, SeawallError
from ..events import History, Phase
from ..origin import Origin
from ..policy.outcome import Outcome
from ..route import Elsewhere
from ..wire.pool import Pool
from ..wire.proxy import PASSING
from .convert import DRAIN_TIMEOUT, Body, Outgoing, Reply
from .errors import failure
from .routes import OWN_PROXY

__all__ = ["OverTransport", "check_refusal"]

logger = Careful("seawall.pool")

SOCKS: Final = ("Requested ", "Invalid username/password", "Connection not allowed", "not supported")
"""httpcore's words where a SOCKS proxy wants other credentials, or never does what it is asked to (RFC 1928)."""


class ForeignReply(Reply):
    """Another transport's reply: its stream is closed before an error of it is handed on, as with httpx."""

    __slots__ = ("foreign",)

    foreign: _Foreign | None

    async def read(self) -> None:
        """As `Reply.read`; a cancellation doesn't wait for the stream to be closed."""
        try:
            await super().read()
        except asyncio.CancelledError:
            raise
        except BaseException:
            if self.foreign is not None:
                await self.foreign.closed()
            raise


class OverTransport:
    """
    Sends requests over a transport of httpx or of the user's, each of which takes a slot of the client-wide cap.

    The error's class tells whether anything was sent, and only for httpx's own transports, because others have been
    seen to call a lost connection a ConnectTimeout.

    Args:
        send: The transport's function that sends.
        is_trusted: It is one of httpx's own.
        takes_proxy: It goes through a request's own proxy, or dials nothing at all; others would go round that proxy.
        max_size: Largest decoded body, in bytes; a larger one is an error. None sets no limit.
        closing: Collects the tasks that close streams, because closing the client waits for them.
    """

    runs_code: ClassVar = True  # which may make calls of its own

    def __init__(
        self,
        send: Callable[[httpx.Request], Awaitable[httpx.Response]],
        pool: Pool,
        *,
        is_trusted: bool,
        takes_proxy: bool,
        max_size: int | None,
        closing: set[asyncio.Task[None]],
    ) -> None:
        self._send = send
        self._pool = pool
        self._is_trusted = is_trusted
        self._takes_proxy = takes_proxy
        self._max_size = max_size
        self._closing = closing

    def outgoing(self, request: httpx.Request) -> Outgoing:
        """
        *request*, as it can be sent.

        Raises:
            ValueError: It names a proxy of its own, round which the transport would go.
        """
        if not self._takes_proxy and request.extensions.get(OWN_PROXY) is not None:
            raise ValueError(
                'extensions["proxy"]: another transport than seawall\'s own would go round that proxy: give the proxy '
                "to that transport, or use a client that has neither transport= nor mounts= for the URL"
            )
        return Outgoing(request)

    async def send(self, outgoing: Outgoing, attempt: AttemptState) -> Reply:
        request = outgoing.sent_by(attempt)
        pool_timeout, began_at = outgoing.timeouts.get("pool"), attempt.now()
        left = None if pool_timeout is None else max(0.0, pool_timeout - attempt.waited)
        pool, holder = self._pool, Elsewhere(outgoing.origin)
        if not pool.try_reserve(holder):
            try:
                await pool.wait_for_slot(left, holder)
            finally:
                attempt.queued_at("cap", attempt.now() - began_at)
        give_back = partial(pool.cancel, holder)
        try:
            attempt.reached(Phase.CONNECTING)
            attempt.sent_at = attempt.now()  # as far as anyone can tell
            token = INSIDE.set(outgoing)
            try:
                response = await self._send(request)
            finally:
                INSIDE.reset(token)
            attempt.reached(Phase.HEADERS)
            reply = self._reply(outgoing, attempt, response)
            await reply.decoded()
        except SeawallError:
            # Our own, of the body; or another seawall's, or one that an application below let through, which says
            # nothing about OUR request.
            attempt.reached(Phase.SENDING)
            give_back()
            raise
        except BaseException as error:
            give_back()
            if self._is_trusted and isinstance(error, httpx.ProxyError):
                check_refusal(error, outgoing.origin)
            raise
        reply.own(lambda end, error: give_back())
        if isinstance(response.stream, Body) and self._max_size is not None and not attempt.is_buffered:
            response.stream.watch(partial(outgoing.check_size, self._max_size))
        return reply

    def _reply(self, outgoing: Outgoing, attempt: AttemptState, response: httpx.Response) -> ForeignReply:
        """The reply of *response*, whose stream is closed in a task of its own from now on."""
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError(f"{self._send!r} must return a response with an async stream, not {response.stream!r}")
        foreign = None
        if not (isinstance(response.stream, httpx.ByteStream) or response.is_closed):
            response.stream = foreign = _Foreign(response.stream, self._closing)
        reply = ForeignReply(
            outgoing,
            attempt,
            response,
            nothing if foreign is None else foreign.close_soon,
            self._max_size,
            is_settled=_is_settled(response),
        )
        reply.foreign = foreign
        if foreign is None and isinstance(response.stream, httpx.ByteStream) and not response.is_stream_consumed:
            outgoing.check_size(self._max_size, len(b"".join(response.stream)))
        return reply

    def failure(self, error: Exception, attempt: AttemptState) -> Outcome | None:
        return failure(error, attempt, is_trusted=self._is_trusted)

    def blame(self, outgoing: Outgoing, attempt: AttemptState) -> None:
        """Blame no address, because another transport doesn't say where it sends to."""


class _Foreign(httpx.AsyncByteStream):
    """
    Another transport's stream, which is closed in a task of its own.

    Only an await closes it, while the caller may be cancelled, and the transport may take longer for it than a deadline
    allows.

    Args:
        closing: Collects the task, because closing the client waits for it.
    """

    def __init__(self, stream: httpx.AsyncByteStream, closing: set[asyncio.Task[None]]) -> None:
        self._stream = stream
        self._closing = closing
        self._task: asyncio.Task[None] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        """Begin to close, and wait for that at most 50 ms, once."""
        if self._task is None:
            self._begin()
            await self.closed()

    async def closed(self) -> None:
        """Wait for the task that closes it, if there is one; at most 50 ms."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=DRAIN_TIMEOUT)

    def close_soon(self) -> None:
        """Close it without waiting."""
        if self._task is None:
            self._begin()

    def _begin(self) -> None:
        self._task = task = asyncio.get_running_loop().create_task(_close(self._stream))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(stream: httpx.AsyncByteStream) -> None:
    try:
        await stream.aclose()
    except Exception as error:  # noqa: BLE001  # another transport's, whatever it is
        logger.debug("%r: closing it failed", stream, error=error)


def check_refusal(error: httpx.ProxyError, origin: Origin) -> None:
    """
    A proxy's 5xx may be its origin's fault, or may pass: it is worth a retry, and *error* stays as it is.

    Raises:
        ProxyRefused: The next attempt would end the same, because a setting is wrong.
    """
    text = str(error)
    status = int(text[:3]) if text[:3].isdigit() else None
    is_final = 300 <= status < 500 and status not in PASSING if status else any(each in text for each in SOCKS)
    if is_final:
        raise ProxyRefused(
            f"{origin}: the proxy refused to connect: {text}; check its credentials and what it allows",
            origin=origin,
            status=status,
        ) from error


def _is_settled(response: httpx.Response) -> bool:
    """Whether another layer of seawall has retried it, and stopped."""
    below = response.extensions.get("seawall")
    return isinstance(below, History) and bool(below.note)


def nothing() -> None:
    """A callback that does nothing."""
