"""`call.Exchange` over our own wire."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

import httpx

from ..config.check import shown
from ..core.exchange import Pacer
from ..errors import DialError, SeawallError, UnsupportedScheme, WireError
from ..events import History
from ..wire.connector import Answered, Wire
from ..wire.message import Message, Triples
from ..wire.progress import Progress
from .compat import EMPTY, answer, target_of, triples
from .errors import as_httpx
from .exchange import ENCODING, Exchange, nothing
from .mocks import is_any_patched

if TYPE_CHECKING:
    import httpcore

__all__ = ["OverWire"]

LENGTH: Final = b"content-length"
HOST: Final = b"host"
ZONE: Final = re.compile(rb"%[^]]*(?=])")


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
            async for part in self._answered:
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


class OverWire(Exchange):
    """Over our own wire."""

    is_own = True

    def __init__(self, request: httpx.Request, wire: Wire, *, max_size: int | None) -> None:
        super().__init__(request, max_size=max_size)
        if self.origin.scheme not in ("http", "https") or not self.origin.host:
            scheme, host, _ = self.origin
            text = (  # not the URL: its query may hold somebody's credentials
                "the URL must begin with http:// or https:// and a host; "
                f"its scheme is {shown(scheme)}, its host {shown(host)}"
            )
            raise as_httpx(UnsupportedScheme(text), request)
        if not 1 <= self.origin.port <= 65535:
            raise as_httpx(DialError(f"{self.origin}: the port must be from 1 to 65535", origin=self.origin), request)
        self._wire = wire
        self._answered: Answered | None = None

    async def send(self, progress: Progress, pacer: Pacer) -> httpx.Response:
        if self._streamed is not None:
            self.watch(progress, pacer)
        if is_any_patched():
            return await self._decoded(await self._send_patched(progress), pacer)
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
                return await self._decoded(response, pacer)
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
        if headers and (headers[0][1] != HOST or "%" in self.origin.host):
            headers = _host_first(headers)
        if self.method == "CONNECT" and not extensions.get("target"):
            target = self.origin.authority.encode()
        return Message(self.origin, self.method.encode(), target, headers, content, body, extensions, heads)

    def attach(self, response: httpx.Response, history: History) -> None:
        response.extensions["seawall"] = history  # the dict is ours

    def blame(self, progress: Progress) -> None:
        self._wire.blame(self.origin, self.request.extensions, progress)

    def _closer(self, stream: object) -> Callable[[], None]:
        return nothing if self._answered is None else self._answered.abandon


def _host_first(headers: Triples) -> Triples:
    """
    *headers*, Host before all others, and without a zone, which means nothing to another machine.

    Source: RFC 9110 section 7.2; RFC 6874 section 4.
    """
    hosts = [(name, lower, ZONE.sub(b"", value)) for name, lower, value in headers if lower == HOST]
    return [*hosts, *(each for each in headers if each[1] != HOST)]


def _content(request: httpx.Request) -> bytes | None:
    """The body, where it is in memory."""
    stream = request.stream
    if stream is EMPTY:
        return b""
    return b"".join(stream) if isinstance(stream, httpx.ByteStream) else None
