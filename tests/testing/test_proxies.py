"""The kit's proxies, as a bare socket sees them: what they pass on, and how each fails."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from itertools import count

import pytest

from seawall.testing import FaultServer
from seawall.testing.http.step import BadStep
from seawall.testing.steps import STEPS, accept_garbage, proxy
from tests.testing.raw import Seen, connect, request, see
from tests.testing.test_steps import is_good, wait

CONNECTED = b"HTTP/1.1 200 Connected\r\n\r\n"
SUCCEEDED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00"
NUMBERS = count()


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.listen("tls")
        yield server


@contextlib.contextmanager
def through(server: FaultServer, step: str) -> Iterator[socket.socket]:
    """A connection to such a proxy; over TLS if it is one."""
    port = server.listen(step, name=f"{step} {next(NUMBERS)}")
    with connect(port.port) as sock:
        if port.is_secure:
            with server.client_context().wrap_socket(sock, server_hostname="localhost") as tls:
                yield tls
        else:
            yield sock


def asked(sock: socket.socket, data: bytes, **arguments: object) -> Seen:
    sock.sendall(data)
    return see(sock, **arguments)  # type: ignore[arg-type]


def tunnel(port: int, *lines: str, host: str = "localhost") -> bytes:
    return "\r\n".join((f"CONNECT {host}:{port} HTTP/1.1", *lines, "", "")).encode()


def forwarded(port: int, path: str, *lines: str, host: str = "127.0.0.1", method: str = "GET", body: str = "") -> bytes:
    return "\r\n".join((f"{method} http://{host}:{port}{path} HTTP/1.1", f"Host: {host}", *lines, "", body)).encode()


def to_name(host: str, port: int) -> bytes:
    return b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2)


def to_address(family: int, address: str, port: int) -> bytes:
    kind = b"\x01" if family == socket.AF_INET else b"\x04"
    return b"\x05\x01\x00" + kind + socket.inet_pton(family, address) + port.to_bytes(2)


def opened(sock: socket.socket, step: str, port: int) -> None:
    """Has *sock* lead to *port*."""
    if step.startswith("socks5"):
        assert asked(sock, b"\x05\x01\x00", limit=2).data == b"\x05\x00"
        assert asked(sock, to_name("localhost", port), limit=10).data == SUCCEEDED
    else:
        assert asked(sock, tunnel(port), limit=len(CONNECTED)).data == CONNECTED


ANSWERS = {  # fault → the end, and what begins the answer
    "403": ("FIN", b"HTTP/1.1 403 Forbidden\r\n"),
    "407": ("FIN", b"HTTP/1.1 407 "),
    "429": ("FIN", b"HTTP/1.1 429 "),
    "500": ("FIN", b"HTTP/1.1 500 "),
    "502": ("FIN", b"HTTP/1.1 502 "),
    "503": ("FIN", b"HTTP/1.1 503 "),
    "close": ("FIN", b""),
    "reset": ("RST", b""),
    "hang": ("silence", b""),
    "garbage": ("FIN", b"garbage\r\n\r\n"),
    "cut": ("FIN", b"HTTP/1.1 200"),
    "early": ("silence", CONNECTED + b"early bytes"),
}


@pytest.mark.parametrize("step", ["proxy", "tls_proxy:good"])
@pytest.mark.parametrize("fault", ANSWERS)
def test_answer_to_connect(server, step, fault):
    """Each, in the clear and over TLS; only 407 names a scheme."""
    with through(server, f"{step}:{fault}") as sock, socket.socket(fileno=os.dup(sock.fileno())) as below:
        sock.sendall(tunnel(server.port))
        if fault == "reset" and step.startswith("tls"):
            assert see(below).end == "RST"  # past OpenSSL, to which RST and FIN are one
            return
        seen = see(sock)
    end, begin = ANSWERS[fault]
    assert seen.end == end
    assert seen.data.startswith(begin)
    assert bool(seen.data) == bool(begin)
    assert (b"proxy-authenticate: basic" in seen.head) == (fault == "407")


@pytest.mark.parametrize("fault", [*ANSWERS, "long"])
def test_answer_to_a_forwarded_request(server, fault):
    """The same, before the origin is asked; "early" is in front of the origin's answer."""
    key = f"forwarded-{fault}"
    with through(server, f"proxy:{fault}") as sock:
        seen = asked(sock, forwarded(server.port, f"/x/ok?key={key}"), limit=10**6)
    if fault == "long":
        assert len(seen.data) >= 10**6
    elif fault == "early":
        assert seen.data.startswith(b"early bytesHTTP/1.1 200 OK\r\n")
    else:
        assert seen.end == ANSWERS[fault][0]
        assert seen.data.startswith(ANSWERS[fault][1])
    assert len(server.attempts(key)) == (fault == "early")


def test_headers_without_an_end(server):
    with through(server, "proxy:long") as sock:
        assert len(asked(sock, tunnel(1), limit=10**6).data) >= 10**6


@pytest.mark.parametrize("step", ["proxy", "tls_proxy", "socks5", "socks5:pieces"])
def test_tunnel(server, step):
    """To an origin with TLS of its own; within the proxy's, where it has some."""
    with through(server, step) as sock:
        opened(sock, step, server.ports["tls"].port)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = server.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        sock.settimeout(30)
        is_asked = False
        data = b""
        while not data.endswith(b"}"):
            try:
                if not is_asked:
                    inner.do_handshake()
                    is_asked = bool(inner.write(request("/x/ok")))
                data += inner.read(65536)
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        assert is_good(Seen(data, 1, "silence"))


@pytest.mark.parametrize("step", ["proxy", "tls_proxy", "socks5"])
@pytest.mark.parametrize(
    ("path", "end", "size"), [("close", "FIN", 0), ("reset", "RST", 0), ("close:body", "FIN", 500)]
)
def test_ends_are_passed_on(server, step, path, end, size):
    """What the origin does, the client sees; RST comes behind what was sent before it."""
    with through(server, step) as sock, socket.socket(fileno=os.dup(sock.fileno())) as below:
        opened(sock, step, server.port)
        sock.sendall(request(f"/x/{path}"))
        seen = see(below if end == "RST" else sock)
        assert seen.end == end
        assert len(seen.body) == size or end == "RST"


def test_reset_behind_much_data(server):
    """Nothing of what the origin sent before its RST is lost on the way."""
    with through(server, "proxy") as sock:
        opened(sock, "proxy", server.port)
        assert len(asked(sock, request("/x/reset:body")).body) == 500


@pytest.mark.parametrize("step", ["proxy", "socks5"])
def test_a_client_that_leaves(server, step):
    """FIN and RST of the client reach the origin, and nothing stays open."""
    origin = server.listen("accept_hang", name=f"left {step}")
    for is_reset in (False, True):
        with through(server, step) as sock:
            opened(sock, step, origin.port)
            assert wait(lambda: origin.open == 1)
            if is_reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        assert wait(lambda: origin.open == 0)
    assert wait(lambda: not any(port.open for name, port in server.ports.items() if name.startswith(f"{step} ")))


def test_a_client_that_leaves_while_the_proxy_dials(server):
    port = server.listen("proxy", name="dials")
    swallows = server.listen("blackhole", name="swallows")
    with connect(port.port) as sock:
        assert asked(sock, tunnel(swallows.port, host="127.0.0.1"), silence=0.05).data == b""
        assert port.open == 1
    assert wait(lambda: port.open == 0)


CUTS = ["hang_tunnel", "close_tunnel", "reset_tunnel", "hang_body", "close_body", "reset_body"]


@pytest.mark.parametrize("step", ["proxy", "tls_proxy:good", "socks5"])
@pytest.mark.parametrize("fault", CUTS)
def test_cut_tunnel(server, step, fault):
    """After 100 bytes of the origin's, or 10,000; or it passes on nothing."""
    with through(server, f"{step}:{fault}") as sock, socket.socket(fileno=os.dup(sock.fileno())) as below:
        opened(sock, step, server.port)
        is_below = fault.startswith("reset") and step.startswith("tls")  # past OpenSSL, to which RST and FIN are one
        sock.sendall(request("/x/ok:100000"))
        seen = see(below if is_below else sock)
    sent = 0 if fault == "hang_tunnel" else 100 if fault.endswith("tunnel") else 10_000
    assert seen.end == {"hang": "silence", "close": "FIN", "reset": "RST"}[fault.partition("_")[0]]
    assert len(seen.data) == sent or (is_below and len(seen.data) > sent)


@pytest.mark.parametrize("fault", CUTS)
def test_cut_answer_to_a_forwarded_request(server, fault):
    with through(server, f"proxy:{fault}") as sock:
        seen = asked(sock, forwarded(server.port, "/x/ok:100000"))
    sent = 0 if fault == "hang_tunnel" else 100 if fault.endswith("tunnel") else 10_000
    assert (seen.end, len(seen.data)) == (
        {"hang": "silence", "close": "FIN", "reset": "RST"}[fault.partition("_")[0]],
        sent,
    )


def test_forwarded_requests(server):
    """In origin-form, without what is for the proxy; on one connection, each to its own origin."""
    other = server.listen("serve", name="other")
    with through(server, "proxy") as sock:
        lines = ("Proxy-Authorization: Basic eA==", "proxy-connection: keep-alive", "X-Own: 1")
        for number, port in enumerate((server.port, server.port, other.port, server.port)):
            key = f"absolute-{number}"
            seen = asked(sock, forwarded(port, f"/x/ok?key={key}", *lines))
            assert (seen.status, seen.end) == (200, "silence")
            (received,) = server.attempts(key)
            assert received.target == f"/x/ok?key={key}"
            assert received.port == ("other" if port == other.port else "http")
            names = {name.lower() for name, _ in received.headers}
            assert "x-own" in names
            assert not {name for name in names if name.startswith("proxy-")}
        opened(sock, "proxy", server.port)
        assert is_good(asked(sock, request("/x/ok")))


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (("content-length: 5",), "12345"),
        (("transfer-encoding: chunked",), "3\r\n123\r\n2;x=y\r\n45\r\n0\r\nx-t: 1\r\n\r\n"),
        (("content-length: 5", "expect: 100-continue"), "12345"),
    ],
)
def test_forwarded_bodies(server, lines, body):
    """They end where they end, so that the next request's URL is read."""
    key = f"body-{lines}"
    with through(server, "proxy") as sock:
        for number in (1, 2):
            head = forwarded(server.port, f"/x/ok?key={key.encode().hex()}", *lines, method="POST")
            begun = asked(sock, head) if "expect: 100-continue" in lines else None
            assert begun is None or begun.status == 100
            assert is_good(asked(sock, body.encode()) if begun else asked(sock, head + body.encode()))
            received = server.attempts(key.encode().hex())
            assert [(each.length, each.target[:4]) for each in received] == [(5, "/x/o")] * number


def test_forwarded_bytes_are_the_origins(server):
    """Its malformed answers, its FIN and its RST."""
    for path, end in (("malformed:not_http", "FIN"), ("close:headers", "FIN"), ("reset:headers", "RST")):
        with through(server, "proxy") as sock:
            seen = asked(sock, forwarded(server.port, f"/x/{path}"))
        with connect(server.port) as sock:
            straight = asked(sock, request(f"/x/{path}"))
        assert (seen.data, seen.end) == (straight.data, end)
    server.listen(accept_garbage(), name="garbage")
    with through(server, "proxy") as sock:
        assert asked(sock, forwarded(server.ports["garbage"].port, "/")).data == b"foo bar"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (tunnel(443, host="example.com"), 403),
        (tunnel(80, host="192.0.2.1"), 403),
        (tunnel(80, host="test.example"), 403),
        (tunnel(1, host="127.0.0.1"), 502),
        (tunnel(0), 400),
        (tunnel(70000), 400),
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        (forwarded(80, "/", host="192.0.2.1"), 403),
        (forwarded(80, "/", host="evil.example"), 403),
        (forwarded(80, "/", host="localhost@evil.example"), 403),
        (forwarded(1, "/"), 502),
    ],
)
def test_what_it_refuses(server, head, status):
    """Names and addresses beyond loopback, what is no request for a proxy, and where nobody listens."""
    with through(server, "proxy") as sock:
        seen = asked(sock, head)
        assert (seen.status, seen.end) == (status, "FIN")


def test_names(server):
    """All names under .test are here, so that clients need no DNS for names that only the proxy resolves."""
    for host, status in (("api.test", 200), ("a.b.TEST.", 200), ("localhost", 200), ("127.0.0.9", 502)):
        with through(server, "proxy") as sock:
            assert asked(sock, tunnel(server.port, host=host), silence=0.05).status == status
    with through(server, "proxy") as sock:
        assert is_good(asked(sock, forwarded(server.port, "/x/ok", host="api.test")))
    with through(server, "socks5") as sock:
        asked(sock, b"\x05\x01\x00", limit=2)
        assert asked(sock, to_name("api.test", server.port), limit=10).data == SUCCEEDED


def test_credentials(server):
    """Without them, and with others, 407; with them it works, forwarded too."""
    wanted = base64.b64encode(b"ada:p@ss:1").decode()
    step = str(proxy("none", "ada", "p@ss:1"))
    for given, status in ((None, 407), ("eDp5", 407), (wanted, 200)):
        lines = () if given is None else (f"proxy-authorization: basic {given}",)
        for data in (tunnel(server.port, *lines), forwarded(server.port, "/x/ok", *lines)):
            with through(server, step) as sock:
                assert asked(sock, data, silence=0.05).status == status


def test_bad_certificate_of_a_proxy(server):
    port = server.listen("tls_proxy:expired")
    assert port.url == f"https://localhost:{port.port}"
    with (
        connect(port.port) as sock,
        pytest.raises(ssl.SSLCertVerificationError, match="expired"),
        server.client_context().wrap_socket(sock, server_hostname="localhost"),
    ):
        pass


# SOCKS5


def test_socks_credentials(server):
    """
    Who offers none is refused; wrong ones are; right ones work; "auth" takes none.

    Source: RFC 1929.
    """
    given = {good: b"\x01\x03ada" + bytes([len(word)]) + word for good, word in ((True, b"secret"), (False, b"no"))}
    for step in ("socks5:none:ada:secret", "socks5:auth"):
        with through(server, step) as sock:
            seen = asked(sock, b"\x05\x01\x00")
            assert (seen.data, seen.end) == (b"\x05\xff", "FIN")
        for is_right in (False, True):
            with through(server, step) as sock:
                assert asked(sock, b"\x05\x02\x00\x02", limit=2).data == b"\x05\x02"
                is_taken = is_right and "ada" in step
                assert asked(sock, given[is_right], limit=2).data == bytes([1, not is_taken])
                if is_taken:
                    assert asked(sock, to_name("localhost", server.port), limit=10).data == SUCCEEDED
                    assert is_good(asked(sock, request("/x/ok")))


@pytest.mark.parametrize(
    ("fault", "end", "data"),
    [
        *((str(code), "FIN", bytes([5, code]) + SUCCEEDED[2:]) for code in range(1, 9)),
        ("close", "FIN", b""),
        ("reset", "RST", b""),
        ("hang", "silence", b""),
        ("garbage", "FIN", b"garbage\r\n\r\n"),
        ("cut", "FIN", SUCCEEDED[:5]),
        ("early", "silence", SUCCEEDED + b"early bytes"),
    ],
)
def test_socks_replies(server, fault, end, data):
    with through(server, f"socks5:{fault}") as sock:
        asked(sock, b"\x05\x01\x00", limit=2)
        seen = asked(sock, to_name("localhost", server.port))
    assert (seen.data, seen.end) == (data, end)


def test_socks_addresses(server):
    """IPv4, IPv6, and what it doesn't dial."""
    for data, code in (
        (to_address(socket.AF_INET, "127.0.0.1", server.port), 0),
        (to_address(socket.AF_INET, "127.0.0.1", 1), 5),
        (to_address(socket.AF_INET6, "::1", 1), 5),
        (to_address(socket.AF_INET, "192.0.2.1", 80), 2),
        (to_name("example.com", 80), 2),
        (b"\x05\x02\x00" + to_name("localhost", 1)[3:], 7),
        (b"\x05\x01\x00\x09\x00\x00", 8),
    ):
        with through(server, "socks5") as sock:
            asked(sock, b"\x05\x01\x00", limit=2)
            assert asked(sock, data, limit=10).data[:2] == bytes([5, code])


def test_pieces_of_a_reply(server):
    """Byte by byte, each in a segment of its own, unless the system is so busy that it joins what wasn't read."""

    def pieces() -> int:
        with through(server, "socks5:pieces") as sock:
            seen = asked(sock, b"\x05\x01\x00", limit=2)
            assert seen.data == b"\x05\x00"
            assert asked(sock, to_name("localhost", server.port), limit=10).data == SUCCEEDED
            return seen.pieces

    assert any(pieces() == 2 for _ in range(20))


def test_not_socks(server):
    with through(server, "socks5") as sock:
        assert asked(sock, b"GET / HTTP/1.1\r\n\r\n").end in ("FIN", "silence")


def test_urls(server):
    """What clients take as a proxy."""
    for step, scheme in (("proxy", "http"), ("tls_proxy", "https"), ("socks5:close,socks5", "socks5")):
        port = server.listen(step, name=f"url {step}")
        assert port.url == f"{scheme}://{'localhost' if scheme == 'https' else '127.0.0.1'}:{port.port}"


def test_texts():
    """Credentials are percent-encoded; defaults are left out."""
    (step,) = STEPS.parse("proxy:none:a%3Ab:c%2Cd", level="connection")
    assert step == proxy("none", "a:b", "c,d")
    assert str(step) == "proxy:none:a%3Ab:c%2Cd"
    assert str(proxy("503")) == "proxy:503"
    with pytest.raises(BadStep, match="fault must be one of none, 403"):
        proxy("504")
