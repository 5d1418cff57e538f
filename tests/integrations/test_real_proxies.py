"""Proxies that others wrote: tinyproxy and squid for HTTP, dante for SOCKS5, each on a port of its test's own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from benchmarks.reality.place import Place, listens, program

import seawall
from seawall.testing import FaultServer

pytestmark = pytest.mark.anyio

TINYPROXY = """
Port {port}
Listen {address}
Timeout 60
MaxClients 100
BasicAuth ada secret
Filter "{folder}/filter"
FilterDefaultDeny No
"""
SQUID = """
http_port {address}:{port}
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
access_log none
cache deny all
coredump_dir {folder}
shutdown_lifetime 0 seconds
auth_param basic program /usr/lib/squid/basic_fake_auth
acl known proxy_auth REQUIRED
acl forbidden dstdomain forbidden.test
http_access deny forbidden
http_access allow known
http_access deny all
"""
DANTE = """
logoutput: stderr
internal: {address} port = {port}
external: lo
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks block {{ from: 127.0.0.0/8 to: 127.0.0.2/32 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""


@pytest.fixture(scope="module")
def origin() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.listen("tls")
        server.listen("h2")
        yield server


@pytest.fixture
def tinyproxy(place: Place) -> str:
    if (path := program("tinyproxy")) is None:
        pytest.skip("tinyproxy isn't installed")
    port = place.port()
    (place.folder / "filter").write_text("^forbidden\\.test$\n")
    settings = place.folder / "tinyproxy.conf"
    settings.write_text(TINYPROXY.format(port=port, address=place.address, folder=place.folder))
    place.start(path, "-d", "-c", str(settings), log="tinyproxy.log").wait_until(
        lambda: listens((), place.address, port)
    )
    return f"http://ada:secret@{place.address}:{port}"


@pytest.fixture
def squid(place: Place) -> str:
    if (path := program("squid")) is None:
        pytest.skip("squid isn't installed")
    port = place.port()
    settings = place.folder / "squid.conf"
    settings.write_text(SQUID.format(port=port, address=place.address, folder=place.folder))
    place.folder.chmod(0o777)  # squid leaves root's account
    place.start(path, "-N", "-f", str(settings), log="squid.log").wait_until(lambda: listens((), place.address, port))
    return f"http://ada:secret@{place.address}:{port}"


@pytest.fixture
def dante(place: Place) -> str:
    if (path := program("danted")) is None:
        pytest.skip("dante isn't installed")
    port = place.port()
    settings = place.folder / "danted.conf"
    settings.write_text(DANTE.format(port=port, address=place.address))
    place.start(path, "-f", str(settings), log="danted.log").wait_until(lambda: listens((), place.address, port))
    return f"socks5://{place.address}:{port}"


def client(proxy: str, origin: FaultServer, **arguments: object) -> seawall.AsyncClient:
    retry = seawall.Retry(backoff=0, throttled_backoff=0)
    context = origin.certificates.client_context()
    return seawall.AsyncClient(proxy=proxy, verify=context, retry=retry, **arguments)


def urls(origin: FaultServer) -> list[str]:
    return [
        f"http://127.0.0.1:{origin.port}/x/ok:1000",
        f"https://localhost:{origin.ports['tls'].port}/x/ok:1000",
        f"https://localhost:{origin.ports['h2'].port}/x/ok:1000",
    ]


@pytest.mark.parametrize(("kind", "unreachable"), [("tinyproxy", 500), ("squid", 503)])
async def test_http_proxy(origin, request, kind, unreachable):
    """Forwarded, and through a tunnel with HTTP/1.1 and HTTP/2; refused; asked without a password; no such origin."""
    proxy = request.getfixturevalue(kind)
    async with client(proxy, origin, http2=True) as through:
        for url in urls(origin) * 2:
            response = await through.get(url)
            assert (response.status_code, len(response.content)) == (200, 1000)
        assert seawall.history(response)[0].is_reused
        assert response.http_version == "HTTP/2"
        assert (await through.post(urls(origin)[0], content=b"x" * 100_000)).status_code == 200
        with pytest.raises(seawall.errors.ProxyRefused) as refused:
            await through.get("https://forbidden.test/")
        assert (refused.value.status, len(refused.value.attempts)) == (403, 1)
        with pytest.raises(seawall.errors.TunnelFailed) as failed:
            await through.post("https://127.0.0.1:1/")
        assert (failed.value.status, len(failed.value.attempts)) == (unreachable, 3)
    async with client(proxy.replace("ada:secret@", ""), origin) as unknown:
        with pytest.raises(httpx.ProxyError) as asked:
            await unknown.get(urls(origin)[1])
        assert (asked.value.status, len(asked.value.attempts)) == (407, 1)
        assert (await unknown.get(urls(origin)[0])).status_code == 407


async def test_dante(origin, dante):
    """The same through SOCKS5."""
    async with client(dante, origin, http2=True) as through:
        for url in urls(origin) * 2:
            response = await through.get(url)
            assert (response.status_code, len(response.content)) == (200, 1000)
        assert response.http_version == "HTTP/2"
        with pytest.raises(seawall.errors.TunnelFailed, match="connection refused") as failed:
            await through.post("https://127.0.0.1:1/")
        assert len(failed.value.attempts) == 3
        with pytest.raises(seawall.errors.ProxyRefused, match="not allowed by ruleset") as refused:
            await through.get("https://127.0.0.2/")
        assert len(refused.value.attempts) == 1
