"""`call.Exchange` for one httpx request: what our wire and other transports have in common."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Hashable, Mapping
from numbers import Real
from typing import Any, Final, NoReturn

import httpx

from ..config import Policy
from ..config.check import MAX_COUNT, shown
from ..core.exchange import Pacer
from ..errors import ResponseTooLarge, SeawallError
from ..events import BodyEnd, History, Phase
from ..origin import Origin
from ..policy.outcome import Outcome
from ..policy.retry_after import parse_retry_after, parse_retry_after_ms
from ..wire.body import OwningBody
from ..wire.progress import Progress
from .body import RequestBody
from .compat import decoder_of, is_read, origin_of, set_decoder
from .decoder import Decoded, Decoder, Paced, codings
from .errors import as_httpx

__all__ = ["ENCODING", "Body", "Exchange", "check_timeouts", "nothing"]

UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""Of httpx's own transports, these mean that nothing of the request reached its server."""

EXPIRED: Final = {
    httpx.ReadTimeout: "read",
    httpx.WriteTimeout: "write",
    httpx.ConnectTimeout: "connect",
}
"""Which of a request's timeouts an error tells of; ours have these classes too."""

WEBSOCKET: Final = {"ws": "http", "wss": "https"}  # as httpcore takes them: a handshake is a request

KEY: Final = "Idempotency-Key"
ENCODING: Final = b"content-encoding"

DRAIN_MAX: Final = 64 * 1024  # B of a discarded response that are read to keep its connection
DRAIN_TIMEOUT: Final = 0.05  # s


class Body(OwningBody, httpx.AsyncByteStream):
    """An owning body, as httpx wants it."""


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
    _streamed: RequestBody | None = None  # in place of a body that isn't in memory

    def __init__(self, request: httpx.Request, *, max_size: int | None) -> None:
        self.request = request
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
        if type(request.stream) is not httpx.ByteStream and not isinstance(request.stream, httpx.ByteStream):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            self._streamed = RequestBody(request.stream)

    @property
    def has_key(self) -> bool:
        return KEY in self.added or bool(self.request.headers.get(KEY))

    def add(self, name: str, value: str) -> None:
        self.added[name] = value

    def outgoing(self) -> httpx.Request:
        """The request as it is sent: a copy where that differs, because the caller's stays as it is."""
        if not self.added and self._streamed is None:
            return self.request
        request = httpx.Request.__new__(httpx.Request)
        request.__dict__ = self.request.__dict__ | {"headers": self.request.headers.copy()}
        request.headers.update(self.added)
        if self._streamed is not None:
            request.stream = self._streamed
        return request

    def watch(self, progress: Progress, pacer: Pacer) -> None:
        """
        Have *pacer* told of each part of a streamed request body, and *progress* of the waits for them.

        Raises:
            BodySpent: It can't be sent from its beginning.
        """
        if self._streamed is not None:
            self._streamed.begin(progress, pacer.sent)

    def waited(self, now: float) -> float:
        return 0.0 if self._streamed is None else self._streamed.waited(now)

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        return partition(self.request)

    def is_replayable(self) -> bool:
        return self._streamed is None or self._streamed.is_replayable()

    async def send(self, progress: Progress, pacer: Pacer) -> httpx.Response:
        raise NotImplementedError

    def is_whole(self, response: httpx.Response) -> bool:
        return (
            isinstance(response.stream, httpx.ByteStream) or response.is_stream_consumed or _is_upgraded(self, response)
        )

    async def read(self, response: httpx.Response, pacer: Pacer) -> None:
        """Into memory: as it came off the wire, with what it becomes beside it."""
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
            raise
        await stream.aclose()
        content = b"".join(parts)
        response.stream = httpx.ByteStream(content)
        if isinstance(decoder := decoder_of(response), Decoder):
            await self._decode(response, content, decoder, pacer)

    def _check_size(self, size: int) -> None:
        if self._max_size is not None and size > self._max_size:
            raise self.adopt(
                ResponseTooLarge(
                    f"{self.origin}: {size} bytes of its body had come, more than max_response_size={self._max_size}",
                    origin=self.origin,
                )
            )

    async def _decoded(self, response: httpx.Response, pacer: Pacer) -> httpx.Response:
        """*response*, with a decoder of ours where its body is compressed; a body that is there is decoded at once."""
        if is_read(response) or response.is_stream_consumed:
            return response
        stream = response.stream
        try:
            decoder = self._decoder(response)
        except BaseException:
            self.abandon(response)
            raise
        if decoder is None:
            return response
        set_decoder(response, decoder)
        if isinstance(stream, httpx.ByteStream):
            await self._decode(response, b"".join(stream), decoder, pacer)
        elif not self.is_buffered:
            assert isinstance(stream, httpx.AsyncByteStream)
            response.stream = Paced(stream, decoder)
        return response

    def _decoder(self, response: httpx.Response) -> Decoder | None:
        """None: the body is as it is."""
        applied = codings(response.headers)
        if not applied:
            return None
        is_part = response.status_code == httpx.codes.PARTIAL_CONTENT
        refuse = functools.partial(_refuse, self.origin, self.request)
        return Decoder(applied, max_size=self._max_size, is_part=is_part, refuse=refuse)

    async def _decode(self, response: httpx.Response, content: bytes, decoder: Decoder, pacer: Pacer) -> None:
        """
        A body that is there, as part of the attempt: under its deadline.

        A body that can't be decoded is an error for its reader, as in httpx: a 503 is retried all the same.
        """
        try:
            decoded = Decoded(await decoder.whole(content, pacer.received))
        except httpx.DecodingError as error:
            if error.__cause__ is not None:
                error.__cause__.__traceback__ = None  # its frames hold those of their awaiters, since Python 3.12
            decoded = Decoded(error=error.with_traceback(None))
        set_decoder(response, decoded)

    def own(self, response: httpx.Response, over: Callable[[BodyEnd, Exception | None], None]) -> None:
        stream = response.stream
        if isinstance(stream, httpx.ByteStream) or response.is_closed:
            if response.is_closed and not response.is_stream_consumed:  # it was discarded, and is wanted after all
                response.is_closed = False
                if isinstance(decoder := decoder_of(response), Decoder):
                    assert isinstance(stream, httpx.ByteStream)
                    response.stream = Paced(stream, decoder)
            over(BodyEnd.COMPLETE, None)
            return
        assert isinstance(stream, httpx.AsyncByteStream)
        response.stream = Body(stream, over, self._closer(stream))

    async def discard(self, response: httpx.Response) -> None:
        """
        At most 64 kB and 50 ms are read to keep the connection; else it is closed.

        What was read to its end stays with the response: it is the caller's, if no other attempt is sent after all.
        """
        stream = response.stream
        if isinstance(stream, httpx.ByteStream) or response.is_stream_consumed:
            return
        assert isinstance(stream, httpx.AsyncByteStream)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                async for part in stream:
                    parts.append(part)
                    size += len(part)
                    if size > DRAIN_MAX:
                        raise TimeoutError
        except (httpx.TransportError, TimeoutError):
            self.abandon(response)
        else:
            await stream.aclose()
            response.stream = httpx.ByteStream(b"".join(parts))
        response.is_closed = True

    def kept(self, response: httpx.Response) -> httpx.Response:
        kept = httpx.Response.__new__(httpx.Response)
        kept.__dict__ = response.__dict__.copy()
        return kept

    def abandon(self, response: httpx.Response) -> None:
        self._closer(response.stream)()

    def _closer(self, stream: object) -> Callable[[], None]:
        """What closes *stream* without waiting; nothing does, for a stream that isn't ours."""
        return stream.abandon if isinstance(stream, Body) else nothing

    def outcome(self, response: httpx.Response, progress: Progress) -> Outcome:
        phase = max(progress.phase, Phase.HEADERS)
        is_settled = not self.is_own and _is_settled(response)
        if response.status_code < 300:
            return Outcome(phase, None, response.status_code, None, False, is_settled)
        headers = response.headers
        retry_after = parse_retry_after_ms(headers.get("retry-after-ms"))
        if retry_after is None:
            retry_after = parse_retry_after(headers.get("retry-after"))
        return Outcome(phase, status=response.status_code, retry_after=retry_after, is_settled=is_settled)

    def failure(self, error: Exception, progress: Progress) -> Outcome | None:
        expired = next((kind for expiry, kind in EXPIRED.items() if isinstance(error, expiry)), None)
        if isinstance(error, SeawallError):
            is_stale = getattr(error, "is_stale", False)
            return Outcome(progress.phase, error=error, is_stale=is_stale, expired=expired)
        if not isinstance(error, httpx.TransportError) or isinstance(
            error, httpx.UnsupportedProtocol | httpx.LocalProtocolError
        ):
            return None
        return Outcome(self._failed_at(error, progress), error=error, expired=expired)

    def blame(self, progress: Progress) -> None:
        """Another transport doesn't say where it sends to."""

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
        if is_read(response) or response.is_closed or not isinstance(response.stream, httpx.ByteStream):
            return response  # of what was discarded, nobody looks at the body
        decoded = decoder_of(response)
        headers = response.headers
        if isinstance(decoded, Decoded) and decoded.error is not None:  # as it came; the caller hears of it from httpx
            headers = headers.copy()
            del headers["content-encoding"]
        shown = httpx.Response(
            response.status_code,
            headers=headers,
            stream=response.stream,
            request=self.request,
            extensions=response.extensions,
        )
        if isinstance(decoded, Decoded) and decoded.error is None:
            set_decoder(shown, Decoded(decoded.content))
        shown.read()
        return shown

    def attach(self, response: httpx.Response, history: History) -> None:
        response.extensions = {**response.extensions, "seawall": history}


def check_timeouts(timeouts: Mapping[str, float | None]) -> None:
    """
    httpx takes anything as a timeout, and fails later or never.

    Raises:
        ValueError: One is negative, NaN, or an int that no float can hold.
        TypeError: One isn't a number.
    """
    try:
        for value in timeouts.values():
            if value.__class__ is float and value >= 0.0:
                continue
            if value is not None:
                break  # which is rare, and asks an abstract class below
        else:
            return
    except AttributeError:
        raise TypeError(f'extensions["timeout"] must map names to s or None, not {shown(timeouts)}') from None
    for name, value in timeouts.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"timeout: {name} must be a number >= 0 s or None, not {shown(value)}")
        if not 0 <= value <= MAX_COUNT and value != math.inf:
            raise ValueError(f"timeout: {name} must be >= 0 s or None, not {shown(value)}")


def _refuse(origin: Origin, request: httpx.Request, why: str) -> NoReturn:
    raise as_httpx(ResponseTooLarge(f"{origin}: {why}", origin=origin), request)


def _is_upgraded(exchange: Exchange, response: httpx.Response) -> bool:
    return response.status_code == 101 or (exchange.method == "CONNECT" and response.status_code < 300)


def _is_settled(response: httpx.Response) -> bool:
    """Whether another layer of seawall has retried it, and given up."""
    below = response.extensions.get("seawall")
    return isinstance(below, History) and bool(below.note)


def nothing() -> None:
    """In place of a callback that is wanted."""
