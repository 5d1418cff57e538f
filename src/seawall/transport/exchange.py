"""
`call.Exchange`, twice: over our wire, and over a transport of httpx's or the user's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Final

import httpx

from ..errors import DialError, ResponseTooLarge, SeawallError, UnsupportedScheme, WireError
from ..events import History, Phase, Progress
from ..exchange import INSIDE, Pacer
from ..origin import Origin
from ..policy.outcome import Outcome
from ..policy.retry_after import parse_retry_after, parse_retry_after_ms
from ..settings import Policy
from ..wire.body import OwningBody
from ..wire.exchange import Answered, Wire
from ..wire.message import Message, Triples
from ..wire.pool import Pool
from .adopt import as_httpx
from .decoding import SLICE, SlicedBytes, decoder_for, sliced
from .patched import is_any_patched
from .private import EMPTY, answer, origin_of, set_decoder, target_of, triples
from .replay import RequestBody

if TYPE_CHECKING:
    import httpcore

logger = logging.getLogger("seawall")

__all__ = ["Exchange", "OverTransport", "OverWire", "check_timeouts"]

UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""Of httpx's own transports, these mean that nothing of the request reached its server."""

WEBSOCKET: Final = {"ws": "http", "wss": "https"}  # as httpcore takes them: a handshake is a request

KEY: Final = "Idempotency-Key"
LENGTH: Final = b"content-length"
ENCODING: Final = b"content-encoding"

DRAIN_MAX: Final = 64 * 1024  # B of a discarded response that are read to keep its connection
DRAIN_TIMEOUT: Final = 0.05  # s


class _Body(OwningBody, httpx.AsyncByteStream):
    """An owning body, as httpx wants it."""


class _Answer(httpx.AsyncByteStream):
    """Our wire's answer, as httpx wants a stream; its errors are of httpx's classes."""

    def __init__(
        self, answered: Answered, request: httpx.Request, check_size: Callable[[int], None] | None = None
    ) -> None:
        self._answered = answered
        self._request = request
        self._check_size = check_size  # of a stream; who reads it at once looks by itself

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        try:
            is_encoded = any(name == ENCODING for _, name, _ in self._answered.head.headers)
            parts = aiter(self._answered)
            async for part in sliced(parts) if is_encoded else parts:
                received += len(part)
                if self._check_size is not None:
                    self._check_size(received)
                yield part
        except SeawallError as error:
            if isinstance(error, WireError):
                headers = self._answered.head.headers
                length = next((f" of {value.decode('latin-1')}" for _, name, value in headers if name == LENGTH), "")
                error.received = received
                error.args = (f"{error}; {received}{length} bytes of the body had come",)
            raise as_httpx(error, self._request) from error.__cause__

    async def aclose(self) -> None:
        await self._answered.aclose()


class Exchange:
    """
    `call.Exchange` for one httpx request. Subclasses say how it is sent.

    Attributes:
        is_own: It goes over our wire.
        is_trusted: Whether the class of an httpx error tells if anything was sent.
        is_buffered: The body is read at once; see `call.Exchange`.
    """

    is_own = False
    is_trusted = True
    is_buffered = False

    def __init__(self, request: httpx.Request, *, wall: Callable[[], float], max_size: int | None) -> None:
        self.request = request
        self._wall = wall
        self._max_size = max_size
        scheme, host, port = origin_of(request.url)
        scheme = WEBSOCKET.get(scheme, scheme)
        if port is None:
            port = 443 if scheme == "https" else 80
        self.origin = Origin(scheme, host, port)
        self.method = request.method
        self.timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
        check_timeouts(self.timeouts)
        options = request.extensions.get("seawall")
        if options is not None and not isinstance(options, Policy):
            raise TypeError(f'extensions["seawall"] must come from seawall.options(...), not {options!r}')
        self.options: Policy | None = options
        self.added: dict[str, str] = {}
        self.body: object = request.stream
        if type(request.stream) is not httpx.ByteStream and not isinstance(
            request.stream, httpx.ByteStream | RequestBody
        ):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            request.stream = RequestBody(request.stream)

    @property
    def has_key(self) -> bool:
        return KEY in self.added or bool(self.request.headers.get(KEY))

    def add(self, name: str, value: str) -> None:
        self.added[name] = value

    def outgoing(self) -> httpx.Request:
        """The request, with what was added: a copy then, for the caller's is to stay as it is."""
        if not self.added:
            return self.request
        request = httpx.Request.__new__(httpx.Request)
        request.__dict__ = self.request.__dict__ | {"headers": self.request.headers.copy()}
        request.headers.update(self.added)
        return request

    def end(self) -> None:
        """Give the request its own stream back: applications look at it, and send it again."""
        if isinstance(self.request.stream, RequestBody):
            self.request.stream = self.request.stream.original

    def watch(self, pacer: Pacer) -> None:
        """Have *pacer* told of each part of a streamed request body."""
        if isinstance(self.request.stream, RequestBody):
            self.request.stream.sent = pacer.sent

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        return partition(self.request)

    def is_replayable(self) -> bool:
        stream = self.request.stream
        return not isinstance(stream, RequestBody) or stream.is_replayable()

    async def send(self, progress: Progress, pacer: Pacer) -> httpx.Response:
        raise NotImplementedError

    def is_whole(self, response: httpx.Response) -> bool:
        return (
            isinstance(response.stream, httpx.ByteStream) or response.is_stream_consumed or _is_upgraded(self, response)
        )

    async def read(self, response: httpx.Response, pacer: Pacer) -> None:
        """Into memory as it came off the wire: httpx decodes it later."""
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in stream:
                parts.append(part)
                size += len(part)
                pacer.received(len(part))
                self._check_size(size)
        except BaseException:
            self.abandon(response)
            await stream.aclose()
            raise
        await stream.aclose()
        response.stream = _bytes(response, b"".join(parts))

    def _check_size(self, size: int) -> None:
        if self._max_size is not None and size > self._max_size:
            raise self.adopt(
                ResponseTooLarge(
                    f"{self.origin}: {size} bytes of its body had come, more than max_response_size={self._max_size}",
                    origin=self.origin,
                )
            )

    def _decoded(self, response: httpx.Response) -> httpx.Response:
        """*response*, with a decoder of ours where its body is compressed."""
        try:
            decoder = decoder_for(response.headers, self._max_size, self.request)
        except BaseException:
            self.abandon(response)
            raise
        if decoder is not None:
            set_decoder(response, decoder)
            if isinstance(response.stream, httpx.ByteStream):
                response.stream = _bytes(response, b"".join(response.stream))
        return response

    def own(self, response: httpx.Response, release: Callable[[], None]) -> None:
        stream = response.stream
        if isinstance(stream, httpx.ByteStream) or response.is_closed:
            release()
            return
        assert isinstance(stream, httpx.AsyncByteStream)
        response.stream = _Body(stream, release, self._closer(stream))

    async def discard(self, response: httpx.Response) -> None:
        """At most 64 kB and 50 ms are read to keep the connection; else it is closed."""
        stream = response.stream
        if isinstance(stream, httpx.ByteStream) or response.is_stream_consumed:
            return
        assert isinstance(stream, httpx.AsyncByteStream)
        size = 0
        timer = asyncio.timeout(DRAIN_TIMEOUT)
        try:
            async with timer:
                async for part in stream:
                    size += len(part)
                    if size > DRAIN_MAX:
                        self.abandon(response)
                        break
        except (httpx.TransportError, TimeoutError):
            self.abandon(response)
        await stream.aclose()
        response.is_closed = True

    def abandon(self, response: httpx.Response) -> None:
        self._closer(response.stream)()

    def _closer(self, stream: object) -> Callable[[], None]:
        """What closes *stream* without waiting; nothing does, for a stream that isn't ours."""
        return stream.abandon if isinstance(stream, _Body) else _nothing

    def outcome(self, response: httpx.Response, progress: Progress) -> Outcome:
        phase = max(progress.phase, Phase.HEADERS)
        is_settled = not self.is_own and _is_settled(response)
        if response.status_code < 300:
            return Outcome(phase, None, response.status_code, None, False, is_settled)
        headers = response.headers
        retry_after = parse_retry_after_ms(headers.get("retry-after-ms"))
        if retry_after is None:
            retry_after = parse_retry_after(headers.get("retry-after"), wall=self._wall)
        return Outcome(phase, status=response.status_code, retry_after=retry_after, is_settled=is_settled)

    def failure(self, error: Exception, progress: Progress) -> Outcome | None:
        if isinstance(error, SeawallError):
            return Outcome(progress.phase, error=error, is_stale=getattr(error, "is_stale", False))
        if not isinstance(error, httpx.TransportError) or isinstance(
            error, httpx.UnsupportedProtocol | httpx.LocalProtocolError
        ):
            return None
        return Outcome(self._failed_at(error, progress), error=error)

    def _failed_at(self, error: httpx.TransportError, progress: Progress) -> Phase:
        """Our own errors know; of others, only the class tells, and only where it is to be believed."""
        if self.is_trusted and isinstance(error, UNSENT) and progress.phase <= Phase.CONNECTING:
            return Phase.CONNECTING
        return max(progress.phase, Phase.SENDING)

    def adopt(self, error: SeawallError) -> Exception:
        return as_httpx(error, self.request)

    def shown(self, response: httpx.Response) -> httpx.Response:
        if response._request is None:
            response.request = self.request
        if not isinstance(response.stream, httpx.ByteStream):
            return response
        try:
            return httpx.Response(
                response.status_code,
                headers=response.headers,
                content=b"".join(response.stream),
                request=self.request,
                extensions=response.extensions,
            )
        except httpx.DecodingError:  # as it came, for who looks at it; the caller hears of it from httpx
            headers = [(name, value) for name, value in response.headers.multi_items() if name != "content-encoding"]
            content = b"".join(response.stream)
            return httpx.Response(response.status_code, headers=headers, content=content, request=self.request)

    def attach(self, response: httpx.Response, history: History) -> None:
        response.extensions = {**response.extensions, "seawall": history}


class OverWire(Exchange):
    """Over our own wire."""

    is_own = True

    def __init__(self, request: httpx.Request, wire: Wire, *, wall: Callable[[], float], max_size: int | None) -> None:
        super().__init__(request, wall=wall, max_size=max_size)
        if self.origin.scheme not in ("http", "https") or not self.origin.host:
            url = request.url.copy_with(username=None, password=None)
            error = UnsupportedScheme(f"the URL must begin with http:// or https:// and a host: {str(url)!r}")
            raise as_httpx(error, request)
        if not 1 <= self.origin.port <= 65535:
            raise as_httpx(DialError(f"{self.origin}: the port must be from 1 to 65535", origin=self.origin), request)
        self._wire = wire
        self._answered: Answered | None = None

    async def send(self, progress: Progress, pacer: Pacer) -> httpx.Response:
        self.watch(pacer)
        if is_any_patched():
            return self._decoded(await self._send_patched(progress))
        request = self.outgoing()
        target = request.extensions.get("target") or target_of(request.url).encode("ascii")
        message = self._message(target, triples(request.headers), _content(request), request.stream)
        self._answered = answered = await self._wire.send(message, progress)
        head, extensions = answered.head, answered.extensions
        whole = answered.take() if self.is_buffered else None  # most answers are there at once
        if whole is None:
            stream: httpx.AsyncByteStream = _Answer(answered, request, None if self.is_buffered else self._check_size)
        else:
            self._check_size(len(whole))
            stream = httpx.ByteStream(whole)
        response = answer(head.status, head.headers, stream, extensions)
        for _, name, _ in head.headers:
            if name == ENCODING:
                return self._decoded(response)
        return response

    async def _send_patched(self, progress: Progress) -> httpx.Response:
        """By way of what a tool has patched; it may have another body for our answer."""
        import httpcore

        from .detour import WirePool, WireTransport

        async def ask(request: httpcore.Request) -> httpcore.Response:
            headers = [(name, name.lower(), value) for name, value in request.headers]
            message = self._message(request.url.target, headers, None, request.stream)
            self._answered = answered = await self._wire.send(message, progress)
            head, stream = answered.head, _Answer(answered, self.request, self._check_size)
            return httpcore.Response(head.status, headers=head.raw, content=stream, extensions=answered.extensions)

        return await WireTransport(WirePool(ask)).handle_async_request(self.outgoing())

    def _message(self, target: bytes, headers: Triples, content: bytes | None, body: Any) -> Message:
        extensions, heads = self.request.extensions, self._wire.heads
        return Message(self.origin, self.method.encode(), target, headers, content, body, extensions, heads)

    def attach(self, response: httpx.Response, history: History) -> None:
        response.extensions["seawall"] = history  # the dict is ours

    def _closer(self, stream: object) -> Callable[[], None]:
        return _nothing if self._answered is None else self._answered.abandon


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
        wall: Callable[[], float],
        max_size: int | None,
        closing: set[asyncio.Task[None]],
    ) -> None:
        super().__init__(request, wall=wall, max_size=max_size)
        self._send = send
        self._closing = closing
        self._pool = pool
        self.is_trusted = is_trusted

    async def send(self, progress: Progress, pacer: Pacer) -> httpx.Response:
        self.watch(pacer)
        pool, pool_timeout = self._pool, self.timeouts.get("pool")
        await pool.reserve(None if pool_timeout is None else max(0.0, pool_timeout - progress.waited), self.origin)
        response: httpx.Response | None = None
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
        except SeawallError:
            # Another seawall's, or one that an application below let through: it says nothing of OUR request.
            progress.reached(Phase.SENDING)
            pool.cancel(self.origin)
            raise
        except BaseException:
            pool.cancel(self.origin)
            raise
        super().own(response, lambda: pool.cancel(self.origin))
        if response.is_stream_consumed:
            return response
        if isinstance(response.stream, httpx.ByteStream):
            self._check_size(len(b"".join(response.stream)))
        elif self._max_size is not None and not self.is_buffered:
            assert isinstance(response.stream, _Body)
            response.stream.watch(self._check_size)
        return self._decoded(response)

    def _closer(self, stream: object) -> Callable[[], None]:
        """In a task of its own, for only an await closes it, and who asks may be being cancelled."""
        if isinstance(stream, _Body):
            return stream.abandon

        def close_soon() -> None:
            assert isinstance(stream, httpx.AsyncByteStream)
            task = asyncio.get_running_loop().create_task(_close(stream))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

        return close_soon


def check_timeouts(timeouts: Mapping[str, float | None]) -> None:
    """
    httpx takes any number as a timeout.

    Raises:
        ValueError: One is negative or NaN.
    """
    for name, value in timeouts.items():
        if value is not None and not value >= 0:
            raise ValueError(f"timeout: {name} must be >= 0 s or None, not {value!r}")


def _content(request: httpx.Request) -> bytes | None:
    """The body, where it is in memory."""
    stream = request.stream
    if stream is EMPTY:
        return b""
    return b"".join(stream) if isinstance(stream, httpx.ByteStream) else None


def _is_upgraded(exchange: Exchange, response: httpx.Response) -> bool:
    return response.status_code == 101 or (exchange.method == "CONNECT" and response.status_code < 300)


def _is_settled(response: httpx.Response) -> bool:
    """Whether another layer of seawall has retried it, and given up."""
    below = response.extensions.get("seawall")
    return isinstance(below, History) and bool(below.note)


def _bytes(response: httpx.Response, content: bytes) -> httpx.ByteStream:
    """A body that is there; one that takes long to be decoded is decoded in slices."""
    is_slow = len(content) > SLICE and "content-encoding" in response.headers
    return SlicedBytes(content) if is_slow else httpx.ByteStream(content)


async def _close(stream: httpx.AsyncByteStream) -> None:
    try:
        await stream.aclose()
    except Exception:
        logger.debug("%r: closing what was abandoned failed", stream, exc_info=True)


def _nothing() -> None:
    pass
