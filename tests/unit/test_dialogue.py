"""What a server says in frames, and what becomes of it: nothing, one stream's end, or the connection's."""

from __future__ import annotations

import struct

import hpack
import pytest

from seawall.errors import BadAnswer
from seawall.wire.http2 import dialogue as http2
from seawall.wire.http2.dialogue import INITIAL_WINDOW, MAX_CONTINUATIONS, Dialogue, Heard
from seawall.wire.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER,
    HEADERS,
    MAX_FRAME,
    MAX_WINDOW,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Code,
    Oversized,
    Setting,
    Violation,
)
from seawall.wire.http2.lane import Lane
from seawall.wire.http2.response import Response
from seawall.wire.limits import MAX_HEAD

GET = [(b":method", b"GET"), (b":authority", b"a"), (b":scheme", b"http"), (b":path", b"/")]
OK, EARLY, TRAILER = b"\x88", b"\x08\x03103", b"\0\1x\1y"
UNKNOWN = 0xBE
WINDOW = 1000  # of each stream
ALL_WINDOW = 100_000


class Listening:
    """A stream's response, and what was told of it."""

    def __init__(self) -> None:
        self.response = Response()
        self.body = b""
        self.resets: list[int] = []
        self.wakes = 0

    def got_head(self, fields, *, is_end: bool) -> None:
        self.response.got_fields(fields, is_end=is_end)
        if is_end:
            self.response.got_end()

    def got_data(self, data: bytes, size: int, *, is_end: bool) -> None:
        self.response.got_data(data)
        self.body += data
        if is_end:
            self.response.got_end()

    def got_reset(self, code: int) -> None:
        self.resets.append(code)

    def wake(self) -> None:
        self.wakes += 1


@pytest.fixture
def made() -> Dialogue[Listening]:
    """
    Four streams: 1 waits for its response, 3 has its head, 5 was answered while its request goes on; 7 and 9 have ended
    and are forgotten, one by both sides, one by a reset.
    """
    made: Dialogue[Listening] = Dialogue()
    made.greet({Setting.INITIAL_WINDOW_SIZE: WINDOW}, ALL_WINDOW)
    for number, is_end in ((1, True), (3, True), (5, False), (7, True), (9, True)):
        assert made.ask(Listening(), GET, is_end=is_end) == number
    made.receive(HEADERS, END_HEADERS, 3, OK)
    for number in (5, 7):
        made.receive(HEADERS, END_HEADERS | END_STREAM, number, OK)
    made.reset(9, Code.CANCEL)
    made.forget(7)
    made.forget(9)
    made.take_out()
    return made


def said(made: Dialogue[Listening]) -> list[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of the frames that are to be sent."""
    data, found = made.take_out(), []
    while data:
        first, flags, number = HEADER.unpack_from(data)
        end = HEADER.size + (first >> 8)
        found.append((first & 0xFF, flags, number, data[HEADER.size : end]))
        data = data[end:]
    return found


def word(value: int) -> bytes:
    return struct.pack(">I", value)


def setting(code: int, value: int) -> bytes:
    return struct.pack(">HI", code, value)


VIOLATIONS = {
    "DATA for the connection": (DATA, 0, 0, b"x", 1),
    "DATA for a stream to come": (DATA, 0, 11, b"x", 1),
    "DATA for a stream of the server's": (DATA, 0, 2, b"x", 1),
    "DATA with too much padding": (DATA, PADDED, 3, b"\x05abcd", 1),
    "DATA without the length of its padding": (DATA, PADDED, 3, b"", 1),
    "DATA beyond the window": (DATA, 0, 3, bytes(WINDOW + 1), 3),
    "DATA beyond the connection's window": (DATA, 0, 7, bytes(ALL_WINDOW + 1), 3),
    "HEADERS for the connection": (HEADERS, END_HEADERS, 0, OK, 1),
    "HEADERS for a stream to come": (HEADERS, END_HEADERS, 11, OK, 1),
    "HEADERS for a stream that has ended": (HEADERS, END_HEADERS, 7, OK, 5),
    "HEADERS that can't be decoded": (HEADERS, END_HEADERS, 1, b"\xbe", 9),
    "HEADERS that can't be decoded for a stream that was reset": (HEADERS, END_HEADERS, 9, b"\xbe", 9),
    "HEADERS with too much padding": (HEADERS, END_HEADERS | PADDED, 1, b"\x03ab", 1),
    "HEADERS too short for their priority": (HEADERS, END_HEADERS | 0x20, 1, bytes(4), 6),
    "PRIORITY of the connection": (PRIORITY, 0, 0, bytes(5), 1),
    "PRIORITY that is too long": (PRIORITY, 0, 1, bytes(6), 1),
    "RST_STREAM of the connection": (RST_STREAM, 0, 0, word(8), 1),
    "RST_STREAM of a stream to come": (RST_STREAM, 0, 11, word(8), 1),
    "RST_STREAM that is too short": (RST_STREAM, 0, 1, bytes(3), 6),
    "SETTINGS of a stream": (SETTINGS, 0, 1, b"", 1),
    "SETTINGS with half of one": (SETTINGS, 0, 0, bytes(9), 6),
    "SETTINGS that are acknowledged with some": (SETTINGS, ACK, 0, bytes(6), 6),
    "SETTINGS with a window too large": (SETTINGS, 0, 0, setting(4, MAX_WINDOW + 1), 3),
    "SETTINGS with a frame too small": (SETTINGS, 0, 0, setting(5, MAX_FRAME - 1), 1),
    "SETTINGS with a frame too large": (SETTINGS, 0, 0, setting(5, 2**24), 1),
    "SETTINGS with push that is neither on nor off": (SETTINGS, 0, 0, setting(2, 2), 1),
    "PUSH_PROMISE": (PUSH_PROMISE, END_HEADERS, 1, word(2) + OK, 1),
    "PING of a stream": (PING, 0, 1, bytes(8), 1),
    "PING that is too short": (PING, 0, 0, bytes(7), 6),
    "GOAWAY of a stream": (GOAWAY, 0, 1, bytes(8), 1),
    "GOAWAY that is too short": (GOAWAY, 0, 0, bytes(7), 6),
    "WINDOW_UPDATE by nothing": (WINDOW_UPDATE, 0, 0, word(0), 1),
    "WINDOW_UPDATE by too much": (WINDOW_UPDATE, 0, 0, word(MAX_WINDOW), 3),
    "WINDOW_UPDATE that is too long": (WINDOW_UPDATE, 0, 0, bytes(5), 6),
    "WINDOW_UPDATE of a stream to come": (WINDOW_UPDATE, 0, 11, word(1), 1),
    "CONTINUATION of nothing": (CONTINUATION, END_HEADERS, 1, OK, 1),
    "CONTINUATION for a stream to come": (CONTINUATION, END_HEADERS, 11, OK, 1),
}


@pytest.mark.parametrize("what", VIOLATIONS)
def test_what_ends_the_connection(made, what):
    """By the code that RFC 9113 gives it: sections 5.1, 5.4.1, 6 and 6.9.1."""
    *frame, code = VIOLATIONS[what]
    with pytest.raises(Violation) as caught:
        made.receive(*frame)
    assert caught.value.code == code
    assert not isinstance(caught.value, Oversized)


ONE_STREAMS = {
    "DATA before the head": [(DATA, 0, 1, b"x")],
    "DATA before the head, which is empty and the end": [(DATA, END_STREAM, 1, b"")],
    "no status": [(HEADERS, END_HEADERS, 1, TRAILER)],
    "no fields": [(HEADERS, END_HEADERS, 1, b"")],
    "the status behind another field": [(HEADERS, END_HEADERS, 1, TRAILER + OK)],
    "two of them": [(HEADERS, END_HEADERS, 1, OK + OK)],
    "a pseudo-header of requests": [(HEADERS, END_HEADERS, 1, OK + b"\x82")],
    "a name in upper case": [(HEADERS, END_HEADERS, 1, OK + b"\0\1X\1y")],
    "no name": [(HEADERS, END_HEADERS, 1, OK + b"\0\0\1y")],
    "a header of the connection's": [(HEADERS, END_HEADERS, 1, OK + b"\0\x0aconnection\1y")],
    "a line feed in a value": [(HEADERS, END_HEADERS, 1, OK + b"\0\1x\1\n")],
    "an interim response that is the end": [(HEADERS, END_HEADERS | END_STREAM, 1, EARLY)],
    "another length than it says": [(HEADERS, END_HEADERS | END_STREAM, 1, OK + b"\0\x0econtent-length\0011")],
    "two lengths": [(HEADERS, END_HEADERS | END_STREAM, 1, OK + b"\0\x0econtent-length\0010\0\x0econtent-length\0011")],
    "a length that is none": [(HEADERS, END_HEADERS, 1, OK + b"\0\x0econtent-length\2+1")],
    "more than it says": [(HEADERS, END_HEADERS, 1, OK + b"\0\x0econtent-length\0010"), (DATA, 0, 1, b"x")],
    "a second head": [(HEADERS, END_HEADERS, 3, OK)],
    "trailers that are not the end": [(HEADERS, END_HEADERS, 3, TRAILER)],
    "a pseudo-header in trailers": [(HEADERS, END_HEADERS | END_STREAM, 3, OK)],
    "a name in upper case in trailers": [(HEADERS, END_HEADERS | END_STREAM, 3, b"\0\1X\1y")],
}


@pytest.mark.parametrize("what", ONE_STREAMS)
def test_what_ends_one_stream(made, what):
    """A malformed response is never taken for good, whatever follows, and harms no other (RFC 9113 section 8.1.1)."""
    number = ONE_STREAMS[what][0][2]
    response = made.lanes[number].listener.response
    for frame in ONE_STREAMS[what]:
        assert made.receive(*frame) is None
    assert response.failure is not None
    if not made.lanes[number].is_answered:
        made.receive(DATA, END_STREAM, number, b"x")
    assert (response.failure[0], response.is_complete) == (BadAnswer, False)
    made.receive(HEADERS, END_HEADERS | END_STREAM, {1: 3, 3: 1}[number], TRAILER if number == 1 else OK)
    assert made.lanes[{1: 3, 3: 1}[number]].listener.response.is_complete


@pytest.mark.parametrize(("size", "code"), [(0, Code.PROTOCOL_ERROR), (MAX_WINDOW, Code.FLOW_CONTROL_ERROR)])
@pytest.mark.parametrize("number", [1, 5])
def test_window_of_one_stream_that_is_widened_by_nothing_or_by_too_much(made, number, size, code):
    """It is reset, and the stream hears of it once (RFC 9113 section 6.9)."""
    for _ in range(2):
        made.receive(WINDOW_UPDATE, 0, number, word(size))
    assert made.lanes[number].listener.resets == [code]
    assert said(made) == [(RST_STREAM, 0, number, word(code))]


@pytest.mark.parametrize("frame", [(HEADERS, END_HEADERS, 5, OK), (DATA, END_STREAM, 5, b"x"), (DATA, 0, 5, b"")])
def test_more_of_a_response_than_its_end(made, frame):
    """The stream is reset, if our side of it is open still; its response stands (RFC 9113 section 5.1)."""
    for _ in range(2):
        assert made.receive(*frame) is None
    listener = made.lanes[5].listener
    assert (listener.resets, listener.body, listener.response.is_complete) == ([Code.STREAM_CLOSED], b"", True)
    assert said(made) == [(RST_STREAM, 0, 5, word(Code.STREAM_CLOSED))]


NOTHING = {
    "a type that nobody knows": (UNKNOWN, 0xFF, 1, b"x"),
    "one for a stream to come": (UNKNOWN, 0, 11, b"x"),
    "PRIORITY": (PRIORITY, 0, 11, bytes(5)),
    "an acknowledgement of SETTINGS": (SETTINGS, ACK, 0, b""),
    "PONG": (PING, ACK, 0, bytes(8)),
    "RST_STREAM of a stream that has ended": (RST_STREAM, 0, 7, word(8)),
    "RST_STREAM of one that was reset": (RST_STREAM, 0, 9, word(8)),
    "WINDOW_UPDATE of a stream that has ended": (WINDOW_UPDATE, 0, 7, word(MAX_WINDOW)),
    "HEADERS of a stream that was reset": (HEADERS, END_HEADERS | END_STREAM, 9, OK),
    "DATA of a stream that was reset": (DATA, END_STREAM, 9, b"x"),
    "DATA of a stream that has ended": (DATA, END_STREAM, 7, b"x"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_what_is_passed_over(made, what):
    """RFC 9113 sections 5.1 and 5.5: it may have been on its way, or is for others."""
    before = {number: vars(lane.listener).copy() for number, lane in made.lanes.items()}
    assert made.receive(*NOTHING[what]) is None
    assert said(made) == []
    assert {number: vars(lane.listener) for number, lane in made.lanes.items()} == before


def test_bytes_of_a_stream_that_is_over_are_given_back(made):
    """To the connection; else late ones would use up what the others share."""
    for number in (5, 7, 9):
        for _ in range(200):
            made.receive(DATA, 0, number, bytes(1000))
    assert sum(int.from_bytes(payload, "big") for _, _, number, payload in said(made) if number == 0) >= 500_000


def test_headers_of_a_stream_that_was_reset_are_decoded(made):
    """Because later ones refer to them."""
    made.receive(HEADERS, END_HEADERS, 9, OK + b"\x40\1x\1y")
    made.receive(HEADERS, END_HEADERS, 1, OK + b"\xbe")
    assert made.lanes[1].listener.response.head.headers == [(b"x", b"x", b"y")]


def test_streams_that_were_reset_long_ago(made, monkeypatch):
    """Only so many are remembered; the headers of older ones may still come late, those of others not."""
    monkeypatch.setattr(http2, "MAX_RESET", 10)
    for number in range(11, 111, 2):
        assert made.ask(Listening(), GET, is_end=True) == number
        if number == 109:
            made.receive(HEADERS, END_HEADERS | END_STREAM, number, OK)
        made.reset(number, Code.CANCEL)
        made.forget(number)
    assert len(made._reset) <= 10
    for number in range(9, 109, 2):
        made.receive(HEADERS, END_HEADERS, number, OK)
    with pytest.raises(Violation, match="stream 109, which has ended"):
        made.receive(HEADERS, END_HEADERS, 109, OK)


@pytest.mark.parametrize(
    "frame",
    [
        (DATA, 0, 3, b"x"),
        (HEADERS, END_HEADERS, 1, OK),
        (CONTINUATION, END_HEADERS, 3, b""),
        (PING, 0, 0, bytes(8)),
        (SETTINGS, 0, 0, b""),
        (UNKNOWN, 0, 0, b""),
    ],
)
def test_frame_within_the_headers_of_another(made, frame):
    """Nothing may come between them (RFC 9113 section 6.10)."""
    made.receive(HEADERS, 0, 1, OK)
    with pytest.raises(Violation) as caught:
        made.receive(*frame)
    assert caught.value.code == Code.PROTOCOL_ERROR


def test_headers_in_pieces(made):
    """Wherever they are cut; the first says whether the stream ends with them."""
    block = OK + TRAILER * 3
    made.receive(HEADERS, END_STREAM, 1, b"")
    for byte in block[:-1]:
        assert made.receive(CONTINUATION, 0, 1, bytes((byte,))) is None
    assert made.lanes[1].listener.response.head is None
    made.receive(CONTINUATION, END_HEADERS, 1, block[-1:])
    response = made.lanes[1].listener.response
    assert (response.head.headers, response.is_complete) == ([(b"x", b"x", b"y")] * 3, True)


def test_headers_without_an_end(made):
    """In too many frames they are a flood."""
    made.receive(HEADERS, 0, 1, OK)
    for _ in range(MAX_CONTINUATIONS - 1):
        made.receive(CONTINUATION, 0, 1, b"")
    with pytest.raises(Violation, match="64 frames") as caught:
        made.receive(CONTINUATION, 0, 1, b"")
    assert caught.value.code == Code.ENHANCE_YOUR_CALM


def test_headers_that_are_too_large(made):
    """Nothing is decoded of them; without them those of other streams can't be."""
    made.receive(HEADERS, 0, 1, bytes(MAX_FRAME))
    for _ in range(MAX_HEAD // MAX_FRAME - 1):
        made.receive(CONTINUATION, 0, 1, bytes(MAX_FRAME))
    with pytest.raises(Oversized, match=f"more than {MAX_HEAD} bytes") as caught:
        made.receive(CONTINUATION, 0, 1, b"x")
    assert caught.value.number == 1


def test_windows_of_the_server(made):
    """What may be sent on a stream is what it and the connection allow; SETTINGS may take some back, below nothing."""
    made.send(5, bytes(30_000))
    assert made.window(5) == 35_535
    assert made.receive(SETTINGS, 0, 0, setting(4, 10_000)) is Heard.SETTINGS
    assert made.window(5) == -20_000
    made.receive(WINDOW_UPDATE, 0, 5, word(20_001))
    assert (made.window(5), made.lanes[5].listener.wakes) == (1, 1)
    made.receive(SETTINGS, 0, 0, setting(4, 2**20))
    assert made.window(5) == 35_535
    assert made.receive(WINDOW_UPDATE, 0, 0, word(10)) is Heard.WINDOW
    assert made.window(5) == 35_545
    made.ask(Listening(), GET, is_end=False)
    assert made.lanes[11].window == 2**20


def test_settings_that_change_the_windows_many_times(made, monkeypatch):
    """The last of them counts, and each stream's window is changed once; else one frame would be work for a second."""
    changes: list[int] = []
    widen = Lane.widen
    monkeypatch.setattr(Lane, "widen", lambda lane, size: changes.append(size) or widen(lane, size))
    made.receive(SETTINGS, 0, 0, b"".join(setting(4, 60_000 + number) for number in range(2700)))
    assert changes == [62_699 - INITIAL_WINDOW] * len(made.lanes)
    assert made.window(5) == 62_699


def test_largest_window(made):
    """It is 2^31 - 1; a byte more is an error of the stream, or of the connection (RFC 9113 section 6.9.1)."""
    for number in (0, 5):
        made.receive(WINDOW_UPDATE, 0, number, word(MAX_WINDOW - INITIAL_WINDOW))
    assert (made.window(5), made.lanes[5].listener.resets) == (MAX_WINDOW, [])
    made.receive(WINDOW_UPDATE, 0, 5, word(1))
    assert made.lanes[5].listener.resets == [Code.FLOW_CONTROL_ERROR]
    with pytest.raises(Violation):
        made.receive(WINDOW_UPDATE, 0, 0, word(1))


def test_settings_that_overflow_a_window(made):
    """A stream's window is the sum of what it was given; more than 2^31 - 1 ends the connection (section 6.9.2)."""
    made.receive(WINDOW_UPDATE, 0, 1, word(1000))
    with pytest.raises(Violation) as caught:
        made.receive(SETTINGS, 0, 0, setting(4, MAX_WINDOW))
    assert caught.value.code == Code.FLOW_CONTROL_ERROR


def test_windows_of_ours(made):
    """They are given back once that doubles what the server may send, so that it never waits for nothing."""
    for _ in range(20):
        made.receive(DATA, 0, 3, bytes(WINDOW // 10))
        made.take(3, WINDOW // 10)
    updates = [int.from_bytes(payload, "big") for kind, _, number, payload in said(made) if number == 3]
    assert (updates, made.lanes[3].room) == ([WINDOW // 2] * 4, WINDOW)
    made.receive(DATA, 0, 3, bytes(WINDOW))
    made.take(3, 1)
    assert said(made) == [(WINDOW_UPDATE, 0, 3, word(1))]
    made.take(0, 0)
    assert said(made) == []


def test_window_is_not_given_back_to_a_stream_that_is_answered(made):
    """Nothing more comes, so a frame would be for nothing."""
    made.receive(DATA, END_STREAM, 3, bytes(WINDOW))
    made.take(3, WINDOW)
    assert said(made) == []


def test_settings(made):
    """The last of each counts; unknown ones are ignored, and all are acknowledged once (RFC 9113 section 6.5)."""
    values = setting(3, 5) + setting(3, 7) + setting(0xABCD, 1) + setting(5, 20_000) + setting(2, 0) + setting(8, 1)
    assert made.receive(SETTINGS, 0, 0, values) is Heard.SETTINGS
    assert (made.max_streams, made.frame_size) == (7, 20_000)
    assert said(made) == [(SETTINGS, ACK, 0, b"")]


def test_streams_that_the_server_takes(made):
    """Those count that are open on either side (RFC 9113 section 5.1.2): 1, 3 and 5."""
    for most, is_full in ((4, False), (3, True), (0, True)):
        made.receive(SETTINGS, 0, 0, setting(3, most))
        assert made.is_full == is_full
    made.receive(SETTINGS, 0, 0, setting(3, 3))
    made.receive(HEADERS, END_HEADERS | END_STREAM, 1, OK)
    assert not made.is_full


def test_large_headers_of_a_request():
    """Are cut into frames of the size that the server takes (RFC 9113 section 6.10)."""
    made: Dialogue[Listening] = Dialogue()
    fields = [*GET, (b"x", b"y" * 50_000)]
    made.ask(Listening(), fields, is_end=True)
    frames = said(made)
    assert [(kind, flags) for kind, flags, _, _ in frames] == [
        (HEADERS, END_STREAM),
        (CONTINUATION, 0),
        (CONTINUATION, 0),
        (CONTINUATION, END_HEADERS),
    ]
    assert {number for _, _, number, _ in frames} == {1}
    assert all(len(payload) <= MAX_FRAME for _, _, _, payload in frames)
    assert hpack.Decoder(2**20).decode(b"".join(payload for *_, payload in frames), raw=True) == fields


def test_ping_is_answered(made):
    """With the same bytes."""
    made.receive(PING, 0, 0, b"12345678")
    assert said(made) == [(PING, ACK, 0, b"12345678")]


def test_goaway(made):
    """Says how far the server got, and may be followed by the responses that it promises, and by another."""
    assert made.receive(GOAWAY, 0, 0, word(2**31 + 3) + word(2) + b"why") is Heard.GOAWAY
    assert made.goaway == (3, 2)
    made.receive(HEADERS, END_HEADERS | END_STREAM, 1, OK)
    assert made.lanes[1].listener.response.is_complete
    made.receive(GOAWAY, 0, 0, word(1) + word(0))
    assert made.goaway == (1, 0)


def test_reset_of_the_server(made):
    """Is told once; nothing of it is heard any more, and our own reset would say nothing."""
    for _ in range(2):
        made.receive(RST_STREAM, 0, 3, word(7))
    made.receive(DATA, END_STREAM, 3, b"late")
    made.receive(HEADERS, END_HEADERS, 3, OK)
    listener = made.lanes[3].listener
    assert (listener.resets, listener.body, listener.response.is_complete) == ([7], b"", False)
    assert made.reset(3, Code.CANCEL) == 0
    made.forget(3)
    made.receive(HEADERS, END_HEADERS, 3, OK)
    assert said(made) == []


def test_reset_of_ours(made):
    """Says how much may be on the way, which is what the server's windows allow."""
    assert made.reset(3, Code.CANCEL) == WINDOW
    assert made.reset(5, Code.CANCEL) == 0
    assert said(made) == [(RST_STREAM, 0, 3, word(8)), (RST_STREAM, 0, 5, word(8))]


def test_numbers_are_used_up(made):
    """2^31 - 1 is the last (RFC 9113 section 5.1.1)."""
    made.last = 2**31 - 3
    assert not made.is_used_up
    assert made.ask(Listening(), GET, is_end=True) == 2**31 - 1
    assert made.is_used_up
