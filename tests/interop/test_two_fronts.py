"""A client of httpx and one of httpx2 on one engine: they share what an engine has, and each gets its own errors."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import httpx
import httpx2
import pytest
import tenacity

import seawall
import seawall.httpx2
from seawall import errors
from seawall._httpx.errors import as_httpx
from seawall.httpx2.errors import as_httpx as as_httpx2
from seawall.testing import Request
from tests.fronts import Front
from tests.wire.peer import Peer

pytestmark = pytest.mark.anyio

CLIENTS: dict[Any, Any] = {httpx: seawall.AsyncClient, httpx2: seawall.httpx2.AsyncClient}
EACH = pytest.mark.parametrize(
    ("outer", "inner"), [(httpx, httpx2), (httpx2, httpx)], ids=["httpx2 below", "httpx below"]
)


async def ok(request: Request) -> None:
    await request.reply(body=request.headers["user-agent"].encode())


class Both(NamedTuple):
    """The engine, and a client of each library on it."""

    engine: seawall.Engine
    over_httpx: seawall.AsyncClient
    over_httpx2: seawall.httpx2.AsyncClient

    async def errors(self, url: str) -> tuple[Any, Any]:
        """What both raise for ``/httpx`` and ``/httpx2``, asked for at once; checked to be each library's own."""
        one, two = await asyncio.gather(
            self.over_httpx.get(f"{url}/httpx"), self.over_httpx2.get(f"{url}/httpx2"), return_exceptions=True
        )
        check_own(one, httpx, httpx2)
        check_own(two, httpx2, httpx)
        assert [error.request.url.path for error in (one, two)] == ["/httpx", "/httpx2"]
        assert [[each.path for each in seawall.history(error)] for error in (one, two)] == [["/httpx"], ["/httpx2"]]
        assert seawall.history(one) is not seawall.history(two)
        for error in (one, two):
            assert error.__notes__ == [f"seawall: {error.attempts}"]
            assert not isinstance(error.__cause__, httpx.HTTPError | httpx2.HTTPError)
        return one, two


def check_own(error: object, own: Any, other: Any) -> None:
    assert isinstance(error, errors.SeawallError)
    assert isinstance(error, own.HTTPError)
    assert not isinstance(error, other.HTTPError)


@pytest.fixture
async def both(stack: AsyncExitStack, dns, request: pytest.FixtureRequest) -> Both:
    """*request.param* are more settings of the engine."""
    settings: dict[str, Any] = {"dns": seawall.DNS(nameservers=(dns.address,)), "retry": None, "timeout": 5.0}
    settings |= getattr(request, "param", {})
    timeout = settings.pop("timeout")
    engine = await stack.enter_async_context(seawall.Engine(**settings))
    over_httpx = await stack.enter_async_context(seawall.AsyncClient(engine=engine, timeout=timeout))
    over_httpx2 = await stack.enter_async_context(seawall.httpx2.AsyncClient(engine=engine, timeout=timeout))
    return Both(engine, over_httpx, over_httpx2)


# What they share


async def test_one_connection_and_one_lookup(both, serve, dns):
    """The server sees one connection and the DNS server one question; each client sends its own headers."""
    server = await serve(ok)
    url = server.url.replace("127.0.0.1", "good.test")
    bodies = [(await client.get(url)).text for client in (both.over_httpx, both.over_httpx2) * 2]
    assert bodies == [f"python-httpx/{httpx.__version__}", f"python-httpx2/{httpx2.__version__}"] * 2
    assert (server.connections, len(server.requests), dns.queries["good.test", "A"]) == (1, 4, 1)
    stats = both.engine.stats()
    assert stats == both.over_httpx.stats() == both.over_httpx2.stats()
    assert list(stats.origins) == [seawall.Origin("http", "good.test", server.port)]
    assert (stats.connections, stats.totals.calls) == (1, 4)


@pytest.mark.parametrize("both", [{"breaker": seawall.Breaker(min_calls=2)}], indirect=True)
async def test_breaker_that_one_opens_refuses_the_other(both, serve):
    """With an error of that other's library, and without a request to the server."""

    async def bad(request: Request) -> None:
        await request.reply(status=503)

    server = await serve(bad)
    for _ in range(2):
        assert (await both.over_httpx.get(server.url)).status_code == 503
    with pytest.raises(seawall.BreakerOpen) as caught:
        await both.over_httpx2.get(server.url)
    check_own(caught.value, httpx2, httpx)
    assert isinstance(caught.value, httpx2.ConnectError)
    with pytest.raises(seawall.BreakerOpen) as caught:
        await both.over_httpx.get(server.url)
    check_own(caught.value, httpx, httpx2)
    assert isinstance(caught.value, httpx.ConnectError)
    assert len(server.requests) == 2


@pytest.mark.parametrize("first", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_closing_one_leaves_the_engine_for_the_other(serve, first):
    """The connection stays too; a call after the engine's end gets the caller's own error."""
    server = await serve(ok)
    (second,) = CLIENTS.keys() - {first}
    async with seawall.Engine() as engine:
        left = CLIENTS[second](engine=engine)
        async with CLIENTS[first](engine=engine) as client:
            await client.get(server.url)
        assert (await left.get(server.url)).status_code == 200
        assert server.connections == 1
    with pytest.raises(seawall.ClientClosed) as caught:
        await left.get(server.url)
    check_own(caught.value, second, first)


async def test_deadlines_and_options_hold_in_both(both, serve):
    """The context's and the call's deadline, each as the caller's own timeout error; and the call's retries."""

    async def silent(request: Request) -> None:
        if request.target == "/hang":
            await asyncio.Event().wait()
        await request.reply(status=503)

    server = await serve(silent)
    for own, client, other in ((httpx, both.over_httpx, httpx2), (httpx2, both.over_httpx2, httpx)):
        with seawall.deadline(0.05), pytest.raises(seawall.DeadlineExceeded) as caught:
            await client.get(f"{server.url}/hang")
        check_own(caught.value, own, other)
        assert isinstance(caught.value, own.TimeoutException)
        with pytest.raises(own.TimeoutException) as caught:
            await client.get(f"{server.url}/hang", extensions=seawall.options(deadline=0.05))
        assert isinstance(caught.value, seawall.DeadlineExceeded)
        assert caught.value.timeout == pytest.approx(0.05)
        twice = seawall.options(retry=seawall.Retry(max_attempts=2, backoff=0))
        response = await client.get(f"{server.url}/bad", extensions=twice)
        assert [attempt.status for attempt in seawall.history(response)] == [503, 503]


# What fails for both


@pytest.mark.parametrize("both", [{}, {"http1": False, "http2": True}], indirect=True, ids=["http1", "http2"])
async def test_dial_that_fails(both):
    """With HTTP/2, one of them dials and the other waits for that."""
    one, two = await both.errors("http://127.0.0.1:1")
    for error, library in ((one, httpx), (two, httpx2)):
        assert isinstance(error, seawall.DialError)
        assert isinstance(error, library.ConnectError)
        assert isinstance(error.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(
    ("name", "kind"), [("nowhere.test", errors.NameNotFound), ("servfail.test", errors.ResolverFailure)]
)
async def test_lookup_that_fails(both, dns, name, kind):
    """It is one lookup for both, whose failure is one object."""
    one, two = await both.errors(f"http://{name}")
    for error, library in ((one, httpx), (two, httpx2)):
        assert isinstance(error, kind)
        assert isinstance(error, library.ConnectError)
        assert isinstance(error.__cause__, kind)
    assert one.__cause__ is two.__cause__
    assert dns.queries[name, "A"] <= 2  # of one lookup, which asks again where the server fails


@pytest.mark.parametrize("both", [{"http1": False, "http2": True}], indirect=True)
async def test_connection_that_dies_under_streams_of_both(both, by_hand):
    """One HTTP/2 connection: its end is the same for both, and each error is its own caller's."""
    connections = []

    async def script(peer: Peer) -> None:
        connections.append(peer)
        await peer.request()
        await peer.request()
        peer.writer.transport.abort()

    url = (await by_hand(script)).rstrip("/")
    one, two = await both.errors(url)
    for error, library in ((one, httpx), (two, httpx2)):
        assert isinstance(error, errors.ConnectionLost)
        assert isinstance(error, library.ReadError)
        assert isinstance(error.__cause__, ConnectionError)
    assert one.death is two.death is not None
    assert len(connections) == 1


async def test_error_that_a_gate_raises_again_and_again(serve):
    """One object for all callers: it stays as it is, and each gets its own."""

    class Shut:
        name = "shut"
        error = seawall.Rejected("not today")

        def try_enter(self, attempt: object, now: float) -> None:
            return None

        async def enter(self, attempt: object, timeout: float | None) -> seawall.Ticket:
            raise self.error

    server, shut = await serve(ok), Shut()
    async with seawall.Engine(gates=[lambda origin: shut], retry=None) as engine:
        both = Both(engine, seawall.AsyncClient(engine=engine), seawall.httpx2.AsyncClient(engine=engine))
        one, two = await both.errors(server.url)
    assert isinstance(one, httpx.PoolTimeout)
    assert isinstance(two, httpx2.PoolTimeout)
    assert (one.by, two.by) == ("shut", "shut")
    assert type(shut.error) is seawall.Rejected
    assert shut.error.attempts == ()
    assert not hasattr(shut.error, "__notes__")


# Who sees an error


async def test_all_see_the_error_that_the_caller_catches(lib: Front):
    """Predicates, tenacity's own and its hooks, and the cause of a later error: the same objects, of the library."""
    seen: list[Any] = []
    heard: list[Any] = []

    class Told(tenacity.retry_if_exception_type):
        def __call__(self, state: tenacity.RetryCallState) -> bool:
            seen.append(state.outcome.exception())  # type: ignore[union-attr]
            return super().__call__(state)

    retry = seawall.Retry(
        retry=Told(lib.httpx.ConnectError),
        before_sleep=lambda state: seen.append(state.outcome.exception()),  # type: ignore[union-attr]
        max_attempts=2,
        backoff=0,
    )
    async with lib.seawall.AsyncClient(retry=retry, observers=[heard.append]) as client:
        with pytest.raises(lib.httpx.ConnectError) as caught:
            await client.get("http://127.0.0.1:1/")
    first, again, last = seen
    assert first is again
    assert last is caught.value
    assert isinstance(last.__cause__, ConnectionRefusedError)
    assert type(first) is type(last)
    assert [each.error for each in seawall.history(last)] == ["DialError", "DialError"]
    assert [event.outcome for event in heard if isinstance(event, seawall.events.CallEnded)] == ["DialError"]


async def test_resolver_with_a_client_of_its_own(lib: Front):
    """The name that its client didn't find isn't the one that was asked for, so that one may exist."""
    for adopt in (as_httpx, as_httpx2):

        class Over:
            async def resolve(self, host: str, port: int, *, family: int = 0) -> seawall.dns.Answer:
                raise adopt(errors.NameNotFound("dns.example: no such name"), None)  # noqa: B023

            async def aclose(self) -> None: ...

        async with lib.seawall.AsyncClient(resolver=Over(), retry=None) as client:
            with pytest.raises(lib.httpx.ConnectError) as caught:
                await client.get("http://asked.test/")
        assert isinstance(caught.value, errors.ResolverFailure)


# An application below that uses the other library


def application(error: Exception, calls: list[object]) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        raise error

    return application


@EACH
async def test_error_of_the_other_library_passes_unchanged(outer, inner):
    """As httpx passes it: the same object, with the history of its own call, after one attempt of this one."""
    adopt = as_httpx2 if inner is httpx2 else as_httpx
    history = seawall.History()
    error = adopt(errors.ReadTimeout("slow", attempts=history), inner.Request("GET", "http://below/"))
    calls: list[object] = []
    client = CLIENTS[outer](transport=outer.ASGITransport(application(error, calls)))
    async with client:
        with pytest.raises(inner.ReadTimeout) as caught:
            await client.get("http://a/")
    assert caught.value is error
    assert not isinstance(error, outer.HTTPError)
    assert error.request.url == "http://below/"
    assert seawall.history(error) is history
    assert calls == ["/"]


@EACH
async def test_error_of_the_other_library_that_claims_that_nothing_was_sent(outer, inner):
    """Of this call something was: a PartlySent of this library, whose reason is the other's error as it is."""
    calls: list[object] = []
    async with CLIENTS[inner](retry=None) as below:
        with pytest.raises(inner.ConnectError) as reason:
            await below.get("http://127.0.0.1:1/")
    client = CLIENTS[outer](transport=outer.ASGITransport(application(reason.value, calls)))
    async with client:
        with pytest.raises(outer.ConnectError) as caught:
            await client.post("http://a/below")
    error = caught.value
    check_own(error, outer, inner)
    assert isinstance(error, errors.PartlySent)
    assert error.reason is error.__cause__ is reason.value
    assert isinstance(error.reason, inner.ConnectError)
    assert error.request.url == "http://a/below"
    assert "a transport or an application below raised this" in str(error)
    assert [each.path for each in seawall.history(error)] == ["/below"]
    assert error.__notes__ == [f"seawall: {error.attempts}"]
    assert calls == ["/below"]
