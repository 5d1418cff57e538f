"""`core.exchange.Exchange` over our own wire."""

from __future__ import annotations

import re
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import httpx

from ..config.check import shown
from ..core.attempt import AttemptState
from ..errors import DialError, SeawallError, UnsupportedScheme, WireError
from ..events import BodyEnd, History
from ..policy.outcome import Outcome
from ..wire.body import Over
from ..wire.connector import Answered, Wire
from ..wire.message import Message, Triples
from .compat import EMPTY, answer, target_of, triples
from .convert import ENCODING, Body, Outgoing, Reply
from .errors import as_httpx, failure
from .mocks import is_any_patched

if TYPE_CHECKING:
    import httpcore

__all__ = ["OverWire"]

LENGTH: Final = b"content-length"
HOST: Final = b"host"
ZONE: Final = re.compile(rb"%[^]]*(?=])")


class _Answer(Body):
    """Our wire's response as a stream of httpx's; its errors are of httpx's classes."""

    def __init__(self, answered: Answered, request: httpx.Request) -> None:
        super().__init__(answered, None, answered.abandon)
        self._answered = answered
        self._request = request

    def _failed(self, error: Exception, received: int) -> None:
        if not isinstance(error, SeawallError):
            super()._failed(error, received)
            return
        mine = as_httpx(error, self._request)
        if isinstance(mine, WireError):
            headers = self._answered.head.headers
            length = next((f" of {value.decode('latin-1')}" for _, name, value in headers if name == LENGTH), "")
            mine.received = received
            mine.args = (f"{mine}; {received}{length} bytes of the body had come",)
        super()._failed(mine, received)
        try:
            raise mine from mine.__cause__
        finally:
            del mine  # it holds this frame

    def _done(self, end: BodyEnd, error: Exception | None = None) -> None:
        if end is not BodyEnd.COMPLETE:
            self._answered.abandon()
        super()._done(end, error)


class Sent(Message):
    """A message of httpx's."""

    __slots__ = ()

    @staticmethod
    def core() -> ModuleType:
        import httpcore

        return httpcore


class WireReply(Reply):
    """Our own wire's reply: nobody else holds the response's extensions."""

    __slots__ = ()

    def _owned(self, stream: httpx.AsyncByteStream, over: Over) -> httpx.AsyncByteStream:
        if not isinstance(stream, _Answer):
            return super()._owned(stream, over)
        stream.own(over)
        return stream

    def attach(self, history: History) -> None:
        self.response.extensions["seawall"] = history


class OverWire:
    """
    Sends requests over our own wire.

    Args:
        max_size: Largest decoded body, in bytes; a larger one is an error. None sets no limit.
    """

    def __init__(self, wire: Wire, *, max_size: int | None) -> None:
        self._wire = wire
        self._max_size = max_size

    def outgoing(self, request: httpx.Request) -> Outgoing:
        """
        *request*, as it can be sent.

        Raises:
            UnsupportedScheme, DialError: Its URL can't be called.
        """
        outgoing = Outgoing(request)
        origin = outgoing.origin
        if origin.scheme not in ("http", "https") or not origin.host:
            text = (  # not the URL: its query may hold somebody's credentials
                "the URL must begin with http:// or https:// and a host; "
                f"its scheme is {shown(origin.scheme)}, its host {shown(origin.host)}"
            )
            raise as_httpx(UnsupportedScheme(text), request)
        if not 1 <= origin.port <= 65535:
            raise as_httpx(DialError(f"{origin}: the port must be from 1 to 65535", origin=origin), request)
        return outgoing

    async def send(self, outgoing: Outgoing, attempt: AttemptState) -> Reply:
        if is_any_patched():
            return await self._send_patched(outgoing, attempt)
        request = outgoing.sent_by(attempt)
        target = request.extensions.get("target") or target_of(request.url).encode("ascii")
        message = self._message(outgoing, target, triples(request.headers), _content(request), request.stream)
        answered = await self._wire.send(message, attempt)
        head, extensions = answered.head, answered.extensions
        whole = answered.take() if attempt.is_buffered else None  # most responses are there at once
        stream: httpx.AsyncByteStream = _Answer(answered, request) if whole is None else httpx.ByteStream(whole)
        response = answer(head.status, head.headers, stream, extensions)
        reply = WireReply(outgoing, attempt, response, answered.abandon, self._max_size)
        if self._max_size is not None:
            if whole is not None:
                outgoing.check_size(self._max_size, len(whole))
            elif not attempt.is_buffered:
                stream.watch(partial(outgoing.check_size, self._max_size))  # type: ignore[attr-defined]
        for _, name, _ in head.headers:
            if name == ENCODING:
                await reply.decoded()
                break
        return reply

    def failure(self, error: Exception, attempt: AttemptState) -> Outcome | None:
        return failure(error, attempt, is_trusted=True)

    def blame(self, outgoing: Outgoing, attempt: AttemptState) -> None:
        self._wire.blame(outgoing.origin, outgoing.original.extensions, attempt)

    async def _send_patched(self, outgoing: Outgoing, attempt: AttemptState) -> Reply:
        """Send through what a tool has patched; the tool may put another body into our response."""
        import httpcore

        from .detour import WirePool, WireTransport

        sent: list[Answered] = []
        streams: list[_Answer] = []

        async def ask(request: httpcore.Request) -> httpcore.Response:
            headers = [(name, name.lower(), value) for name, value in request.headers]
            message = self._message(outgoing, request.url.target, headers, None, request.stream)
            answered = await self._wire.send(message, attempt)
            head, stream = answered.head, _Answer(answered, outgoing.original)
            sent[:], streams[:] = [answered], [stream]
            return httpcore.Response(head.status, headers=head.raw, content=stream, extensions=answered.extensions)

        def close() -> None:
            for answered in sent:
                answered.abandon()

        try:
            response = await WireTransport(WirePool(ask)).handle_async_request(outgoing.sent_by(attempt))
        except BaseException:
            close()
            raise
        reply = WireReply(outgoing, attempt, response, close, self._max_size)
        if self._max_size is not None:
            for stream in streams:
                stream.watch(partial(outgoing.check_size, self._max_size))
        await reply.decoded()
        return reply

    def _message(
        self, outgoing: Outgoing, target: bytes, headers: Triples, content: bytes | None, body: Any
    ) -> Message:
        origin, method, extensions = outgoing.origin, outgoing.method, outgoing.original.extensions
        if headers and (headers[0][1] != HOST or "%" in origin.host):
            headers = _host_first(headers)
        if method == "CONNECT" and not extensions.get("target"):
            target = origin.authority.encode()
        return Sent(origin, method.encode(), target, headers, content, body, extensions, self._wire.blocks)


def _host_first(headers: Triples) -> Triples:
    """
    *headers* with Host before all others, and without a zone, because no other machine knows it.

    Source: RFC 9110 section 7.2; RFC 6874 section 4.
    """
    hosts = [(name, lower, ZONE.sub(b"", value)) for name, lower, value in headers if lower == HOST]
    return [*hosts, *(each for each in headers if each[1] != HOST)]


def _content(request: httpx.Request) -> bytes | None:
    """The body, if it is in memory."""
    stream = request.stream
    if stream is EMPTY:
        return b""
    return b"".join(stream) if isinstance(stream, httpx.ByteStream) else None
