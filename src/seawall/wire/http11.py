"""
One HTTP/1.1 connection. For now httpcore's, over a stream of ours: the seam that an engine of our own will take.

Rules: httpcore's errors end here. Whether a connection may be used again is decided here. Closing it takes no await.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpcore

from ..errors import BadAnswer, ConnectionLost, InvalidRequest, ReadTimeout, SendFailed, WireError, WriteTimeout
from ..events import Phase, Progress
from ..origin import Origin
from .stream import Stream

__all__ = ["Connection", "Head", "Message"]

ERRORS: Final[dict[type[Exception], type[WireError]]] = {
    httpcore.ReadTimeout: ReadTimeout,
    httpcore.WriteTimeout: WriteTimeout,
    httpcore.WriteError: SendFailed,
    httpcore.NetworkError: ConnectionLost,
    httpcore.RemoteProtocolError: BadAnswer,
}


@dataclass(frozen=True, slots=True)
class Message:
    """A request, without httpx. *extensions* are httpx's: timeout, trace, sni_hostname."""

    origin: Origin
    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: AsyncIterable[bytes]
    extensions: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """A response up to its body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    extensions: dict[str, Any]


class Connection:
    """
    One request at a time: `send`, then `body`, then `finish`.

    Attributes:
        is_fresh: No request was sent on it yet.
    """

    def __init__(self, origin: Origin, stream: Stream, progress: Progress) -> None:
        self.origin = origin
        self.address = progress.address
        self.is_fresh = True
        self._stream = stream
        self._is_upgraded = False
        self._http = httpcore.AsyncHTTP11Connection(
            origin=httpcore.Origin(origin.scheme.encode(), origin.host.encode(), origin.port), stream=stream
        )
        self._response: httpcore.Response | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.origin} {self._http.info()}>"

    @property
    def is_usable(self) -> bool:
        """Idle, open, and without bytes that nobody asked for."""
        return self._http.is_idle() and not self._stream.is_spoilt

    def on_closed(self, callback: Callable[[], None]) -> None:
        """*callback* is called once, when the connection is gone; at once if it is."""
        if self._stream.is_closed:
            callback()
        else:
            self._stream.on_closed = callback

    def close(self) -> None:
        self._stream.close()

    async def send(self, message: Message, progress: Progress) -> Head:
        """
        Send a request, and read the response's head.

        **Cancellation:** the connection is closed, as after any failure.

        Raises:
            WireError: By what failed.
            InvalidRequest: It can't be written as HTTP/1.1; nothing was sent.
        """
        self._stream.has_received = False
        self._stream.on_write = lambda: progress.reached(Phase.SENDING)
        self._stream.on_read = lambda: progress.reached(Phase.SENT) if progress.phase == Phase.SENDING else None
        request = httpcore.Request(
            message.method,
            httpcore.URL(
                scheme=message.origin.scheme.encode(),
                host=message.origin.host.encode(),
                port=message.origin.port,
                target=message.target,
            ),
            headers=message.headers,
            content=message.body,
            extensions=dict(message.extensions),
        )
        try:
            with self._mapped(progress):
                self._response = response = await self._http.handle_async_request(request)
        except BaseException:
            self.close()
            raise
        self.is_fresh = False
        self._is_upgraded = response.status == 101 or (message.method == b"CONNECT" and response.status < 300)
        self._stream.on_read = None
        progress.reached(Phase.HEADERS)
        return Head(response.status, list(response.headers), dict(response.extensions))

    async def body(self, progress: Progress) -> AsyncIterator[bytes]:
        """The parts of the response's body, as they come."""
        assert self._response is not None
        stream = self._response.stream
        assert isinstance(stream, AsyncIterable)
        with self._mapped(progress):
            async for part in stream:
                progress.reached(Phase.BODY)
                yield part

    async def finish(self) -> None:
        """After the body, or instead of its rest: idle again if all was read, else closed."""
        response, self._response = self._response, None
        try:
            # Bytes after the answer are the answer to nothing: the next request would get them. httpcore shows them
            # nowhere else (tests/unit/test_contracts.py holds on to the private name).
            is_clean = not self._is_upgraded and not self._http._h11_state.trailing_data[0]
            if response is not None and is_clean:
                await response.aclose()
            if not is_clean or not self.is_usable:
                self.close()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _mapped(self, progress: Progress) -> Iterator[None]:
        try:
            yield
        except httpcore.LocalProtocolError as error:
            # Its text quotes the header, which may be somebody's credentials: it stays in the cause, out of logs.
            raise InvalidRequest(
                f"{self.origin}: HTTP/1.1 can't carry this request: look for illegal bytes in its headers",
                origin=self.origin,
            ) from error
        except tuple(ERRORS) as error:
            kind = next(ours for theirs, ours in ERRORS.items() if isinstance(error, theirs))
            is_stale = progress.is_reused and not self._stream.has_received
            raise kind(self._text(str(error), progress), origin=self.origin, is_stale=is_stale) from error

    def _text(self, what: str, progress: Progress) -> str:
        phase = progress.phase.name.lower()
        kind = "a reused" if progress.is_reused else "a new"
        return f"{self.origin} at {self.address}: {what} ({phase}, {kind} connection)"
