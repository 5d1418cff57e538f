"""
One HTTP/1.1 connection: what is sent, and when, and what is waited for.

Rules: one exchange at a time. An answer that comes before the request is all sent ends the sending, and the connection
with it. Bytes that nobody asked for make the connection unusable: no request ever gets another's answer. Whether a
connection may be used again is decided here; closing it takes no await.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextvars import Context
from typing import Any, Final, NoReturn

from ..errors import ReadTimeout, SendFailed, WireError, WriteTimeout
from ..events import Phase, Progress
from ..origin import Address, Origin
from .addresses import Load
from .answer import Answer, Head
from .message import CONTINUE_TIMEOUT, SLICE, Message, slices
from .stream import Stream, is_disagreement
from .trace import Trace

__all__ = ["Connection"]

HIGH_WATER: Final = 256 * 1024  # B of body that nobody has taken yet; then reading pauses
MARGIN: Final = 1.0  # s that a request may take to get there; at most half of what the server says


class Connection(Stream):
    """
    One request at a time: `send`, then `whole` or `body`, then `finish`.

    Attributes:
        is_upgraded: It speaks another protocol now (101, CONNECT); its bytes are in `tunnelled`.
        good_until: From here on its address may have left the name's record.
        ends_at: From here on it is too old to be used again.
        load: What is under way to its address, itself included while it is in use; None: there is no other address.
        keep_for: s that it may be idle and the server, by its Keep-Alive header, still has it; None: it didn't say.
    """

    __slots__ = (
        "_answer",
        "_has_ended",
        "_has_reader",
        "_is_paused",
        "_is_spoilt",
        "_is_unfinished",
        "_progress",
        "_read_timeout",
        "_spare",
        "address",
        "ends_at",
        "good_until",
        "is_upgraded",
        "keep_for",
        "load",
        "origin",
        "tunnelled",
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
        self.tunnelled = bytearray()
        self._answer: Answer | None = None  # of the exchange under way
        self._spare: Answer | None = None  # of the one before
        self._has_ended = self._has_reader = self._is_paused = self._is_spoilt = self._is_unfinished = False
        self._progress: Progress
        self._read_timeout: float | None

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "active" if self._answer is not None else "idle"
        return f"<Connection {self.origin} at {self.address} {state}>"

    @property
    def is_usable(self) -> bool:
        """Idle, open, and without bytes that nobody asked for."""
        return self._answer is None and not (self._is_spoilt or self._has_ended or self.is_closed)

    def has_unseen(self) -> bool:
        """Whether something came that the loop has not looked at yet: it was busy, and this is no idle connection."""
        return self._poll is not None and bool(self._poll.poll(0))

    # The way of an exchange

    async def send(self, message: Message, progress: Progress, trace: Trace | None = None) -> Head:
        """
        Send a request, and read the response's head; it may come before the request is all sent.

        **Cancellation:** the connection is closed, as after any failure.

        Raises:
            WireError: By what failed.
            InvalidRequest: The body has another length than the headers say.
        """
        timeouts = message.timeouts
        self._progress = progress
        self._read_timeout = timeouts.get("read")
        self._is_unfinished = False
        framed = message.framed
        try:
            answer = self._answer = self._next_answer(message.method, asks_upgrade=framed.asks_upgrade)
            if trace is not None:
                return await self._send_traced(trace, message, answer, timeouts)
            is_held = self._write_head(message)
            if is_held or not self._can_write:
                await self._send_body(message, answer, timeouts.get("write"))
            progress.reached(Phase.SENT)
            while not answer.has_head:
                if not (answer.failure is None and await self._wait(self._read_timeout)):
                    self._failed(answer)
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
        """The response's body, if all of it is there already."""
        answer = self._answer
        return answer.take() if answer is not None and answer.is_complete else None

    async def body(self) -> AsyncIterator[bytes]:
        """The parts of the response's body, as they come. Raises WireError."""
        answer = self._answer
        assert answer is not None
        while True:
            if answer.size:
                part = answer.take()
                self._resume()
                self._progress.reached(Phase.BODY)
                yield part
            elif answer.is_complete:
                return
            else:
                self._has_reader = True
                try:
                    await self._receive(answer)
                finally:
                    self._has_reader = False

    def finish(self) -> None:
        """After the body, or instead of its rest: idle again if all was read, else closed."""
        answer = self._answer
        if (
            answer is None
            or not (answer.is_complete and answer.is_kept)
            or answer.is_spoilt
            or self.is_upgraded
            or self._is_unfinished
            or self._has_reader  # another task, which has not run since the last of it came
        ):
            self.close()
            self._answer = None
        else:
            self._answer = None
            del self._progress
            answer.clear()
            if self._is_paused:
                self._resume()
            said = answer.keep_for
            self.keep_for = None if said is None else said - min(MARGIN, said / 2)
            self._spare = answer

    def leave(self) -> None:
        """Instead of an exchange: it is not to be used any more."""
        self.close()

    # Parts of it

    def _next_answer(self, method: bytes, *, asks_upgrade: bool) -> Answer:
        answer, self._spare = self._spare, None
        if answer is None:
            return Answer(method, asks_upgrade=asks_upgrade)
        answer.again(method, asks_upgrade=asks_upgrade)
        return answer

    async def _send_traced(
        self, trace: Trace, message: Message, answer: Answer, timeouts: Mapping[str, float | None]
    ) -> Head:
        """The same, step by step, for who wants to hear of each."""
        try:
            async with trace.step("http11.send_request_headers", request=trace.request):
                self._write_head(message)
            async with trace.step("http11.send_request_body", request=trace.request):
                await self._send_body(message, answer, timeouts.get("write"))
            self._progress.reached(Phase.SENT)
            async with trace.step("http11.receive_response_headers", request=trace.request) as returns:
                await self._receive_head(answer)
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
        is_held = message.content is None or message.framed.expects or self._is_sliced(message)
        self._transport.write(message.framed.head if is_held else message.whole)
        return is_held

    def _is_sliced(self, message: Message) -> bool:
        """asyncio's TLS takes all that it is given at once and says of no limit: so it is given slices."""
        return self._is_secure and message.content is not None and len(message.content) > SLICE

    async def _receive_head(self, answer: Answer) -> None:
        while not answer.has_head:
            await self._receive(answer)

    async def _receive(self, answer: Answer) -> None:
        """Something more of it. Raises WireError."""
        if not (answer.failure is None and await self._wait(self._read_timeout)):
            self._failed(answer)

    def _failed(self, answer: Answer) -> NoReturn:
        if answer.failure is not None:
            self._fail(*answer.failure)
        self._fail(ReadTimeout, f"nothing came for {self._read_timeout:g} s")

    async def _send_body(self, message: Message, answer: Answer, timeout: float | None) -> None:
        """What `_write_head` left of the body, in parts, until it ends or the answer comes."""
        assert self._transport is not None
        framed = message.framed
        if message.content is not None and not (framed.expects or self._is_sliced(message)):
            await self._drain(answer, timeout)
            return
        if framed.expects:
            while not (answer.is_continued or answer.has_head or answer.failure):
                if not await self._wait(CONTINUE_TIMEOUT):
                    break  # RFC 9110 section 10.1.1: a server need not say it
        size = 0
        async for part in message.body if message.content is None else slices(message.content):
            if answer.has_head or answer.failure is not None:
                break
            if not part:
                continue
            size = message.counted(size, part)
            self._transport.write(message.part(part))
            if not self._can_write:
                await self._drain(answer, timeout)
        if answer.has_head or answer.failure is not None:
            self._is_unfinished = True
        else:
            message.counted(size, None)
            self._transport.write(message.end)

    async def _drain(self, answer: Answer, timeout: float | None) -> None:
        """Until the peer has taken enough, or has answered; as in httpx, one timeout for all that was written."""
        expires_at = None if timeout is None else self._loop.time() + timeout
        while not (self._can_write or answer.has_head or answer.failure):
            left = None if expires_at is None else expires_at - self._loop.time()
            if not await self._wait(left):
                self._fail(WriteTimeout, f"not all was taken within {timeout:g} s")
        self._is_unfinished = not self._can_write

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
            self._is_spoilt = True
            self.close()
            return
        else:
            answer.feed(data)
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
                self._answer.end(self.error)
            self._wake()

    def _closed(self) -> None:
        if self._answer is not None:
            self._answer.end(self.error or ConnectionAbortedError("closed on this side"))
        if self._spare is not None:
            self._spare.end(None)
            self._spare = None
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
        """Some bytes of the other protocol, ``b""`` at its end, None after *timeout* s."""
        while not self.tunnelled:
            if self._has_ended or self.is_closed:
                return b""
            if not await self._wait(timeout):
                return None
        data = bytes(self.tunnelled[:max_bytes])
        del self.tunnelled[:max_bytes]
        self._resume()
        return data

    async def transmit(self, data: bytes, timeout: float | None) -> bool:
        """Bytes of the other protocol; False after *timeout* s. Raises OSError where it is closed."""
        if self.is_closed or self._has_ended or self._transport is None:
            raise self.error or ConnectionAbortedError("the connection was closed")
        self._transport.write(data)
        while not self._can_write:
            if self.is_closed:
                raise self.error or ConnectionAbortedError("the connection was closed")
            if not await self._wait_writable(timeout):
                return False
        return True

    def close_softly(self) -> None:
        """Once what was written is sent, for which it has a second."""
        if self._transport is not None and not self.is_closed:
            self._loop.call_later(1.0, self.close)
            self._transport.close()
