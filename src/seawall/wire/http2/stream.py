"""
One stream of an HTTP/2 connection: an exchange, with its own time limits and its own window.

Rules: what befalls it is no other stream's matter. An answer of 300 or more, or the server's RST_STREAM, ends the
upload; an answer below 300 lets the rest be sent beside it, and the stream is open until both sides have ended. Given
up before its end, it is reset, so the server stops; if nothing at all has come on the connection meanwhile, that is
asked whether anybody is there still. What the server says it did nothing of counts as never sent, unless its answer had
begun. Source: RFC 9113.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

import h2.errors
import h2.exceptions

from ...errors import (
    BadAnswer,
    ConnectionLost,
    InvalidRequest,
    ReadTimeout,
    ResponseTooLarge,
    SendFailed,
    StreamRefused,
    WireError,
    WriteTimeout,
)
from ...events import Phase
from ...origin import Address, Origin
from ..http1.answer import MAX_HEAD, MAX_HEADERS, MAX_INTERIM, MAX_PARTS, Head
from ..message import CONTINUE_TIMEOUT, SLICE, Message, slices
from ..progress import Progress
from ..socket import is_disagreement
from ..trace import Trace
from ..upload import Upload
from ..waiting import Waiting
from .fields import request_fields, wrong_field

if TYPE_CHECKING:
    from .connection import Multiplexed

__all__ = ["Channel"]

REFUSED: Final = 300  # a status from which on the server wants no more of the request


class Channel(Waiting):
    """
    One stream, with what `http11.Connection` has for its exchange.

    Attributes:
        number: h2's stream id; None before it has one.
        is_complete: The answer's end has come.
    """

    is_upgraded = False
    upload: Upload | None = None  # the body, where that is not sent at once
    name = "http2"

    def __init__(self, connection: Multiplexed) -> None:
        super().__init__()
        self.connection = connection
        self.number: int | None = None
        self._head: Head | None = None
        self._parts: list[bytes] = []
        self._owed = 0  # B that came and were not taken yet
        self._size = self._interims = 0
        self._is_head = False
        self._head_size = 0  # B of headers, those of interim answers included
        self.is_complete = self._is_sent = self._is_reset = self._is_continued = False
        self._failure: tuple[type[WireError], str] | None = None
        self._refusal: str | None = None
        self._is_stale = False
        self._room: Waiting | None = None  # what an upload waits for
        self._death: object | None = None
        self._begun_at, self._place = 0.0, 0  # how many streams there were then, itself included
        self._progress: Progress
        self._read_timeout: float | None

    @property
    def origin(self) -> Origin:
        return self.connection.origin

    @property
    def address(self) -> Address | None:
        return self.connection.address

    @property
    def is_awaited(self) -> bool:
        """More of the answer is to come, and of use."""
        return not (self.is_complete or self._failure or self._refusal)

    @property
    def extensions(self) -> dict[str, Any]:
        """httpx's, of a response."""
        return {"http_version": b"HTTP/2", "stream_id": self.number}

    # The way of an exchange

    async def send(self, message: Message, progress: Progress, trace: Trace | None = None) -> Head:
        """
        Send a request, and read the response's head; one below 300 may come while the body is still being sent.

        **Cancellation:** the stream is reset, as after any failure; the connection goes on.

        Raises:
            StreamRefused: Nothing was done of it.
            WireError: By what failed.
            InvalidRequest: HTTP/2 can't carry it, or the body has another length than the headers say.
            Exception: What the caller's own iterator of body parts raised.
        """
        self._progress = progress
        timeouts = message.timeouts
        self._read_timeout = timeouts.get("read")
        try:
            if trace is not None:
                return await self._send_traced(trace, message, timeouts.get("write"))
            self._send_head(message)
            if not self._is_sent:
                await self._send_rest(message, timeouts.get("write"))
            return await self._receive_head()
        except Exception as error:
            upload = self.upload
            self.close()
            if upload is not None:
                await upload.stopped()
            if isinstance(error, h2.exceptions.H2Error):
                self._raise(SendFailed, str(error), error)
            raise
        except BaseException:
            self.close()
            raise

    def whole(self) -> bytes | None:
        """The response's body, if all of it is there already, and the request is all sent."""
        upload = self.upload
        if not self.is_complete or (upload is not None and (upload.has_failed or not upload.is_over)):
            return None
        return self._take()

    async def body(self) -> AsyncIterator[bytes]:
        """
        The parts of the response's body, as they come; it ends once the request is sent too.

        Raises:
            WireError: By what failed; a ConnectionLost where another task closed the response meanwhile.
            RuntimeError: Another task waits for a part already.
            Exception: What the caller's own iterator of body parts raised.
        """
        upload = self.upload
        while True:
            if self._parts:
                part = self._take()
                self._progress.reached(Phase.BODY)
                yield part
            elif self.is_complete and (upload is None or not upload.is_going):
                if upload is not None:
                    await upload.settled()
                return
            elif self.is_complete:
                await self._wait(None)  # for the rest of the upload
            else:
                await self._receive()

    def finish(self) -> None:
        """After the body, or instead of its rest: the server need not go on with what is not over."""
        if self.is_closed:
            return
        self.is_closed = True
        connection, number = self.connection, self.number
        self._stop_timer()
        if self._room is not None:
            self._room._stop_timer()
        self.fail(ConnectionLost, "the response was closed while it was read")  # for another task that reads it
        self.upload = None
        if number is not None and not connection.is_closed:
            connection.take(number, self._owed)
            self._owed = 0
            if not ((self.is_complete and self._is_sent) or self._is_reset):
                if self._head is None or not self._is_sent:
                    connection.given_up(self._begun_at)
                connection.reset(number)
            connection.flush()
        connection.release(self)

    def close(self) -> None:
        """Now."""
        self.finish()

    def leave(self) -> None:
        """Instead of an exchange: the connection takes no more of them."""
        self.connection.retire()
        self.finish()

    @property
    def is_usable(self) -> bool:
        return self.connection.is_usable

    @property
    def good_until(self) -> float:
        return self.connection.good_until

    @good_until.setter
    def good_until(self, instant: float) -> None:
        self.connection.good_until = instant

    # Parts of it

    async def _send_traced(self, trace: Trace, message: Message, timeout: float | None) -> Head:
        """The same, step by step, for who wants to hear of each."""
        try:
            self._send_head(message)  # before any other task runs, which would be given the same number
            facts = {"request": trace.request, "stream_id": self.number}
            async with trace.step("http2.send_request_headers", **facts):
                pass
            async with trace.step("http2.send_request_body", **facts):
                if not self._is_sent:
                    await self._send_rest(message, timeout)
            async with trace.step("http2.receive_response_headers", **facts) as returns:
                head = await self._receive_head()
                returns((head.status, head.raw))
        except Exception:
            async with trace.step("http2.response_closed", stream_id=self.number):
                self.close()
            raise
        return head

    def _claim(self) -> int:
        try:
            return self.connection.claim(self)
        except h2.exceptions.NoAvailableStreamIDError:
            self.connection.retire()
            self._refuse("its stream numbers are used up", is_stale=True)

    def _send_head(self, message: Message) -> None:
        connection = self.connection
        self._begun_at = self._loop.time()
        self._is_head = message.method == b"HEAD"
        if not connection.is_usable:
            self._refuse("the connection was closed", is_stale=True)
        if message.method == b"CONNECT":
            raise InvalidRequest(f"{message.origin}: CONNECT needs HTTP/1.1 here", origin=message.origin)
        self.number, self._place = self._claim(), connection.streams
        has_body = message.content is None or bool(message.content) or bool(message.framed.length)
        try:
            connection.h2.send_headers(self.number, request_fields(message), end_stream=not has_body)
        except h2.exceptions.TooManyStreamsError as error:
            self._refuse(str(error), is_stale=connection.max_streams > 0)
        except h2.exceptions.ProtocolError as error:
            raise InvalidRequest(f"{message.origin}: HTTP/2 can't carry this request: {error}") from error
        connection.chatter.asked()
        self._is_sent = not has_body
        self._progress.reached(Phase.SENDING)
        connection.flush()
        if not has_body:
            self._progress.reached(Phase.SENT)

    async def _send_rest(self, message: Message, timeout: float | None) -> None:
        """The body, until it is sent, or the answer's head is there."""
        if message.content is not None and not message.framed.expects and self._is_sent_at_once(message.content):
            self._progress.reached(Phase.SENT)
            return
        self._room = Waiting()
        upload = self.upload = Upload(partial(self._send_body, message, timeout), self._wake)
        while not (upload.is_over or self._is_answered()):
            await self._wait(None)
        if self._is_refused():
            upload.stop()
        if not self._is_answered():
            upload.raise_error()
        if upload.is_whole:
            self._progress.reached(Phase.SENT)

    def _is_sent_at_once(self, content: bytes) -> bool:
        """Send a small body with its head; False where it is too large for that, or for the window."""
        assert self.number is not None
        connection, state = self.connection, self.connection.h2
        if len(content) > min(SLICE, state.local_flow_control_window(self.number)) or not connection._can_write:
            return False
        size = state.max_outbound_frame_size
        for begin in range(0, len(content), size):
            state.send_data(self.number, content[begin : begin + size], end_stream=begin + size >= len(content))
        connection.chatter.uploaded(len(content))
        connection.flush()
        self._is_sent = True
        return True

    async def _send_body(self, message: Message, timeout: float | None) -> bool:
        """In slices, until all is sent or no more of it is wanted; returns whether all was."""
        assert self.number is not None
        if message.framed.expects:
            until = self._loop.time() + CONTINUE_TIMEOUT
            while not (self._is_continued or self._is_answered()):
                if not await self._has_room(until - self._loop.time()):
                    break  # RFC 9110 section 10.1.1: a server need not say it
            if self._is_answered():
                return False
        size, parts = 0, aiter(message.body if message.content is None else slices(message.content))
        try:
            async for part in parts:
                size = message.counted(size, part)
                if not await self._is_part_sent(part, timeout):
                    return False
        finally:
            if (close := getattr(parts, "aclose", None)) is not None:
                await close()
        message.counted(size, None)
        if self._is_refused():
            return False
        self.connection.h2.end_stream(self.number)
        self.connection.flush()
        self._is_sent = True
        return True

    async def _is_part_sent(self, part: bytes, timeout: float | None) -> bool:
        """Send it as the windows allow; False where the server wants no more. Raises WriteTimeout."""
        assert self.number is not None
        connection, state = self.connection, self.connection.h2
        begin, expires_at = 0, None
        while not self._is_refused():
            if begin >= len(part):
                return True
            room = min(state.local_flow_control_window(self.number), state.max_outbound_frame_size, SLICE)
            if room > 0 and connection._can_write:
                state.send_data(self.number, part[begin : begin + room])
                connection.chatter.uploaded(room)
                connection.flush()
                begin, expires_at = begin + room, None
                continue
            now = self._loop.time()
            if timeout is not None and expires_at is None:
                expires_at = now + timeout
            if not await self._has_room(None if expires_at is None else expires_at - now):
                self._raise(WriteTimeout, f"nothing was taken for {timeout:g} s")
        return False

    async def _has_room(self, timeout: float | None) -> bool:
        """Wait until there may be room for more of the request, or no need for it; False after *timeout* s."""
        assert self._room is not None
        return await self._room._wait(timeout)

    def _is_refused(self) -> bool:
        """Whether nothing more of the request is wanted: its answer says so, or the stream is over."""
        if self.is_closed or self._is_reset or self._failure is not None or self._refusal is not None:
            return True
        return self._head is not None and self._head.status >= REFUSED

    @property
    def _has_begun(self) -> bool:
        return self._head is not None or self._interims > 0

    def _is_answered(self) -> bool:
        return self._head is not None or self._failure is not None or self._refusal is not None

    async def _receive_head(self) -> Head:
        while self._head is None:
            await self._receive()
        self._progress.reached(Phase.HEADERS)
        return self._head

    async def _receive(self) -> None:
        """Something more of it. Raises WireError."""
        if self._refusal is not None:
            self._refuse(self._refusal, is_stale=self._is_stale)
        if self._failure is not None:
            self._raise(*self._failure)
        timeout = self._read_timeout
        if self.upload is not None:
            self.upload.raise_error()
            if self.upload.is_going:
                timeout = None  # the server may well wait for the rest
        began_at = self._loop.time()
        try:
            has_come = await self._wait(timeout)
        except asyncio.CancelledError:
            self.connection.given_up(began_at)
            raise
        if not has_come:
            self.connection.silent(began_at)
            self._raise(ReadTimeout, f"nothing came for {self._read_timeout:g} s")

    def _take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        assert self.number is not None
        self.connection.take(self.number, self._owed)
        self.connection.flush()
        self._owed = 0
        return data

    def _refuse(self, why: str, *, is_stale: bool = False) -> NoReturn:
        self._progress.took_back()
        raise StreamRefused(
            f"{self._where()}: the server did nothing of it: {why}", origin=self.connection.origin, is_stale=is_stale
        )

    def _raise(self, kind: type[WireError], what: str, cause: Exception | None = None) -> NoReturn:
        connection = "a reused" if self._progress.is_reused else "a new"
        raise kind(
            f"{self._where()}: {what} ({self._progress.phase.name.lower()}, {connection} connection)",
            origin=self.connection.origin,
            is_stale=self._is_stale and self._progress.is_reused and not self._has_begun,
            is_final=is_disagreement(self.connection.error),
            death=self._death,
        ) from (cause or self.connection.error)

    def _where(self) -> str:
        return f"{self.connection.origin} at {self.address}, stream {self.number}"

    # The connection's side

    def wake(self) -> None:
        """There may be room for more of the request."""
        if self._room is not None:
            self._room._wake()

    def _wake(self) -> None:
        super()._wake()
        self.wake()

    def got_head(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Of the answer, or of an interim one."""
        if self._failure is not None:
            return  # or it would depend on how the bytes arrive whether that is heard of
        self._head_size += sum(len(name) + len(value) + 4 for name, value in fields)
        if self._head_size > MAX_HEAD or len(fields) > MAX_HEADERS:
            self.fail(ResponseTooLarge, f"headers of more than {MAX_HEAD} bytes, or more than {MAX_HEADERS} of them")
            return
        pseudo = {name: value for name, value in fields if name[:1] == b":"}
        status = pseudo.get(b":status", b"")
        if not (len(status) == 3 and status.isdigit() and status[:1] != b"0"):
            self.fail(BadAnswer, f"{status!r} is no status")
        elif (wrong := wrong_field(fields)) is not None:
            self.fail(BadAnswer, f"a header that HTTP/2 can't have: {wrong!r}")
        elif status[:1] == b"1":
            self._is_continued = self._is_continued or status == b"100"
            self._interims += 1
            if self._interims > MAX_INTERIM:
                self.fail(BadAnswer, f"more than {MAX_INTERIM} interim answers")
        else:
            head = Head()
            head.status, head.version = int(status), b"HTTP/2"
            head.headers = [(name, name, value) for name, value in fields if name[:1] != b":"]
            self._head = head
        self._wake()

    def got_data(self, data: bytes, size: int) -> None:
        self._owed += len(data)
        self.connection.take(number=self.number or 0, size=size - len(data))  # padding is nobody's to take
        if data:
            self._size += len(data)
            self._parts.append(data)
            if len(self._parts) >= MAX_PARTS:
                self._parts = [b"".join(self._parts)]
            self._wake()

    def got_end(self) -> None:
        head, said = self._head, None
        if head is not None and not (self._is_head or head.status in (204, 304)):
            said = next((value for _, name, value in head.headers if name == b"content-length"), None)
        if said is not None and said != b"%d" % self._size:
            self.fail(BadAnswer, f"a body of {self._size} bytes, where content-length says {said!r}")
        else:
            self.is_complete = True
            self._wake()

    def got_reset(self, code: int) -> None:
        self._is_reset = True
        if code == h2.errors.ErrorCodes.REFUSED_STREAM:
            is_surplus = self._place > max(1, self.connection.max_streams)  # which it said meanwhile
            if not is_surplus:
                self.connection.refused()
            self.refuse("REFUSED_STREAM", is_stale=is_surplus)
        elif self.connection.falls_back(code):
            self.connection.retire()
            self.refuse("HTTP_1_1_REQUIRED", is_stale=True)
        else:
            self.fail(BadAnswer, f"the stream was reset: {_name(code)}")

    def refuse(self, why: str, *, is_stale: bool) -> None:
        if self._head is not None:
            self.fail(BadAnswer, f"{why}, in the midst of its answer")
        else:
            self._refusal, self._is_stale = why, is_stale
            self._wake()

    def fail(self, kind: type[WireError], text: str, *, is_stale: bool = False, death: object | None = None) -> None:
        if self.upload is not None:
            self.upload.stop()  # a complete answer stands, but nobody takes the rest of the request
        if not self.is_complete and self._failure is None:
            self._failure, self._is_stale, self._death = (kind, text), is_stale, death
            self._wake()


def _name(code: int) -> str:
    try:
        return h2.errors.ErrorCodes(code).name
    except ValueError:
        return str(code)
