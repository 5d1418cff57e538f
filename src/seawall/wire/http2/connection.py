"""
One HTTP/2 connection: h2 keeps the protocol's state, and what comes is given to the stream that it is for.

Rules: a connection that goes away takes no new stream, and ends with its last one; what its GOAWAY promises is waited
for. One that says nothing is asked by PING before it is used again. Frames are given to h2 one by one, for of what
comes in one piece with a bad one it loses all; never a GOAWAY, after which it takes nothing more. A server can't keep
the event loop busy, because it has only so many frames a turn, and only so many that carry nothing. Source: RFC 9113.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
from collections.abc import Callable
from contextvars import Context
from typing import Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from ...errors import BadAnswer, ConnectionLost, ResponseTooLarge, WireError
from ...origin import Address, Origin
from ..alpn import Known
from ..http1.answer import MAX_HEAD
from ..socket import Stream
from .chatter import Chatter
from .fields import TABLE_SIZE, Decoder, Encoder
from .stream import Channel

__all__ = ["Channel", "Multiplexed"]

STREAM_WINDOW: Final = 1024 * 1024  # B of body that nobody has taken yet; the server then waits
CONNECTION_WINDOW: Final = 2**30  # B; Go's: streams that nobody reads are not to hold up the others
TURN: Final = 100  # frames between two turns of the loop: 2 to 5 ms
TURN_HEADERS: Final = 64  # B of headers that take as long as a frame
TINY: Final = 16  # B of a body in one frame: less takes as long as a frame that carries nothing
TINY_COST: Final = 0.25  # of a frame that carries nothing: 8,000 tiny ones at once, and 2,000 a second, are borne
MAX_UNSENT: Final = 64 * 1024  # B of replies to a server that reads none; as much as asyncio holds before it says stop
DOUBT_AFTER: Final = 0.1  # s of silence; less is a round trip, and says nothing
SILENT_FOR: Final = 1.0  # s in which what was silent takes no stream, so that a retry goes elsewhere
FULL_FOR: Final = 0.1  # s; a retry is not to be refused by the same one
PROBE_TIMEOUT: Final = 5.0  # s; httpx's connect timeout, after which a dead host would have been given up

DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x7  # frame types; section 6
WINDOW_UPDATE, CONTINUATION = 0x8, 0x9
OF_BEGUN: Final = frozenset((DATA, HEADERS, RST_STREAM, WINDOW_UPDATE, CONTINUATION))  # section 5.1
END_STREAM, PADDED = 0x1, 0x8  # flags; section 6.1
KNOWN_SETTINGS: Final = frozenset(code.to_bytes(2, "big") for code in h2.settings.SettingCodes)
GONE: Final = getattr(select, "POLLRDHUP", 0) | getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0)


class Multiplexed(Stream):
    """
    Bytes come before it is known what they are: nothing is made of them until `begin`.

    Attributes:
        on_room, on_idle: Called with it whenever a stream is over: one of several, and the last.
        known: What is known of the origin, for connections to come.
        max_streams: At once; until the server has said, what is known.
        death: What the errors of all streams that its end took with it have in common; not itself, which would
            make a cycle.
        can_fall_back: HTTP/1.1 is spoken here too, if the server asks for it.
        heard_at: When the server last said anything, s.
    """

    __slots__ = (
        "_block",
        "_carried_at",
        "_channels",
        "_data",
        "_full_until",
        "_has_ended",
        "_is_begun",
        "_is_leaving",
        "_is_paused",
        "_open",
        "_probe",
        "_turn",
        "_unsent",
        "address",
        "can_fall_back",
        "chatter",
        "death",
        "ends_at",
        "good_until",
        "h2",
        "heard_at",
        "keep_for",
        "known",
        "max_streams",
        "on_idle",
        "on_room",
        "origin",
    )

    def __init__(self, origin: Origin, buffer: memoryview, known: Known, *, is_secure: bool = False) -> None:
        super().__init__(buffer, is_secure=is_secure)
        self.origin = origin
        self.known, self.max_streams = known, known.max_streams
        self.can_fall_back = False
        self.address: Address | None = None
        self.keep_for: float | None = None
        self.good_until = self.ends_at = math.inf
        self.heard_at = 0.0
        self.death: Final = object()
        self.on_room: Callable[[Multiplexed], None] = _nothing
        self.on_idle: Callable[[Multiplexed], None] = _nothing
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_inbound_headers=False,  # a bad header is its stream's matter, and h2 would end the connection
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.encoder, self.h2.decoder = Encoder(), Decoder()
        self.chatter: Final = Chatter()
        self._data = bytearray()
        self._channels: dict[int, Channel] = {}
        self._open: dict[Channel, None] = {}
        self._probe: asyncio.TimerHandle | None = None  # runs while a PING is unanswered
        self._block = self._unsent = 0  # B of the headers that come; of replies that are not sent yet
        self._full_until = 0.0
        self._carried_at = 0.0  # when a part of an answer came last
        self._turn: asyncio.Handle | None = None  # the next one, where more has come than one may take
        self._is_begun = self._is_leaving = self._is_paused = self._has_ended = False

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "leaving" if self._is_leaving else "open"
        return f"<Multiplexed {self.origin} at {self.address} {state}, {len(self._open)} streams>"

    def begin(self, *, can_fall_back: bool) -> None:
        """It is HTTP/2: say so."""
        self._is_begun, self.can_fall_back = True, can_fall_back
        codes = h2.settings.SettingCodes
        ours = {
            codes.ENABLE_PUSH: 0,
            codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            codes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
            codes.HEADER_TABLE_SIZE: TABLE_SIZE,
        }
        self.h2.decoder.max_header_list_size = 2**31  # its stream says what is too large, for h2 ends the connection
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values=ours)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - self.h2.inbound_flow_control_window)
        self._read()

    @property
    def is_usable(self) -> bool:
        return not (self._is_leaving or self._has_ended or self.is_closed or self.known.requires_http1)

    @property
    def has_room(self) -> bool:
        """For another stream."""
        if self._full_until and self._loop.time() < self._full_until:
            return False
        return self.is_usable and self._probe is None and len(self._open) < self.max_streams

    @property
    def streams(self) -> int:
        """Under way, or about to be."""
        return len(self._open)

    def has_unseen(self) -> bool:
        """Its end; what else may wait in its socket (a PING, SETTINGS) is no sign of one."""
        return self._poll is not None and any(events & GONE for _, events in self._poll.poll(0))

    def channel(self) -> Channel:
        """A stream to come."""
        channel = Channel(self)
        self._open[channel] = None
        return channel

    def given_up(self, since: float) -> None:
        """A stream was, which has waited since then: if nothing at all came lately, ask whether anybody is there."""
        if self._loop.time() - max(self.heard_at, since) > DOUBT_AFTER:
            self._doubt()

    def silent(self, since: float) -> None:
        """A stream has waited as long as it may: if no answer made progress, the next attempt goes elsewhere."""
        if self._carried_at <= since:
            self._full_until = max(self._full_until, self._loop.time() + SILENT_FOR)
            self._doubt()

    def _doubt(self) -> None:
        """Until a PING is answered, there is no room on it; without an answer within `PROBE_TIMEOUT` it is over."""
        if self._probe is None and self.is_usable:
            self._probe = self._loop.call_later(PROBE_TIMEOUT, self.retire, context=Context())
            self.h2.ping(b"seawall?")
            self.flush()

    def _believe(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def refused(self) -> None:
        """The server refused a stream, though it allows more by its SETTINGS: for a moment, others dial anew."""
        self._full_until = self._loop.time() + FULL_FOR

    def falls_back(self, code: int) -> bool:
        """Whether an error code asks for HTTP/1.1, and it is spoken here: then all to the origin are over."""
        if code != h2.errors.ErrorCodes.HTTP_1_1_REQUIRED or not self.can_fall_back:
            return False
        self.known.requires_http1 = True
        return True

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

    def reset(self, number: int) -> None:
        """Give a stream up: the server need not go on with it."""
        with contextlib.suppress(h2.exceptions.H2Error):  # it is closed already
            window = self.h2.remote_flow_control_window(number)
            self.h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
            self.chatter.abandoned(window)

    def release(self, channel: Channel) -> None:
        """It is over."""
        if channel.number is not None:
            self._channels.pop(channel.number, None)
        if self._open.pop(channel, self) is None and not self._open:
            if self.is_usable:
                self.on_idle(self)
            else:
                self.close()
        elif self.is_usable:
            self.on_room(self)

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        self._data += data
        self.heard_at = self._loop.time()
        self._believe()
        if self._is_begun and self._turn is None:
            self._read()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent = 0
        self._wake_all()

    def _wake_all(self) -> None:
        for channel in self._open:
            channel.wake()

    def close(self) -> None:
        """Now: what came is not looked at any more."""
        self._data.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        super().close()

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
        """Since the connection is over: the server closed it, or it broke."""
        is_clean = self._has_ended and self.error is None
        kind: type[WireError] = BadAnswer if is_clean else ConnectionLost
        text = "Server disconnected" if is_clean else str(self.error or "closed on this side")
        for channel in list(self._open):
            channel.fail(kind, text, is_stale=True, death=self.death)
        self.h2._frame_dispatch_table.clear()  # its methods, which hold it: no collector is waited for

    # What comes

    def _read(self) -> None:
        """
        Frame by frame: h2 loses all that came in one piece with a bad one.

        A GOAWAY is kept from h2, which would take nothing more after it, the answers that it promises included.
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
        """Take no more from the server until it is that far, or do."""
        if is_wanted != self._is_paused and self._transport is not None and not self.is_closed:
            self._is_paused = is_wanted
            if is_wanted:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _reply(self) -> None:
        """Send what h2 says to what came."""
        data = self.h2.data_to_send()
        if not data or self._transport is None or self.is_closed:
            return
        if not self._can_write:
            self._unsent += len(data)
            if self._unsent > MAX_UNSENT:
                self._broken(f"it makes us answer, and took none of the last {MAX_UNSENT} bytes")
                return
        self._transport.write(data)

    def _is_bearable(self, frame: bytes) -> bool:
        """Whether the server may send it still: else the connection is over."""
        kind, number = frame[3], _number(frame)
        channel = self._channels.get(number)
        if channel is None and kind in OF_BEGUN and self._is_idle(number):
            self.h2.close_connection(h2.errors.ErrorCodes.PROTOCOL_ERROR)
            self._broken(f"a frame of type {kind} for stream {number}, which nobody has begun")
            return False
        cost = self._cost(kind, frame, channel)
        if cost < 1:
            self._carried_at = self.heard_at
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

    def _cost(self, kind: int, frame: bytes, channel: Channel | None) -> float:
        """How many frames that carry nothing it counts for; less than 1 where it is a part of an answer."""
        size = len(frame) - 9
        if kind == DATA:
            carried = size - 1 - frame[9] if size and frame[4] & PADDED else size
            if channel is None or channel.is_complete:
                if carried > 0 and self.chatter.is_late(carried):
                    return 0
            elif carried >= TINY or frame[4] & END_STREAM:
                return 0
            elif carried > 0:
                return TINY_COST
        elif kind in (HEADERS, CONTINUATION, RST_STREAM):
            if channel is not None and channel.is_awaited:
                return 0
            return 1 + size // 128
        elif kind == SETTINGS:
            return 1 + size // 6
        return 1 + size // 256

    def _going_away(self, last: int, code: int) -> None:
        self.falls_back(code)
        for number, channel in list(self._channels.items()):
            if number > last:
                channel.refuse("GOAWAY", is_stale=True)
        self.retire()

    def _broken(self, what: str) -> None:
        self._is_leaving = True
        for channel in list(self._open):
            channel.fail(BadAnswer, what, death=self.death)
        self.flush()  # the GOAWAY that says so
        self.close()

    def _too_large(self, number: int, what: str) -> None:
        """One stream's headers, without which those of the others can't be decoded (RFC 9113 section 4.3)."""
        if (channel := self._channels.get(number)) is not None:
            channel.fail(ResponseTooLarge, what, death=self.death)
        self._broken(f"stream {number}: {what}")

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.WindowUpdated(stream_id=number) if number:
                if (channel := self._channels.get(number)) is not None:
                    channel.wake()
            case h2.events.WindowUpdated():
                self._wake_all()
            case h2.events.RemoteSettingsChanged():
                self.max_streams = self.known.max_streams = self.h2.remote_settings.max_concurrent_streams
                self._wake_all()
                self.on_room(self)
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


def _number(frame: bytes) -> int:
    """The stream that it is for."""
    return int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF


def _known(frame: bytes) -> bytes:
    """SETTINGS without those that nobody knows: they are to be ignored (RFC 9113 section 6.5.2), and h2 keeps them."""
    settings = [frame[at : at + 6] for at in range(9, len(frame), 6)]
    known = b"".join(each for each in settings if each[:2] in KNOWN_SETTINGS or len(each) < 6)
    return len(known).to_bytes(3, "big") + frame[3:9] + known


def _nothing(_: Multiplexed) -> None:
    pass
