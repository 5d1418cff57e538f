"""
One HTTP/2 connection and its streams: h2 keeps the protocol's state, what is sent and waited for is decided here.

Rules: a stream is an exchange, as an HTTP/1.1 connection is one at a time, and what befalls one is no other's matter:
each has its own time limits, and its own window, which opens again only as its bytes are taken. A stream that is given
up is reset, so the server stops. What the server says it did nothing of (REFUSED_STREAM, or above the last stream of a
GOAWAY) counts as never sent. A connection that goes away takes no new stream, and ends with its last one.

Source: RFC 9113.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import select
from collections.abc import AsyncIterator, Callable
from contextvars import Context
from typing import Any, Final, NoReturn

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from ..errors import (
    BadAnswer,
    ConnectionLost,
    InvalidRequest,
    ReadTimeout,
    SendFailed,
    StreamRefused,
    WireError,
    WriteTimeout,
)
from ..events import Phase, Progress
from ..origin import Address, Origin
from .answer import MAX_HEAD, MAX_INTERIM, Head
from .message import CONTINUE_TIMEOUT, SLICE, Message, slices
from .stream import Stream, is_disagreement
from .trace import Trace
from .waiting import Waiting

__all__ = ["Channel", "Multiplexed"]

STREAM_WINDOW: Final = 1024 * 1024  # B of body that nobody has taken yet; the server then waits
CONNECTION_WINDOW: Final = 2**30  # B; Go's: streams that nobody reads are not to hold up the others
MAX_STREAMS: Final = 100  # until the server's SETTINGS are there; what RFC 9113 section 6.5.2 asks servers to allow
MAX_CONTROLS: Final = 2000  # a second; frames that carry nothing are to keep nobody busy (nghttp2 has 10,000 unsent)
DOUBT_AFTER: Final = 0.1  # s of silence; less is a round trip, and says nothing
PROBE_TIMEOUT: Final = 5.0  # s; httpx's connect timeout, after which a dead host would have been given up

DATA, HEADERS, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x0, 0x1, 0x7, 0x8, 0x9  # frame types; section 6
END_STREAM: Final = 0x1  # flag; section 6.1
CARRYING: Final = frozenset((DATA, HEADERS, WINDOW_UPDATE, CONTINUATION))
GONE: Final = getattr(select, "POLLRDHUP", 0) | getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0)

CONNECTION_HEADERS: Final = frozenset(
    (b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""HTTP/1.1's own. Source: RFC 9113 section 8.2.2."""


class Multiplexed(Stream):
    """
    Bytes come before it is known what they are: nothing is made of them until `begin`.

    Attributes:
        on_idle: Called whenever its last stream is over.
        heard_at: When the server last said anything, s.
    """

    __slots__ = (
        "_channels",
        "_controls",
        "_data",
        "_has_ended",
        "_has_settings",
        "_is_begun",
        "_is_leaving",
        "_open",
        "_probe",
        "_second",
        "address",
        "ends_at",
        "good_until",
        "h2",
        "heard_at",
        "idle_at",
        "keep_for",
        "on_idle",
        "origin",
    )

    def __init__(self, origin: Origin, buffer: memoryview, *, is_secure: bool = False) -> None:
        super().__init__(buffer, is_secure=is_secure)
        self.origin = origin
        self.address: Address | None = None
        self.keep_for: float | None = None
        self.good_until = self.ends_at = math.inf
        self.idle_at = self.heard_at = 0.0
        self.on_idle: Callable[[], None] = _nothing
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_inbound_headers=False,  # a bad header is its stream's matter, and h2 would end the connection
        )
        self.h2 = h2.connection.H2Connection(config)
        self._data = bytearray()
        self._channels: dict[int, Channel] = {}
        self._open: dict[Channel, None] = {}
        self._probe: asyncio.TimerHandle | None = None  # runs while a PING is unanswered
        self._controls, self._second = 0, 0.0
        self._is_begun = self._is_leaving = self._has_settings = self._has_ended = False

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "leaving" if self._is_leaving else "open"
        return f"<Multiplexed {self.origin} at {self.address} {state}, {len(self._open)} streams>"

    def begin(self) -> None:
        """It is HTTP/2: say so."""
        self._is_begun = True
        codes = h2.settings.SettingCodes
        ours = {
            codes.ENABLE_PUSH: 0,
            codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            codes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
        }
        self.h2.decoder.max_header_list_size = MAX_HEAD  # which h2 sets when a changed value is acknowledged only
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values=ours)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - self.h2.inbound_flow_control_window)
        self._read()

    @property
    def is_usable(self) -> bool:
        return not (self._is_leaving or self._has_ended or self.is_closed)

    @property
    def has_room(self) -> bool:
        """For another stream. Before the server's SETTINGS are there, it is given the benefit of the doubt."""
        limit = self.h2.remote_settings.max_concurrent_streams if self._has_settings else MAX_STREAMS
        is_young = self.ends_at == math.inf or self._loop.time() < self.ends_at
        return self.is_usable and is_young and self._probe is None and len(self._open) < limit

    def has_unseen(self) -> bool:
        """Its end; what else may wait in its socket (a PING, SETTINGS) is no sign of one."""
        return self._poll is not None and any(events & GONE for _, events in self._poll.poll(0))

    def channel(self) -> Channel:
        """A stream to come."""
        channel = Channel(self)
        self._open[channel] = None
        return channel

    def doubt(self) -> None:
        """
        Nothing has come since a stream began that is given up now: ask whether anybody is there still.

        Until there is an answer there is no room on it; without one within `PROBE_TIMEOUT` it is over.
        """
        if self._probe is None and self.is_usable:
            self._probe = self._loop.call_later(PROBE_TIMEOUT, self.retire, context=Context())
            self.h2.ping(b"seawall?")

    def _believe(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def retire(self) -> None:
        """No new streams; the end comes with the last."""
        self._is_leaving = True
        if not self._open:
            self.close()

    # A channel's

    def flush(self) -> None:
        """What h2 wants to be sent."""
        data = self.h2.data_to_send()
        if data and self._transport is not None and not self.is_closed:
            self._transport.write(data)

    def claim(self, channel: Channel) -> int:
        """The next stream's number."""
        number = self.h2.get_next_available_stream_id()
        self._channels[number] = channel
        return number

    def release(self, channel: Channel) -> None:
        """It is over."""
        if channel.number is not None:
            self._channels.pop(channel.number, None)
        if self._open.pop(channel, self) is None and not self._open:
            if self.is_usable:
                self.on_idle()
            else:
                self.close()

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        self._data += data
        self.heard_at = self._loop.time()
        self._believe()
        if self._is_begun:
            self._read()

    def resume_writing(self) -> None:
        super().resume_writing()
        for channel in self._open:
            channel.wake()

    def _ended(self) -> None:
        self._has_ended = True
        self._fail_all(BadAnswer, "Server disconnected")

    def _closed(self) -> None:
        self._believe()
        self._fail_all(ConnectionLost, str(self.error or "closed on this side"))
        super()._closed()

    def _fail_all(self, kind: type[WireError], text: str) -> None:
        for channel in list(self._open):
            channel.fail(kind, text, is_stale=True)

    # What comes

    def _read(self) -> None:
        """
        Frame by frame: h2 loses all that came in one piece with a bad one.

        A GOAWAY is kept from h2, which would take nothing more after it, the answers that it promises included.
        """
        data = self._data
        while len(data) >= 9 and not self.is_closed:
            size = 9 + int.from_bytes(data[:3], "big")
            if size - 9 > self.h2.max_inbound_frame_size:
                self._broken(f"a frame of {size - 9} bytes")
                return
            if len(data) < size:
                break
            frame = bytes(data[:size])
            del data[:size]
            is_empty = size == 9 and not frame[4] & END_STREAM
            if (is_empty or frame[3] not in CARRYING) and self._is_flood():
                self._broken(f"more than {MAX_CONTROLS} frames a second that carry nothing")
                return
            if frame[3] == GOAWAY and size >= 17:
                self._going_away(int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF)
                continue
            try:
                events = self.h2.receive_data(frame)
            except h2.exceptions.H2Error as error:
                self._broken(str(error) or type(error).__name__)
                return
            for event in events:
                self._handle(event)
        self.flush()

    def _is_flood(self) -> bool:
        self._controls += 1
        if self._controls > MAX_CONTROLS:
            is_new_second = self.heard_at - self._second > 1.0
            self._controls, self._second = 0, self.heard_at
            return not is_new_second
        return False

    def _going_away(self, last: int) -> None:
        for number, channel in list(self._channels.items()):
            if number > last:
                channel.refuse("GOAWAY", is_stale=True)
        self.retire()

    def _broken(self, what: str) -> None:
        self._is_leaving = True
        for channel in list(self._open):
            channel.fail(BadAnswer, what)
        self.flush()  # the GOAWAY that says so
        self.close()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.WindowUpdated(stream_id=number) if number:
                if (channel := self._channels.get(number)) is not None:
                    channel.wake()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                self._has_settings = self._has_settings or isinstance(event, h2.events.RemoteSettingsChanged)
                for channel in self._open:
                    channel.wake()
            case h2.events.DataReceived():
                channel = self._channels.get(event.stream_id)
                if channel is None:
                    self.take(event.stream_id, event.flow_controlled_length)
                else:
                    channel.got_data(event.data, event.flow_controlled_length)
            case h2.events.ResponseReceived() | h2.events.InformationalResponseReceived():
                # h2 would end the connection for a body of another length, and for a 304 that names one.
                self.h2.streams[event.stream_id]._expected_content_length = None
                if (channel := self._channels.get(event.stream_id)) is not None:
                    channel.got_head(event.headers)
            case h2.events.StreamEnded():
                if (channel := self._channels.get(event.stream_id)) is not None:
                    channel.got_end()
            case h2.events.StreamReset():
                if (channel := self._channels.get(event.stream_id)) is not None:
                    channel.got_reset(event.error_code)

    def take(self, number: int, size: int) -> None:
        """So many bytes of body were taken, or nobody is going to: the server may send as many more."""
        if size and not self.is_closed:
            self.h2.acknowledge_received_data(size, number)


class Channel(Waiting):
    """
    One stream, with what `http11.Connection` has for its exchange.

    Attributes:
        number: h2's stream id; None before it has one.
    """

    is_upgraded = False
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
        self._is_complete = self._is_sent = self._is_continued = self._is_held = False
        self._failure: tuple[type[WireError], str] | None = None
        self._refusal: str | None = None
        self._is_stale = False
        self._begun_at = 0.0
        self._progress: Progress
        self._read_timeout: float | None

    @property
    def address(self) -> Address | None:
        return self.connection.address

    @property
    def extensions(self) -> dict[str, Any]:
        """httpx's, of a response."""
        return {"http_version": b"HTTP/2", "stream_id": self.number}

    # The way of an exchange

    async def send(self, message: Message, progress: Progress, trace: Trace | None = None) -> Head:
        """
        Send a request, and read the response's head; it may come before the request is all sent.

        **Cancellation:** the stream is reset, as after any failure; the connection goes on.

        Raises:
            StreamRefused: Nothing was done of it.
            WireError: By what failed.
            InvalidRequest: HTTP/2 can't carry it, or the body has another length than the headers say.
        """
        self._progress = progress
        timeouts = message.timeouts
        self._read_timeout = timeouts.get("read")
        try:
            if trace is not None:
                return await self._send_traced(trace, message, timeouts.get("write"))
            self._send_head(message)
            await self._send_body(message, timeouts.get("write"))
            progress.reached(Phase.SENT)
            return await self._receive_head()
        except h2.exceptions.H2Error as error:
            self.close()
            self._raise(SendFailed, str(error), error)
        except BaseException:
            self.close()
            raise

    def whole(self) -> bytes | None:
        """The response's body, if all of it is there already."""
        return self._take() if self._is_complete and self._failure is None else None

    async def body(self) -> AsyncIterator[bytes]:
        """The parts of the response's body, as they come. Raises WireError."""
        while True:
            if self._parts:
                part = self._take()
                self._progress.reached(Phase.BODY)
                yield part
            elif self._is_complete:
                return
            else:
                await self._receive()

    def finish(self) -> None:
        """After the body, or instead of its rest: the server need not go on with what is not over."""
        connection, number = self.connection, self.number
        self._stop_timer()
        if not self.is_closed:
            self.is_closed = True
            self.fail(ConnectionLost, "closed on this side")  # for another task that reads it
        if number is not None and not connection.is_closed:
            connection.take(number, self._owed)
            self._owed = 0
            if not (self._is_complete and self._is_sent):
                if connection.heard_at < self._begun_at < self._loop.time() - DOUBT_AFTER:
                    connection.doubt()
                with contextlib.suppress(h2.exceptions.H2Error):  # it is closed already
                    connection.h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
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
    def good_until(self) -> float:
        return self.connection.good_until

    @good_until.setter
    def good_until(self, instant: float) -> None:
        self.connection.good_until = instant

    # Parts of it

    async def _send_traced(self, trace: Trace, message: Message, timeout: float | None) -> Head:
        """The same, step by step, for who wants to hear of each."""
        try:
            self._send_head(message)  # before anybody else runs, who would be given the same number
            facts = {"request": trace.request, "stream_id": self.number}
            async with trace.step("http2.send_request_headers", **facts):
                pass
            async with trace.step("http2.send_request_body", **facts):
                await self._send_body(message, timeout)
            self._progress.reached(Phase.SENT)
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
        self.number = self._claim()
        has_body = message.content is None or bool(message.content) or bool(message.framed.length)
        try:
            connection.h2.send_headers(self.number, _fields(message), end_stream=not has_body)
        except h2.exceptions.TooManyStreamsError as error:
            self._refuse(str(error))
        except h2.exceptions.ProtocolError as error:
            raise InvalidRequest(f"{message.origin}: HTTP/2 can't carry this request: {error}") from error
        self._is_sent = not has_body
        self._progress.reached(Phase.SENDING)
        connection.flush()

    async def _send_body(self, message: Message, timeout: float | None) -> None:
        """Until it ends or the answer comes."""
        if self._is_sent:
            return
        assert self.number is not None
        framed = message.framed
        if framed.expects:
            while not (self._is_continued or self._is_answered()):
                if not await self._wait(CONTINUE_TIMEOUT):
                    break  # RFC 9110 section 10.1.1: a server need not say it
        size = 0
        async for part in message.body if message.content is None else slices(message.content):
            size = message.counted(size, part)
            await self._send_part(part, timeout)
            if self._is_answered():
                return
        if self._is_answered():
            return
        message.counted(size, None)
        self.connection.h2.end_stream(self.number)
        self.connection.flush()
        self._is_sent = True

    async def _send_part(self, part: bytes, timeout: float | None) -> None:
        assert self.number is not None
        connection, state = self.connection, self.connection.h2
        begin, expires_at = 0, None
        while begin < len(part) and not self._is_answered():
            room = min(state.local_flow_control_window(self.number), state.max_outbound_frame_size, SLICE)
            if room > 0 and connection._can_write:
                state.send_data(self.number, part[begin : begin + room])
                connection.flush()
                begin, expires_at = begin + room, None
                continue
            now = self._loop.time()
            if timeout is not None and expires_at is None:
                expires_at = now + timeout
            self._is_held = True
            if not await self._wait(None if expires_at is None else expires_at - now):
                self._raise(WriteTimeout, f"nothing was taken for {timeout:g} s")
            self._is_held = False

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
        if not await self._wait(self._read_timeout):
            self._raise(ReadTimeout, f"nothing came for {self._read_timeout:g} s")

    def _take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        if self.number is not None:
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
        ) from (cause or self.connection.error)

    def _where(self) -> str:
        return f"{self.connection.origin} at {self.address}, stream {self.number}"

    # The connection's side

    def wake(self) -> None:
        """There may be room for more of the request, if that is what it waits for."""
        if self._is_held:
            self._wake()

    def got_head(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Of the answer, or of an interim one."""
        pseudo = {name: value for name, value in fields if name[:1] == b":"}
        status = pseudo.get(b":status", b"")
        if not (len(status) == 3 and status.isdigit() and status[:1] != b"0"):
            self.fail(BadAnswer, f"{status!r} is no status")
        elif (wrong := _wrong(fields)) is not None:
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
            self._wake()

    def got_end(self) -> None:
        head, said = self._head, None
        if head is not None and not (self._is_head or head.status in (204, 304)):
            said = next((value for _, name, value in head.headers if name == b"content-length"), None)
        if said is not None and said != b"%d" % self._size:
            self.fail(BadAnswer, f"a body of {self._size} bytes, where content-length says {said!r}")
        else:
            self._is_complete = True
            self._wake()

    def got_reset(self, code: int) -> None:
        self._is_sent = True  # as far as it is going to be
        if code == h2.errors.ErrorCodes.REFUSED_STREAM:
            self.refuse("REFUSED_STREAM", is_stale=False)
        elif not self._is_complete:
            self.fail(BadAnswer, f"the stream was reset: {_name(code)}")

    def refuse(self, why: str, *, is_stale: bool) -> None:
        if self._head is not None:
            self.fail(BadAnswer, f"{why}, in the midst of its answer")
        else:
            self._refusal, self._is_stale = why, is_stale
            self._wake()

    def fail(self, kind: type[WireError], text: str, *, is_stale: bool = False) -> None:
        if self._failure is None and not self._is_complete:
            self._failure, self._is_stale = (kind, text), is_stale
            self._wake()


def _fields(message: Message) -> list[tuple[bytes, bytes]]:
    """A request's headers as HTTP/2 has them. Source: RFC 9113 section 8.3.1."""
    authority = b""
    dropped = set(CONNECTION_HEADERS)
    fields = []
    for _, name, value in message.headers:
        if name == b"connection":
            dropped.update(each.strip() for each in value.lower().split(b","))
        elif name == b"host":
            authority = value
    for _, name, value in message.headers:
        if name not in dropped and (name != b"te" or value.lower() == b"trailers"):
            fields.append((name, value.strip()))
    return [
        (b":method", message.method),
        (b":authority", authority),
        (b":scheme", message.origin.scheme.encode()),
        (b":path", message.target),
        *fields,
    ]


WRONG: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9a-z]|^$")
"""In a name; in lower case, as HTTP/2 has them. Source: RFC 9113 section 8.2.1."""


def _wrong(fields: list[tuple[bytes, bytes]]) -> bytes | None:
    """The name of a response's field that can't be, if there is one."""
    for index, (name, value) in enumerate(fields):
        is_good = name == b":status" and index == 0 if name[:1] == b":" else not WRONG.search(name)
        if not is_good or name in CONNECTION_HEADERS or any(each in value for each in (b"\0", b"\r", b"\n")):
            return name
    return None


def _name(code: int) -> str:
    try:
        return h2.errors.ErrorCodes(code).name
    except ValueError:
        return str(code)


def _nothing() -> None:
    pass
