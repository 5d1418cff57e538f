"""
One HTTP/1.1 connection: what is sent, and when, and what is waited for.

Rules: one exchange at a time. What a reader holds is its exchange's `Response`, never this object's state, because the
connection serves others as soon as the response is closed, by whichever task. A response of 300 or more that comes
before the request is all sent ends the sending, and the connection with it; one below lets the rest be sent beside it.
Bytes that answer no request make the connection unusable, so no request ever gets another's response. Whether a
connection may be used again is decided here; closing it takes no await.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, NoReturn, TypeVar

from ...attempts import BODY, HEADERS, SENDING, SENT
from ...errors import ConnectionLost, ReadTimeout, SendFailed, WireError, WriteTimeout
from ...route import Destination
from ..disagreement import is_disagreement
from ..message import Head, Message
from ..progress import Progress
from ..trace import Trace
from ..upgrade import Tunnel
from ..upload import Upload
from .framing import MARGIN, MIN_REST, rests_until
from .parser import Parser
from .response import NOTHING, Response
from .room import WORTHWHILE, Room
from .sending import Sending
from .upgradable import HIGH_WATER, Upgradable

__all__ = ["Connection"]

E = TypeVar("E", bound=WireError)


class Connection(Upgradable):
    """
    One exchange at a time, so it is its own `Channel`.

    Attributes:
        is_usable: Idle, open, and without bytes that nobody asked for.
    """

    __slots__ = (
        "_core",
        "_is_last",
        "_parser",
        "_progress",
        "_read_timeout",
        "_response",
        "_room",
        "is_usable",
        "upload",
    )

    name: ClassVar = "http11"
    protocol = "HTTP/1.1"
    is_multiplexed = False
    is_usable: bool

    def __init__(self, origin: Destination, buffer: memoryview, *, is_secure: bool = False) -> None:
        super().__init__(origin, buffer, is_secure=is_secure)
        self.is_usable = True
        self.upload: Upload | None = None
        self._parser = Parser()
        self._response: Response | None = None  # of the exchange in flight
        self._room: Room | None = None  # of the body that is being read, if it is wanted whole
        self._is_last = False
        self._progress: Progress
        self._read_timeout: float | None

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "active" if self._response is not None else "idle"
        return f"<Connection {self.where} {state}>"

    # The pool's side

    @property
    def has_room(self) -> bool:
        return self.is_usable

    def channel(self) -> Connection:
        return self

    def has_unseen(self) -> bool:
        """Anything at all, because nothing may come while it is idle."""
        return self._poll is not None and bool(self._poll.poll(0))

    def agrees(self, chosen: str | None, *, can_fall_back: bool) -> bool:
        if chosen == "h2":
            raise ssl.SSLError("the server chose HTTP/2: somebody else offers it with the same ssl.SSLContext")
        return True

    def retire(self) -> None:
        self.ends_at = 0.0

    def leave(self) -> None:
        self.close()

    def put_back(self) -> None:
        self.on_idle(self, self._loop.time())

    # The way of an exchange

    async def send(self, message: Message, progress: Progress, trace: Trace | None = None) -> Head:
        block = message.block
        self._progress = progress
        self._read_timeout, self._core = message.timeouts.get("read"), message.core
        self._is_last = block.closes
        self.is_usable = False
        try:
            response = self._response = self._parser.begin(message.method, asks_upgrade=block.asks_upgrade)
            if trace is not None:
                await self._send_traced(trace, message, response)
            else:
                self._write_head(message)
                if message.is_held or not self.can_write:
                    progress.reached(SENDING)
                    await self._send_rest(message, response)
                else:
                    progress.reached_sent()
                while not response.has_head:
                    if not (response.failure is None and await self._wait(self._read_timeout)):
                        self._failed(response)
        except Exception:
            self.close()
            if self.upload is not None:
                await self.upload.stopped()
            raise
        except BaseException:
            self.close()
            raise
        progress.reached(HEADERS)
        return response

    @property
    def extensions(self) -> dict[str, Any]:
        """httpx's, of the response whose head is there."""
        response = self._response
        assert response is not None
        tunnel = Tunnel()
        tunnel.connection, tunnel.core, tunnel.is_open = self, self._core, response.is_upgraded
        return {"http_version": response.version, "reason_phrase": response.reason, "network_stream": tunnel}

    def whole(self) -> bytes | None:
        response, upload = self._response, self.upload
        if response is None or not response.is_complete:
            return None
        if upload is not None and (upload.has_failed or not upload.is_over):
            return None
        return response.take() if response.size else b""

    def gather(self, came: Callable[[int], None], max_size: int | None) -> Room | None:
        response, left = self._response, self._parser.body_left
        if response is None or left < WORTHWHILE or (max_size is not None and response.size + left > max_size):
            return None
        had = response.take() if response.size else b""
        self._room = response.room = room = Room(had, len(had) + left, came)
        self._parser.body_left = 0
        self._resume()
        self._may_lag = True
        if had:
            self._progress.reached(BODY)
            came(len(had))
        return room

    async def body(self) -> AsyncIterator[bytes]:
        response, upload = self._response, self.upload
        assert response is not None
        while True:
            is_detached = self._response is not response  # by another task, which has closed the response
            if response.size:
                part = response.take()
                if not is_detached:
                    if self._is_paused:
                        self._resume()
                    self._progress.reached(BODY)
                yield part
            elif response.is_complete and (upload is None or not upload.is_going):
                if upload is not None:
                    await upload.settled()
                return
            elif is_detached:
                raise ConnectionLost(
                    f"{self.where}: the response was closed while it was read", origin=self.plain_origin
                )
            elif response.is_complete:
                await self._wait(None)  # for the rest of the upload
            else:
                await self._receive(response)

    def finish(self) -> None:
        response = self._response
        if (
            response is None
            or not (response.is_complete and response.is_kept)
            or response.is_spoilt
            or self.is_upgraded
            or self._is_last
            or not (self.upload is None or self.upload.is_whole)
        ):
            if self.is_upgraded and self.may_hold:
                self.close_softly()  # what was written to the tunnel is its peer's
            else:
                self.close()
            self._response = None
            return
        progress, said = self._progress, response.keep_for
        self._response = self.upload = None
        self._parser.response = NOTHING
        if response.is_bodiless:
            self.rests_until = rests_until(progress)
        del self._progress
        if self._may_lag:  # what came behind the response may not be read yet
            self._may_lag = False
            self._resume()
            if self._is_secure or self._poll is None:  # and no poll sees it in asyncio's TLS
                self.rests_until = max(self.rests_until, progress.now() + MIN_REST)
        self.keep_for = None if said is None else said - min(MARGIN, said / 2)
        self.is_usable = not (self._has_ended or self.is_closed)
        self.on_idle(self, progress.now())

    def is_serving(self, response: Response) -> bool:
        """Whether *response* is that of the exchange in flight."""
        return self._response is response

    async def _send_traced(self, trace: Trace, message: Message, response: Response) -> None:
        """The same, step by step, for callers that want to hear of each."""
        try:
            async with trace.step("http11.send_request_headers", request=trace.request):
                self._write_head(message)
                self._progress.reached(SENDING)
            async with trace.step("http11.send_request_body", request=trace.request):
                await self._send_rest(message, response)
            async with trace.step("http11.receive_response_headers", request=trace.request) as returns:
                while not response.has_head:
                    await self._receive(response)
                returns((response.version, response.status, response.reason, response.raw))
        except Exception:
            async with trace.step("http11.response_closed"):
                self.close()
            raise

    def _write_head(self, message: Message) -> None:
        """And the body with it, unless that is held."""
        assert self._transport is not None
        if self.is_closed or self._has_ended:
            raise self.failure(SendFailed, "the connection was closed")
        is_bare = message.is_held or not (message.content or message.block.is_chunked)
        data = message.head if is_bare else message.whole
        self._progress.bytes_out += len(data)
        self._transport.write(data)

    async def _send_rest(self, message: Message, response: Response) -> None:
        """What `_write_head` left of the body, until it is sent, or the response's head is there."""
        sending = Sending(self, message, response, self._progress, message.timeouts.get("write"))
        upload = self.upload = Upload(sending.run, self._wake)
        while not (upload.is_over or response.has_head or response.failure is not None):
            await self._wait(None)
        if sending.is_refused():
            upload.stop()
        if not response.has_head:
            upload.raise_error()
        if upload.is_whole:
            self._progress.reached(SENT)

    async def _receive(self, response: Response) -> None:
        """Something more of it. Raises WireError, or what the caller's own iterator raised."""
        upload, timeout = self.upload, self._read_timeout
        if upload is not None:
            upload.raise_error()
            if upload.is_going:
                timeout = None  # the server may well wait for the rest
        if not (response.failure is None and await self._wait(timeout)):
            self._failed(response)

    def _failed(self, response: Response) -> NoReturn:
        if response.failure is not None:
            raise self.failure(*response.failure) from self.error
        raise self.failure(ReadTimeout, f"nothing came for {self._read_timeout:g} s") from self.error

    def failure(self, kind: type[E], what: str) -> E:
        """The error of the exchange in flight."""
        progress, where = self._progress, "a reused" if self._progress.is_reused else "a new"
        has_other_cause = kind is ReadTimeout or kind is WriteTimeout or (self._response or NOTHING).has_begun
        error = kind(
            f"{self.where}: {what} ({progress.phase.name.lower()}, {where} connection)",
            origin=self.plain_origin,
            is_stale=progress.is_reused and not has_other_cause,
            is_final=is_disagreement(self.error),
        )
        error.__cause__ = self.error
        return error

    # asyncio's side

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer if self._room is None else self._room.left()

    def buffer_updated(self, nbytes: int) -> None:
        room, response = self._room, self._response
        if room is None or response is None:
            self.data_received(bytes(self._buffer[:nbytes]))
            return
        self._progress.bytes_in += nbytes
        self._progress.reached(BODY)
        room.size += nbytes
        room.came(nbytes)
        if room.is_full:
            self._room = None
            response.is_complete, response.size = True, room.size
            self._wake()
        else:
            self._delay(self._read_timeout)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if self.is_upgraded:
            self._tunnel(data)
        elif response is None:
            self.close()
            return
        else:
            self._progress.bytes_in += len(data)
            self._parser.feed(data)
            if response.is_upgraded:
                self.is_upgraded = True
                self._tunnel(response.rest)
            elif response.size > HIGH_WATER:
                self._pause()
        self._wake()

    def _ended(self) -> None:
        if not self._has_ended:
            self._has_ended, self.is_usable = True, False
            if self._response is not None:
                self._parser.end(self.error)
            self._wake()

    def _closed(self) -> None:
        self.is_usable = False
        if self._room is not None and self._response is not None:
            self._room = self._response.room = None  # its error may be kept
        self._parser.end(self.error or ConnectionAbortedError("closed on this side"))
        if self.upload is not None:
            self.upload.stop()
        super()._closed()
