"""
One HTTP/2 connection: what comes is given to the stream that it is for.

Rules: what its GOAWAY promises is waited for. A server can't keep the event loop busy, because it has only so many
frames a turn, and only so many that carry nothing. Source: RFC 9113.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Final

from ...errors import BadAnswer, ConnectionLost, ResponseTooLarge, WireError
from ...route import Destination
from ..known import Known
from . import frames
from .dialogue import Heard
from .frames import DATA, HEADERS, Code, Oversized, Violation
from .session import LAST_CHANCE, Session
from .stream import Stream

__all__ = ["Multiplexed"]

TURN: Final = 100  # frames between two turns of the loop: 2 to 5 ms
TURN_HEADERS: Final = 64  # B of headers that take as long as a frame
TINY: Final = 16  # B of a body in one frame: less takes as long as a frame that carries nothing
TINY_COST: Final = 0.25  # of a frame that carries nothing, so a server may send 8,000 at once, and 2,000 a second
MAX_UNSENT: Final = 64 * 1024  # B of replies to a server that reads none; as much as asyncio holds before it says stop


class Multiplexed(Session[Stream]):
    """Bytes may come before it is known what they are: nothing is made of them until `begin`."""

    __slots__ = ("_data", "_is_begun", "_is_paused", "_turn", "_unsent")

    def __init__(self, origin: Destination, buffer: memoryview, known: Known, *, is_secure: bool = False) -> None:
        super().__init__(origin, buffer, known, is_secure=is_secure)
        self._data = b""
        self._unsent = 0  # B of replies that are not sent yet
        self._turn: asyncio.Handle | None = None  # the next one, where more has come than one may take
        self._is_begun = self._is_paused = False

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "leaving" if self._is_leaving else "open"
        return f"<Multiplexed {self.where} {state}, {len(self._open)} streams>"

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
        self._data = self._data + data if self._data else data
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
        # Not now, because a write that fails here would end asyncio's transport twice.
        self._loop.call_soon(self.shares.deal, self, context=Context())

    def close(self) -> None:
        """Now: what has come is not looked at any more."""
        self._data = b""
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
        if self._full is not None:
            self._full.cancel()
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

    # What comes

    def _read(self) -> None:
        """Frame by frame, as many as one turn may take."""
        data, at, done, answers = self._data, 0, 0, 0
        try:
            while len(data) - at >= frames.HEADER.size:
                first, flags, number = frames.HEADER.unpack_from(data, at)
                size, kind, number = first >> 8, first & 0xFF, number & frames.MAX_NUMBER
                if size > frames.MAX_FRAME:
                    what = frames.NOT_HTTP2 if data.startswith(b"HTTP/") else f"a frame of {size} bytes"
                    raise Violation(Code.FRAME_SIZE_ERROR, what)
                end = at + frames.HEADER.size + size
                if end > len(data):
                    break
                if done >= TURN:
                    self._turn = self._loop.call_soon(self._go_on, context=Context())
                    break
                done += 1
                if kind in (HEADERS, frames.CONTINUATION):
                    done += size // TURN_HEADERS
                if kind in (HEADERS, DATA):
                    answers += flags & frames.END_STREAM
                self._receive(kind, flags, number, data[at + frames.HEADER.size : end])
                at = end
        except Violation as error:
            self._broken(error)
            return
        if self._data:  # else it was closed here meanwhile
            self._data = data[at:]
        self._pause(is_wanted=self._turn is not None)
        self._reply()
        if answers > 1:
            self._gather(answers)

    def _receive(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """One frame. Raises Violation."""
        lane = self.dialogue.lanes.get(number)
        stream = None if lane is None else lane.listener
        if stream is not None:
            stream.progress.bytes_in += frames.HEADER.size + len(payload)
        cost = self._cost(kind, flags, payload, stream)
        if cost < 1:
            self.carried_at = self.heard_at
        if cost and self.chatter.is_too_much(cost, self._loop.time(), is_idle=not self._open):
            raise Violation(Code.ENHANCE_YOUR_CALM, "too many frames that carry nothing, or next to nothing")
        heard = self.dialogue.receive(kind, flags, number, payload)
        if heard is not None:
            self._heard(heard)

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
        """Send the replies to the frames that came."""
        data = self.dialogue.take_out()
        if not data:
            return
        if not self.can_write:
            self._unsent += len(data)
            if self._unsent > MAX_UNSENT:
                text = f"it makes us reply, and took none of the last {MAX_UNSENT} bytes"
                self._broken(Violation(Code.ENHANCE_YOUR_CALM, text))
                return
        self._gathered.append(data)
        self._send_gathered()

    def _cost(self, kind: int, flags: int, payload: bytes, stream: Stream | None) -> float:
        """How many frames that carry nothing it counts for; less than 1 where it is a part of a response."""
        size = len(payload)
        if kind == DATA:
            carried = size - 1 - payload[0] if size and flags & frames.PADDED else size
            if stream is None or stream.response.is_complete:
                if carried > 0 and self.chatter.is_late(carried):
                    return 0
            elif carried >= TINY or flags & frames.END_STREAM:
                return 0
            elif carried > 0:
                return TINY_COST
        elif kind in (HEADERS, frames.CONTINUATION, frames.RST_STREAM):
            if stream is not None and stream.response.is_awaited:
                return 0
            return 1 + size // 128
        elif kind == frames.SETTINGS:
            return 1 + size // 6
        return 1 + size // 256

    def _heard(self, heard: Heard) -> None:
        """What concerns all streams."""
        if heard is Heard.GOAWAY and self.dialogue.goaway is not None:
            last, code = self.dialogue.goaway
            self.falls_back(code)
            for number, lane in list(self.dialogue.lanes.items()):
                if number > last:
                    lane.listener.refuse("GOAWAY", is_stale=True)
            self.retire()
            return
        if heard is Heard.WINDOW:
            self.shares.widened_at = self.heard_at
            self.shares.deal(self)
            return
        for stream in self._open:
            stream.wake()
        self.max_streams = self.known.max_streams = self.dialogue.max_streams
        if self.is_usable:  # else the pool may not have it any more
            self.on_room(self)

    def _broken(self, violation: Violation) -> None:
        """The connection ends; a stream whose headers are too large fails for that (RFC 9113 section 4.3)."""
        self._is_leaving = True
        text = str(violation)
        if isinstance(violation, Oversized):
            if (lane := self.dialogue.lanes.get(violation.number)) is not None:
                lane.listener.fail(ResponseTooLarge, text, death=self.death)
            text = f"stream {violation.number}: {text}"
        for stream in list(self._open):
            stream.fail(BadAnswer, text, death=self.death)
        self.dialogue.leave(violation.code)
        self.flush()
        self._send_gathered()
        self.close()
