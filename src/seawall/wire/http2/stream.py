"""
One stream of an HTTP/2 connection: an exchange, with its own time limits and its own window.

Rules: what befalls it doesn't touch other streams. A response of 300 or more, or the server's RST_STREAM, ends the
upload; a response below 300 lets the rest be sent beside it, and the stream is open until both sides have ended. A
stream that is abandoned before its end is reset, so the server stops; if nothing at all has come on the connection
meanwhile, that is asked whether the server is there still. What the server says it did nothing of counts as never sent,
unless its response had begun. Source: RFC 9113.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, NoReturn, TypeVar

from ...errors import BadAnswer, ConnectionLost, InvalidRequest, ReadTimeout, StreamRefused, WireError
from ...events import Phase
from ...origin import Address
from ..disagreement import is_disagreement
from ..message import Head, Message
from ..progress import Progress
from ..socket import Waiting
from ..trace import Trace
from ..upgrade import Facts
from ..upload import Upload
from .compression import Field
from .fields import request_fields
from .frames import Code, name_of
from .response import Response
from .sending import Sending
from .session import Session

__all__ = ["Stream"]

E = TypeVar("E", bound=WireError)


class Stream(Waiting):
    """
    A `Channel` of HTTP/2.

    Attributes:
        number: Its id; None before it has one.
        response: What has come.
    """

    name: ClassVar = "http2"
    protocol: ClassVar = "HTTP/2"
    is_multiplexed: ClassVar = True
    is_upgraded = False

    def __init__(self, connection: Session[Stream]) -> None:
        super().__init__()
        self.connection = connection
        self.number: int | None = None
        self.response = Response()
        self.upload: Upload | None = None
        self._sending: Sending | None = None
        self._is_sent, self._begun_at, self._place = False, 0.0, 0  # streams then, itself included
        self.progress: Progress
        self._read_timeout: float | None

    @property
    def address(self) -> Address | None:
        return self.connection.address

    @property
    def good_until(self) -> float:
        return self.connection.good_until

    @good_until.setter
    def good_until(self, instant: float) -> None:
        self.connection.good_until = instant

    @property
    def is_usable(self) -> bool:
        return self.connection.is_usable

    @property
    def extensions(self) -> dict[str, Any]:
        facts = Facts()
        facts.connection = self.connection
        return {"http_version": b"HTTP/2", "stream_id": self.number, "network_stream": facts}

    # The way of an exchange

    async def send(self, message: Message, progress: Progress, trace: Trace | None = None) -> Head:
        """
        See `Channel`. **Cancellation:** the stream is reset, as after any failure; the connection goes on.

        Raises:
            StreamRefused: The server did nothing of it.
        """
        self.progress = progress
        self._read_timeout = message.timeouts.get("read")
        try:
            if trace is not None:
                return await self._send_traced(trace, message)
            self._send_head(message)
            if not self._is_sent:
                await self._send_rest(message)
            return await self._receive_head()
        except Exception:
            upload = self.upload
            self.close()
            if upload is not None:
                await upload.stopped()
            raise
        except BaseException:
            self.close()
            raise

    def whole(self) -> bytes | None:
        upload = self.upload
        if not self.response.is_complete or (upload is not None and (upload.has_failed or not upload.is_over)):
            return None
        return self._take()

    def gather(self, came: Callable[[int], None], max_size: int | None) -> None:
        return None  # what is read from the socket has frames between

    async def body(self) -> AsyncIterator[bytes]:
        response, upload = self.response, self.upload
        while True:
            if response.has_parts:
                part = self._take()
                self.progress.reached(Phase.BODY)
                yield part
            elif response.is_complete and (upload is None or not upload.is_going):
                if upload is not None:
                    await upload.settled()
                return
            elif response.is_complete:
                await self._wait(None)  # for the rest of the upload
            else:
                await self._receive()

    def finish(self) -> None:
        """After the body, or instead of its rest: the server need not go on with what is not over."""
        if self.is_closed:
            return
        self.is_closed = True
        connection, number, response = self.connection, self.number, self.response
        self._stop_timer()
        if self._sending is not None:
            self._sending.stop()
        self.fail(ConnectionLost, "the response was closed while it was read")  # for another task that reads it
        self.upload = None
        if number is not None and not connection.is_closed:
            if response.owed:
                connection.take(number, response.owed)
                response.owed = 0
            if not ((response.is_complete and self._is_all_sent()) or response.is_reset):
                if response.head is None or not self._is_all_sent():
                    connection.given_up(self._begun_at)
                connection.reset(number)
                self.progress.dropped()
            connection.flush()
        connection.release(self, number)

    close = put_back = finish

    def leave(self) -> None:
        self.connection.retire()
        self.finish()

    async def _send_traced(self, trace: Trace, message: Message) -> Head:
        """The same, step by step, for callers that want to hear of each."""
        try:
            self._send_head(message)
            self.progress.bytes_out += self.connection.flush()
            facts = {"request": trace.request, "stream_id": self.number}
            async with trace.step("http2.send_request_headers", **facts):
                pass
            async with trace.step("http2.send_request_body", **facts):
                if not self._is_sent:
                    await self._send_rest(message)
            async with trace.step("http2.receive_response_headers", **facts) as returns:
                head = await self._receive_head()
                returns((head.status, head.raw))
        except Exception:
            upload = self.upload  # which `close` forgets
            async with trace.step("http2.response_closed", stream_id=self.number):
                self.close()
                if upload is not None:
                    await upload.stopped()
            raise
        return head

    def _send_head(self, message: Message) -> None:
        connection, dialogue = self.connection, self.connection.dialogue
        self._begun_at = self._loop.time()
        self.response.has_body = message.method != b"HEAD"
        if not connection.is_usable:
            self._refuse("the connection was closed", is_stale=True)
        if message.method == b"CONNECT":
            raise InvalidRequest(f"{message.origin}: CONNECT needs HTTP/1.1 here", origin=message.origin)
        if dialogue.is_used_up:
            connection.retire()
            self._refuse("its stream numbers are used up", is_stale=True)
        if dialogue.is_full:
            self._refuse(f"it takes {dialogue.max_streams} streams at once", is_stale=connection.max_streams > 0)
        has_body = message.content is None or bool(message.content) or bool(message.block.length)
        self._place = connection.streams
        self.number = dialogue.ask(self, request_fields(message), is_end=not has_body)
        connection.asks(self._begun_at)
        self._is_sent = not has_body
        if has_body:  # which goes out with it, if it can
            self.progress.reached(Phase.SENDING)
        else:
            self.progress.bytes_out += connection.flush()
            self.progress.reached_sent()

    async def _send_rest(self, message: Message) -> None:
        """The body, until it is sent, or the response's head has come."""
        assert self.number is not None
        sending = self._sending = Sending(self.connection, self, self.number, message, self.progress)
        if sending.is_all_sent_at_once():
            self.progress.reached(Phase.SENT)
            return
        self.progress.bytes_out += self.connection.flush()
        upload = self.upload = Upload(sending.run, self._wake)
        while not (upload.is_over or self.response.is_decided):
            await self._wait(None)
        if sending.is_refused():
            upload.stop()
        if not self.response.is_decided:
            upload.raise_error()
        if upload.is_whole:
            self.progress.reached(Phase.SENT)

    def _is_all_sent(self) -> bool:
        return self._is_sent if self._sending is None else self._sending.is_over

    async def _receive_head(self) -> Head:
        while self.response.head is None:
            await self._receive()
        self.progress.reached(Phase.HEADERS)
        return self.response.head

    async def _receive(self) -> None:
        """Something more of it. Raises WireError."""
        response = self.response
        if response.refusal is not None:
            self._refuse(response.refusal, is_stale=response.is_stale)
        if response.failure is not None:
            raise self.failure(*response.failure) from self.connection.error
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
            raise self.failure(ReadTimeout, f"nothing came for {self._read_timeout:g} s") from self.connection.error

    def _take(self) -> bytes:
        assert self.number is not None
        if self.response.owed:
            self.connection.take(self.number, self.response.owed)
            self.connection.flush()
            self.response.owed = 0
        return self.response.take()

    def _refuse(self, why: str, *, is_stale: bool = False) -> NoReturn:
        self.progress.took_back()
        text = f"{self._where()}: the server did nothing of it: {why}"
        raise StreamRefused(text, origin=self.connection.plain_origin, is_stale=is_stale)

    def failure(self, kind: type[E], what: str) -> E:
        """The error of this exchange."""
        response, progress, where = self.response, self.progress, "a reused" if self.progress.is_reused else "a new"
        error = kind(
            f"{self._where()}: {what} ({progress.phase.name.lower()}, {where} connection)",
            origin=self.connection.plain_origin,
            is_stale=response.is_stale and progress.is_reused and not response.has_begun,
            is_final=is_disagreement(self.connection.error),
            death=response.death,
        )
        error.__cause__ = self.connection.error
        return error

    def _where(self) -> str:
        return f"{self.connection.where}, stream {self.number}"

    # The connection's side

    def wake(self) -> None:
        """There may be room for more of the request."""
        if self._sending is not None:
            self._sending.wake()

    def _wake(self) -> None:
        Waiting._wake(self)
        if self._sending is not None:
            self._sending.wake()

    def _changed(self) -> None:
        if self.response.failure is not None and self.upload is not None:
            self.upload.stop()
        self._wake()

    def got_head(self, fields: tuple[Field, ...], *, is_end: bool) -> None:
        """Of the response, or of an interim one, or trailers."""
        response = self.response
        if response.is_awaited:  # else it would depend on how the bytes arrive whether a failure or refusal is heard of
            response.got_fields(fields, is_end=is_end)
        if is_end:
            response.got_end()
        self._changed()

    def got_data(self, data: bytes, size: int, *, is_end: bool) -> None:
        if size != len(data):
            self.connection.take(self.number or 0, size - len(data))  # nobody takes padding
        self.response.got_data(data)
        if is_end:
            self.response.got_end()
        self._changed()

    def got_reset(self, code: int) -> None:
        self.response.is_reset = True
        if code == Code.REFUSED_STREAM:
            is_surplus = self._place > max(1, self.connection.max_streams)  # which it said meanwhile
            if not is_surplus:
                self.connection.refused()
            self.refuse("REFUSED_STREAM", is_stale=is_surplus)
        elif self.connection.falls_back(code):
            self.connection.retire()
            self.refuse("HTTP_1_1_REQUIRED", is_stale=True)
        else:
            self.fail(BadAnswer, f"the stream was reset: {name_of(code)}")

    def refuse(self, why: str, *, is_stale: bool) -> None:
        self.response.refuse(why, is_stale=is_stale)
        self._changed()

    def fail(self, kind: type[WireError], text: str, *, is_stale: bool = False, death: object | None = None) -> None:
        if self.upload is not None:
            self.upload.stop()  # a complete response stands, but nobody takes the rest of the request
        self.response.fail(kind, text, is_stale=is_stale, death=death)
        self._wake()
