"""A guard in front of real sockets."""

from __future__ import annotations

import httpx
import pytest

import seawall
from seawall.testing import FakeResolver, Request

pytestmark = pytest.mark.anyio


HOSTS = ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "inside.test"]


@pytest.mark.parametrize("host", HOSTS)
async def test_no_spelling_goes_round_it(serve, host):
    """Literals, odd literals, names: nothing reaches the server, and nothing is tried again."""

    async def never(request: Request) -> None:
        await request.reply()

    server = await serve(never)
    names = FakeResolver({"inside.test": ("8.8.8.8", "127.0.0.1")})
    async with seawall.AsyncClient(guard=seawall.Guard(), resolver=names) as client:
        with pytest.raises(httpx.ConnectError, match="must not be dialled") as caught:
            await client.get(f"http://{host}:{server.port}/")
    assert isinstance(caught.value, seawall.errors.AddressNotAllowed)
    assert len(caught.value.attempts) == 1
    assert server.connections == 0


async def test_redirect_inside(serve):
    """From a server that may be asked to one that may not."""

    async def redirect(request: Request) -> None:
        await request.reply(302, location=f"http://127.0.0.2:{server.port}/metadata")

    server = await serve(redirect)
    guard = seawall.Guard(allow=["127.0.0.1"])
    async with seawall.AsyncClient(guard=guard, follow_redirects=True) as client:
        with pytest.raises(seawall.errors.AddressNotAllowed, match=r"127\.0\.0\.2"):
            await client.get(server.url)
    assert [request.target for request in server.requests] == ["/"]


async def test_proxy_from_the_environment(monkeypatch):
    """It would dial unseen: refused, with what to do."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with seawall.AsyncClient(guard=seawall.Guard()) as client:
        with pytest.raises(
            seawall.errors.AddressNotAllowed, match=r"^http://example\.test:80 through .*trust_env=False"
        ):
            await client.get("http://example.test/")
