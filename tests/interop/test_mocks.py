"""The tools that people test httpx code with see a seawall client as they see httpx's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import httpx
import pytest
import respx
import vcr
from vcr.errors import CannotOverwriteExistingCassetteException

import seawall
from seawall.testing import Request
from tests.fronts import FRONTS

from .tools import client, core, each_lib, mocked

__all__ = ["client", "core", "each_lib", "mocked"]

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_lib")]
FAST = seawall.Retry(backoff=0, throttled_backoff=0)


async def ok(request: Request) -> None:
    await request.reply(body=b"real")


def body(*parts: bytes | Exception) -> httpx.AsyncByteStream:
    """A body in parts, which may end in an error."""

    class Parts(httpx.AsyncByteStream):
        async def __aiter__(self):
            for part in parts:
                if isinstance(part, Exception):
                    raise part
                yield part

    return Parts()


async def test_respx_sees_each_attempt(mocked):
    """A mocked 503 is retried, and the route counts two calls."""
    with mocked() as router:
        route = router.get("http://api.test/").mock(
            side_effect=[respx.MockResponse(503), respx.MockResponse(200, text="mocked")]
        )
        async with seawall.AsyncClient(retry=FAST) as client:
            response = await client.get("http://api.test/")
    assert type(response) is httpx.Response
    assert (response.text, route.call_count) == ("mocked", 2)
    assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["503", "200"]


async def test_respx_side_effects_are_transport_failures(mocked):
    """A mocked ConnectError is one in which nothing was sent: retried even for a POST. A ReadError isn't."""
    with mocked() as router:
        refused = router.post("http://api.test/a").mock(
            side_effect=[httpx.ConnectError("refused"), respx.MockResponse(200)]
        )
        lost = router.post("http://api.test/b").mock(side_effect=[httpx.ReadError("lost"), respx.MockResponse(200)])
        async with seawall.AsyncClient(retry=FAST) as client:
            assert (await client.post("http://api.test/a")).status_code == 200
            with pytest.raises(httpx.ReadError) as caught:
                await client.post("http://api.test/b")
    assert (refused.call_count, lost.call_count) == (2, 1)
    assert [attempt.outcome for attempt in caught.value.attempts] == ["ReadError"]


async def test_respx_raises_an_error_of_httpcore(mocked, core):
    """The library's transport makes its own of it, as ever; nothing was sent."""
    with mocked() as router:
        refused = router.post("http://api.test/").mock(
            side_effect=[core.ConnectError("refused"), respx.MockResponse(200), core.ReadError("lost")]
        )
        async with seawall.AsyncClient(retry=FAST) as client:
            response = await client.post("http://api.test/")
            with pytest.raises(httpx.ReadError):
                await client.post("http://api.test/")
    assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["ConnectError", "200"]
    assert refused.call_count == 3


@pytest.mark.parametrize("lib", ["httpx"], indirect=True)  # respx replaces the transport of no other
async def test_respx_in_the_place_of_the_transport(client):
    """``using="httpx"`` replaces the client's transport, so a mock is above the retries: it sees one request a call."""
    with respx.mock(using="httpx") as router:
        route = router.get("http://api.test/").respond(503)
        assert (await client.get("http://api.test/")).status_code == 503
    assert route.call_count == 1


@pytest.mark.parametrize("lib", ["httpx"], indirect=True)
async def test_respx_makes_the_error_of_a_class(mocked):
    """respx constructs it with a message and the request, if the class is httpx's."""
    with mocked() as router:
        refused = router.post("http://api.test/").mock(side_effect=[httpx.ConnectError, respx.MockResponse(200)])
        async with seawall.AsyncClient(retry=FAST) as client:
            assert (await client.post("http://api.test/")).status_code == 200
    assert refused.call_count == 2


async def test_error_of_the_other_library_comes_through(mocked, lib):
    """As through the library itself: it isn't one of its errors, so it isn't retried, no failure of the origin's."""
    foreign = FRONTS["httpx" if lib is FRONTS["httpx2"] else "httpx2"].httpx.ConnectError("refused")
    with mocked() as router:
        route = router.get("http://api.test/").mock(side_effect=foreign)
        for cls in (httpx.AsyncClient, seawall.AsyncClient):
            async with cls() as client:
                with pytest.raises(type(foreign)) as caught:
                    await client.get("http://api.test/")
            assert caught.value is foreign
    assert route.call_count == 2


async def test_respx_where_nothing_matches(mocked):
    """Its assertion comes through as it is: not retried, no failure of the origin's."""
    with mocked():
        async with seawall.AsyncClient() as client:
            with pytest.raises(AssertionError):
                await client.get("http://api.test/")
            assert client.stats().calls == 0


async def test_respx_streams(mocked):
    """A streamed body of a mock comes part by part; one that breaks is retried where the call reads it itself."""
    whole = respx.MockResponse(stream=body(b"a", b"b"))
    with mocked() as router:
        router.get("http://api.test/whole").mock(return_value=whole)
        broken = router.get("http://api.test/broken").mock(
            side_effect=[
                respx.MockResponse(stream=body(b"a", httpx.ReadError("lost"))),
                respx.MockResponse(stream=body(b"a", b"b")),
            ]
        )
        async with seawall.AsyncClient(retry=FAST) as client:
            async with client.stream("GET", "http://api.test/whole") as response:
                assert [part async for part in response.aiter_bytes()] == [b"a", b"b"]
            assert (await client.get("http://api.test/broken")).content == b"ab"
    assert broken.call_count == 2


@pytest.mark.parametrize("lib", ["httpx"], indirect=True)  # the child has both
@pytest.mark.parametrize(("core", "ours"), [("httpcore", "seawall"), ("httpcore2", "seawall.httpx2")])
def test_respx_before_seawall_is_imported(core, ours):
    """What is the library's own is told by its module, not by what it was at our import."""
    code = f"""
        import asyncio, respx
        from respx.mocks import HTTPCoreMocker
        class Mocker(HTTPCoreMocker):
            name = "httpcore2"
            targets = [target.replace("httpcore", "httpcore2") for target in HTTPCoreMocker.targets]
        with respx.mock(using={core!r}) as router:
            from {ours} import AsyncClient
            route = router.get("http://api.test/").respond(200)
            async def main():
                async with AsyncClient() as client:
                    await client.get("http://api.test/")
            asyncio.run(main())
            assert route.called
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


@pytest.mark.parametrize("lib", ["httpx"], indirect=True)  # the child has both
def test_tools_for_httpx_where_httpx2_is_in_its_place():
    """alias_httpx(): respx and VCR, as they are, see both fronts."""
    code = """
        import httpx2
        httpx2.alias_httpx()
        import asyncio, os, sys, tempfile, httpx, respx, vcr, seawall, seawall.httpx2
        from seawall.testing import Server
        async def ok(request):
            await request.reply(body=b"real")
        async def main():
            async with Server(ok) as server:
                for cls in (seawall.AsyncClient, seawall.httpx2.AsyncClient):
                    async with cls(retry=seawall.Retry(throttled_backoff=0)) as client:
                        with respx.mock as router:
                            route = router.get("http://api.test/").mock(
                                side_effect=[httpx.Response(503), httpx.ConnectError, httpx.Response(200)]
                            )
                            assert (await client.get("http://api.test/")).status_code == 200
                            assert route.call_count == 3
                        server.requests.clear()
                        with tempfile.TemporaryDirectory() as folder:
                            for _ in range(2):
                                with vcr.use_cassette(os.path.join(folder, "cassette.yaml")):
                                    assert (await client.get(server.url)).text == "real"
                        assert len(server.requests) == 1
        asyncio.run(main())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


@pytest.fixture
def plugin(lib, request):
    """pytest-httpx's fixture, or that of its fork for httpx2."""
    name = "httpx_mock"
    if lib is FRONTS["httpx2"]:
        name = "httpx2_mock"
        fork = pytest.importorskip("pytest_httpx2", reason="httpx2-pytest is pytest-httpx for httpx2")
        if not hasattr(fork, "HTTPXMock"):
            pytest.skip("pytest-httpx2 is installed, and httpx2-pytest has the same import name")
        for marker in request.node.iter_markers("httpx_mock"):
            request.applymarker(getattr(pytest.mark, name)(**marker.kwargs))
    return request.getfixturevalue(name)


async def test_pytest_httpx_sees_each_attempt(plugin):
    """The same with the other mock library."""
    plugin.add_response(status_code=503)
    plugin.add_exception(httpx.ReadTimeout("slow"))
    plugin.add_response(text="mocked")
    async with seawall.AsyncClient(retry=FAST) as client:
        response = await client.get("http://api.test/")
    assert (response.text, len(plugin.get_requests())) == ("mocked", 3)
    assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["503", "ReadTimeout", "200"]


async def test_pytest_httpx_streams(plugin):
    """A streamed body comes part by part; one that breaks is retried where the call reads it itself."""
    plugin.add_response(url="http://api.test/whole", stream=body(b"a", b"b"))
    plugin.add_response(url="http://api.test/broken", stream=body(b"a", httpx.ReadError("lost")))
    plugin.add_response(url="http://api.test/broken", stream=body(b"a", b"b"))
    async with seawall.AsyncClient(retry=FAST) as client:
        async with client.stream("GET", "http://api.test/whole") as response:
            assert [part async for part in response.aiter_bytes()] == [b"a", b"b"]
        assert (await client.get("http://api.test/broken")).content == b"ab"


@pytest.mark.parametrize("lib", ["httpx2"], indirect=True)
async def test_pytest_httpx2_of_respx(request):
    """Its fixture is a router of respx's, which sees each attempt."""
    plugin = pytest.importorskip("pytest_httpx2", reason="pytest-httpx2 is respx's fixture for httpx2")
    if hasattr(plugin, "HTTPXMock"):
        pytest.skip("httpx2-pytest is installed, and pytest-httpx2 has the same import name")
    router = request.getfixturevalue("httpx2_mock")
    route = router.get("http://api.test/").mock(side_effect=[respx.MockResponse(503), respx.MockResponse(200)])
    async with seawall.AsyncClient(retry=FAST) as client:
        assert (await client.get("http://api.test/")).status_code == 200
    assert route.call_count == 2


async def test_mock_of_one_library_is_not_the_others(client, serve, lib):
    """Under respx for one library, the client of the other goes to its server as it went."""
    other = "httpcore" if lib is FRONTS["httpx2"] else "httpcore2"
    server = await serve(ok)
    for _ in range(2):
        with respx.mock(using=other, assert_all_called=False) as router:
            route = router.get(server.url).respond(text="mocked")
            assert (await client.get(server.url)).text == "real"
            assert not route.called
    assert client.stats().connections == server.connections == 1


async def test_after_a_mock_the_wire_is_used_again(client, serve, mocked):
    """A patch may come and go, twice; while it is there, nothing reaches the server."""
    server = await serve(ok)
    for count in (2, 4):
        for _ in range(2):
            assert (await client.get(server.url)).text == "real"
        with mocked() as router:
            router.get(server.url).respond(text="mocked")
            assert (await client.get(server.url)).text == "mocked"
        assert len(server.requests) == count


async def test_what_a_mock_lets_through_goes_over_our_wire(client, serve, mocked):
    """respx's pass-through, with a name that only our DNS server knows."""
    server = await serve(ok)
    with mocked() as router:
        router.route().pass_through()
        response = await client.get(f"http://good.test:{server.port}")
        assert response.text == "real"
        async with client.stream("GET", f"http://good.test:{server.port}") as streamed:
            assert await streamed.aread() == b"real"
    assert client.stats().connections == server.connections == 1


@pytest.mark.httpx_mock(should_mock=lambda request: request.url.host != "127.0.0.1")
async def test_hosts_that_pytest_httpx_leaves_alone_go_over_our_wire(client, serve, plugin):
    """A mock for some hosts, the wire for others."""
    plugin.add_response(text="mocked")
    server = await serve(ok)
    assert [(await client.get(url)).text for url in ("http://api.test/", server.url)] == ["mocked", "real"]
    assert client.stats().connections == 1


async def test_vcr_records_our_wire_and_plays_it_back(client, serve, tmp_path):
    """It wraps the library's transport: a recording goes over our wire, a play-back over none; both have the retry."""
    statuses: list[int] = []

    async def flaky(request: Request) -> None:
        await request.reply(statuses.pop() if statuses else 200, body=b"real")

    server = await serve(flaky)
    for round_ in (1, 2):
        await client.get(server.url)
        statuses[:] = [503]
        for _ in range(2):
            with vcr.use_cassette(str(tmp_path / f"{round_}.yaml")) as cassette:
                response = await client.get(server.url, extensions=seawall.options(retry=FAST))
                async with client.stream("GET", server.url) as streamed:
                    assert await streamed.aread() == b"real"
            assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["503", "200"]
            assert (response.text, len(cassette)) == ("real", 3)
        assert len(server.requests) == 4 * round_
    assert client.stats().connections == server.connections == 1


async def test_vcr_keeps_what_was_good(client, serve, tmp_path):
    """An attempt whose body breaks off, which VCR reads itself, is retried and not recorded."""

    async def cut(request: Request) -> None:
        if len(server.requests) == 1:
            await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            request.close()
        else:
            await request.reply(body=b"whole")

    server = await serve(cut)
    with vcr.use_cassette(str(tmp_path / "cassette.yaml")) as cassette:
        response = await client.get(server.url, extensions=seawall.options(retry=FAST))
    assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["BadAnswer", "200"]
    assert (response.text, len(cassette)) == ("whole", 1)


async def test_vcr_refuses_what_it_has_not_recorded(client, serve, tmp_path):
    """Its error comes through as it is: not retried, no failure of the origin's; nothing reaches the server."""
    server = await serve(ok)
    with (
        vcr.use_cassette(str(tmp_path / "cassette.yaml"), record_mode="none"),
        pytest.raises(CannotOverwriteExistingCassetteException),
    ):
        await client.get(server.url)
    assert not server.requests
    assert client.stats().calls == 0


async def test_mock_transport_works_under_the_layers():
    """httpx's own mock: its answers are retried, its errors too."""
    answers = [httpx.Response(503), httpx.ReadTimeout("slow"), httpx.Response(200, text="good")]

    def handler(request: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with seawall.AsyncClient(transport=httpx.MockTransport(handler), retry=FAST) as client:
        response = await client.get("http://api.test/")
    assert response.text == "good"
    assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["503", "ReadTimeout", "200"]


async def test_asgi_transport_works_under_the_layers():
    """An application in the same process."""

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    transport = seawall.AsyncTransport(inner=httpx.ASGITransport(application))
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("http://app/")).text == "hello"


async def test_errors_of_an_asgi_application_are_its_own():
    """Its own call was refused, and it let that through: it has seen the POST, which is not sent again."""
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["method"])
        raise httpx.ConnectError("the database's API is down")

    async with seawall.AsyncClient(transport=httpx.ASGITransport(application), retry=FAST) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post("http://app/")
    assert seen == ["POST"]


async def test_another_seawall_below_is_not_believed(serve):
    """Its errors say what it did, not what was sent through it by us: the server sees the POST once."""

    async def reset(request: Request) -> None:
        request.reset()

    server = await serve(reset)
    async with seawall.AsyncClient(transport=seawall.AsyncTransport(seawall.AsyncTransport(), retry=FAST)) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(server.url)
    assert len(server.requests) == 1


async def test_foreign_transport_is_not_believed():
    """Some call a lost connection ConnectTimeout: over a transport that isn't httpx's, a POST is sent once."""

    class Foreign(httpx.AsyncBaseTransport):
        calls = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.calls += 1
            raise httpx.ConnectTimeout("connection lost")

    foreign = Foreign()
    async with seawall.AsyncClient(transport=foreign, retry=FAST) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.post("http://api.test/")
    assert foreign.calls == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, httpx.ReadError])
async def test_foreign_stream_that_breaks_is_closed(kind):
    """It is closed by the time that its error is the caller's, as with httpx."""
    events: list[str] = []

    class Breaking(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b"x"
            raise kind("broke")

        async def aclose(self) -> None:
            await asyncio.sleep(0)
            events.append("closed")

    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Breaking()))
    async with seawall.AsyncClient(transport=transport, retry=None) as client:
        with pytest.raises(kind):
            await client.get("http://a/")
        events.append("raised")
    assert events == ["closed", "raised"]


async def test_client_in_the_place_of_httpx(serve, monkeypatch):
    """Whoever patches `httpx.AsyncClient`, so that an SDK makes ours, gets one that works."""
    monkeypatch.setattr(httpx, "AsyncClient", seawall.AsyncClient)
    server = await serve(ok)
    async with httpx.AsyncClient(headers={"x-made": "by an SDK"}) as client:
        answers = [await client.get(server.url) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert client.headers["x-made"] == "by an SDK"
