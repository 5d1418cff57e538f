"""
One HTTP/2 connection: what comes is given to the stream that it is for.

Rules: what its GOAWAY promises is waited for. Frames are given to h2 one by one, because h2 loses all of what comes in
one piece with a bad frame; a GOAWAY is never given, because h2 takes nothing more after it. A server can't keep the
event loop busy, because it has only so many frames a turn, and only so many that carry nothing. Source: RFC 9113.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Final

import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from ...errors import BadAnswer, ConnectionLost, ResponseTooLarge, WireError
from ...origin import Origin
from ..known import Known
from ..limits import MAX_HEAD
from .session import LAST_CHANCE, Session
from .stream import Stream

__all__ = ["Multiplexed"]

TURN: Final = 100  # frames between two turns of the loop: 2 to 5 ms
TURN_HEADERS: Final = 64  # B of headers that take as long as a frame
TINY: Final = 16  # B of a body in one frame: less takes as long as a frame that carries nothing
TINY_COST: Final = 0.25  # of a frame that carries nothing, so a server may send 8,000 at once, and 2,000 a second
MAX_UNSENT: Final = 64 * 1024  # B of replies to a server that reads none; as much as asyncio holds before it says stop

DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x7  # frame types; section 6
WINDOW_UPDATE, CONTINUATION = 0x8, 0x9
OF_BEGUN: Final = frozenset((DATA, HEADERS, RST_STREAM, WINDOW_UPDATE, CONTINUATION))  # section 5.1
END_STREAM, PADDED = 0x1, 0x8  # flags; section 6.1
KNOWN_SETTINGS: Final = frozenset(code.to_bytes(2, "big") for code in h2.settings.SettingCodes)


class Multiplexed(Session[Stream]):
    """Bytes may come before it is known what they are: nothing is made of them until `begin`."""

    __slots__ = ("_block", "_data", "_is_begun", "_is_paused", "_turn", "_unsent")

    def __init__(self, origin: Origin, buffer: memoryview, known: Known, *, is_secure: bool = False) -> None:
        super().__init__(origin, buffer, known, is_secure=is_secure)
        self._data = bytearray()
        self._block = self._unsent = 0  # B of the headers that come; of replies that are not sent yet
        self._turn: asyncio.Handle | None = None  # the next one, where more has come than one may take
        self._is_begun = self._is_paused = False

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "leaving" if self._is_leaving else "open"
        return f"<Multiplexed {self.origin} at {self.address} {state}, {len(self._open)} streams>"

    def begin(self, *, can_fall_back: bool) -> None:
        self._is_begun = True
        super().begin(can_fall_back=can_fall_back)
        self._read()

    def channel(self) -> Stream:
        """A stream to come."""
        stream = Stream(self)
        self._open[stream] = None
        return stream

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        self._data += data
        self.heard_at = self._loop.time()
        if self._probe is not None:
            self._believe()
            if self.is_usable:
                self.on_room(self)  # of which there was none meanwhile
        if self.known.silent:
            self._tell_silent()
        if self._is_begun and self._turn is None:
            self._read()

    def _tell_silent(self) -> None:
        """Others on which the server is silent may break off now, unless it was frozen and is about to answer them."""
        for connection, break_off in list(self.known.silent.items()):
            del self.known.silent[connection]
            self._loop.call_later(LAST_CHANCE, break_off, context=Context())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent = 0
        self._wake_all()

    def _wake_all(self) -> None:
        for stream in self._open:
            stream.wake()

    def close(self) -> None:
        """Now: what has come is not looked at any more."""
        self._data.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self.known.silent.pop(self, None)
        super().close()

    def break_off(self) -> None:
        if self._probe is None or self.is_closed:
            return  # it was heard of meanwhile
        silence = self._loop.time() - max(self.heard_at, self._waits_since)
        for stream in list(self._open):
            if stream.number is not None and stream.progress.can_be_repeated():
                text = f"the server has said nothing for {silence:.3g} s here, and answers on another connection"
                stream.fail(ConnectionLost, text, death=self.death)

    def _ended(self) -> None:
        self._has_ended = True
        if self._turn is None:
            self._fail_all()

    def _closed(self) -> None:
        self._believe()
        if self._turn is None:
            self._fail_all()
        super()._closed()

    def _fail_all(self) -> None:
        """The connection is over, because the server closed it, or it broke."""
        is_clean = self._has_ended and self.error is None
        kind: type[WireError] = BadAnswer if is_clean else ConnectionLost
        text = "Server disconnected" if is_clean else str(self.error or "closed on this side")
        for stream in list(self._open):
            stream.fail(kind, text, is_stale=True, death=self.death)
        self.h2._frame_dispatch_table.clear()  # its methods, which hold it, because the garbage collector takes long

    # What comes

    def _read(self) -> None:
        """
        Frame by frame, because h2 loses all that came in one piece with a bad one.

        A GOAWAY is kept from h2, which would take nothing more after it, not even the responses that it promises.
        """
        data, at, done = self._data, 0, 0
        while len(data) - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if size > self.h2.max_inbound_frame_size:
                self._broken(f"a frame of {size} bytes")
                return
            if len(data) - at < 9 + size:
                break
            if done >= TURN:
                self._turn = self._loop.call_soon(self._go_on, context=Context())
                break
            frame = bytes(data[at : at + 9 + size])
            at += 9 + size
            if not self._is_bearable(frame):
                return
            done += 1 + (size // TURN_HEADERS if frame[3] in (HEADERS, CONTINUATION) else 0)
            if frame[3] == GOAWAY and size >= 8 and not _number(frame):
                self._going_away(int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF, int.from_bytes(frame[13:17], "big"))
                continue
            try:
                events = self.h2.receive_data(_known(frame) if frame[3] == SETTINGS else frame)
            except h2.exceptions.DenialOfServiceError as error:
                self._too_large(_number(frame), str(error))
                return
            except h2.exceptions.NoSuchStreamError:
                self._broken(f"a frame of type {frame[3]} for stream {_number(frame)}, which has ended")
                return
            except h2.exceptions.H2Error as error:
                self._broken(str(error) or type(error).__name__)
                return
            for event in events:
                self._handle(event)
        del data[:at]
        self._pause(is_wanted=self._turn is not None)
        self._reply()

    def _go_on(self) -> None:
        """The next turn."""
        self._turn = None
        self._read()
        if self._turn is None and self._has_ended:
            self._fail_all()

    def _pause(self, *, is_wanted: bool) -> None:
        """Take no more from the server for now, or go on."""
        if is_wanted != self._is_paused and self._transport is not None and not self.is_closed:
            self._is_paused = is_wanted
            if is_wanted:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _reply(self) -> None:
        """Send h2's replies to what came."""
        data = self.h2.data_to_send()
        if not data or self._transport is None or self.is_closed:
            return
        if not self.can_write:
            self._unsent += len(data)
            if self._unsent > MAX_UNSENT:
                self._broken(f"it makes us response, and took none of the last {MAX_UNSENT} bytes")
                return
        self._transport.write(data)

    def _is_bearable(self, frame: bytes) -> bool:
        """Whether the server may still send it: else the connection is over."""
        kind, number = frame[3], _number(frame)
        stream = self._numbered.get(number)
        if stream is not None:
            stream.progress.bytes_in += len(frame)
        elif kind in OF_BEGUN and self._is_idle(number):
            self.h2.close_connection(h2.errors.ErrorCodes.PROTOCOL_ERROR)
            self._broken(f"a frame of type {kind} for stream {number}, which we have not begun")
            return False
        cost = self._cost(kind, frame, stream)
        if cost < 1:
            self.carried_at = self.heard_at
        if cost and self.chatter.is_too_much(cost, self._loop.time(), is_idle=not self._open):
            self.h2.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            self._broken("too many frames that carry nothing, or next to nothing")
            return False
        if kind in (HEADERS, CONTINUATION):
            self._block = len(frame) + (self._block if kind == CONTINUATION else 0)
            if self._block > MAX_HEAD:
                self._too_large(number, f"headers of more than {MAX_HEAD} bytes")
                return False
        return True

    def _is_idle(self, number: int) -> bool:
        """Whether we haven't begun it, nor may the server, whose numbers are even: PUSH_PROMISE is switched off."""
        return number > self.h2.highest_outbound_stream_id or (number % 2 == 0 and number > 0)

    def _cost(self, kind: int, frame: bytes, stream: Stream | None) -> float:
        """How many frames that carry nothing it counts for; less than 1 where it is a part of a response."""
        size = len(frame) - 9
        if kind == DATA:
            carried = size - 1 - frame[9] if size and frame[4] & PADDED else size
            if stream is None or stream.response.is_complete:
                if carried > 0 and self.chatter.is_late(carried):
                    return 0
            elif carried >= TINY or frame[4] & END_STREAM:
                return 0
            elif carried > 0:
                return TINY_COST
        elif kind in (HEADERS, CONTINUATION, RST_STREAM):
            if stream is not None and stream.response.is_awaited:
                return 0
            return 1 + size // 128
        elif kind == SETTINGS:
            return 1 + size // 6
        return 1 + size // 256

    def _going_away(self, last: int, code: int) -> None:
        self.falls_back(code)
        for number, stream in list(self._numbered.items()):
            if number > last:
                stream.refuse("GOAWAY", is_stale=True)
        self.retire()

    def _broken(self, what: str) -> None:
        self._is_leaving = True
        for stream in list(self._open):
            stream.fail(BadAnswer, what, death=self.death)
        self.flush()  # the GOAWAY that says so
        self.close()

    def _too_large(self, number: int, what: str) -> None:
        """One stream's headers; without them those of the others can't be decoded (RFC 9113 section 4.3)."""
        if (stream := self._numbered.get(number)) is not None:
            stream.fail(ResponseTooLarge, what, death=self.death)
        self._broken(f"stream {number}: {what}")

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.WindowUpdated(stream_id=number) if number:
                if (stream := self._numbered.get(number)) is not None:
                    stream.wake()
            case h2.events.WindowUpdated():
                self._wake_all()
            case h2.events.RemoteSettingsChanged():
                self.max_streams = self.known.max_streams = self.h2.remote_settings.max_concurrent_streams
                self._wake_all()
                self.on_room(self)
            case h2.events.DataReceived():
                stream = self._numbered.get(event.stream_id)
                if stream is None:
                    self.take(event.stream_id, event.flow_controlled_length)
                else:
                    stream.got_data(event.data, event.flow_controlled_length)
            case h2.events.ResponseReceived() | h2.events.InformationalResponseReceived():
                # h2 would end the connection for a body of another length, and for a 304 that names one.
                self.h2.streams[event.stream_id]._expected_content_length = None
                if (stream := self._numbered.get(event.stream_id)) is not None:
                    stream.got_head(event.headers)
            case h2.events.StreamEnded():
                if (stream := self._numbered.get(event.stream_id)) is not None:
                    stream.got_end()
            case h2.events.StreamReset():
                if (stream := self._numbered.get(event.stream_id)) is not None:
                    stream.got_reset(event.error_code)


def _number(frame: bytes) -> int:
    """The stream that it is for."""
    return int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF


def _known(frame: bytes) -> bytes:
    """SETTINGS without unknown ones, which must be ignored (RFC 9113 section 6.5.2), because h2 keeps them."""
    settings = [frame[at : at + 6] for at in range(9, len(frame), 6)]
    known = b"".join(each for each in settings if each[:2] in KNOWN_SETTINGS or len(each) < 6)
    return len(known).to_bytes(3, "big") + frame[3:9] + known
