"""TLS to a proxy: what verifies it, what it is shown, and what is offered to it."""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trustme

import seawall
from seawall.testing import FaultServer

from .relay import Relay

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

AUTHORITY = trustme.CA()


def serving(*alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment names a file with the proxy's authority."""
    path = tmp_path / "authorities.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@pytest.mark.parametrize("verify", [False, trusting()], ids=["False", "own context"])
async def test_what_verifies_origins_is_not_for_proxies(verify):
    """As in httpx: who trusts any origin, or an authority for origins, has said nothing about the proxy."""
    async with (
        Relay("https", context=serving()) as proxy,
        seawall.AsyncClient(proxy=proxy.url, verify=verify) as client,
    ):
        for scheme in ("http", "https"):
            with pytest.raises(seawall.errors.ProxyUnreachable) as caught:
                await client.get(f"{scheme}://a.test")
            assert isinstance(caught.value.__cause__, seawall.errors.CertificateError)
        assert proxy.asked == []


@pytest.mark.usefixtures("trusted")
async def test_the_environments_authorities_verify_proxies():
    async with Relay("https", context=serving(), answer=b"HTTP/1.1 403 No\r\n\r\n") as proxy:
        for trust_env, error in ((True, "ProxyRefused"), (False, "ProxyUnreachable")):
            async with seawall.AsyncClient(proxy=proxy.url, verify=False, trust_env=trust_env) as client:
                with pytest.raises(httpx.ProxyError) as caught:
                    await client.get("https://a.test")
                assert type(caught.value).__name__ == error


@pytest.mark.filterwarnings("ignore:.*cert=:DeprecationWarning")
@pytest.mark.usefixtures("trusted")
async def test_a_certificate_for_origins_is_not_shown_to_proxies(tmp_path):
    shown = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert"))

    path = tmp_path / "mine.pem"
    AUTHORITY.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(path)
    context = serving()
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    async with (
        Relay("https", context=context, answer=look) as proxy,
        seawall.AsyncClient(proxy=proxy.url, cert=str(path), retry=None) as client,
    ):
        with pytest.raises(seawall.errors.TunnelFailed):
            await client.get("https://a.test")
    assert shown == [None]


async def test_one_context_for_the_proxy_and_for_origins_with_http2():
    """The proxy is offered HTTP/1.1 each time, though the origin is offered HTTP/2 in between."""
    chosen = []
    with FaultServer() as server:
        port = server.listen("h2").port
        context = server.client_context()
        AUTHORITY.configure_trust(context)
        async with (
            Relay("https", context=serving("h2", "http/1.1")) as proxy,
            seawall.AsyncClient(
                proxy=httpx.Proxy(proxy.url, ssl_context=context), verify=context, http2=True, retry=None
            ) as client,
        ):
            relayed = proxy._http

            async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
                await relayed(reader, writer)

            proxy._http = look  # type: ignore[method-assign]
            for host in ("localhost", "127.0.0.1"):
                response = await client.get(f"https://{host}:{port}/x/ok")
                assert response.http_version == "HTTP/2"
    assert chosen == ["http/1.1"] * 2


async def test_a_proxy_forges_nothing_before_the_origins_tls(front):
    """What it sends in the clear, while the client is about to begin TLS with the origin, is never the origin's."""
    context, is_awaited, is_sent = serving("h2"), asyncio.Event(), asyncio.Event()
    settings, block = struct.pack(">IBI", 4, 0, 0), b"\x0f\x88\x00\x01x\x04evil"  # padding, :status, x: evil
    forged = settings + struct.pack(">IBI", (len(block) + 15) << 8 | 1, 0x0D, 1) + block  # the padding is the origin's

    async def forge(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await is_awaited.wait()
        writer.write(forged)
        await writer.drain()
        is_sent.set()
        with suppress(ssl.SSLError, OSError):
            await writer.start_tls(context)  # it stands for the origin, too
            writer.write(struct.pack(">IBIHI", 6 << 8 | 4, 0, 0, 3, 100))

    async def trace(event: str, _: object) -> None:
        if event == "connection.start_tls.started":
            is_awaited.set()
            await is_sent.wait()
            for _ in range(100):  # rounds of the loop, in which it would be read
                await asyncio.sleep(0)

    async with (
        Relay(answer=forge) as proxy,
        front.seawall.AsyncClient(proxy=proxy.url, http2=True, verify=trusting(), retry=None) as client,
    ):
        with pytest.raises(seawall.errors.HandshakeError):
            await client.get("https://localhost", extensions={"trace": trace})
