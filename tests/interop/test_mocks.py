"""The tools that people test httpx code with see a seawall client as they see httpx's."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import textwrap

import httpcore
import httpx
import pytest
import respx
import vcr

import seawall
from seawall.testing import Request

pytestmark = pytest.mark.anyio
FAST = seawall.Retry(backoff=0, throttled_backoff=0)


async def ok(request: Request) -> None:
    await request.reply(body=b"real")


@respx.mock
async def test_respx_sees_each_attempt():
    """A mocked 503 is retried, and the route counts two calls."""
    route = respx.get("http://api.test/").mock(side_effect=[httpx.Response(503), httpx.Response(200, text="mocked")])
    async with seawall.AsyncClient(retry=FAST) as client:
        response = await client.get("http://api.test/")
    assert (response.text, route.call_count) == ("mocked", 2)


@respx.mock
async def test_respx_side_effects_are_transport_failures():
    """A mocked ConnectError is one in which nothing was sent: retried even for a POST. A ReadError isn't."""
    refused = respx.post("http://api.test/a").mock(side_effect=[httpx.ConnectError, httpx.Response(200)])
    lost = respx.post("http://api.test/b").mock(side_effect=[httpx.ReadError, httpx.Response(200)])
    async with seawall.AsyncClient(retry=FAST) as client:
        assert (await client.post("http://api.test/a")).status_code == 200
        with pytest.raises(httpx.ReadError) as caught:
            await client.post("http://api.test/b")
    assert (refused.call_count, lost.call_count) == (2, 1)
    assert [attempt.outcome for attempt in caught.value.attempts] == ["ReadError"]


async def test_respx_where_nothing_matches():
    """Its assertion comes through as it is: not retried, no failure of the origin's."""
    with respx.mock:
        async with seawall.AsyncClient() as client:
            with pytest.raises(AssertionError):
                await client.get("http://api.test/")
            assert client.stats().calls == 0


def test_respx_before_seawall_is_imported():
    """What is httpx's own is told by its module, not by what it was at our import."""
    code = """
        import asyncio, httpx, respx
        with respx.mock:
            import seawall
            route = respx.get("http://api.test/").respond(200)
            async def main():
                async with seawall.AsyncClient() as client:
                    await client.get("http://api.test/")
            asyncio.run(main())
            assert route.called
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


async def test_pytest_httpx_sees_each_attempt(httpx_mock):
    """The same with the other mock library."""
    httpx_mock.add_response(status_code=503)
    httpx_mock.add_response(text="mocked")
    async with seawall.AsyncClient(retry=FAST) as client:
        response = await client.get("http://api.test/")
    assert (response.text, len(httpx_mock.get_requests())) == ("mocked", 2)


async def test_after_a_mock_the_wire_is_used_again(client, serve):
    """A patch may come and go."""
    server = await serve(ok)
    with respx.mock:
        respx.get(server.url).respond(text="mocked")
        assert (await client.get(server.url)).text == "mocked"
    assert (await client.get(server.url)).text == "real"


async def test_what_a_mock_lets_through_goes_over_our_wire(client, serve):
    """respx's pass-through, with a name that only our DNS server knows."""
    server = await serve(ok)
    with respx.mock:
        respx.route().pass_through()
        response = await client.get(f"http://good.test:{server.port}")
        assert response.text == "real"
        async with client.stream("GET", f"http://good.test:{server.port}") as streamed:
            assert await streamed.aread() == b"real"
    assert client.stats().connections == server.connections == 1


@pytest.mark.httpx_mock(should_mock=lambda request: request.url.host != "127.0.0.1")
async def test_hosts_that_pytest_httpx_leaves_alone_go_over_our_wire(client, serve, httpx_mock):
    """A mock for some hosts, the wire for others."""
    httpx_mock.add_response(text="mocked")
    server = await serve(ok)
    assert [(await client.get(url)).text for url in ("http://api.test/", server.url)] == ["mocked", "real"]
    assert client.stats().connections == 1


async def test_vcr_records_our_wire_and_plays_it_back(client, serve, tmp_path):
    """It wraps httpx's transport: the recording goes over our wire, the play-back over none."""
    server = await serve(ok)
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "cassette.yaml")):
            response = await client.get(server.url)
        assert response.text == "real"
    assert len(server.requests) == 1
    assert client.stats().connections == 1


async def test_opentelemetry_gets_a_span_an_attempt(client, serve):
    """Its class-level instrumentation sees every attempt, and they go over our wire."""
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    answers = [503, 200]

    async def handler(request: Request) -> None:
        await request.reply(answers[len(server.requests) - 1])

    server = await serve(handler)
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        response = await client.get(server.url, extensions=seawall.options(retry=FAST))
    finally:
        instrumentor.uninstrument()
    assert response.status_code == 200
    assert len(exporter.get_finished_spans()) == 2
    assert "traceparent" in server.requests[1].headers
    assert client.stats().connections == 1


async def test_sentry_gets_a_span_a_call(client, serve, monkeypatch):
    """It wraps AsyncClient.send, also of clients that were made before; calls then go over our wire as ever."""
    import sentry_sdk
    from sentry_sdk.integrations.httpx import HttpxIntegration
    from sentry_sdk.transport import Transport

    sent = []

    class Kept(Transport):
        def capture_envelope(self, envelope) -> None:
            sent.append(envelope)

    server = await serve(ok)
    for _ in range(2):
        await client.get(server.url)  # the second one takes the short way
    for kind in (httpx.AsyncClient, httpx.Client):
        monkeypatch.setattr(kind, "send", kind.send)  # to have it back: Sentry can't be taken out
    with sentry_sdk.isolation_scope():
        sentry_sdk.init(
            dsn="http://key@127.0.0.1:9/1",
            transport=Kept,
            traces_sample_rate=1.0,
            default_integrations=False,
            integrations=[HttpxIntegration()],
        )
        try:
            with sentry_sdk.start_transaction(name="test"):
                response = await client.get(server.url)
        finally:
            sentry_sdk.get_client().close()
            sentry_sdk.init()
    (transaction,) = [item.payload.json for envelope in sent for item in envelope.items if item.type == "transaction"]
    assert [(span["op"], span["data"]["http.response.status_code"]) for span in transaction["spans"]] == [
        ("http.client", 200)
    ]
    assert "sentry-trace" in server.requests[-1].headers
    assert response.extensions["seawall"][0].is_reused
    assert len(server.requests) == 3
    assert client.stats().connections == 1


async def test_instrumented_httpcore_runs_over_our_wire(client, serve, monkeypatch):
    """A wrapper around httpcore's pool is called, and its original ends in our wire; streams too."""
    original = httpcore.AsyncConnectionPool.handle_async_request
    seen = []

    @functools.wraps(original)
    async def wrapper(self, request):
        seen.append(bytes(request.url))
        return await original(self, request)

    monkeypatch.setattr(httpcore.AsyncConnectionPool, "handle_async_request", wrapper)
    server = await serve(ok)
    assert (await client.get(server.url)).text == "real"
    async with client.stream("GET", server.url) as response:
        assert await response.aread() == b"real"
    assert len(seen) == 2
    assert [state.in_flight for state in client.stats().origins.values()] == [0]
    assert server.connections == client.stats().connections == 1


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
