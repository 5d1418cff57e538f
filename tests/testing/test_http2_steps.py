"""HTTP/2's faults as a bare h2 client sees them: the frames, and how the connection ends."""

from __future__ import annotations

import contextlib

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest

from seawall.testing import FaultServer
from seawall.testing.steps import STEPS
from tests.testing.raw import Seen, connect, see
from tests.testing.test_steps import wait

MAX_STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
COVERED = {"h2", "h2_streams", "h2_lower", "h2_no_settings", "h2_no_window", "h2_hang", "h2_silent", "h2_bad_frame"}


@pytest.fixture(scope="module")
def server():
    with FaultServer() as server:
        server.listen("h2:clear", name="h2")
        yield server


class Peer:
    """An HTTP/2 client on a socket."""

    def __init__(self, sock) -> None:
        self.sock = sock
        self.http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http2.initiate_connection()
        self.seen = Seen(b"", 0, "")
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.http2.data_to_send())

    def ask(self, target: str, *, body: bytes | None = None) -> int:
        stream = self.begin(target, body=body)
        self.flush()
        return stream

    def begin(self, target: str, *, body: bytes | None = None) -> int:
        """`ask`, but for what sends it."""
        stream = self.http2.get_next_available_stream_id()
        method = "GET" if body is None else "POST"
        fields = [(":method", method), (":path", target), (":scheme", "http"), (":authority", "test")]
        self.http2.send_headers(stream, fields, end_stream=body is None)
        if body is not None:
            self.http2.send_data(stream, body, end_stream=True)
        return stream

    def events(self, *kinds: type) -> list:
        """What comes until silence or the end, of these kinds."""
        self.seen = see(self.sock)
        events = self.http2.receive_data(self.seen.data) if self.seen.data else []
        with contextlib.suppress(OSError):
            self.flush()
        return [event for event in events if not kinds or isinstance(event, kinds)]


@contextlib.contextmanager
def peer(server, name="h2"):
    with connect(server.ports[name].port) as sock:
        yield Peer(sock)


def status(events: list) -> list[str]:
    return [dict(event.headers)[":status"] for event in events if isinstance(event, h2.events.ResponseReceived)]


def test_good_answers(server):
    """Streams beside each other, bodies, HEAD-less 204, recorded like all others."""
    with peer(server) as client:
        streams = [client.ask("/x/ok?key=h2"), client.ask("/x/ok:100000"), client.ask("/x/204")]
        events, size = client.events(), 0
        assert status(events) == ["200", "200", "204"]
        while events:
            for event in events:
                if isinstance(event, h2.events.DataReceived):
                    client.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    size += len(event.data) if event.stream_id == streams[1] else 0
            client.flush()
            events = client.events()
        assert size == 100_000
    assert server.attempts("h2")[0].request == 1


def test_body_is_read(server):
    """Whole, its window opened."""
    with peer(server) as client:
        client.ask("/x/ok?key=h2-body", body=b"x" * 10_000)
        assert status(client.events()) == ["200"]
    assert (server.attempts("h2-body")[0].length, server.attempts("h2-body")[0].is_complete) == (10_000, True)


@pytest.mark.parametrize("step", ["close", "truncate:body", "h2_goaway", "h2_goaway:idle"])
def test_end_that_is_acknowledged(server, step):
    """A client that still writes, as each does that acknowledges SETTINGS, is answered with no RST."""
    with peer(server) as client:
        client.ask(f"/x/{step}")
        assert (client.events(), client.seen.end)[1] == "FIN"
        for _ in range(2):
            client.http2 = h2.connection.H2Connection()
            client.http2.initiate_connection()
            client.flush()
        assert see(client.sock).end == "FIN"
        assert server.ports["h2"].open
    assert wait(lambda: not server.ports["h2"].open)


@pytest.mark.parametrize(
    ("step", "code"), [("h2_refused", 7), ("h2_rst", 2), ("h2_rst:8", 8), ("h2_rst:11", 11), ("h2_rst:13", 13)]
)
def test_reset_stream(server, step, code):
    """RST_STREAM with its code; the connection goes on."""
    with peer(server) as client:
        client.ask(f"/x/{step}")
        (event,) = client.events(h2.events.StreamReset)
        assert event.error_code == code
        client.ask("/x/ok")
        assert status(client.events()) == ["200"]


def test_reset_inside_the_body(server):
    """Headers, some of the body, RST_STREAM."""
    with peer(server) as client:
        client.ask("/x/h2_rst:2:body")
        events = client.events()
        assert status(events) == ["200"]
        assert sum(len(e.data) for e in events if isinstance(e, h2.events.DataReceived)) == 500
        assert [e.error_code for e in events if isinstance(e, h2.events.StreamReset)] == [2]


def test_goaway_before(server):
    """Our stream is above the last one: it was not looked at; then FIN."""
    with peer(server) as client:
        client.ask("/x/ok")
        assert status(client.events()) == ["200"]
        client.ask("/x/h2_goaway:before:11")
        (event,) = client.events(h2.events.ConnectionTerminated)
        assert (event.last_stream_id, event.error_code, client.seen.end) == (1, 11, "FIN")


@pytest.mark.parametrize(("step", "end"), [("h2_goaway:after", "silence"), ("h2_goaway:idle:0:0.02", "FIN")])
def test_goaway_after(server, step, end):
    """The answer, then GOAWAY that names its stream as the last."""
    with peer(server) as client:
        client.ask(f"/x/{step}")
        events = client.events()
        assert status(events) == ["200"]
        (event,) = [e for e in events if isinstance(e, h2.events.ConnectionTerminated)]
        assert (event.last_stream_id, event.error_code, client.seen.end) == (1, 0, end)


def test_silence(server):
    """No answer, and none to a PING; of this connection alone."""
    with peer(server) as client:
        client.ask("/x/h2_silent")
        client.events()
        client.http2.ping(b"12345678")
        client.flush()
        assert client.events() == []
        assert (client.seen.data, client.seen.end) == (b"", "silence")
    with peer(server) as client:
        client.http2.ping(b"12345678")
        client.flush()
        assert client.events(h2.events.PingAckReceived)


@pytest.mark.parametrize("what", ["size", "stream", "hpack"])
def test_bad_frame(server, what):
    """A client must treat it as an error."""
    with peer(server) as client:
        client.ask(f"/x/h2_bad_frame:{what}")
        with pytest.raises(h2.exceptions.ProtocolError):
            client.events()


def test_unknown_frame(server):
    """A client must ignore it (RFC 9113 section 5.5)."""
    with peer(server) as client:
        client.ask("/x/h2_bad_frame:type")
        assert status(client.events()) == ["200"]


def test_max_streams(server):
    """In the first SETTINGS, or in later ones."""
    for step, first, later in (("h2:clear", 100, []), ("h2_streams:1:clear", 1, []), ("h2_lower:1:clear", 100, [1])):
        port = server.listen(step)
        with peer(server, port.name) as client:
            (settings,) = client.events(h2.events.RemoteSettingsChanged)
            assert settings.changed_settings[MAX_STREAMS].new_value == first
            client.ask("/x/ok")
            events = client.events()
            assert status(events) == ["200"]
            changes = [e.changed_settings for e in events if isinstance(e, h2.events.RemoteSettingsChanged)]
            assert [each[MAX_STREAMS].new_value for each in changes] == later


def test_no_settings(server):
    """Answers without the SETTINGS frame that must come first."""
    port = server.listen("h2_no_settings:clear")
    with peer(server, port.name) as client:
        client.ask("/x/ok")
        events = client.events()
        assert status(events) == ["200"]
        assert not [e for e in events if isinstance(e, h2.events.RemoteSettingsChanged)]


def test_no_window(server):
    """The client may send no byte of a body, ever."""
    port = server.listen("h2_no_window:clear")
    with peer(server, port.name) as client:
        client.events()
        stream = client.http2.get_next_available_stream_id()
        client.http2.send_headers(
            stream, [(":method", "POST"), (":path", "/x/ok"), (":scheme", "http"), (":authority", "t")]
        )
        client.flush()
        assert client.events(h2.events.WindowUpdated) == []
        assert client.http2.local_flow_control_window(stream) == 0


def test_hang(server):
    """Not even SETTINGS."""
    port = server.listen("h2_hang:clear")
    with peer(server, port.name) as client:
        client.ask("/x/ok")
        assert (client.events(), client.seen.end) == ([], "silence")


@pytest.mark.parametrize(
    ("step", "end", "size"), [("close:body", "FIN", 500), ("reset:body", "RST", 500), ("hang", "silence", 0)]
)
def test_steps_that_http1_has_too(server, step, end, size):
    """FIN, RST and silence below HTTP/2."""
    with peer(server) as client:
        client.ask(f"/x/{step}")
        events = client.events(h2.events.DataReceived)
        assert (sum(len(event.data) for event in events), client.seen.end) == (size, end)


def test_steps_of_the_other_protocol(server):
    """400 and why, on both sides."""
    with peer(server) as client:
        client.ask("/x/malformed:not_http")
        events = client.events()
        assert status(events) == ["400"]
        assert b"doesn't exist for h2" in b"".join(e.data for e in events if isinstance(e, h2.events.DataReceived))
    with connect(server.port) as sock:
        sock.sendall(b"GET /x/h2_refused HTTP/1.1\r\n\r\n")
        seen = see(sock)
        assert (seen.status, b"doesn't exist for http/1.1" in seen.body) == (400, True)


def test_over_tls(server):
    """By ALPN; who speaks HTTP/1.1 all the same gets GOAWAY and FIN."""
    port = server.listen("h2")
    context = server.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connect(port.port) as sock, context.wrap_socket(sock, server_hostname="localhost") as tls:
        assert tls.selected_alpn_protocol() == "h2"
        client = Peer(tls)
        client.ask("/x/ok")
        assert status(client.events()) == ["200"]
    with connect(port.port) as sock, server.client_context().wrap_socket(sock, server_hostname="localhost") as tls:
        assert tls.selected_alpn_protocol() is None
        tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert see(tls).end == "FIN"


def test_either_as_the_client_offers(server):
    """HTTP/2 to who offers it, HTTP/1.1 to others; who gives up in the handshake is forgotten."""
    port = server.listen("h2:either")
    context = server.client_context()
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)):
        if offered:
            context.set_alpn_protocols(offered)
        else:
            context = server.client_context()
        with connect(port.port) as sock, context.wrap_socket(sock, server_hostname="localhost") as tls:
            assert tls.selected_alpn_protocol() == chosen
            if chosen == "h2":
                client = Peer(tls)
                client.ask("/x/ok")
                assert status(client.events()) == ["200"]
            else:
                tls.sendall(b"GET /x/ok HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert tls.recv(100).startswith(b"HTTP/1.1 200")
    with connect(port.port):
        pass
    assert wait(lambda: (port.connections, port.open) == (4, 0))


@pytest.mark.parametrize("step", ["h2", "h2_hang", "h2:clear"])
def test_connection_ends_with_its_client(server, step):
    """Over TLS as without."""
    port = server.listen(step)
    context = server.client_context()
    context.set_alpn_protocols(["h2"])
    for _ in range(3):
        with connect(port.port) as sock:
            if "clear" in step:
                Peer(sock).ask("/x/ok")
            else:
                with context.wrap_socket(sock, server_hostname="localhost") as tls:
                    Peer(tls).ask("/x/ok")
    assert wait(lambda: (port.connections, port.open) == (3, 0))


def test_streams_before_the_limit_is_known(server):
    """Are refused, and the connection lives."""
    port = server.listen("h2_streams:1:clear")
    with peer(server, port.name) as client:
        client.begin("/x/delay:0.05")
        client.ask("/x/ok")  # both at once, so that the first is being answered still
        events = client.events()
        assert [e.error_code for e in events if isinstance(e, h2.events.StreamReset)] == [7]
        assert status(events) == ["200"]


def test_body_after_the_answer_keeps_the_window(server):
    """However often: what nobody reads is acknowledged."""
    with peer(server) as client:
        for _ in range(5):
            client.ask("/x/okk", body=b"x" * 16_000)
            assert status(client.events()) == ["400"]


def test_header_of_any_bytes(server):
    """ISO 8859-1, as in HTTP/1.1."""
    with peer(server) as client:
        stream = client.http2.get_next_available_stream_id()
        fields = [(b":method", b"GET"), (b":path", b"/x/ok?key=bytes"), (b":scheme", b"http"), (b":authority", b"t")]
        client.http2.send_headers(stream, [*fields, (b"x-a", b"caf\xe9")], end_stream=True)
        client.flush()
        assert status(client.events()) == ["200"]
    assert ("x-a", "café") in server.attempts("bytes")[0].headers


def test_each_step_has_a_test():
    """None is left out."""
    names = {kind.name for kind in STEPS if kind.name.startswith("h2")}
    assert names == COVERED | {"h2_refused", "h2_rst", "h2_goaway"}
