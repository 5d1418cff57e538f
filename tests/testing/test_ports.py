"""What a connection meets before a request can be read, as a bare socket sees it; TLS. Proxies are in test_proxies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from seawall.testing import FaultServer
from seawall.testing.http.connection import rst
from seawall.testing.http.step import BadStep
from seawall.testing.steps import STEPS, accept_reset, serve, tls
from tests.testing.raw import Seen, connect, request, see
from tests.testing.test_steps import is_good, wait

ALERT = b"\x15\x03\x03\x00\x02\x02"
COVERED = {"serve", "refuse", "blackhole", "proxy", "tls_proxy", "socks5"}  # in tests of their own

# step → end, and what the bytes must be, of a client that says nothing at first
ACCEPT = {
    "accept_reset": ("RST", b""),
    "accept_close": ("FIN", b""),
    "accept_hang": ("silence", b""),
    "accept_garbage": ("FIN", b"foo bar"),
    "accept_garbage:SSH-2.0": ("FIN", b"SSH-2.0"),
    "accept_408": ("FIN", b"HTTP/1.1 408 "),
    "accept_answer:1000": ("FIN", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n"),
}
# step → end, and the bytes after a ClientHello
HELLO = {
    "tls_hang": ("silence", lambda data: data == b""),
    "tls_half": ("silence", lambda data: len(data) > 100 and data[0] == 22),
    "tls_drip:0.001": ("silence", lambda data: len(data) > 500 and data[0] == 22),
    "tls_reset": ("RST", lambda data: data == b""),
    "tls_close": ("FIN", lambda data: data == b""),
    "tls_plaintext": ("FIN", lambda data: data.startswith(b"HTTP/1.1 400 ")),
    "tls_garbage": ("FIN", lambda data: data.startswith(b"\x16\x03\x03\x00\x40") and len(data) == 69),
    "tls_alert": ("FIN", lambda data: data == ALERT + bytes([80])),
    "tls_alert:40": ("FIN", lambda data: data == ALERT + bytes([40])),
}
CERTIFICATES = {
    "expired": (10, "has expired"),
    "not_yet_valid": (9, "not yet valid"),
    "wrong_host": (62, "Hostname mismatch"),
    "self_signed": (18, "self-signed|self signed"),
    "untrusted_root": (20, "local issuer"),
    "no_intermediate": (20, "local issuer"),
}


@pytest.fixture(scope="module")
def server():
    with FaultServer(names=("api.test",)) as server:
        yield server


def client_hello() -> bytes:
    hello = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    return hello.read()


def visit(port: int, data: bytes = b"") -> Seen:
    """Connect, send, see; RST may strike while we connect or send."""
    try:
        with connect(port) as sock:
            sock.sendall(data)
            return see(sock)
    except ConnectionError:
        return Seen(b"", 0, "RST")


@contextlib.contextmanager
def secure(server, port, *, context=None, name="localhost"):
    with (
        connect(port.port) as sock,
        (context or server.client_context()).wrap_socket(sock, server_hostname=name) as tls,
    ):
        yield tls


@pytest.mark.parametrize("step", ACCEPT)
def test_accept(server, step):
    """Before any request; then FIN, RST or silence."""
    end, begin = ACCEPT[step]
    seen = visit(server.listen(step).port)
    assert seen.end == end
    assert seen.data.startswith(begin)
    assert bool(seen.data) == bool(begin)
    if step.startswith("accept_answer"):
        assert seen.body == b"a" * 1003


@pytest.mark.parametrize("step", HELLO)
def test_handshake(server, step):
    """After a ClientHello."""
    end, is_right = HELLO[step]
    with connect(server.listen(step).port) as sock:
        assert see(sock, silence=0.05).data == b""
        sock.sendall(client_hello())
        seen = see(sock)
    assert seen.end == end
    assert is_right(seen.data), seen


def test_drip_of_a_handshake_is_one(server):
    """Half of it is the first half of a flight that a client understands."""
    with connect(server.listen("tls_drip:0").port) as sock:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = server.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        sock.sendall(outgoing.read())
        incoming.write(see(sock).data)
        client.do_handshake()
        assert client.version() == "TLSv1.3"


def test_good_certificate(server):
    """Valid for localhost, 127.0.0.1 and what was asked for; ALPN is http/1.1."""
    port = server.listen("tls")
    assert port.url == f"https://localhost:{port.port}"
    for name in ("localhost", "127.0.0.1", "api.test"):
        context = server.client_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with secure(server, port, context=context, name=name) as sock:
            sock.sendall(request("/x/ok"))
            assert is_good(see(sock))
            assert sock.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("certificate", CERTIFICATES)
def test_bad_certificate(server, certificate):
    """Each fails a client that checks, for its own reason; the rest of the TLS is good."""
    code, words = CERTIFICATES[certificate]
    port = server.listen(tls(certificate))
    with pytest.raises(ssl.SSLCertVerificationError, match=words) as caught, secure(server, port):
        pass
    assert caught.value.verify_code == code
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with secure(server, port, context=trusting) as sock:
        sock.sendall(request("/x/ok"))
        assert is_good(see(sock))


def test_key_changes(server):
    """No pin on an earlier certificate fits."""
    port = server.listen("tls:rekeyed")
    keys = set()
    for _ in range(2):
        with secure(server, port) as sock:
            keys.add(sock.getpeercert(binary_form=True))
    assert len(keys) == 2


def test_client_certificate(server, tmp_path):
    """Without one there is an alert, after the handshake in TLS 1.3; with one a good answer."""
    port = server.listen("tls:wants_client")
    with secure(server, port) as sock:
        sock.sendall(request("/x/ok"))
        sock.settimeout(30)
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
            sock.recv(1)
    pem = tmp_path / "client.pem"
    pem.write_text(server.certificates.client_certificate())
    context = server.client_context()
    context.load_cert_chain(pem)
    with secure(server, port, context=context) as sock:
        sock.sendall(request("/x/ok"))
        assert is_good(see(sock))


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3"])
def test_version(server, version):
    """Only this one: a client that allows it gets it, one that wants another doesn't."""
    port = server.listen(f"tls_version:{version}", name=f"version {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        wanted = getattr(ssl.TLSVersion, f"TLSv{version.replace('.0', '').replace('.', '_')}")
        context = server.client_context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = wanted
        with secure(server, port, context=context) as sock:
            assert sock.version() == f"TLSv{version.replace('.0', '')}"
            sock.sendall(request("/x/ok"))
            assert is_good(see(sock))
        if wanted is not ssl.TLSVersion.TLSv1_3:
            modern = server.client_context()
            modern.minimum_version = ssl.TLSVersion.TLSv1_3
            with pytest.raises(ssl.SSLError), secure(server, port, context=modern):
                pass


def test_end_of_tls(server):
    """`close` says close_notify; `truncate` doesn't, which a strict client can tell; `reset` is RST."""
    port = server.listen("tls")
    for step, end in {"close:body": "FIN", "truncate:body": "FIN without close_notify"}.items():
        context = server.client_context()
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        with (
            connect(port.port) as plain,
            context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as sock,
        ):
            sock.sendall(request(f"/x/{step}"))
            seen = see(sock)
        assert (seen.end, len(seen.body)) == (end, 500), step
    with secure(server, port) as sock, socket.socket(fileno=os.dup(sock.fileno())) as below:
        sock.sendall(request("/x/reset:body"))
        seen = see(below)  # past OpenSSL, to which RST and FIN are one
        assert (seen.end, len(seen.data) > 500) == ("RST", True)


@pytest.mark.parametrize("what", ["text", "record"])
def test_inject(server, what):
    """Bytes past the TLS break it."""
    port = server.listen("tls", name=f"inject {what}")
    with secure(server, port) as sock:
        sock.sendall(request(f"/x/tls_inject:{what}"))
        sock.settimeout(30)
        with pytest.raises(ssl.SSLError, match=r"(?i)wrong[ _]version|decryption[ _]failed|record"):
            sock.recv(100)
    with connect(server.port) as sock:
        sock.sendall(request("/x/tls_inject"))
        assert see(sock).status == 400


def test_refuse_and_heal(server):
    """ConnectionRefusedError until it is healed."""
    port = server.listen("refuse")
    with pytest.raises(ConnectionRefusedError):
        connect(port.port)
    server.heal("refuse")
    with connect(port.port) as sock:
        sock.sendall(request("/x/ok"))
        assert is_good(see(sock))


def test_blackhole_and_heal(server):
    """SYNs stay without an answer, without root; healed, who waits is served when its system asks again (1 s)."""
    port = server.listen("blackhole")
    with pytest.raises(TimeoutError):
        connect(port.port, timeout=0.2)
    waiting = socket.socket()
    waiting.setblocking(False)
    waiting.connect_ex(("127.0.0.1", port.port))
    server.heal("blackhole")
    waiting.settimeout(30)
    with waiting:
        with contextlib.suppress(OSError):
            waiting.connect(("127.0.0.1", port.port))
        waiting.sendall(request("/x/ok"))
        assert is_good(see(waiting, silence=0.5))
    with connect(port.port) as sock:
        sock.sendall(request("/x/ok"))
        assert is_good(see(sock))


def test_script_of_a_port(server):
    """The n-th connection gets the n-th step, the last one repeats."""
    port = server.listen(accept_reset(), "accept_close,serve", name="scripted")
    ends = [visit(port.port, request("/x/ok")).end for _ in range(4)]
    assert ends == ["RST", "FIN", "silence", "silence"]
    assert port.connections == 4


@pytest.mark.anyio
async def test_reset_before_it_is_accepted():
    """The connection counts, and no error of the server's own is logged."""
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with FaultServer() as server:
        with connect(server.port) as sock:
            rst(sock)
        while not server.ports["http"].connections and not errors:
            await asyncio.sleep(0)
    assert not errors


def test_open_and_peak(server):
    """Connections are counted per port."""
    port = server.listen("accept_hang", name="counted")
    socks = [connect(port.port) for _ in range(5)]
    assert wait(lambda: (port.open, port.peak) == (5, 5))
    for sock in socks[:3]:
        sock.close()
    assert wait(lambda: (port.open, port.peak) == (2, 5))
    server.drop_connections("counted")
    assert [see(sock).end for sock in socks[3:]] == ["RST", "RST"]
    assert wait(lambda: port.open == 0)
    for sock in socks[3:]:
        sock.close()


def test_authority_is_one(server):
    """However many threads ask for it at once."""
    with FaultServer() as other, ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: other.certificates.pem(), range(8)))) == 1


def test_connections_are_numbered_for_ever(server):
    """Through a reset, and without those that fill a blackhole."""
    with FaultServer() as other:
        other.listen("blackhole")
        other.heal("blackhole")
        numbers = []
        for _ in range(2):
            with connect(other.ports["blackhole"].port) as sock:
                sock.sendall(request("/x/ok?key=k"))
                assert is_good(see(sock))
            numbers.append(other.attempts("k")[0].connection)
            other.reset()
        assert numbers == [1, 2]


def test_each_step_has_a_test():
    """No step for connections is left out; HTTP/2's are in test_http2."""
    tested = {step.partition(":")[0] for step in (*ACCEPT, *HELLO)} | COVERED | {"tls", "tls_version"}
    names = {kind.name for kind in STEPS if kind.level == "connection" and not kind.name.startswith("h2")}
    assert names == tested


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (["acept_reset"], "near: accept_reset"),
        (["503"], "status.*step of a reply, not of a connection"),
        (["tls:bogus"], "certificate must be one of good, expired"),
        (["tls_alert:300"], "code must be a whole number from 0 to 255"),
        (["refuse", "serve"], "refuse applies to the whole port"),
    ],
)
def test_bad_port(server, steps, words):
    """Said at once, with what could be meant."""
    with pytest.raises(BadStep, match=words):
        server.listen(*steps)


def test_ports_that_cannot_be(server):
    """A name that is taken, a port in use, one out of range, one that isn't there."""
    with pytest.raises(ValueError, match="a port 'http' exists already"):
        server.listen(serve(), name="http")
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{server.port} is in use; give another port, or 0"):
        server.listen(serve(), port=server.port, name="taken")
    with pytest.raises(ValueError, match="port must be a whole number from 0 to 65535"):
        server.listen(serve(), port=70_000, name="far")
    with pytest.raises(ValueError, match="no port 'nope'; the ports are http"):
        server.heal("nope")
