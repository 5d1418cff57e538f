"""Our side of an HTTP/2 connection beside h2's: with a good server, and with any."""

from __future__ import annotations

import struct

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from seawall.wire.http2 import frames
from seawall.wire.http2.dialogue import Dialogue
from seawall.wire.http2.frames import HEADER, Code, Setting, Violation
from seawall.wire.http2.response import Response

WINDOW, ALL_WINDOW = 1000, 65_536
index = st.integers(0, 1000)
sizes = st.integers(0, 1500)
extra = st.lists(
    st.tuples(st.sampled_from([b"x-a", b"x-b", b"etag"]), st.binary(max_size=30).map(bytes.hex).map(str.encode)),
    max_size=4,
)


class Listening:
    """What a stream was told; its response judges it."""

    def __init__(self) -> None:
        self.response = Response()
        self.heads: list[tuple[tuple[bytes, bytes], ...]] = []
        self.body = b""
        self.owed = 0
        self.is_ended = False
        self.resets: list[int] = []

    def got_head(self, fields, *, is_end: bool) -> None:
        self.heads.append(fields)
        if self.response.failure is None:
            self.response.got_fields(fields, is_end=is_end)
        self.got_end(is_end)

    def got_data(self, data: bytes, size: int, *, is_end: bool) -> None:
        self.body += data
        self.owed += size
        self.response.got_data(data)
        self.got_end(is_end)

    def got_end(self, is_end: bool) -> None:
        if is_end:
            self.is_ended = True
            self.response.got_end()

    def got_reset(self, code: int) -> None:
        self.resets.append(code)

    def wake(self) -> None:
        pass


def feed(made: Dialogue[Listening], data: bytes) -> None:
    """Frame by frame. Raises Violation."""
    at = 0
    while at < len(data):
        first, flags, number = HEADER.unpack_from(data, at)
        end = at + HEADER.size + (first >> 8)
        made.receive(first & 0xFF, flags, number & frames.MAX_NUMBER, data[at + HEADER.size : end])
        at = end


def greeted() -> Dialogue[Listening]:
    made: Dialogue[Listening] = Dialogue()
    made.greet({Setting.INITIAL_WINDOW_SIZE: WINDOW, Setting.ENABLE_PUSH: 0}, ALL_WINDOW)
    return made


def request(number: int, more: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(b":method", b"POST"), (b":authority", b"a"), (b":scheme", b"http"), (b":path", b"/%d" % number), *more]


class GoodServer(RuleBasedStateMachine):
    """h2 is the server, and both sides do what they may in any order: each hears exactly what the other said."""

    def __init__(self) -> None:
        super().__init__()
        self.made = greeted()
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.server.initiate_connection()
        self.ours: dict[int, Listening] = {}
        self.asked: dict[int, list[tuple[bytes, bytes]]] = {}
        self.sent: dict[int, bytes] = {}  # by us
        self.heads: dict[int, list[list[tuple[bytes, bytes]]]] = {}  # of the server
        self.bodies: dict[int, bytes] = {}
        self.heard: dict[int, bytes] = {}  # by the server
        self.fields: dict[int, list[tuple[bytes, bytes]]] = {}
        self.is_sent: set[int] = set()
        self.is_answered: set[int] = set()
        self.is_reset: set[int] = set()
        self.exchange()

    def exchange(self) -> None:
        for event in self.server.receive_data(self.made.take_out()):
            match event:
                case h2.events.RequestReceived():
                    self.fields[event.stream_id] = list(event.headers)
                case h2.events.DataReceived():
                    self.heard[event.stream_id] = self.heard.get(event.stream_id, b"") + event.data
        feed(self.made, self.server.data_to_send())

    def one(self, at: int, without: set[int]) -> int | None:
        numbers = [number for number in self.ours if number not in without | self.is_reset]
        return numbers[at % len(numbers)] if numbers else None

    @rule(more=extra, is_end=st.booleans())
    def ask(self, more, is_end):
        if self.made.is_full:
            return
        listening = Listening()
        fields = request(self.made.last + 2, more)
        number = self.made.ask(listening, fields, is_end=is_end)
        self.ours[number], self.asked[number], self.sent[number] = listening, fields, b""
        self.heads[number], self.bodies[number] = [], b""
        if is_end:
            self.is_sent.add(number)
        self.exchange()

    @rule(at=index, size=sizes, is_end=st.booleans())
    def upload(self, at, size, is_end):
        number = self.one(at, self.is_sent)
        if number is None:
            return
        room = min(self.made.window(number), self.made.frame_size)
        if room < 0:  # RFC 9113 §6.9.1 allows an empty frame there, and h2 refuses it
            return
        data = bytes(min(size, room))
        self.made.send(number, data, is_end=is_end)
        self.sent[number] += data
        if is_end:
            self.is_sent.add(number)
        self.exchange()

    @rule(at=index, more=extra, is_end=st.booleans(), is_interim=st.booleans())
    def answer(self, at, more, is_end, is_interim):
        number = self.one(at, self.is_answered)
        if number is None:
            return
        if self.ours[number].response.head is not None:
            if not more:
                return
            fields, is_end, is_interim = more, True, False  # trailers
        else:
            fields = [(b":status", b"103" if is_interim else b"200"), *more]
        is_end = is_end and not is_interim
        self.server.send_headers(number, fields, end_stream=is_end)
        self.heads[number].append(fields)
        if is_end:
            self.is_answered.add(number)
        self.exchange()

    @rule(at=index, size=sizes, padding=st.none() | st.integers(0, 20), is_end=st.booleans())
    def download(self, at, size, padding, is_end):
        number = self.one(at, self.is_answered)
        if number is None or self.ours[number].response.head is None:
            return
        taken = 0 if padding is None else padding + 1
        room = min(self.server.local_flow_control_window(number), self.server.max_outbound_frame_size) - taken
        if room < 0:
            return
        data = bytes(min(size, room))
        self.server.send_data(number, data, end_stream=is_end, pad_length=padding)
        self.bodies[number] += data
        if is_end:
            self.is_answered.add(number)
        self.exchange()

    @rule(at=index, share=st.floats(0, 1))
    def take(self, at, share):
        number = self.one(at, set())
        if number is not None:
            size = int(self.ours[number].owed * share)
            self.ours[number].owed -= size
            self.made.take(number, size)
            self.exchange()

    @rule(at=index, is_ours=st.booleans(), is_late=st.booleans())
    def reset(self, at, is_ours, is_late):
        number = self.one(at, self.is_answered & self.is_sent)
        if number is None:
            return
        if is_late and number not in self.is_answered and self.ours[number].response.head is None:
            self.server.send_headers(number, [(b":status", b"200"), (b"x-late", b"%d" % number)])  # in flight
        if is_ours:
            self.made.reset(number, Code.CANCEL)
            self.made.take(0, self.ours[number].owed)
            self.made.forget(number)
            late, self.ours[number].heads = self.ours[number].heads, []
            self.exchange()
            assert self.ours[number].heads == []
            self.ours[number].heads = late
        else:
            self.heads[number] = [list(map(tuple, head)) for head in self.ours[number].heads]
            self.server.reset_stream(number, Code.CANCEL)
            self.exchange()
            assert self.ours[number].resets == [Code.CANCEL]
        self.is_reset.add(number)

    @rule(
        window=st.integers(0, 5000) | st.none(),
        table=st.sampled_from([None, 0, 50, 200, 4096, 65536]),
        most=st.integers(2, 20) | st.none(),
    )
    def set(self, window, table, most):
        values = {1: table, 4: window, 3: most}
        self.server.update_settings({code: value for code, value in values.items() if value is not None})
        self.exchange()
        self.exchange()

    @rule(at=index, size=st.integers(1, 5000), is_all=st.booleans())
    def widen(self, at, size, is_all):
        number = None if is_all else self.one(at, self.is_answered)
        self.server.increment_flow_control_window(size, number)
        self.exchange()

    @rule()
    def ping(self):
        self.server.ping(b"12345678")
        self.exchange()

    @precondition(lambda self: self.ours)
    @rule()
    def forget(self):
        for number in [*self.ours]:
            if number in self.is_answered & self.is_sent - self.is_reset:
                self.check(number)
                self.made.take(number, self.ours[number].owed)
                self.made.forget(number)
                del self.ours[number]
        self.exchange()

    def check(self, number: int) -> None:
        listening = self.ours[number]
        assert self.fields[number] == self.asked[number]
        assert self.heard.get(number, b"") == self.sent[number]
        assert [list(head) for head in listening.heads] == self.heads[number]
        assert listening.body == self.bodies[number]
        assert listening.is_ended == (number in self.is_answered)
        assert listening.response.failure is None

    @invariant()
    def agrees(self):
        for number in self.ours:
            if number in self.is_reset:
                continue
            self.check(number)
            if number not in self.is_sent:
                assert self.made.window(number) == self.server.remote_flow_control_window(number)
            if number not in self.is_answered:
                lane = self.made.lanes[number]
                assert min(lane.room, self.made._credit.room) == self.server.local_flow_control_window(number)


TestGoodServer = GoodServer.TestCase
TestGoodServer.settings = settings(max_examples=60, stateful_step_count=40)


def setting(code: int, value: int) -> bytes:
    return struct.pack(">HI", code, value)


GOOD_BLOCKS = [b"\x88", b"\x88", b"\x08\x03103", b"\x88\x40\1x\1y", b"\0\1x\1y", b"\x20\x88", b"\x8d"]
BLOCKS = [*GOOD_BLOCKS, b"\x88\xbe", b"\x88\0\1X\1y", b"", b"\x88\x20"]
SETTINGS = [setting(1, 0), setting(4, 0), setting(3, 1) + setting(99, 1), setting(4, 100) + setting(1, 99), b""]
NUMBERS = st.sampled_from([1, 3, 5])


def kind(of: int, flags: list[int], numbers, payloads):
    return st.tuples(st.just(of), st.sampled_from(flags), numbers, payloads)


GOOD = st.one_of(
    kind(frames.HEADERS, [4, 4, 4, 5, 0], NUMBERS, st.sampled_from(GOOD_BLOCKS)),
    kind(frames.HEADERS, [12], NUMBERS, st.sampled_from([b"\0\x88", b"\x03\x88abc"])),
    kind(frames.HEADERS, [0x24], NUMBERS, st.just(bytes(5) + b"\x88")),
    kind(frames.DATA, [0, 0, 1], NUMBERS, st.binary(max_size=200)),
    kind(frames.DATA, [8, 9], NUMBERS, st.sampled_from([b"\0", b"\x02ok\0\0", b"\x01\0"])),
    kind(frames.CONTINUATION, [0, 4], NUMBERS, st.sampled_from([b"", b"\0\1a\1b"])),
    kind(
        frames.WINDOW_UPDATE, [0], st.sampled_from([0, 1, 5]), st.integers(1, 2**30).map(lambda n: n.to_bytes(4, "big"))
    ),
    kind(frames.SETTINGS, [0], st.just(0), st.sampled_from(SETTINGS)),
    kind(frames.SETTINGS, [1], st.just(0), st.just(b"")),
    kind(frames.PING, [0, 1], st.just(0), st.binary(min_size=8, max_size=8)),
    kind(frames.PRIORITY, [0], st.sampled_from([1, 7]), st.just(bytes(5))),
    kind(frames.RST_STREAM, [0], NUMBERS, st.sampled_from([b"\0\0\0\7", b"\0\0\0\0"])),
    kind(99, [0, 255], st.sampled_from([0, 1, 7]), st.binary(max_size=9)),
)
BAD_PAYLOADS = st.one_of(
    st.sampled_from(BLOCKS),
    st.sampled_from([b"", bytes(1), bytes(5), bytes(8), b"\0\0\0\1", b"\x7f\xff\xff\xff", b"\x09x", bytes(900)]),
    st.sampled_from([setting(4, 2**31), setting(4, 2**31 - 1), setting(5, 1), setting(2, 2)]),
    st.binary(max_size=12),
)
BAD = st.tuples(
    st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 9, 99]),  # no GOAWAY, after which h2 hears nothing
    st.sampled_from([0, 1, 4, 5, 8, 12, 13, 0x20, 0x24, 0xFF]),
    st.sampled_from([0, 1, 3, 5, 2, 7]),
    BAD_PAYLOADS,
)
BEGINS = st.lists(kind(frames.HEADERS, [4], NUMBERS, st.just(b"\x88")), max_size=3, unique_by=lambda each: each[2])
FRAMES = st.builds(
    lambda first, then, bad, rest: [*first, *then, *bad, *rest],
    BEGINS, st.lists(GOOD, max_size=10), st.lists(BAD, max_size=1), st.lists(GOOD, max_size=4),
)  # fmt: skip


@settings(max_examples=1500)
@given(FRAMES)
def test_any_server(sequence):
    """
    What h2 takes, we take for the same; what h2 refuses ends the connection, or fails the response that it is of.

    h2 ends the connection for what is one stream's matter, so the comparison ends there too.
    """
    made = greeted()
    theirs = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding=None, validate_inbound_headers=False)
    )
    theirs.local_settings = h2.settings.Settings(client=True, initial_values={2: 0, 4: WINDOW})
    theirs.initiate_connection()
    ours: dict[int, Listening] = {}
    for is_end in (True, True, False):
        listening = Listening()
        number = made.ask(listening, request(1, []), is_end=is_end)
        ours[number] = listening
        theirs.send_headers(number, request(1, []), end_stream=is_end)
    bodies, heads, ended, resets = ({number: default() for number in ours} for default in (bytes, list, bool, list))
    for of, flags, number, payload in sequence:
        data = frames.frame(of, flags, number, payload)
        violation = None
        try:
            feed(made, data)
        except Violation as error:
            violation = error
        try:
            events = theirs.receive_data(data)
        except h2.exceptions.ProtocolError:
            has_failed = any(each.response.failure is not None or each.resets for each in ours.values())
            # h2 refuses a reserved bit, which RFC 9113 section 6.9 has a receiver ignore.
            is_reserved = of == frames.WINDOW_UPDATE and payload[:1] >= b"\x80"
            assert violation is not None or has_failed or is_reserved
            return
        assert violation is None or is_ours(of, number)
        if violation is not None:
            return
        for event in events:
            match event:
                case h2.events.DataReceived(stream_id=number):
                    bodies[number] += event.data
                case (
                    h2.events.ResponseReceived(stream_id=number)
                    | h2.events.InformationalResponseReceived(stream_id=number)
                    | h2.events.TrailersReceived(stream_id=number)
                ):
                    heads[number].append(tuple(map(tuple, event.headers)))
                case h2.events.StreamEnded(stream_id=number):
                    ended[number] = True
                case h2.events.StreamReset(stream_id=number):
                    resets[number].append(event.error_code)
        if any(each.response.failure is not None for each in ours.values()):
            return
        for number, listening in ours.items():
            assert (listening.body, listening.heads) == (bodies[number], heads[number])
            assert listening.is_ended == ended[number]
            assert bool(listening.resets) == bool(resets[number])


def is_ours(kind: int, number: int) -> bool:
    """Whether we refuse more than h2: streams that nobody has begun, and PUSH_PROMISE before its headers have come."""
    return kind == frames.PUSH_PROMISE or (kind != frames.PRIORITY and number in (2, 7))
