"""
What both sides of an HTTP/2 connection have said: frames in, events out. No I/O, no time. Source: RFC 9113.

Rules: what is wrong with the connection is a `Violation`, and ends it; what is wrong with one stream's response is for
its listener to judge, so that it harms no other stream. A frame for a stream that is over may have been on its way: its
bytes are given back, and a block of headers is decoded, because later ones refer to it. Headers for a stream that the
server itself has ended are a violation.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import ClassVar, Final, Generic

from ..limits import MAX_HEAD
from . import frames
from .compression import Decoder, Encoder, Field, HPACKError, OversizedHeaderListError
from .credit import Credit
from .frames import Code, Oversized, Setting, Violation
from .lane import L, Lane

__all__ = ["INITIAL_WINDOW", "UNLIMITED", "Dialogue", "Heard"]

INITIAL_WINDOW: Final = 65_535  # B; section 6.9.2
UNLIMITED: Final = 2**32  # streams, unless the server says how many
MAX_CONTINUATIONS: Final = 64  # frames of one block, HEADERS included; h2's
MAX_RESET: Final = 1024  # streams that were reset, of which more may come


class Heard(Enum):
    """What concerns all streams of a connection."""

    SETTINGS = auto()
    WINDOW = auto()
    GOAWAY = auto()


class Dialogue(Generic[L]):
    """
    Our side of it.

    Attributes:
        lanes: The streams that have a number, until they are forgotten.
        max_streams: How many the server takes at once.
        frame_size: B of payload that the server takes in one frame.
        goaway: Its last stream and its error code, where the server goes away.
        last: The number of our last stream; -1 before the first.
    """

    __slots__ = (
        "_block",
        "_block_flags",
        "_block_number",
        "_credit",
        "_decoder",
        "_encoder",
        "_forgotten",
        "_initial",
        "_out",
        "_reset",
        "_room",
        "frame_size",
        "goaway",
        "lanes",
        "last",
        "max_streams",
    )  # fmt: skip

    def __init__(self) -> None:
        self.lanes: dict[int, Lane[L]] = {}
        self.max_streams = UNLIMITED
        self.frame_size = frames.MAX_FRAME
        self.goaway: tuple[int, int] | None = None
        self.last = -1
        self._encoder, self._decoder = Encoder(), Decoder()
        self._credit = Credit(INITIAL_WINDOW, INITIAL_WINDOW)
        self._initial = self._room = INITIAL_WINDOW  # windows of a stream that begins: ours to fill, and the server's
        self._out: list[bytes] = []
        self._block: list[bytes] = []  # the parts of a block of headers whose end has not come
        self._block_number = self._block_flags = 0
        self._reset: dict[int, None] = {}  # streams that were reset and are forgotten; their frames may come late
        self._forgotten = 0  # the number up to which `_reset` is not complete

    # What we say

    def take_out(self) -> bytes:
        """The bytes to send, each once."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def greet(self, settings: dict[Setting, int], window: int) -> None:
        """Begin: our *settings*, and what we take at once, in B, for all streams together, 64 KiB or more (3.4)."""
        self._room = settings.get(Setting.INITIAL_WINDOW_SIZE, INITIAL_WINDOW)
        self._out.append(frames.PREFACE + frames.settings(settings))
        self._out.append(frames.word(frames.WINDOW_UPDATE, 0, window - self._credit.room))
        self._credit.room = window

    @property
    def is_used_up(self) -> bool:
        """It has no number for another stream (section 5.1.1)."""
        return self.last + 2 > frames.MAX_NUMBER

    @property
    def is_full(self) -> bool:
        """The server takes no other stream as long as these are open (section 5.1.2)."""
        lanes, most = self.lanes, self.max_streams
        return len(lanes) >= most and sum(not lane.is_over for lane in lanes.values()) >= most

    def ask(self, listener: L, fields: list[Field], *, is_end: bool) -> int:
        """Begin a stream; returns its number."""
        self.last = number = self.last + 2
        self.lanes[number] = Lane(listener, self._initial, self._room, is_sent=is_end)
        block, size, flags = self._encoder.encode(fields), self.frame_size, frames.END_STREAM if is_end else 0
        if len(block) <= size:
            self._out.append(frames.frame(frames.HEADERS, flags | frames.END_HEADERS, number, block))
            return number
        self._out.append(frames.frame(frames.HEADERS, flags, number, block[:size]))
        for at in range(size, len(block), size):
            is_last = at + size >= len(block)
            flags = frames.END_HEADERS if is_last else 0
            self._out.append(frames.frame(frames.CONTINUATION, flags, number, block[at : at + size]))
        return number

    @property
    def shared_window(self) -> int:
        """B of bodies that may be sent on all streams together now."""
        return self._credit.window

    def window(self, number: int) -> int:
        """B of body that may be sent on a stream now."""
        return min(self.lanes[number].window, self._credit.window)

    def send(self, number: int, data: bytes, *, is_end: bool = False) -> None:
        """*data* of a body, no more than `window` and `frame_size` allow."""
        lane, size = self.lanes[number], len(data)
        lane.window -= size
        self._credit.window -= size
        lane.is_sent = is_end
        self._out.append(frames.frame(frames.DATA, frames.END_STREAM if is_end else 0, number, data))

    def reset(self, number: int, code: Code) -> int:
        """Abandon a stream unless it is over; returns how many B of it the server may have sent already."""
        lane = self.lanes[number]
        if lane.is_over:
            return 0
        lane.is_reset = True
        self._out.append(frames.word(frames.RST_STREAM, number, code))
        return 0 if lane.is_answered else min(lane.room, self._credit.room)

    def forget(self, number: int) -> None:
        """Nobody listens to a stream any more."""
        if self.lanes.pop(number).is_reset:
            if len(self._reset) >= MAX_RESET:
                self._forgotten = max(self._reset)
                self._reset.clear()
            self._reset[number] = None

    def take(self, number: int, size: int) -> None:
        """So many B of a stream were taken, or nobody will take them: the server may send as many more."""
        if more := self._credit.give_back(size):
            self._out.append(frames.word(frames.WINDOW_UPDATE, 0, more))
        lane = self.lanes.get(number)
        if lane is not None and not (lane.is_answered or lane.is_reset) and (more := lane.give_back(size)):
            self._out.append(frames.word(frames.WINDOW_UPDATE, number, more))

    def ping(self, data: bytes) -> None:
        self._out.append(frames.frame(frames.PING, 0, 0, data))

    def leave(self, code: Code) -> None:
        """The connection ends; no stream of the server's was begun."""
        self._out.append(frames.frame(frames.GOAWAY, 0, 0, bytes(4) + code.to_bytes(4, "big")))

    # What we hear

    def receive(self, kind: int, flags: int, number: int, payload: bytes) -> Heard | None:
        """A frame. Its stream is told; what concerns all is returned. Raises Violation."""
        if self._block and (kind != frames.CONTINUATION or number != self._block_number):
            raise Violation(Code.PROTOCOL_ERROR, f"a frame of type {kind} within the headers of another")
        hear = self._HEAR.get(kind)
        return None if hear is None else hear(self, flags, number, payload)  # an unknown type is ignored; section 5.5

    def _lane(self, kind: int, number: int) -> Lane[L] | None:
        """The stream that a frame is for; None where it is forgotten. Raises Violation where it never was."""
        lane = self.lanes.get(number)
        # The server's streams have even numbers, and it may not begin any, because PUSH_PROMISE is switched off.
        if lane is None and (number > self.last or number % 2 == 0):
            raise Violation(Code.PROTOCOL_ERROR, f"a frame of type {kind} for stream {number}, which we have not begun")
        return lane

    def _hear_data(self, flags: int, number: int, payload: bytes) -> None:
        lane, size = self._lane(frames.DATA, number), len(payload)
        self._credit.spend(size)
        if lane is None or lane.is_answered or lane.is_reset:
            self.take(0, size)
            if lane is not None and not lane.is_over:
                self._break(lane, number, Code.STREAM_CLOSED)
            return
        lane.spend(size)
        lane.is_answered = bool(flags & frames.END_STREAM)
        lane.listener.got_data(frames.content(flags, payload), size, is_end=lane.is_answered)

    def _hear_headers(self, flags: int, number: int, payload: bytes) -> None:
        self._lane(frames.HEADERS, number)
        block = frames.fragment(flags, payload)
        if flags & frames.END_HEADERS:
            self._hear_block(flags, number, block)
        else:
            self._block, self._block_number, self._block_flags = [block], number, flags

    def _hear_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if not self._block:
            self._lane(frames.CONTINUATION, number)
            raise Violation(Code.PROTOCOL_ERROR, "CONTINUATION of no headers")
        self._block.append(payload)
        if sum(map(len, self._block)) > MAX_HEAD:
            raise Oversized(number, f"headers of more than {MAX_HEAD} bytes")
        if len(self._block) > MAX_CONTINUATIONS:
            raise Violation(Code.ENHANCE_YOUR_CALM, f"headers in more than {MAX_CONTINUATIONS} frames")
        if flags & frames.END_HEADERS:
            block, self._block = b"".join(self._block), []
            self._hear_block(self._block_flags, number, block)

    def _hear_block(self, flags: int, number: int, block: bytes) -> None:
        try:
            fields = self._decoder.decode(block)
        except OversizedHeaderListError as error:
            raise Oversized(number, str(error)) from error
        except HPACKError as error:
            raise Violation(Code.COMPRESSION_ERROR, f"headers that can't be decoded: {error}") from error
        lane = self.lanes.get(number)
        was_reset = lane.is_reset if lane is not None else number in self._reset or number <= self._forgotten
        if was_reset:
            return
        if lane is None or lane.is_over:
            raise Violation(Code.STREAM_CLOSED, f"a frame of type 1 for stream {number}, which has ended")
        if lane.is_answered:
            self._break(lane, number, Code.STREAM_CLOSED)
            return
        lane.is_answered = bool(flags & frames.END_STREAM)
        lane.listener.got_head(fields, is_end=lane.is_answered)

    def _hear_priority(self, _: int, number: int, payload: bytes) -> None:
        if not number or len(payload) != 5:
            raise Violation(Code.PROTOCOL_ERROR, f"PRIORITY of {len(payload)} bytes for stream {number}")

    def _hear_reset(self, _: int, number: int, payload: bytes) -> None:
        lane, code = self._lane(frames.RST_STREAM, number), frames.word_of(frames.RST_STREAM, payload)
        if lane is not None and not lane.is_over:
            lane.is_reset = True
            lane.listener.got_reset(code)

    def _hear_settings(self, flags: int, number: int, payload: bytes) -> Heard | None:
        self._expect_all(frames.SETTINGS, number)
        if flags & frames.ACK:
            if payload:
                raise Violation(Code.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS that has some")
            return None
        initial = self._initial
        for code, value in frames.settings_of(payload):
            self._set(code, value)
        change = self._initial - initial  # once for all, because a frame may change it thousands of times
        if change and not all(lane.widen(change) for lane in self.lanes.values()):
            raise Violation(Code.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE of {self._initial}")
        self._out.append(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        return Heard.SETTINGS

    def _set(self, code: int, value: int) -> None:
        """One of the server's settings; unknown ones are ignored (section 6.5.2)."""
        match code:
            case Setting.HEADER_TABLE_SIZE:
                self._encoder.size = value
            case Setting.ENABLE_PUSH if value > 1:
                raise Violation(Code.PROTOCOL_ERROR, f"ENABLE_PUSH of {value}")
            case Setting.MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            case Setting.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise Violation(Code.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE of {value}")
                self._initial = value
            case Setting.MAX_FRAME_SIZE:
                if not frames.MAX_FRAME <= value < 2**24:
                    raise Violation(Code.PROTOCOL_ERROR, f"MAX_FRAME_SIZE of {value}")
                self.frame_size = value

    def _hear_push(self, _: int, number: int, payload: bytes) -> None:
        raise Violation(Code.PROTOCOL_ERROR, f"PUSH_PROMISE on stream {number}, though push is switched off")

    def _hear_ping(self, flags: int, number: int, payload: bytes) -> None:
        self._expect_all(frames.PING, number)
        if len(payload) != 8:
            raise Violation(Code.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        if not flags & frames.ACK:
            self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _hear_goaway(self, _: int, number: int, payload: bytes) -> Heard:
        self._expect_all(frames.GOAWAY, number)
        if len(payload) < 8:
            raise Violation(Code.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
        self.goaway = int.from_bytes(payload[:4], "big") & frames.MAX_NUMBER, int.from_bytes(payload[4:8], "big")
        return Heard.GOAWAY

    def _hear_window(self, _: int, number: int, payload: bytes) -> Heard | None:
        size = frames.word_of(frames.WINDOW_UPDATE, payload) & frames.MAX_WINDOW
        if not number:
            if not size:
                raise Violation(Code.PROTOCOL_ERROR, "a window that is widened by nothing")
            if not self._credit.widen(size):
                raise Violation(Code.FLOW_CONTROL_ERROR, f"a window of more than {frames.MAX_WINDOW} bytes")
            return Heard.WINDOW
        lane = self._lane(frames.WINDOW_UPDATE, number)
        if lane is None or lane.is_reset:
            return None
        if size and lane.widen(size):
            lane.listener.wake()
        elif not lane.is_over:  # one stream's matter; section 6.9
            self._break(lane, number, Code.FLOW_CONTROL_ERROR if size else Code.PROTOCOL_ERROR)
        return None

    def _break(self, lane: Lane[L], number: int, code: Code) -> None:
        """What the server said of a stream ends that stream (section 5.4.2)."""
        self.reset(number, code)
        lane.listener.got_reset(code)

    def _expect_all(self, kind: int, number: int) -> None:
        if number:
            raise Violation(Code.PROTOCOL_ERROR, f"a frame of type {kind} for stream {number}, not for all")

    _HEAR: ClassVar[dict[int, Callable[[Dialogue[L], int, int, bytes], Heard | None]]] = {
        frames.DATA: _hear_data,
        frames.HEADERS: _hear_headers,
        frames.PRIORITY: _hear_priority,
        frames.RST_STREAM: _hear_reset,
        frames.SETTINGS: _hear_settings,
        frames.PUSH_PROMISE: _hear_push,
        frames.PING: _hear_ping,
        frames.GOAWAY: _hear_goaway,
        frames.WINDOW_UPDATE: _hear_window,
        frames.CONTINUATION: _hear_continuation,
    }
