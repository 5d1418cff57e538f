# Written by scripts/twin.py from ../_httpx/over_wire.py: change that file, and run the script.
"""`core.exchange.Exchange` over our own wire."""

from __future__ import annotations

import functools
import re
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final

import httpx2

from ..config.check import shown
from ..core.attempt import AttemptState
from ..dns.guard import Guard
from ..errors import AddressNotAllowed, DialError, SeawallError, UnsupportedScheme, WireError
from ..events import BodyEnd, History
from ..origin import Origin
from ..policy.outcome import Outcome
from ..route import Route
from ..wire.connection import Gathered
from ..wire.connector import Answered, Wire
from ..wire.message import Message, Triples
from .compat import EMPTY, answer, target_of, triples
from .convert import ENCODING, Body, Outgoing, Reply
from .errors import as_httpx, failure
from .mocks import is_any_patched
from .routes import OWN_PROXY, proxy_of

if TYPE_CHECKING:
    import httpcore2

__all__ = ["NOT_TRUSTED", "OverWire"]

LENGTH: Final = b"content-length"
HOST: Final = b"host"
ZONE: Final = re.compile(rb"%[^]]*(?=])")
NOT_TRUSTED: Final = (
    "it can't see what a proxy dials; Guard(trust_proxy=True) leaves that to the proxy, and trust_env=False uses none "
    "of the environment's"
)


class _Answer(Body):
    """Our wire's response as a stream of httpx2's; its errors are of httpx2's classes."""

    def __init__(self, answered: Answered, request: httpx2.Request) -> None:
        super().__init__(answered, None, answered.abandon)
        self._answered = answered
        self._request = request
        self._gathered: Gathered | None = None

    def gather(self, attempt: AttemptState, max_size: int | None) -> bool:
        """
        Before it is read: it is wanted whole.

        Returns:
            Whether *attempt* is told of each piece; else its reader must tell it.
        """
        self._gathered = self._answered.gather(attempt.received, max_size)
        return self._gathered is not None

    def _failed(self, error: Exception, received: int) -> None:
        if self._gathered is not None:
            received = self._gathered.size
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
    """A message of httpx2's."""

    __slots__ = ()

    @staticmethod
    def core() -> ModuleType:
        import httpcore2

        return httpcore2


class WireReply(Reply):
    """Our own wire's reply: nobody else holds the response's extensions."""

    __slots__ = ()

    def _owned(self, stream: httpx2.AsyncByteStream) -> Body:
        return stream if isinstance(stream, _Answer) else super()._owned(stream)

    def _gather(self) -> bool:
        stream = self.response.stream
        return isinstance(stream, _Answer) and stream.gather(self._attempt, self._max_size)

    def attach(self, history: History) -> None:
        self.response.extensions["seawall"] = history


_through: Final = functools.lru_cache(1024)(Origin.through)


class OverWire:
    """
    Sends requests over our own wire.

    Args:
        guard: Must trust a proxy, or its requests are refused.
        max_size: Largest decoded body, in bytes; a larger one is an error. None sets no limit.
        route: The way of all its requests that name none of their own; None if it is straight.
    """

    runs_code: ClassVar = False

    def __init__(self, wire: Wire, *, guard: Guard | None, max_size: int | None, route: Route | None = None) -> None:
        self._wire = wire
        self._guard = guard
        self._max_size = max_size
        self._route = route
        self._way = "" if route is None else route.way

    def outgoing(self, request: httpx2.Request) -> Outgoing:
        """
        *request*, as it can be sent.

        Raises:
            UnsupportedScheme, DialError: Its URL can't be called.
            AddressNotAllowed: The guard refuses its way, or its host.
            TypeError, ValueError, ImportError: Its own proxy can't be one.
        """
        outgoing, route, way = Outgoing(request), self._route, self._way
        origin = outgoing.origin
        if OWN_PROXY in request.extensions:
            route = _with_proxy(route, request.extensions[OWN_PROXY])
            way = "" if route is None else route.way
        if route is not None:
            outgoing.route, outgoing.is_straight = route, False
            if way:
                outgoing.origin = origin = _through(origin, way)
            if self._guard is not None and route.proxy is not None:
                _check_proxied(self._guard, origin, request)
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
        stream: httpx2.AsyncByteStream = _Answer(answered, request) if whole is None else httpx2.ByteStream(whole)
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
        self._wire.blame(outgoing.origin, outgoing.original.extensions, outgoing.route, attempt)

    async def _send_patched(self, outgoing: Outgoing, attempt: AttemptState) -> Reply:
        """Send through what a tool has patched; the tool may put another body into our response."""
        import httpcore2

        from .detour import WirePool, WireTransport

        sent: list[Answered] = []
        streams: list[_Answer] = []

        async def ask(request: httpcore2.Request) -> httpcore2.Response:
            headers = [(name, name.lower(), value) for name, value in request.headers]
            message = self._message(outgoing, request.url.target, headers, None, request.stream)
            answered = await self._wire.send(message, attempt)
            head, stream = answered.head, _Answer(answered, outgoing.original)
            sent[:], streams[:] = [answered], [stream]
            return httpcore2.Response(head.status, headers=head.raw, content=stream, extensions=answered.extensions)

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
        route = outgoing.route
        if route is not None and self._wire.is_forwarded(origin, route):
            assert route.proxy is not None
            if target[:1] in (b"/", b"*"):  # RFC 9112 section 3.2.4: OPTIONS of a server as a whole has no path
                target = b"http://%b%b" % (origin.netloc.encode(), b"" if target == b"*" else target)
            if route.proxy.headers:
                own = {lower for _, lower, _ in headers}
                headers = [*headers, *(each for each in route.proxy.headers if each[1] not in own)]
        return Sent(origin, method.encode(), target, headers, content, body, extensions, self._wire.blocks, route)


def _check_proxied(guard: Guard, origin: Origin, request: httpx2.Request) -> None:
    """
    Raises:
        AddressNotAllowed: *guard* doesn't let a proxy dial *origin*.
    """
    if not guard.trust_proxy:
        raise as_httpx(AddressNotAllowed(f"{origin}: the guard refuses it: {NOT_TRUSTED}", origin=origin), request)
    target = request.extensions.get("target")
    if target and target[:1] not in (b"/", b"*"):
        text = f'{origin}: the guard refuses extensions["target"], because a proxy would go where that says; use a path'
        raise as_httpx(AddressNotAllowed(text, origin=origin), request)
    try:
        guard.check_host(origin)
    except AddressNotAllowed as error:
        raise as_httpx(error, request) from None


def _with_proxy(route: Route | None, proxy: Any) -> Route | None:
    """*route* with another *proxy*, as a request asks for it; None: with none."""
    way = Route() if route is None else route
    if proxy is None:
        way = Route(None, way.uds, way.local_address, way.socket_options)
    else:
        way = Route(proxy_of(proxy), None, way.local_address, way.socket_options)
    return None if way == Route() else way


def _host_first(headers: Triples) -> Triples:
    """
    *headers* with Host before all others, and without a zone, because no other machine knows it.

    Source: RFC 9110 section 7.2; RFC 6874 section 4.
    """
    hosts = [(name, lower, ZONE.sub(b"", value)) for name, lower, value in headers if lower == HOST]
    return [*hosts, *(each for each in headers if each[1] != HOST)]


def _content(request: httpx2.Request) -> bytes | None:
    """The body, if it is in memory."""
    stream = request.stream
    if stream is EMPTY:
        return b""
    return b"".join(stream) if isinstance(stream, httpx2.ByteStream) else None
