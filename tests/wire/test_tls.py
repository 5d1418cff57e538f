"""Real TLS, certificates made by trustme."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import ssl
import weakref
from functools import partial
from pathlib import Path

import certifi
import httpx
import pytest
import trustme
from cryptography import x509

import seawall
from seawall.testing import FaultServer, Request
from seawall.testing.dns import Name
from seawall.wire import tls as wire_tls
from seawall.wire.tls import MAX_CONTEXTS

pytestmark = pytest.mark.anyio

TLS = partial(wire_tls.TLS, create=httpx.create_ssl_context)


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
async def client(stack, dns, authority) -> seawall.AsyncClient:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    dns.zone["other.test"] = Name(a=("127.0.0.1",))
    return await stack.enter_async_context(
        seawall.AsyncClient(verify=context, dns=seawall.DNS(nameservers=(dns.address,)))
    )


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
    assert isinstance(caught.value, seawall.errors.HostnameMismatch)
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
    client = await stack.enter_async_context(seawall.AsyncClient(verify=False))
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
    assert isinstance(caught.value, seawall.errors.HandshakeError)
    assert caught.value.attempts[0].phase is seawall.events.Phase.TLS


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
                timeout=httpx.Timeout(5, connect=1.0),
                extensions=seawall.options(retry=None),
            )
        for writer in held:
            writer.transport.abort()
    assert isinstance(caught.value, seawall.errors.HandshakeTimeout)
    assert caught.value.elapsed < 2.0


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
    async with seawall.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0)) as client:
        reused = []
        for host in ("localhost", "localhost", "127.0.0.1"):
            response = await client.get(f"https://{host}:{server.port}")
            reused.append(response.extensions["network_stream"].get_extra_info("ssl_object").session_reused)
    assert reused == [False, True, False]


async def test_a_session_is_no_licence(trusting, serve, authority):
    """A server that has neither the session's keys nor a good certificate is refused, under the same name."""
    good = await serve(ok, tls=server_context(authority, "localhost"))
    bad = await serve(ok, tls=server_context(trustme.CA(), "localhost"))
    async with seawall.AsyncClient() as client:
        await client.get(f"https://localhost:{good.port}")
        with pytest.raises(seawall.errors.CertificateError):
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
        seawall.AsyncClient()


SHARED = httpx.Limits(max_keepalive_connections=0)  # each request makes a connection of its own


async def test_a_new_file_of_authorities_counts_from_the_next_connection(monkeypatch, tmp_path, serve, authority):
    """SSL_CERT_FILE is read again once the file has another content; what it no longer has is trusted no more."""
    path, other = tmp_path / "ca.pem", trustme.CA()
    old = await serve(ok, tls=server_context(authority, "localhost"))
    new = await serve(ok, tls=server_context(other, "localhost"))
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with seawall.AsyncClient(limits=SHARED) as client:
        assert (await client.get(f"https://localhost:{old.port}")).status_code == 200
        with pytest.raises(seawall.errors.CertificateError):
            await client.get(f"https://localhost:{new.port}")
        other.cert_pem.write_to_path(path)  # in place
        assert (await client.get(f"https://localhost:{new.port}")).status_code == 200
        with pytest.raises(seawall.errors.CertificateError):
            await client.get(f"https://localhost:{old.port}")
        authority.cert_pem.write_to_path(tmp_path / "next.pem")
        (tmp_path / "next.pem").replace(path)
        assert (await client.get(f"https://localhost:{old.port}")).status_code == 200


async def test_a_new_file_of_authorities_counts_with_a_certificate_of_ones_own(
    monkeypatch, tmp_path, serve, authority, recwarn
):
    """The context is the client's own then, because of *cert*, but trusts what the file has now, too."""
    path, mine, other = tmp_path / "ca.pem", tmp_path / "mine.pem", trustme.CA()
    old = await serve(ok, tls=server_context(authority, "localhost"))
    new = await serve(ok, tls=server_context(other, "localhost"))
    authority.cert_pem.write_to_path(path)
    authority.issue_cert("me").private_key_and_cert_chain_pem.write_to_path(mine)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with seawall.AsyncClient(cert=str(mine), limits=SHARED) as client:
        assert (await client.get(f"https://localhost:{old.port}")).status_code == 200
        warned = len(recwarn)
        path.write_bytes(b"half of it")
        assert (await client.get(f"https://localhost:{old.port}")).status_code == 200
        other.cert_pem.write_to_path(path)
        assert (await client.get(f"https://localhost:{new.port}")).status_code == 200
        with pytest.raises(seawall.errors.CertificateError):
            await client.get(f"https://localhost:{old.port}")
        assert len(recwarn) == warned


async def test_authorities_that_are_being_replaced(monkeypatch, tmp_path, serve, authority):
    """While the file is away or half written, the last good ones count; a new client says that it can't be read."""
    path = tmp_path / "ca.pem"
    server = await serve(ok, tls=server_context(authority, "localhost"))
    authority.cert_pem.write_to_path(path)
    whole = path.read_bytes()
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with seawall.AsyncClient(limits=SHARED) as client:
        for broken in (None, b"", b"half of it"):
            path.unlink(missing_ok=True)
            if broken is not None:
                path.write_bytes(broken)
            assert (await client.get(f"https://localhost:{server.port}")).status_code == 200
            with pytest.raises((OSError, ssl.SSLError)):
                seawall.AsyncClient()
        path.write_bytes(whole)
        assert (await client.get(f"https://localhost:{server.port}")).status_code == 200


async def test_a_folder_of_authorities(monkeypatch, tmp_path, serve, authority):
    """SSL_CERT_DIR is read again once a file came into it or left it, as a rehash of it does."""
    folder, other = tmp_path / "certs", trustme.CA()
    folder.mkdir()
    hashed(authority, folder)
    old = await serve(ok, tls=server_context(authority, "localhost"))
    new = await serve(ok, tls=server_context(other, "localhost"))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    async with seawall.AsyncClient(limits=SHARED) as client:
        assert (await client.get(f"https://localhost:{old.port}")).status_code == 200
        for each in folder.iterdir():
            each.unlink()
        hashed(other, folder)
        assert (await client.get(f"https://localhost:{new.port}")).status_code == 200
        with pytest.raises(seawall.errors.CertificateError):
            await client.get(f"https://localhost:{old.port}")


def hashed(authority: trustme.CA, folder: Path) -> None:
    """Its certificate in *folder*, under the name by which OpenSSL looks for it: SHA-1 of the canonical subject."""
    subject = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
    text = b"".join(canonical(attribute) for name in subject.rdns for attribute in name)
    number = int.from_bytes(hashlib.sha1(text).digest()[:4], "little")
    authority.cert_pem.write_to_path(folder / f"{number:08x}.0")


def canonical(attribute: x509.NameAttribute[str]) -> bytes:
    """One as OpenSSL's X509_NAME_hash takes it: a UTF8String in lower case, in its SEQUENCE and SET."""
    text = str(attribute.value).lower().encode()
    numbers = [int(each) for each in attribute.oid.dotted_string.split(".")]
    oid = bytes([numbers[0] * 40 + numbers[1], *numbers[2:]])
    inner = bytes([0x06, len(oid)]) + oid + bytes([0x0C, len(text)]) + text
    return bytes([0x31, len(inner) + 2, 0x30, len(inner)]) + inner


async def test_keys_are_logged_only_where_the_environment_says(monkeypatch, tmp_path, serve, trusting, authority):
    """Once SSLKEYLOGFILE is unset, or names another file, nothing is written to the old one; nor into a deleted one."""
    server = await serve(ok, tls=server_context(authority, "localhost"))
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(first))
    async with seawall.AsyncClient(limits=SHARED) as client:

        async def grown(*files: Path) -> list[bool]:
            before = [each.stat().st_size if each.exists() else 0 for each in files]
            await client.get(f"https://localhost:{server.port}")
            return [each.exists() and each.stat().st_size > size for each, size in zip(files, before, strict=True)]

        assert await grown(first, second) == [True, False]
        monkeypatch.delenv("SSLKEYLOGFILE")
        assert await grown(first, second) == [False, False]
        monkeypatch.setenv("SSLKEYLOGFILE", str(second))
        assert await grown(first, second) == [False, True]
        second.unlink()
        assert await grown(first, second) == [False, True]
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "nowhere" / "keys.log"))
        assert await grown(first, second) == [False, False]


async def test_a_context_of_the_users_stays_as_it_is(monkeypatch, tmp_path, serve, authority):
    """Neither the files of the environment nor SSLKEYLOGFILE change what a user gave."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = await serve(ok, tls=server_context(authority, "localhost"))
    async with seawall.AsyncClient(verify=context, limits=SHARED) as client:
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
        assert (await client.get(f"https://localhost:{server.port}")).status_code == 200
    assert context.keylog_filename is None
    assert not (tmp_path / "keys.log").exists()


async def test_contexts_are_bounded(monkeypatch, tmp_path, authority):
    """However often the file changes, a process keeps a few of them; one that is in use is the same for all clients."""
    path = tmp_path / "ca.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    contexts = weakref.WeakSet[ssl.SSLContext]()
    for n in range(3 * MAX_CONTEXTS):
        path.write_bytes(authority.cert_pem.bytes() + b"\n" * n)
        tls = TLS({}, ["http/1.1"])
        assert tls.context() is TLS({}, ["http/1.1"]).context()
        contexts.add(tls.context())
    gc.collect()
    assert len(contexts) <= MAX_CONTEXTS


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
        async with seawall.AsyncClient(verify=server.certificates.client_context(), retry=retry) as client:
            with pytest.raises((seawall.errors.TLSError, seawall.errors.ConnectionLost)) as caught:
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
