"""
One HTTP/1.1 connection: what is sent, and when, and what is waited for.

Rules: one exchange at a time. What a reader holds is its exchange's `Answer`, never this object's state, because the
connection serves others as soon as the response is closed, by whichever task. An answer of 300 or more that comes
before the request is all sent ends the sending, and the connection with it; one below lets the rest be sent beside it.
Bytes that nobody asked for make the connection unusable: no request ever gets another's answer. Whether a connection
may be used again is decided here; closing it takes no await.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextvars import Context
from functools import partial
from typing import Any, Final, NoReturn

from ...errors import ConnectionLost, ReadTimeout, SendFailed, WireError, WriteTimeout
from ...events import Phase
from ...origin import Address, Origin
from ..addresses import Load
from ..message import CONTINUE_TIMEOUT, SLICE, Message, slices
from ..progress import Progress
from ..socket import Stream, is_disagreement
from ..trace import Trace
from ..upload import Upload
from .answer import Answer, Head
from .parser import Parser

__all__ = ["Connection"]

REFUSED: Final = 300  # a status from which on the server wants no more of the request
HIGH_WATER: Final = 256 * 1024  # B of body that nobody has taken yet; then reading pauses
MARGIN: Final = 1.0  # s that a request may take to get there; at most half of what the server says
MIN_REST: Final = 0.01  # s; less is the server's own jitter
MAX_REST: Final = 1.0  # s; what takes longer is the server's work, not the way to it


class Connection(Stream):
    """
    One request at a time: `send`, then `whole` or `body`, then `finish`.

    Attributes:
        is_upgraded: It speaks another protocol now (101, CONNECT); its bytes are in `tunnelled`.
        good_until: From here on its address may have left the name's record.
        ends_at: From here on it is too old to be used again.
        load: What is under way to its address, itself included while it is in use; None: there is no other address.
        keep_for: s that it may be idle and the server, by its Keep-Alive header, still has it; None: it didn't say.
        upload: Of the exchange in flight: its body, where that is not sent at once.
        rests_until: Until then it isn't used again, because a body may come that the server was not to send.
    """

    __slots__ = (
        "_answer",
        "_has_ended",
        "_is_last",
        "_is_paused",
        "_parser",
        "_progress",
        "_read_timeout",
        "address",
        "ends_at",
        "good_until",
        "is_upgraded",
        "keep_for",
        "load",
        "origin",
        "rests_until",
        "tunnelled",
        "upload",
    )

    name = "http11"

    def __init__(self, origin: Origin, buffer: memoryview, *, is_secure: bool = False) -> None:
        super().__init__(buffer, is_secure=is_secure)
        self.origin = origin
        self.address: Address | None = None
        self.good_until = self.ends_at = math.inf
        self.is_upgraded = False
        self.keep_for: float | None = None
        self.load: Load | None = None
        self.rests_until = 0.0
        self.tunnelled = bytearray()
        self._parser = Parser()
        self._answer: Answer | None = None  # of the exchange in flight
        self.upload: Upload | None = None
        self._has_ended = self._is_last = self._is_paused = False
        self._progress: Progress
        self._read_timeout: float | None

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "active" if self._answer is not None else "idle"
        return f"<Connection {self.origin} at {self.address} {state}>"

    @property
    def is_usable(self) -> bool:
        """Idle, open, and without bytes that nobody asked for."""
        return self._answer is None and not (self._has_ended or self.is_closed)

    def has_unseen(self) -> bool:
        """Whether something came that the loop has not looked at yet: it was busy, and this is no idle connection."""
        return self._poll is not None and bool(self._poll.poll(0))

    @property
    def has_ended(self) -> bool:
        """Nothing more comes, whoever ended it."""
        return self._has_ended or self.is_closed

    # The way of an exchange

    async def send(self, message: Message, progress: Progress, trace: Trace | None = None) -> Head:
        """
        Send a request, and read the response's head; one below 300 may come while the body is still being sent.

        **Cancellation:** the connection is closed, as after any failure.

        Raises:
            WireError: By what failed.
            InvalidRequest: The body has another length than the headers say.
            Exception: What the caller's own iterator of body parts raised.
        """
        timeouts = message.timeouts
        self._progress = progress
        self._read_timeout = timeouts.get("read")
        framed = message.framed
        self._is_last = framed.closes
        try:
            answer = self._answer = self._parser.begin(message.method, asks_upgrade=framed.asks_upgrade)
            if trace is not None:
                return await self._send_traced(trace, message, answer, timeouts)
            is_held = self._write_head(message)
            if is_held or not self._can_write:
                await self._send_rest(message, answer, timeouts.get("write"))
            else:
                progress.reached(Phase.SENT)
            while not answer.has_head:
                if not (answer.failure is None and await self._wait(self._read_timeout)):
                    self._failed(answer)
        except Exception:
            self.close()
            if self.upload is not None:
                await self.upload.stopped()
            raise
        except BaseException:
            self.close()
            raise
        progress.reached(Phase.HEADERS)
        return answer.head

    @property
    def extensions(self) -> dict[str, Any]:
        """httpx's, of the response whose head is there."""
        assert self._answer is not None
        head = self._answer.head
        return {"http_version": head.version, "reason_phrase": head.reason}

    def whole(self) -> bytes | None:
        """The response's body, if all of it is there already, and the request is all sent."""
        answer, upload = self._answer, self.upload
        if answer is None or not answer.is_complete:
            return None
        if upload is not None and (upload.has_failed or not upload.is_over):
            return None
        return answer.take()

    async def body(self) -> AsyncIterator[bytes]:
        """The parts of the response's body, as they come; it ends once the request is sent too. Raises WireError."""
        answer, upload = self._answer, self.upload
        assert answer is not None
        while True:
            is_detached = self._answer is not answer  # by another task, which has closed the response
            if answer.size:
                part = answer.take()
                if not is_detached:
                    self._resume()
                    self._progress.reached(Phase.BODY)
                yield part
            elif answer.is_complete and (upload is None or not upload.is_going):
                if upload is not None:
                    await upload.settled()
                return
            elif is_detached:
                raise ConnectionLost(
                    f"{self.origin} at {self.address}: the response was closed while it was read", origin=self.origin
                )
            elif answer.is_complete:
                await self._wait(None)  # for the rest of the upload
            else:
                await self._receive(answer)

    def finish(self) -> None:
        """After the body, or instead of its rest: idle again if all was read and sent, else closed."""
        answer, upload = self._answer, self.upload
        if (
            answer is None
            or not (answer.is_complete and answer.is_kept)
            or answer.is_spoilt
            or self.is_upgraded
            or self._is_last
            or not (upload is None or upload.is_whole)
        ):
            self.close()
            self._answer = None
        else:
            self._answer = self.upload = None
            self._parser.rest()
            if answer.is_bodiless:
                self._rest(self._progress)
            del self._progress
            if self._is_paused:
                self._resume()
            said = answer.keep_for
            self.keep_for = None if said is None else said - min(MARGIN, said / 2)

    def leave(self) -> None:
        """Instead of an exchange: it is not to be used any more."""
        self.close()

    # Parts of it

    def _rest(self, progress: Progress) -> None:
        """
        Not be used again for as long as the server took to answer, a second at most.

        A server that breaks the rules sends a body after HEAD, 204 or 304; it comes right behind the headers, and would
        be the answer to the next request. If it comes while nobody uses the connection, that ends it.
        """
        reached = dict(progress.each())
        answered_at = reached[Phase.HEADERS]
        took = answered_at - reached.get(Phase.SENT, reached[Phase.SENDING])
        self.rests_until = progress.started_at + answered_at + max(MIN_REST, min(took, MAX_REST))

    async def _send_traced(
        self, trace: Trace, message: Message, answer: Answer, timeouts: Mapping[str, float | None]
    ) -> Head:
        """The same, step by step, for callers that want to hear of each."""
        try:
            async with trace.step("http11.send_request_headers", request=trace.request):
                self._write_head(message)
            async with trace.step("http11.send_request_body", request=trace.request):
                await self._send_rest(message, answer, timeouts.get("write"))
            async with trace.step("http11.receive_response_headers", request=trace.request) as returns:
                while not answer.has_head:
                    await self._receive(answer)
                head = answer.head
                returns((head.version, head.status, head.reason, head.raw))
        except Exception:
            async with trace.step("http11.response_closed"):
                self.close()
            raise
        self._progress.reached(Phase.HEADERS)
        return head

    def _write_head(self, message: Message) -> bool:
        """And the body, where it is there and wanted at once; returns whether some of it is still to be sent."""
        assert self._transport is not None
        if self.is_closed or self._has_ended:
            self._fail(SendFailed, "the connection was closed")
        self._progress.reached(Phase.SENDING)
        is_held = _is_held(message)
        self._transport.write(message.framed.head if is_held else message.whole)
        return is_held

    async def _send_rest(self, message: Message, answer: Answer, timeout: float | None) -> None:
        """What `_write_head` left of the body, until it is sent, or the answer's head is there."""
        upload = self.upload = Upload(partial(self._send_body, message, answer, timeout), self._wake)
        while not (upload.is_over or answer.has_head or answer.failure is not None):
            await self._wait(None)
        if self._is_refused(answer):
            upload.stop()
        if not answer.has_head:
            upload.raise_error()
        if upload.is_whole:
            self._progress.reached(Phase.SENT)

    async def _send_body(self, message: Message, answer: Answer, timeout: float | None) -> bool:
        """In slices, until all is sent or no more of it is wanted; returns whether all was."""
        assert self._transport is not None
        if not _is_held(message):
            return await self._is_drained(answer, timeout)
        if message.framed.expects:
            until = self._loop.time() + CONTINUE_TIMEOUT
            while not (answer.is_continued or answer.has_head or answer.failure is not None):
                if not await self._wait_writable(until):
                    break  # RFC 9110 section 10.1.1: a server need not say it
            if answer.has_head:
                return False
        size, parts = 0, aiter(message.body if message.content is None else slices(message.content))
        try:
            async for part in parts:
                size = message.counted(size, part)
                for begin in range(0, len(part), SLICE):
                    if self._is_refused(answer):
                        return False
                    self._transport.write(message.part(part[begin : begin + SLICE]))
                    if not self._can_write and not await self._is_drained(answer, timeout):
                        return False
        finally:
            if (close := getattr(parts, "aclose", None)) is not None:
                await close()
        message.counted(size, None)
        if self._is_refused(answer):
            return False
        self._transport.write(message.end)
        return True

    async def _is_drained(self, answer: Answer, timeout: float | None) -> bool:
        """Wait until the peer has taken enough of a slice; False where it wants no more. Raises WriteTimeout."""
        until = None if timeout is None else self._loop.time() + timeout
        while not (self._can_write or self._is_refused(answer)):
            if not await self._wait_writable(until):
                self._fail(WriteTimeout, f"too little was taken within {timeout:g} s")
        return self._can_write

    def _is_refused(self, answer: Answer) -> bool:
        """Whether nothing more of the request is wanted: its answer says so, or its exchange or connection is over."""
        assert self._transport is not None
        if answer.failure is not None or self._answer is not answer or self._transport.is_closing():
            return True
        return answer.has_head and answer.head.status >= REFUSED

    async def _receive(self, answer: Answer) -> None:
        """Something more of it. Raises WireError, or what the caller's own iterator raised."""
        upload, timeout = self.upload, self._read_timeout
        if upload is not None:
            upload.raise_error()
            if upload.is_going:
                timeout = None  # the server may well wait for the rest
        if not (answer.failure is None and await self._wait(timeout)):
            self._failed(answer)

    def _failed(self, answer: Answer) -> NoReturn:
        if answer.failure is not None:
            self._fail(*answer.failure)
        self._fail(ReadTimeout, f"nothing came for {self._read_timeout:g} s")

    def _fail(self, kind: type[WireError], what: str) -> NoReturn:
        progress = self._progress
        where = "a reused" if progress.is_reused else "a new"
        is_late = kind is ReadTimeout or kind is WriteTimeout
        has_begun = self._answer is not None and self._answer.has_begun
        raise kind(
            f"{self.origin} at {self.address}: {what} ({progress.phase.name.lower()}, {where} connection)",
            origin=self.origin,
            is_stale=progress.is_reused and not has_begun and not is_late,
            is_final=is_disagreement(self.error),
        ) from self.error

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if self.is_upgraded:
            self._tunnel(data)
        elif answer is None:
            self.close()
            return
        else:
            self._parser.feed(data)
            if answer.is_upgraded:
                self.is_upgraded = True
                self._tunnel(answer.rest)
            elif answer.size > HIGH_WATER:
                self._pause()
        self._wake()

    def _ended(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            if self._answer is not None:
                self._parser.end(self.error)
            self._wake()

    def _closed(self) -> None:
        self._parser.end(self.error or ConnectionAbortedError("closed on this side"))
        if self.upload is not None:
            self.upload.stop()
        super()._closed()

    def _pause(self) -> None:
        if not self._is_paused and self._transport is not None and not self.is_closed:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None and not self.is_closed:
            self._is_paused = False
            Context().run(self._transport.resume_reading)  # it keeps the one that it is called in

    # An upgraded connection

    def _tunnel(self, data: bytes) -> None:
        self.tunnelled += data
        if len(self.tunnelled) > HIGH_WATER:
            self._pause()
        self._wake()

    async def receive(self, max_bytes: int, timeout: float | None) -> bytes | None:
        """Some bytes of the other protocol, ``b""`` at its end, None after *timeout* s. RuntimeError: another reads."""
        until = None if timeout is None else self._loop.time() + timeout
        while not self.tunnelled:
            if self.has_ended:
                return b""
            if not await self._wait(None if until is None else until - self._loop.time()):
                return None
        data = bytes(self.tunnelled[:max_bytes])
        del self.tunnelled[:max_bytes]
        self._resume()
        return data

    async def transmit(self, data: bytes, timeout: float | None) -> bool:
        """Bytes of the other protocol; False after *timeout* s. Raises OSError where it is closed."""
        if self.has_ended or self._transport is None:
            raise self.error or ConnectionAbortedError("the connection was closed")
        self._transport.write(data)
        until = None if timeout is None else self._loop.time() + timeout
        while not self._can_write:
            if self.is_closed:
                raise self.error or ConnectionAbortedError("the connection was closed")
            if not await self._wait_writable(until):
                return False
        return True

    def close_softly(self) -> None:
        """Once what was written is sent, for which it has a second."""
        if self._transport is not None and not self.is_closed:
            self._loop.call_later(1.0, self.close)
            self._transport.close()


def _is_held(message: Message) -> bool:
    """Whether the body doesn't go with the head: it is read from somewhere, awaits 100 Continue, or is too large."""
    content = message.content
    return content is None or message.framed.expects or len(content) > SLICE
