"""Real TLS, certificates made by trustme."""

from __future__ import annotations

import asyncio
import ssl

import certifi
import httpx
import pytest
import trustme

import seawall
from seawall.testing import FaultServer, Request
from seawall.testing.dns import Name
from seawall.transport.tls import TLS

pytestmark = pytest.mark.anyio


async def ok(request: Request) -> None:
    await request.reply()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
async def client(stack, dns, authority) -> seawall.Client:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    dns.zone["other.test"] = Name(a=("127.0.0.1",))
    return await stack.enter_async_context(seawall.Client(verify=context, dns=seawall.DNS(nameservers=(dns.address,))))


async def test_sni_host_and_certificate_are_the_names(client, serve, authority):
    """An address is dialled; the name is what is sent, and what is checked."""
    names = []
    tls = server_context(authority, "good.test")
    tls.sni_callback = lambda sock, name, context: names.append(name)
    server = await serve(ok, tls=tls)
    response = await client.get(f"https://good.test:{server.port}")
    assert response.status_code == 200
    assert names == ["good.test"]
    assert server.requests[0].headers["host"] == f"good.test:{server.port}"
    assert response.extensions["network_stream"].get_extra_info("ssl_object").version() == "TLSv1.3"


async def test_certificate_of_another_name(client, serve, authority):
    """A ConnectError that says which name, made once: it won't get better."""
    server = await serve(ok, tls=server_context(authority, "good.test"))
    with pytest.raises(httpx.ConnectError, match=r"not for other\.test") as caught:
        await client.get(f"https://other.test:{server.port}")
    assert isinstance(caught.value, seawall.HostnameMismatch)
    assert len(caught.value.attempts) == 1
    assert server.requests == []


async def test_certificate_of_an_unknown_authority(client, serve):
    """Told apart from the wrong name, and not retried either."""
    server = await serve(ok, tls=server_context(trustme.CA(), "good.test"))
    with pytest.raises(httpx.ConnectError, match="can't be trusted") as caught:
        await client.post(f"https://good.test:{server.port}")
    assert type(caught.value).__name__ == "CertificateError"
    assert len(caught.value.attempts) == 1


async def test_sni_hostname_extension(client, serve, authority):
    """httpx's extension: another name for SNI and the check."""
    server = await serve(ok, tls=server_context(authority, "good.test"))
    response = await client.get(f"https://127.0.0.1:{server.port}", extensions={"sni_hostname": "good.test"})
    assert response.status_code == 200


async def test_verify_false(stack, serve, authority):
    """As in httpx."""
    server = await serve(ok, tls=server_context(authority, "good.test"))
    client = await stack.enter_async_context(seawall.Client(verify=False))
    assert (await client.get(server.url)).status_code == 200


async def test_plaintext_server(client, serve):
    """A server that speaks no TLS: a handshake error, and nothing was sent."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get(f"https://good.test:{port}")
    assert isinstance(caught.value, seawall.HandshakeError)
    assert caught.value.attempts[0].phase is seawall.Phase.TLS


async def test_handshake_that_hangs(client):
    """It is part of connecting, once: the connect timeout ends it."""
    held = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(httpx.ConnectTimeout) as caught:
            await client.get(
                f"https://good.test:{port}",
                timeout=httpx.Timeout(5, connect=0.1),
                extensions=seawall.options(retry=None),
            )
        for writer in held:
            writer.transport.abort()
    assert isinstance(caught.value, seawall.HandshakeTimeout)
    assert caught.value.elapsed < 1.0


async def test_body_cut_in_the_middle_of_tls(client, serve, authority):
    """The connection is dropped without a close_notify: an error, and a retry."""
    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole",
    ]

    async def cut(request: Request) -> None:
        await request.send(answers[len(server.requests) - 1])
        request.abort() if len(server.requests) == 1 else request.close()

    server = await serve(cut, tls=server_context(authority, "good.test"))
    assert (await client.get(f"https://good.test:{server.port}")).text == "whole"


@pytest.fixture
def trusting(monkeypatch, tmp_path, authority) -> None:
    """A context of seawall's own, which trusts our authority."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
async def test_sessions_are_resumed(trusting, serve, authority, version):
    """By name: the next connection to the same one need not verify again; another name's has to."""
    context = server_context(authority, "localhost", "127.0.0.1")
    context.maximum_version = version
    server = await serve(ok, tls=context)
    async with seawall.Client(limits=httpx.Limits(max_keepalive_connections=0)) as client:
        reused = []
        for host in ("localhost", "localhost", "127.0.0.1"):
            response = await client.get(f"https://{host}:{server.port}")
            reused.append(response.extensions["network_stream"].get_extra_info("ssl_object").session_reused)
    assert reused == [False, True, False]


async def test_a_session_is_no_licence(trusting, serve, authority):
    """A server that has neither the session's keys nor a good certificate is refused, under the same name."""
    good = await serve(ok, tls=server_context(authority, "localhost"))
    bad = await serve(ok, tls=server_context(trustme.CA(), "localhost"))
    async with seawall.Client() as client:
        await client.get(f"https://localhost:{good.port}")
        with pytest.raises(seawall.CertificateError):
            await client.get(f"https://localhost:{bad.port}")


async def test_one_context_for_all_clients_of_the_same_settings(monkeypatch):
    """But never where one was given, nor across protocols, nor after the environment changed."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    given = ssl.create_default_context()
    plain, h2 = ["http/1.1"], ["h2", "http/1.1"]
    assert TLS({}, plain).context() is TLS({"verify": True}, plain).context()
    assert TLS({}, plain).context() is not TLS({}, h2).context()
    assert TLS({}, plain).context() is not TLS({"verify": False}, plain).context()
    assert TLS({"verify": given}, plain).context() is given
    assert given.sslobject_class is ssl.SSLObject
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert TLS({}, plain).context() is not TLS({"trust_env": False}, plain).context()
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    with pytest.raises(FileNotFoundError):
        seawall.Client()


FINAL = [
    "tls_version",
    "tls_plaintext",
    "tls_garbage",
    "tls_alert:40",
    "tls_alert:70",
    "tls:wants_client",
    "tls:expired",
]


@pytest.mark.parametrize("step", [*FINAL, "tls_alert:80", "tls_close", "tls_reset"], ids=str)
async def test_what_will_not_get_better_is_not_tried_again(step):
    """Sides that don't agree won't; a server in trouble, or a connection that broke, might."""
    with FaultServer() as server:
        port = server.listen(step)
        retry = seawall.Retry(backoff=0)
        async with seawall.Client(verify=server.certificates.client_context(), retry=retry) as client:
            with pytest.raises((seawall.TLSError, seawall.ConnectionLost)) as caught:
                await client.get(f"https://localhost:{port.port}/x/ok")  # ::1 too, where nobody listens
    assert len(caught.value.attempts) == (1 if step in FINAL else 3), caught.value


async def test_another_address_may_agree(serve, authority, dns, client):
    """One of two speaks no TLS: the retry dials the other."""
    server = await serve(ok, tls=server_context(authority, "good.test"), host="127.0.0.2")

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", server.port):
        dns.zone["good.test"] = Name(a=("127.0.0.1", "127.0.0.2"))
        response = await client.get(f"https://good.test:{server.port}")
    assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["HandshakeError", "200"]
