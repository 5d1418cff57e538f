"""httpx's requests and responses, as the layers see them: `core.exchange.Request` and `core.exchange.Reply`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Mapping
from numbers import Real
from typing import Any, Final

import httpx

from ..attempts import HEADERS
from ..config import Policy
from ..config.check import MAX_COUNT, shown
from ..core.attempt import AttemptState
from ..core.body import RequestBody
from ..core.fronts import check_own
from ..errors import ResponseTooLarge, SeawallError
from ..events import BodyEnd, History
from ..policy.outcome import Outcome, answered
from ..route import Route
from ..wire.body import Over, OwningBody, Reading
from ..wire.coding import CodingError
from ..wire.decoder import Decoded, Decoder
from .compat import EMPTY, files_of, given, is_read, merged, origin_and_path, request_of, triples
from .decoder import Paced, decoder_of, made_for, set_decoder
from .errors import as_httpx

__all__ = ["DRAIN_TIMEOUT", "ENCODING", "Body", "Outgoing", "Reply", "check_timeouts"]

KEY: Final = "Idempotency-Key"
RAW_KEY: Final = b"idempotency-key"
ENCODING: Final = b"content-encoding"
DRAIN_MAX: Final = 64 * 1024  # bytes of a discarded response that are read to keep its connection
DRAIN_TIMEOUT: Final = 0.05  # seconds


class Body(OwningBody, httpx.AsyncByteStream):
    """An owning body, as httpx wants it."""


class Streamed(RequestBody, httpx.AsyncByteStream):
    """A request's body that isn't in memory, as httpx wants it."""


class Outgoing:
    """
    An httpx request on its way, the same for all attempts of a hop; see `core.exchange.Request`.

    Attributes:
        original: The caller's request, to which nothing is written.
        streamed: Stands in for a body that isn't in memory.
        route: To its origin, over our wire; None is straight.
    """

    route: Route | None = None
    is_straight = True

    def __init__(self, request: httpx.Request) -> None:
        self.original = request
        self.origin, self.path = origin_and_path(request.url)
        self.method = request.method
        self.timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
        check_timeouts(self.timeouts)
        options = request.extensions.get("seawall")
        if options is not None and not isinstance(options, Policy):
            raise TypeError(f'extensions["seawall"] must come from seawall.options(...), not {options!r}')
        self.options: Policy | None = options
        self.is_repeated = False
        self.added: dict[str, str] | None = None
        self.body: object = request if request.stream is EMPTY else request.stream  # EMPTY is of many requests
        self.streamed: Streamed | None = None
        if type(request.stream) is not httpx.ByteStream and not isinstance(request.stream, httpx.ByteStream):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            self.streamed = Streamed(request.stream, given(request.stream), files_of(request.stream))

    @property
    def has_key(self) -> bool:
        if self.added is not None and KEY in self.added:
            return True
        # `Headers.get` decodes them all, and each POST would pay for that.
        return any(value for _, name, value in triples(self.original.headers) if name == RAW_KEY)

    def add(self, name: str, value: str) -> None:
        self.added = {**(self.added or {}), name: value}

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        return partition(self.original)

    def is_replayable(self) -> bool:
        return self.streamed is None or self.streamed.is_replayable()

    def adopt(self, error: SeawallError) -> Exception:
        return as_httpx(error, self.original)

    def check_size(self, max_size: int | None, size: int) -> None:
        """
        Raises:
            ResponseTooLarge: *size* bytes of a response are over the limit.
        """
        if max_size is not None and size > max_size:
            text = f"{self.origin}: {size} bytes of the body had come, more than max_response_size={max_size}"
            raise self.adopt(ResponseTooLarge(text, origin=self.origin))

    def sent_by(self, attempt: AttemptState) -> httpx.Request:
        """
        The request as *attempt* sends it: a copy if that differs, because the caller's stays as it is.

        A streamed body tells *attempt* of each part, and of the waits for them.

        Raises:
            BodySpent: It can't be sent from its beginning.
        """
        added, streamed = self.added, self.streamed
        if attempt.headers is None and added is None and streamed is None:
            return self.original
        request = httpx.Request.__new__(httpx.Request)
        headers = merged(self.original.headers, {**(added or {}), **(attempt.headers or {})})
        request.__dict__ = self.original.__dict__ | {"headers": headers}
        if streamed is not None:
            streamed.begin(attempt)
            request.stream = streamed
        return request


class Reply:
    """
    The reply to one attempt: an httpx response, which owns its connection; see `core.exchange.Reply`.

    Args:
        close: Closes the connection, or another transport's stream, without waiting.
        max_size: Largest decoded body, in bytes; a larger one is an error. None sets no limit.
        is_settled: Another layer of seawall, below, has retried it and stopped.
    """

    __slots__ = ("_attempt", "_close", "_is_settled", "_max_size", "_outgoing", "is_whole", "response")

    def __init__(
        self,
        outgoing: Outgoing,
        attempt: AttemptState,
        response: httpx.Response,
        close: Callable[[], None],
        max_size: int | None,
        *,
        is_settled: bool = False,
    ) -> None:
        self._outgoing = outgoing
        self._attempt = attempt
        self.response = response
        self._close = close
        self._max_size = max_size
        self._is_settled = is_settled
        self.is_whole = (
            isinstance(response.stream, httpx.ByteStream)
            or response.is_stream_consumed
            or response.status_code == 101
            or (outgoing.method == "CONNECT" and response.status_code < 300)
        )

    def outcome(self) -> Outcome:
        response = self.response
        phase = self._attempt.phase
        if phase < HEADERS:
            phase = HEADERS
        if response.status_code < 300:
            is_settled = self._is_settled
            # The constructor takes three times as long.
            return tuple.__new__(
                Outcome, (phase, None, response.status_code, None, False, is_settled, None, None, True)
            )
        return answered(phase, response.status_code, response.headers, is_settled=self._is_settled)

    async def read(self) -> None:
        """Read the body into memory, as it came off the wire, with the decoded body beside it."""
        response, stream = self.response, self.response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        parts: list[bytes] = []
        size = 0
        is_told = self._gather()
        try:
            async for part in stream:
                parts.append(part)
                size += len(part)
                if not is_told:
                    self._attempt.received(len(part))
                self._outgoing.check_size(self._max_size, size)
        except BaseException:
            self.abandon()
            raise
        await stream.aclose()
        content = b"".join(parts)
        response.stream = httpx.ByteStream(content)
        if isinstance(decoder := decoder_of(response), Decoder):
            await self._decode(content, decoder)
        self.is_whole = True

    def _gather(self) -> bool:
        """Whether the wire reads the body to one place, and tells the attempt of each piece."""
        return False

    async def decoded(self) -> None:
        """Give a compressed body a decoder of ours; a body that is in memory is decoded at once."""
        response, stream = self.response, self.response.stream
        if is_read(response) or response.is_stream_consumed:
            return
        try:
            decoder = made_for(response, self._outgoing.original, self._outgoing.origin, self._max_size)
        except BaseException:
            self.abandon()
            raise
        if decoder is None:
            return
        set_decoder(response, decoder)
        if isinstance(stream, httpx.ByteStream):
            await self._decode(b"".join(stream), decoder)
        elif not self._attempt.is_buffered:
            assert isinstance(stream, httpx.AsyncByteStream)
            response.stream = Paced(stream, decoder)

    async def _decode(self, content: bytes, decoder: Decoder) -> None:
        """
        Decode a body that is in memory, as part of the attempt and under its deadline.

        A body that can't be decoded is an error only for its reader, as in httpx, because a 503 must be retried anyway.
        """
        try:
            decoded = Decoded(await decoder.whole(content, self._attempt.received))
        except CodingError as error:
            if error.__cause__ is not None:
                error.__cause__.__traceback__ = None  # its frames hold their awaiters' frames, since Python 3.12
            decoded = Decoded(error=error.with_traceback(None))
        set_decoder(self.response, decoded)

    def own(self, over: Over, reading: Reading | None = None) -> None:
        response, stream = self.response, self.response.stream
        if isinstance(stream, httpx.ByteStream) or response.is_closed:
            if response.is_closed and not response.is_stream_consumed:  # discarded, but the caller gets it after all
                response.is_closed = False
                if isinstance(decoder := decoder_of(response), Decoder):
                    assert isinstance(stream, httpx.ByteStream)
                    response.stream = Paced(stream, decoder)
            over(BodyEnd.COMPLETE, None)
            return
        assert isinstance(stream, httpx.AsyncByteStream)
        response.stream = body = self._owned(stream)
        body.own(over, reading)

    def _owned(self, stream: httpx.AsyncByteStream) -> Body:
        return Body(stream, None, self.closer())

    async def discard(self) -> None:
        """
        Read at most 64 kB, for at most 50 ms, to keep the connection; else close it.

        A body that was read to its end stays with the response, because the caller gets it if no other attempt is sent.
        """
        response, stream = self.response, self.response.stream
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
            self.abandon()
        else:
            await stream.aclose()
            response.stream = httpx.ByteStream(b"".join(parts))
            self.is_whole = True
        response.is_closed = True

    def keep(self) -> None:
        kept = httpx.Response.__new__(httpx.Response)
        kept.__dict__ = self.response.__dict__.copy()
        kept.__dict__.pop("aread", None)  # a tool's own, which would read the other object
        self.response = kept

    def abandon(self) -> None:
        self.closer()()

    def closer(self) -> Callable[[], None]:
        """A function that closes the response now, without waiting."""
        stream = self.response.stream
        return stream.abandon if isinstance(stream, Body) else self._close

    def shown(self) -> httpx.Response:
        response = self.response
        if request_of(response) is None:
            response.request = self._outgoing.original
        if is_read(response) or response.is_closed or not isinstance(response.stream, httpx.ByteStream):
            return response  # nobody looks at the body of a discarded response
        decoded = decoder_of(response)
        headers = response.headers
        if isinstance(decoded, Decoded) and decoded.error is not None:  # as it came; httpx tells the caller
            headers = headers.copy()
            del headers["content-encoding"]
        shown = httpx.Response(
            response.status_code,
            headers=headers,
            stream=response.stream,
            request=self._outgoing.original,
            extensions=response.extensions,
        )
        if isinstance(decoded, Decoded) and decoded.error is None:
            set_decoder(shown, Decoded(decoded.content))
        shown.read()
        return shown

    def attach(self, history: History) -> None:
        self.response.extensions = {**self.response.extensions, "seawall": history}


def check_timeouts(timeouts: Mapping[str, float | None]) -> None:
    """
    Check timeouts, because httpx takes anything as one, and fails later or never.

    Raises:
        ValueError: One is negative, NaN, or an int that no float can hold.
        TypeError: One isn't a number.
    """
    try:
        for value in timeouts.values():
            if value.__class__ is float and value >= 0.0:
                continue
            if value is not None:
                break  # rare, and below an abstract class is asked
        else:
            return
    except AttributeError:
        raise TypeError(f'extensions["timeout"] must map names to seconds or None, not {shown(timeouts)}') from None
    for name, value in timeouts.items():
        if value is None:
            continue
        check_own(httpx.__name__, timeout=value)
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"timeout: {name} must be a number >= 0 s or None, not {shown(value)}")
        if not 0 <= value <= MAX_COUNT and value != math.inf:
            raise ValueError(f"timeout: {name} must be >= 0 s or None, not {shown(value)}")
