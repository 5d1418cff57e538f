"""Bombs, in every way in which a body is read: refused, a turn's work at a time, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

import seawall
from seawall.cli import calls
from seawall.cli.exit_codes import ExitCode
from seawall.cli.sent import sent
from seawall.testing import Body, Request, Server
from seawall.testing.leaks import held
from seawall.wire.decoder import TURN, Decoded, Decoder
from tests.bodies import NAMES, encoded, hollow, named, zeros

pytestmark = pytest.mark.anyio

LIMIT = 100_000
URL = "http://a.test/"
NESTS = [
    *[(name,) for name in NAMES],
    ("gzip", "deflate", "br"),
    ("deflate", "br", "zstd"),
    ("br", "zstd", "gzip"),
    ("zstd", "gzip", "deflate"),
    ("zstd", "br"),
    ("zstd", "gzip"),
]
BOMBS = {f"{', '.join(names)} of zeros": (named(names), zeros(names)) for names in NESTS} | {
    f"{', '.join(names)} of nothing": (named(names), hollow(names[0], names[1:]))
    for names in [("gzip", "gzip", "gzip"), ("deflate", "zstd", "br"), ("zstd", "deflate")]
}


class Meter:
    """The work of each turn of the loop."""

    def __init__(self) -> None:
        self.turn = 0
        self.steps: list[tuple[int, int]] = []

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    def check(self) -> None:
        """No turn has more than two turns' work, but for the last step; those that follow each other have few."""
        assert self.steps
        by_turn: dict[int, list[int]] = {}
        for turn, units in self.steps:
            by_turn.setdefault(turn, []).append(units)
        assert all(sum(units[:-1]) < 2 * TURN for units in by_turn.values())


@pytest.fixture
async def meter(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Meter]:
    meter = Meter()
    step = Decoder._step

    def measured(self: Decoder) -> bytes | None:
        before = self.worked
        try:
            return step(self)
        finally:
            meter.steps.append((meter.turn, self.worked - before))

    monkeypatch.setattr(Decoder, "_step", measured)
    task = asyncio.create_task(meter.count())
    yield meter
    task.cancel()


@pytest.fixture(params=list(BOMBS))
async def bomb(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    return BOMBS[request.param]


@pytest.fixture
async def server(bomb: tuple[str, bytes]) -> AsyncIterator[Server]:
    """Answers with the bomb, and the status that the path names."""
    coding, body = bomb

    async def handle(request: Request) -> None:
        status = int(request.target.strip("/") or 200)
        fields = {"content-encoding": coding}
        if status == 302:
            fields["location"] = "/"
        if status == 401:
            fields["www-authenticate"] = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
        await request.reply(status, body, fields)

    async with Server(handle) as server:
        yield server


def settings(**given: object) -> dict[str, object]:
    return {
        "max_response_size": LIMIT,
        "retry": seawall.Retry(backoff=0, throttled_backoff=0, max_attempts=2),
        "trust_env": False,
    } | given


async def refused(client: httpx.AsyncClient, call: Callable[[], Awaitable[object]]) -> None:
    """Twice, because the second call of a client may go a shorter way."""
    for _ in range(2):
        with pytest.raises(seawall.errors.ResponseTooLarge) as caught:
            await call()
        assert isinstance(caught.value, httpx.RemoteProtocolError)
        assert caught.value.request is not None
        await asyncio.sleep(0)  # a mock takes no turn of its own
    if isinstance(client, seawall.AsyncClient):
        assert held(client.stats()) == []


@pytest.mark.parametrize("how", ["aiter_bytes", "aiter_text", "aiter_lines", "aread"])
async def test_streamed(server, meter, how):
    """By whatever it is read."""

    async def call() -> None:
        async with client.stream("GET", server.url) as response:
            if how == "aread":
                await response.aread()
            else:
                size = 0
                async for part in getattr(response, how)():
                    size += len(part)
                    assert size <= LIMIT

    async with seawall.AsyncClient(**settings()) as client:
        await refused(client, call)
    meter.check()


async def test_read_at_once(server, meter):
    """The bomb is an error of its attempt, and isn't asked for again."""
    async with seawall.AsyncClient(**settings()) as client:
        await refused(client, lambda: client.get(server.url))
        with pytest.raises(seawall.errors.ResponseTooLarge) as caught:
            await client.post(server.url, content=b"x")
        assert [attempt.outcome for attempt in caught.value.attempts] == ["ResponseTooLarge"]
        assert caught.value.origin is not None
    meter.check()


class Own(seawall.AsyncClient):
    """A user's, whose every response goes through a method of its own."""

    async def _send_single_request(self, request: httpx.Request) -> httpx.Response:
        response = await super()._send_single_request(request)
        try:
            await response.aread()
        except httpx.TransportError:
            await response.aclose()
            raise
        return response


class Stepping(httpx.Auth):
    requires_response_body = True

    def auth_flow(self, request):
        response = yield request
        assert response.content
        yield request


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("how", ["redirect", "auth", "hook", "subclass"])
async def test_read_by_httpx(server, meter, how, is_streamed):
    """Redirects, steps of an authentication, hooks and subclasses read bodies that nobody else does."""

    async def read(response: httpx.Response) -> None:
        await response.aread()

    given: dict[str, object] = {
        "redirect": {"follow_redirects": True},
        "auth": {"auth": Stepping()},
        "hook": {"event_hooks": {"response": [read]}},
        "subclass": {},
    }[how]  # type: ignore[assignment]
    path = {"redirect": "/302", "auth": "/401"}.get(how, "/")
    client_class = Own if how == "subclass" else seawall.AsyncClient

    async def call() -> None:
        if not is_streamed:
            await client.get(server.url + path)
            return
        async with client.stream("GET", server.url + path):
            raise AssertionError("the bomb was read")

    async with client_class(**settings(**given)) as client:
        await refused(client, call)
    meter.check()


@pytest.mark.parametrize("how", ["predicate", "before_sleep", "raise_on_status"])
async def test_shown(server, meter, how):
    """What users' hooks of a retry look at was decoded by us."""
    seen: list[object] = []
    retry = {
        "predicate": seawall.Retry(retry=seen.append, backoff=0, throttled_backoff=0),
        "before_sleep": seawall.Retry(statuses={503}, before_sleep=seen.append, backoff=0, throttled_backoff=0),
        "raise_on_status": seawall.Retry(raise_on_status=True, max_attempts=1),
    }[how]
    async with seawall.AsyncClient(**settings(retry=retry)) as client:
        await refused(client, lambda: client.get(server.url + "/503"))
    meter.check()


async def test_command(server, meter, capsys):
    """`seawall get` has no limit but the ratio."""
    request = sent(method=None, headers=(), data=(), json=None)
    assert await calls.run(calls.Wanted(urls=[server.url], request=request, outputs=())) is ExitCode.TOO_LARGE
    assert "a bomb" in capsys.readouterr().err
    meter.check()


def transports(coding: str, body: bytes) -> dict[str, httpx.AsyncBaseTransport]:
    headers = {"content-encoding": coding}

    async def app(scope, receive, send):
        raw = [(b"content-encoding", coding.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    def answer(stream: httpx.AsyncByteStream) -> httpx.MockTransport:
        return httpx.MockTransport(lambda request: httpx.Response(200, headers=headers, stream=stream))

    return {
        "asgi": httpx.ASGITransport(app),
        "bytes": answer(httpx.ByteStream(body)),
        "parts": answer(Body(body[:9], body[9:])),
    }


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("which", ["asgi", "bytes", "parts"])
async def test_other_transports(bomb, meter, which, is_streamed):
    """A mock's, or an application's."""

    async def call() -> None:
        if is_streamed:
            async with client.stream("GET", URL) as response:
                await response.aread()
        else:
            await client.get(URL)

    async with seawall.AsyncClient(transport=transports(*bomb)[which], **settings()) as client:
        await refused(client, call)
    meter.check()


@pytest.mark.parametrize("how", ["inner", "stock", "patched", "sync"])
async def test_ways_through_httpx(server, bomb, meter, monkeypatch, how):
    """httpx's transport under ours; httpx's client over ours; httpx's transport patched; a synchronous read."""
    if how == "patched":
        theirs = httpx.AsyncHTTPTransport.handle_async_request

        async def patch(self, request):
            return await theirs(self, request)

        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", patch)
    if how == "stock":
        transport = seawall.AsyncTransport(max_response_size=LIMIT, trust_env=False)
        client: httpx.AsyncClient = httpx.AsyncClient(transport=transport)
    elif how == "sync":
        client = seawall.AsyncClient(transport=transports(*bomb)["bytes"], **settings())
    else:
        client = seawall.AsyncClient(**settings(transport=httpx.AsyncHTTPTransport() if how == "inner" else None))

    async def call() -> None:
        if how != "sync":
            await client.get(server.url)
            return
        async with client.stream("GET", URL) as response:
            response.read()

    async with client:
        await refused(client, call)
    meter.check()


# Bodies that are not bombs


def answering(coding: str, body: bytes, status: int = 200) -> httpx.MockTransport:
    headers = {"content-encoding": coding}
    return httpx.MockTransport(lambda request: httpx.Response(status, headers=headers, stream=Body(body)))


@pytest.mark.parametrize("name", NAMES)
async def test_predicates_see_what_is_decoded(name):
    """Under its headers; and what can't be, as it came."""
    seen: list[tuple[bytes, bool]] = []

    def look(outcome):
        seen.append((outcome.response.content, "content-encoding" in outcome.response.headers))

    retry = seawall.Retry(retry=look, backoff=0, throttled_backoff=0)
    body = encoded([name], b"text")
    async with seawall.AsyncClient(transport=answering(name, body), retry=retry) as client:
        for _ in range(2):
            response = await client.get(URL)
            assert (response.content, response.num_bytes_downloaded) == (b"text", len(body))
    async with seawall.AsyncClient(transport=answering(name, body[:-1]), retry=retry) as client:
        with pytest.raises(httpx.DecodingError):
            await client.get(URL)
    assert seen == [(b"text", True), (b"text", True), (body[:-1], False)]


async def test_status_error_has_what_is_decoded():
    """And a 503 that can't be decoded is retried as any."""
    retry = seawall.Retry(raise_on_status=True, backoff=0, throttled_backoff=0, max_attempts=2)
    for body, content in ((encoded(["zstd"], b"busy"), b"busy"), (b"garbage", b"garbage")):
        async with seawall.AsyncClient(transport=answering("zstd", body, 503), retry=retry) as client:
            with pytest.raises(seawall.errors.StatusError) as caught:
                await client.get(URL)
        assert caught.value.response.content == content
        assert len(caught.value.attempts) == 2


async def test_response_that_was_read_already(meter):
    """By the mock that made it: nothing is decoded again, for nobody."""
    made = httpx.Response(200, headers={"content-encoding": "gzip"}, content=encoded(["gzip"], b"text"))
    seen = []
    retry = seawall.Retry(retry=lambda outcome: seen.append(outcome.response))
    async with seawall.AsyncClient(transport=httpx.MockTransport(lambda request: made), retry=retry) as client:
        assert (await client.get(URL)).content == b"text"
    assert seen[0] is made
    assert meter.steps == []


async def test_answer_that_nobody_could_decode_leaves_no_cycle():
    """It was retried, so nobody took its error."""
    answers = [(503, b"garbage"), (200, encoded(["gzip"], b"text"))]

    def answer(request: httpx.Request) -> httpx.Response:
        status, body = answers.pop(0)
        return httpx.Response(status, headers={"content-encoding": "gzip"}, stream=Body(body))

    gc.collect()
    gc.disable()
    try:
        retry = seawall.Retry(backoff=0, throttled_backoff=0)
        async with seawall.AsyncClient(transport=httpx.MockTransport(answer), retry=retry) as client:
            assert (await client.get(URL)).content == b"text"
        assert not [each for each in gc.get_objects() if type(each) is Decoded and each.error is not None]
    finally:
        gc.enable()
