"""What a passage through a proxy is told of: the way to the end of the tunnel, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

import seawall
from seawall.policy.proxies import Proxies
from seawall.testing import FaultServer

from .relay import Relay

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]


class Noted:
    """Lets all dials through; *told* is what they were told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def enter(self, *_: object) -> Noted:
        self.told.append("enter")
        return self

    def end(self, error: BaseException | None) -> None:
        self.told.append("stands" if error is None else type(error).__name__)

    def withdraw(self) -> None:
        self.told.append("withdraw")


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    noted = Noted()
    monkeypatch.setattr(Proxies, "enter", noted.enter)
    return noted


@pytest.fixture(scope="module")
def origins() -> Iterator[FaultServer]:
    with FaultServer() as server:
        for step in ("tls", "tls_hang", "tls_close"):
            server.listen(step)
        yield server


def url_of(origins: FaultServer, step: str, host: str = "localhost") -> str:
    return f"https://{host}:{origins.ports[step].port}/x/ok"


@pytest.mark.parametrize(("step", "kind"), [("tls_hang", "HandshakeTimeout"), ("tls_close", "HandshakeError")])
@pytest.mark.parametrize("way", ["http", "socks5"])
async def test_it_ends_before_the_origins_tls(origins, noted, way, step, kind):
    """The proxy has done its part, so the origin's time and failures aren't its own."""
    async with Relay(way) as proxy, seawall.AsyncClient(proxy=proxy.url, retry=None) as client:
        with pytest.raises(seawall.errors.TLSError if step == "tls_close" else seawall.errors.HandshakeTimeout) as it:
            await client.get(url_of(origins, step), timeout=httpx.Timeout(5.0, connect=1.0))
        assert type(it.value).__name__ == kind
    assert noted.told == ["enter", "stands"]


async def test_it_ends_where_a_request_is_forwarded(origins, noted):
    async with Relay() as proxy, seawall.AsyncClient(proxy=proxy.url, retry=None) as client:
        for _ in range(2):
            await client.get(f"http://localhost:{origins.port}/x/ok")
    assert noted.told == ["enter", "stands"]


@pytest.mark.parametrize("is_same", [False, True], ids=["other origin", "same origin"])
async def test_the_wait_for_a_slot_is_left_out(origins, noted, is_same):
    """A connection of the same origin that becomes free meanwhile needs no dial, and so no passage."""
    async with (
        Relay() as proxy,
        seawall.AsyncClient(
            proxy=proxy.url,
            verify=origins.client_context(),
            limits=httpx.Limits(max_connections=1),
            retry=None,
            timeout=10.0,
        ) as client,
    ):
        async with client.stream("GET", url_of(origins, "tls")):
            host = "localhost" if is_same else "127.0.0.1"
            waiting = asyncio.ensure_future(client.get(url_of(origins, "tls", host)))
            async with asyncio.timeout(5):
                while "withdraw" not in noted.told:
                    await asyncio.sleep(0)
            assert noted.told == ["enter", "stands", "enter", "withdraw"]
        assert (await waiting).status_code == 200
    assert noted.told[4:] == ([] if is_same else ["enter", "stands"])


@pytest.mark.parametrize("fault", ["refused", "name", "TunnelFailed", "cancelled"])
async def test_it_is_told_of_each_failure_once(noted, fault):
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()

    async with Relay(answer=hang if fault == "cancelled" else b"HTTP/1.1 503 No\r\n\r\n") as proxy:
        url = {"refused": "http://127.0.0.1:1", "name": "http://a..b:1"}.get(fault, proxy.url)
        async with seawall.AsyncClient(proxy=url, retry=None) as client:
            call = asyncio.ensure_future(client.get("https://a.test"))
            if fault == "cancelled":
                await asked.wait()
                call.cancel()
            await asyncio.wait([call])
    name = {"cancelled": "CancelledError", "TunnelFailed": "TunnelFailed"}.get(fault, "ProxyUnreachable")
    assert noted.told == ["enter", name]
    assert call.cancelled() or type(call.exception()).__name__ == name
