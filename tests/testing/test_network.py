"""A TCP proxy with toxics: the decisions exactly, the effects as a client's socket sees them."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import threading
import time
from random import Random

import httpx
import pytest

from seawall.testing import FaultServer, no_file_descriptors
from seawall.testing.network import Network, toxic
from seawall.testing.network.flow import End, Flow

pytestmark = pytest.mark.anyio

LONG = 0.05  # s; what is asked for where time is measured
BOUND = 100  # times that, at most: the machine may be busy


class Echo:
    """Sends back what it gets, and its FIN too; keeps what it got, and how its connections ended."""

    def __init__(self) -> None:
        self.got = b""
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []
        self.greeting = b""

    async def __aenter__(self) -> Echo:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        while self._tasks_left:
            await asyncio.sleep(0)

    _tasks_left = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks_left += 1
        self.writers.append(writer)
        try:
            writer.write(self.greeting)
            while data := await reader.read(65536):
                self.got += data
                writer.write(data)
                await writer.drain()
            writer.write_eof()
            self.ends.put_nowait("FIN")
        except ConnectionError:
            self.ends.put_nowait("RST")
        finally:
            writer.close()
            self._tasks_left -= 1

    async def end(self) -> str:
        return await asyncio.wait_for(self.ends.get(), 5)


@pytest.fixture
async def echo():
    async with Echo() as echo:
        yield echo


@pytest.fixture
async def network():
    async with Network() as network:
        yield network


@pytest.fixture
def link(network, echo):
    return network.link(("127.0.0.1", echo.port))


@pytest.fixture
async def connect():
    """A connection to a link; closed at the end."""
    writers = []

    async def connect(link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.transport.abort()


@pytest.fixture
async def client(connect, link):
    """A connection that has gone through to the server and back."""
    reader, writer = await connect(link)
    assert await ask(reader, writer, b"hello") == b"hello"
    return reader, writer


async def ask(reader, writer, data: bytes) -> bytes:
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(len(data)), 5)


async def rest(reader) -> bytes:
    return await asyncio.wait_for(reader.read(), 5)


async def is_silent(reader) -> bool:
    try:
        async with asyncio.timeout(LONG):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def until(predicate) -> None:
    async with asyncio.timeout(5):
        while not predicate():
            await asyncio.sleep(0.001)


def reset(writer) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Took:
    """``with Took(0.05)``: it takes that long, and at most ten times that."""

    def __init__(self, least: float) -> None:
        self.least = least

    def __enter__(self) -> None:
        self.began_at = time.perf_counter()

    def __exit__(self, exc_type, *exc: object) -> None:
        took = time.perf_counter() - self.began_at
        assert exc_type is not None or self.least * 0.98 <= took <= self.least * BOUND


# decisions


def flow(*toxics: toxic.Toxic, rng: Random | None = None, now: float = 0.0) -> Flow:
    made = Flow()
    for one in toxics:
        made.add(one, one, rng or Random(0), now)
    return made


def outcome(made: Flow, arrivals: list[tuple[float, object]], until: float = 1000.0) -> list[tuple[float, object]]:
    """What comes out when, if these arrive then, and the loop wakes exactly when asked to."""
    came: list[tuple[float, object]] = []
    for at, items in [*((at, (item,)) for at, item in arrivals), (until, ())]:
        while made.next_at < at:
            now = made.next_at
            came += [(round(now, 6), item) for item in made.step((), now)]
        came += [(round(at, 6), item) for item in made.step(items, at)]
    return came


@pytest.mark.parametrize(
    ("toxics", "arrivals", "comes"),
    [
        ([], [(1, b"a"), (2, End.EOF)], [(1, b"a"), (2, End.EOF)]),
        ([toxic.Latency(1)], [(0, b"a"), (0.5, b"b"), (0.6, End.EOF)], [(1, b"a"), (1.5, b"b"), (1.6, End.EOF)]),
        ([toxic.Latency(1), toxic.Latency(2)], [(0, b"a"), (0, End.RESET)], [(3, b"a"), (3, End.RESET)]),
        ([toxic.Bandwidth(2)], [(0, b"abc"), (1, End.EOF)], [(0.5, b"a"), (1, b"b"), (1.5, b"c"), (1.5, End.EOF)]),
        ([toxic.Bandwidth(2)], [(0, b"a"), (9, b"b")], [(0.5, b"a"), (9.5, b"b")]),
        ([toxic.Bandwidth(200)], [(0, b"abcd")], [(0.01, b"ab"), (0.02, b"cd")]),
        ([toxic.Slicer(2, 1)], [(0, b"abcde"), (0, End.EOF)], [(0, b"ab"), (1, b"cd"), (2, b"e"), (3, End.EOF)]),
        ([toxic.Slicer(2)], [(0, b"abc")], [(0, b"ab"), (0, b"c")]),
        ([toxic.Limit(3)], [(0, b"ab"), (1, b"cd")], [(0, b"ab"), (1, b"c"), (1, End.CLOSE)]),
        ([toxic.Limit(2)], [(0, b"ab")], [(0, b"ab"), (0, End.CLOSE)]),
        ([toxic.Limit(0)], [(1, b"a")], [(1, End.CLOSE)]),
        ([toxic.Limit(5)], [(0, b"a"), (1, End.EOF)], [(0, b"a"), (1, End.EOF)]),
        ([toxic.Timeout()], [(0, b"a"), (1, End.EOF)], []),
        ([toxic.Timeout(0)], [(0, b"a")], []),
        ([toxic.Timeout(3)], [(1, b"a"), (2, End.EOF)], [(3, End.CLOSE)]),
        ([toxic.Reset()], [(1, b"a")], [(1, End.RESET)]),
        ([toxic.Reset(2)], [(1, b"a"), (2, b"b")], [(3, End.RESET)]),
        ([toxic.Reset(2)], [(1, End.EOF)], [(1, End.EOF)]),
        ([toxic.SlowClose(2)], [(0, b"a"), (1, End.EOF)], [(0, b"a"), (3, End.EOF)]),
        ([toxic.Slicer(1), toxic.Latency(1)], [(0, b"ab")], [(1, b"a"), (1, b"b")]),
        ([toxic.Timeout(1), toxic.Latency(2)], [(0, b"a")], [(3, End.CLOSE)]),
        ([toxic.Limit(1), toxic.SlowClose(2)], [(0, b"ab")], [(0, b"a"), (2, End.CLOSE)]),
    ],
)
def test_what_comes_out_when(toxics, arrivals, comes):
    """Each toxic alone, and in a chain: items and instants, exactly."""
    assert outcome(flow(*toxics), arrivals) == comes


def test_jitter_keeps_order_and_range():
    """Delays vary by no more than the jitter, and no packet overtakes another."""
    came = outcome(flow(toxic.Latency(1, jitter=0.5), rng=Random(3)), [(n / 100, b"%d" % n) for n in range(100)])
    assert [item for _, item in came] == [b"%d" % n for n in range(100)]
    waits = [at - n / 100 for n, (at, _) in enumerate(came)]
    assert 0.5 <= min(waits) < 0.9 < 1.1 < max(waits) <= 1.5
    assert [at for at, _ in came] == sorted(at for at, _ in came)


def test_slices_vary():
    """Sizes lie within the variation, both ends included; the same seed gives the same ones."""
    sliced = [
        [len(item) for _, item in outcome(flow(toxic.Slicer(5, variation=2), rng=Random(1)), [(0, bytes(1000))])][:-1]
        for _ in range(2)
    ]
    assert set(sliced[0]) == {3, 4, 5, 6, 7}
    assert sliced[0] == sliced[1]


def test_late_timers_do_not_add_up():
    """A loop that wakes late delays what is due then, and nothing after it."""
    made = flow(toxic.Bandwidth(1), toxic.Latency(1))
    assert made.step((b"abcd",), 0.0) == []
    assert made.step((), 2.9) == [b"a"]
    assert made.step((), 3.0) == [b"b"]
    assert made.next_at == 4.0


def test_what_is_held_goes_on_when_its_toxic_is_removed():
    """In order, through the toxics behind it; the end that the toxic had in mind does not come."""
    cable, slow = toxic.Timeout(5), toxic.Latency(1)
    made = flow(slow, cable)
    assert outcome(made, [(0, b"a"), (1, b"b")], until=1.5) == []
    made.remove(cable, 2.0)
    assert made.step((), 2.0) == [b"a", b"b"]
    assert outcome(made, [(3, b"c")]) == [(4, b"c")]
    made = flow(cable, slow)
    assert outcome(made, [(0, b"a"), (0, End.EOF)], until=1.5) == []
    made.remove(cable, 2.0)
    assert outcome(made, [(2, b"b")]) == [(3, b"a"), (3, End.EOF), (3, b"b")]
    made = flow(resets := toxic.Reset(5))
    assert made.step((b"a",), 0.0) == []
    made.remove(resets, 1.0)
    assert made.step((b"b",), 1.0) == [b"a", b"b"]
    assert made.next_at == math.inf


def test_full():
    """A stage that holds its limit makes the sender wait; latency holds more, for it waits for no room."""
    made = flow(toxic.Timeout())
    made.step((bytes(64 * 1024 - 1),), 0.0)
    assert not made.is_full
    made.step((b"a",), 0.0)
    assert made.is_full
    made = flow(toxic.Latency(1))
    made.step((bytes(1024 * 1024),), 0.0)
    assert not made.is_full


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: toxic.Latency(-1), ValueError, "Latency.delay.*>= 0"),
        (lambda: toxic.Latency("1"), TypeError, "Latency.delay"),
        (lambda: toxic.Latency(1, jitter=2), ValueError, "Latency.jitter.*<= 1"),
        (lambda: toxic.Bandwidth(0), ValueError, "Bandwidth.rate.*> 0"),
        (lambda: toxic.Slicer(0), ValueError, "Slicer.size.*>= 1"),
        (lambda: toxic.Slicer(2, variation=2), ValueError, "Slicer.variation must be < size"),
        (lambda: toxic.Slicer(2, -1), ValueError, "Slicer.delay"),
        (lambda: toxic.Limit(1.5), TypeError, "Limit.max_bytes"),
        (lambda: toxic.Timeout(math.nan), ValueError, "Timeout.after"),
        (lambda: toxic.Reset(-1), ValueError, "Reset.after"),
        (lambda: toxic.SlowClose(-1), ValueError, "SlowClose.delay"),
    ],
)
def test_bad_toxics(make, error, says):
    """Each names its setting and the range."""
    with pytest.raises(error, match=says):
        make()


# what passes through


async def test_passes_both_ways_and_counts(link, client, echo, connect):
    """Bytes arrive, FIN too, one way at a time; the counters tell."""
    reader, writer = client
    await connect(link)
    await until(lambda: link.connections == 2)
    writer.write_eof()
    assert await echo.end() == "FIN"
    assert await rest(reader) == b""
    writer.close()
    await until(lambda: link.open == 1)
    assert (link.peak, link.bytes_up, link.bytes_down) == (2, 5, 5)
    assert f"{link!r}".endswith("open 1 peak 2>")


async def test_half_close(link, connect, echo):
    """After the client's FIN, the server's answer still arrives, however late."""
    reader, writer = await connect(link)
    with link.toxic(toxic.Latency(LONG)):
        writer.write(b"request")
        writer.write_eof()
        assert await rest(reader) == b"request"


async def test_server_may_speak_first(link, connect, echo):
    """A greeting arrives before the client has said anything."""
    echo.greeting = b"220"
    reader, _ = await connect(link)
    assert await asyncio.wait_for(reader.readexactly(3), 5) == b"220"


async def test_rst_is_passed_on(link, client, echo, connect):
    """From client to server, and from server to client, as RST."""
    reset(client[1])
    assert await echo.end() == "RST"
    reader, writer = await connect(link)
    await ask(reader, writer, b"x")
    reset(echo.writers[-1])
    with pytest.raises(ConnectionResetError):
        await rest(reader)
    await until(lambda: link.open == 0)


async def test_dead_upstream_resets(network, connect):
    """Where nobody listens behind the link, the client's connection is reset."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        link = network.link(sock.getsockname())
        reader, _ = await connect(link)
        with pytest.raises(ConnectionResetError):
            await rest(reader)
        await until(lambda: link.open == 0)


async def test_backpressure(link, connect, echo):
    """A client that doesn't read stops the server soon; memory stays bounded, and nothing is lost."""
    reader, writer = await connect(link)
    await ask(reader, writer, b"x")
    server = echo.writers[-1]
    server.transport.set_write_buffer_limits(high=0)
    reader._transport.pause_reading()
    chunk, sent = bytes(1024 * 1024), 0
    while not await is_stuck(server):
        server.write(chunk)
        sent += len(chunk)
    assert sent <= 40 * len(chunk)  # what three kernels' buffers hold, not what was asked for
    relay = next(iter(link._relays))
    assert relay.client.transport.get_write_buffer_size() < 1024 * 1024
    reader._transport.resume_reading()
    await asyncio.wait_for(reader.readexactly(sent), 5)


async def is_stuck(writer) -> bool:
    try:
        async with asyncio.timeout(LONG):
            await writer.drain()
    except TimeoutError:
        return True
    return False


async def test_pulled_cable_pauses_the_sender(link, client, connect):
    """What a toxic holds back is bounded too."""
    _, writer = client
    link.add(toxic.Timeout(), direction="up")
    writer.transport.set_write_buffer_limits(high=0)
    sent = 0
    while not await is_stuck(writer):
        writer.write(bytes(1024 * 1024))
        sent += 1
    assert sent <= 40
    assert next(iter(link._relays)).client.flow._stages[0].held_bytes < 1024 * 1024


# toxics, as a client sees them


async def test_latency(link, client, echo):
    """Down, up or both: so late comes the echo; chunks wait side by side."""
    for direction, times in (("down", 1), ("up", 1), ("both", 2)):
        with link.toxic(toxic.Latency(LONG), direction=direction), Took(LONG * times):
            await ask(*client, b"x")
    reader, writer = client
    with link.toxic(toxic.Latency(LONG)), Took(LONG):
        for n in range(50):
            writer.write(b"%02d" % n)
            await until(lambda n=n: len(echo.got) >= 5 + 3 + 2 * (n + 1))
        assert await reader.readexactly(100) == b"".join(b"%02d" % n for n in range(50))


async def test_bandwidth(link, client):
    """5,000 bytes at 100,000 bytes/s take 50 ms."""
    with link.toxic(toxic.Bandwidth(100_000)), Took(0.05):
        await ask(*client, bytes(5000))


async def test_slicer(link, client):
    """A client reads slices, not what was sent at once; on a busy machine some come together."""
    reader, writer = client
    sizes: list[int] = []
    with link.toxic(toxic.Slicer(10, delay=LONG / 5)), Took(LONG / 5 * 4):
        writer.write(bytes(50))
        while sum(sizes) < 50:
            sizes.append(len(await asyncio.wait_for(reader.read(100), 5)))
    assert sum(sizes) == 50
    assert all(size % 10 == 0 for size in sizes)


async def test_limit(link, client, echo):
    """So many bytes, then FIN; to the server too. Bytes before it was added don't count."""
    reader, writer = client
    link.add(toxic.Limit(7))
    assert await ask(reader, writer, b"abcde") == b"abcde"
    writer.write(b"fghij")
    assert await rest(reader) == b"fg"
    assert await echo.end() == "FIN"
    await until(lambda: link.open == 0)


async def test_pulled_cable_and_back(link, client, echo):
    """Silence; the server still gets what is sent. Once the cable is back, all arrives."""
    reader, writer = client
    dose = link.add(toxic.Timeout())
    writer.write(b"request")
    assert await is_silent(reader)
    await until(lambda: echo.got == b"hellorequest")
    link.remove(dose)
    assert await asyncio.wait_for(reader.readexactly(7), 5) == b"request"


async def test_timeout_closes(link, client, echo):
    """Silence, then FIN, also where nothing was sent; counted from when it was added."""
    reader, writer = client
    with Took(LONG), link.toxic(toxic.Timeout(LONG)):  # in this order, because the toxic counts from when it was added
        writer.write(b"lost")
        assert await rest(reader) == b""
    assert await echo.end() == "FIN"


async def test_connection_that_both_sides_closed_is_over(link, client, echo):
    """A client that gives up behind a pulled cable leaves no connection open."""
    link.add(toxic.Timeout())
    client[1].write(b"request")
    client[1].close()
    assert await echo.end() == "FIN"
    await until(lambda: link.open == 0)


@pytest.mark.parametrize("direction", ["down", "up"])
async def test_reset(link, client, echo, direction):
    """RST in place of the answer, or of the request, after the time asked for; to the server too."""
    reader, writer = client
    with Took(LONG), link.toxic(toxic.Reset(LONG), direction=direction):
        writer.write(b"request")
        with pytest.raises(ConnectionResetError):
            await rest(reader)
    assert await echo.end() == "RST"
    assert (echo.got == b"hellorequest") == (direction == "down")


async def test_slow_close(link, client):
    """Data comes at once, FIN late."""
    reader, writer = client
    with link.toxic(toxic.SlowClose(LONG)), Took(LONG):
        writer.write(b"x")
        writer.write_eof()
        assert await asyncio.wait_for(reader.readexactly(1), 5) == b"x"
        assert await rest(reader) == b""


async def test_down_and_up(link, client, connect, echo):
    """Down: FIN for who is there, refused for who comes; up: as before, on the same port; toxics stay."""
    dose = link.add(toxic.Latency(LONG))
    link.down()
    link.down()
    assert await rest(client[0]) == b""
    assert await echo.end() == "FIN"
    with pytest.raises(ConnectionRefusedError):
        await connect(link)
    assert f"{link!r}".endswith("down>")
    link.up()
    link.up()
    with Took(LONG):
        reader, writer = await connect(link)
        await ask(reader, writer, b"x")
    assert link.doses == [dose]


async def test_down_while_the_upstream_is_dialled(network, connect):
    """A client that waits for an upstream that doesn't answer is closed at once."""
    with socket.socket() as blackhole:
        blackhole.bind(("127.0.0.1", 0))
        blackhole.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(blackhole.getsockname())
            link = network.link(blackhole.getsockname())
            reader, writer = await connect(link)
            writer.write(b"x")
            assert await is_silent(reader)
            assert link.open == 1
            link.down()
            try:
                assert await rest(reader) == b""
            except ConnectionResetError:  # its byte was unread
                pass
            await until(lambda: link.open == 0)
        finally:
            for filler in fillers:
                filler.close()


async def test_ends_on_demand(link, connect, echo):
    """All that are open get FIN, or RST."""
    for end, sees in ((link.close_connections, "FIN"), (link.reset_connections, "RST")):
        clients = [await connect(link) for _ in range(3)]
        for reader, writer in clients:
            await ask(reader, writer, b"x")
        end()
        for reader, _ in clients:
            if sees == "FIN":
                assert await rest(reader) == b""
            else:
                with pytest.raises(ConnectionResetError):
                    await rest(reader)
        assert [await echo.end() for _ in range(3)] == [sees] * 3
        await until(lambda: link.open == 0)


async def test_end_before_the_first_turn_of_the_loop(link, echo):
    """A connection that was only just accepted is closed as well."""
    with socket.create_connection(("127.0.0.1", link.port)) as sock:
        sock.settimeout(5)
        link._accept(link._listener)
        link.reset_connections()
        await until(lambda: link.open == 0)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


async def test_toxicity_is_drawn_once_per_connection(echo, connect):
    """At 50 %, as many of 40 connections are struck as the seed says; the others never."""
    async with Network(rng=Random(4)) as network:
        link = network.link(("127.0.0.1", echo.port))
        link.add(toxic.Limit(1), toxicity=0.5)
        rng, struck = Random(4), 0
        for _ in range(40):
            reader, writer = await connect(link)
            writer.write(b"ab")
            writer.write_eof()
            is_struck = rng.random() < 0.5
            struck += is_struck
            assert await rest(reader) == (b"a" if is_struck else b"ab")
        assert 10 < struck < 30
        link.clear()
        link.add(toxic.Limit(1), toxicity=0)
        assert await ask(*await connect(link), b"ab") == b"ab"


async def test_toxics_of_open_connections_are_switched(link, client):
    """Added, removed, cleared: each holds for what is open; a second removal is an error."""
    one, two = link.add(toxic.Latency(LONG)), link.add(toxic.Latency(LONG), direction="up")
    with Took(2 * LONG):
        await ask(*client, b"x")
    link.remove(one)
    with Took(LONG):
        await ask(*client, b"x")
    link.clear()
    assert link.doses == []
    assert next(iter(link._relays)).client.flow._stages == []
    for dose in (one, two):
        with pytest.raises(ValueError, match="not removed yet"):
            link.remove(dose)


# the network


async def test_several_links_each_with_its_own(network, echo, connect):
    """A toxic is on one link; links are found by name; a URL's scheme is kept."""
    one = network.link(f"127.0.0.1:{echo.port}", name="one")
    two = network.link(f"https://127.0.0.1:{echo.port}")
    assert network.links == {"one": one, two.address: two}
    assert (one.url, two.url) == (f"http://127.0.0.1:{one.port}", f"https://127.0.0.1:{two.port}")
    one.add(toxic.Timeout())
    assert await ask(*await connect(two), b"x") == b"x"
    with pytest.raises(ValueError, match="name must be new"):
        network.link("127.0.0.1:1", name="one")
    with pytest.raises(OSError, match="in use"):
        network.link("127.0.0.1:1", port=one.port)


@pytest.mark.parametrize("upstream", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:0", ":80", ("a",), ("a", 70000), 80, None])
async def test_bad_upstreams(network, upstream):
    """What is no address is refused, with what one looks like."""
    with pytest.raises(ValueError, match='upstream must be "host:port"'):
        network.link(upstream)


async def test_bad_input(network, link):
    """Toxicity, direction, toxic and port: each named, with near names."""
    with pytest.raises(ValueError, match=r"toxicity.*<= 1"):
        link.add(toxic.Latency(1), toxicity=2)
    with pytest.raises(ValueError, match="did you mean 'down'"):
        link.add(toxic.Latency(1), direction="dwn")
    with pytest.raises(TypeError, match="such as Latency"):
        link.add(0.1)
    with pytest.raises(TypeError, match="port must be a whole number"):
        network.link("127.0.0.1:1", port="80")
    with pytest.raises(ValueError, match="port"):
        network.link("127.0.0.1:1", port=70000)
    assert link.doses == []


async def test_not_running(echo):
    """Before and after, a link can't be made or changed; the error says how."""
    network = Network()
    with pytest.raises(RuntimeError, match="enter it with"):
        network.link("127.0.0.1:1")
    async with network:
        link = network.link(("127.0.0.1", echo.port))
    with pytest.raises(RuntimeError, match="enter it with"):
        link.add(toxic.Latency(1))


async def test_nothing_is_left(echo, connect):
    """At the end nobody listens, who was connected sees an end, and no task runs, whatever hung."""
    tasks = asyncio.all_tasks()
    async with Network() as network:
        link = network.link(("127.0.0.1", echo.port))
        hung, writer = await connect(link)
        await ask(hung, writer, b"x")
        link.add(toxic.Timeout(), direction="both")
        link.add(toxic.Latency(60), direction="both")
        writer.write(b"x")
        fresh, _ = await connect(link)
        await until(lambda: link.open == 2)
    assert link.open == 0
    assert (await rest(hung), await rest(fresh)) == (b"", b"")
    with pytest.raises(ConnectionRefusedError):
        await connect(link)
    await until(lambda: asyncio.all_tasks() <= tasks)


async def test_exit_waits_for_no_reader(echo, connect):
    """What a client doesn't take is thrown away at the end."""
    async with Network() as network:
        link = network.link(("127.0.0.1", echo.port))
        reader, writer = await connect(link)
        await ask(reader, writer, b"x")
        reader._transport.pause_reading()
        echo.writers[-1].write(bytes(40 * 1024 * 1024))
        await until(lambda: next(iter(link._relays)).client.transport.get_write_buffer_size() > 0)
        await asyncio.wait_for(network._close(), 5)
        assert link.open == 0


def test_on_uvloop():
    """On uvloop too, what a client sends before the upstream is dialled arrives."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> bytes:
        async with Echo() as echo, Network() as network:
            reader, writer = await asyncio.open_connection("127.0.0.1", network.link(("127.0.0.1", echo.port)).port)
            answer = await ask(reader, writer, b"hello")
            writer.close()
            await echo.end()
            return answer

    assert uvloop.run(main()) == b"hello"


async def test_http_through_a_link(network):
    """An HTTP client needs no more than `url`."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, httpx.AsyncClient(trust_env=False) as client:
        link = network.link(server.sockets[0].getsockname())
        assert (await client.get(link.url)).text == "ok"
        link.add(toxic.Reset())
        with pytest.raises(httpx.ReadError):
            await client.get(link.url)


@pytest.mark.parametrize("is_link", [True, False])
async def test_out_of_descriptors(monkeypatch, is_link):
    """It tries now and then, and the loop's time isn't spent on it; then the connection is served."""
    async with FaultServer() as server, Network() as network:
        port = network.link(server.url).port if is_link else server.port
        with socket.socket() as client:
            client.setblocking(False)
            tries, accept = 0, socket.socket.accept

            def counted(sock):
                nonlocal tries
                tries += 1
                return accept(sock)

            with no_file_descriptors():
                client.connect_ex(("127.0.0.1", port))
                monkeypatch.setattr(socket.socket, "accept", counted)
                for _ in range(200):
                    await asyncio.sleep(0)
            assert 1 <= tries < 20
            monkeypatch.undo()
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, b"GET /x/ok HTTP/1.1\r\nconnection: close\r\n\r\n")
            assert (await loop.sock_recv(client, 1000)).startswith(b"HTTP/1.1 200 ")


def test_in_a_thread_of_its_own():
    """Blocking clients use it without an event loop; links and toxics change from any thread."""
    with socket.create_server(("127.0.0.1", 0)) as server, Network() as network:
        link = network.link(server.getsockname())
        with socket.create_connection(("127.0.0.1", link.port)) as client, server.accept()[0] as accepted:
            client.settimeout(5)
            client.sendall(b"ask")
            assert accepted.recv(10) == b"ask"
            with link.toxic(toxic.Latency(LONG)), Took(LONG):
                accepted.sendall(b"ok")
                assert client.recv(10) == b"ok"
            link.reset_connections()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            link.down()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", link.port))
    assert not [thread for thread in threading.enumerate() if thread.name == "Network"]
