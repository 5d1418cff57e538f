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


def test_mounts_that_no_guard_sees():
    """They would go round it; also those of ours that have none, and those beside a transport of ours."""
    guard = seawall.Guard(trust_proxy=True)
    for mount in (httpx.AsyncHTTPTransport(), seawall.AsyncTransport()):
        for guarded in ({"guard": guard}, {"transport": seawall.AsyncTransport(guard=guard)}):
            with pytest.raises(ValueError, match=r"guard: it can't see what the mount 'http://in.test' dials"):
                seawall.AsyncClient(mounts={"http://in.test": mount}, **guarded)


async def test_mounts_that_are_guarded(serve):
    """Ours with a guard: by a proxy that it trusts, or with more leave for some hosts; None is the client's own way."""
    origin = await serve(lambda request: request.reply(200, b"ok"))
    allowing = seawall.AsyncTransport(guard=seawall.Guard(allow=["127.0.0.1"]), retry=None)
    through = seawall.AsyncTransport(proxy=origin.url, guard=seawall.Guard(trust_proxy=True), retry=None)
    mounts = {"http://127.0.0.1": allowing, "http://out.test": through, "http://127.0.0.2": None}
    async with seawall.AsyncClient(guard=seawall.Guard(), mounts=mounts, retry=None) as client:
        assert (await client.get(origin.url)).status_code == 200
        assert (await client.get("http://out.test")).status_code == 200
        for refused in (f"http://127.0.0.2:{origin.port}", f"http://localhost:{origin.port}"):
            with pytest.raises(seawall.errors.AddressNotAllowed):
                await client.get(refused)
    assert origin.connections == 2
