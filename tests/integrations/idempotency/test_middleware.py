"""The middlewares, by FastAPI and aiohttp on loopback."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import fastapi
import httpx
import pytest
from aiohttp import web
from fastapi.responses import PlainTextResponse, StreamingResponse

from seawall.integrations.aiohttp import IDEMPOTENCY, idempotency_middleware
from seawall.integrations.idempotency import Claim, IdempotencyMiddleware, Run, State, StoreFailed
from tests.interop.servers import aiohttp_app, asgi

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": '"k"', "Authorization": "Bearer me"}


@dataclass
class Service:
    """
    What its handlers do.

    Attributes:
        runs: Bodies that a handler had.
        statuses: What the next handlers answer with; 500 raises, and -1 lets go of the transaction's block by an error.
        has_begun, may_end: A handler of /slow says the one, and waits for the other.
    """

    kept: Any
    runs: list[bytes] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    def run(self, body: bytes) -> tuple[int, str, dict[str, str]]:
        self.runs.append(body)
        status = self.statuses.pop(0) if self.statuses else 201
        if status == 500:
            raise RuntimeError("the handler failed")
        headers = {
            "Location": f"/orders/{len(self.runs)}",
            "Set-Cookie": "session=secret",
            "X-Run": str(len(self.runs)),
        }
        return status, f"run {len(self.runs)}", headers


def fastapi_app(service: Service, **settings: Any):
    app = fastapi.FastAPI()
    app.add_middleware(IdempotencyMiddleware, store=service.kept.store, **settings)

    @app.api_route("/orders", methods=["POST", "PUT"])
    async def orders(request: fastapi.Request) -> PlainTextResponse:
        status, text, headers = service.run(await request.body())
        return PlainTextResponse(text, status, headers)

    @app.post("/slow")
    async def slow(request: fastapi.Request) -> PlainTextResponse:
        status, text, headers = service.run(await request.body())
        service.has_begun.set()
        await service.may_end.wait()
        return PlainTextResponse(text, status, headers)

    @app.post("/long")
    async def long(request: fastapi.Request) -> StreamingResponse:
        status, _, _ = service.run(await request.body())

        async def parts():
            for _ in range(3):
                yield b"x" * 40

        return StreamingResponse(parts(), status)

    @app.post("/transaction")
    async def transaction(request: fastapi.Request) -> PlainTextResponse:
        async with request.state.idempotency.transaction() as connection:
            await service.kept.insert(connection, "tea")
            service.runs.append(b"")
            if service.statuses[:1] == [-1]:
                service.statuses.pop()
                raise fastapi.HTTPException(402, "no money")
        service.has_begun.set()
        if not service.may_end.is_set():
            await service.may_end.wait()
        return PlainTextResponse("made", service.statuses.pop() if service.statuses else 201)

    return asgi(app)


def aiohttp_service(service: Service, **settings: Any):
    async def orders(request: web.Request) -> web.Response:
        status, text, headers = service.run(await request.read())
        return web.Response(status=status, text=text, headers=headers)

    async def slow(request: web.Request) -> web.Response:
        service.runs.append(await request.read())
        service.has_begun.set()
        await service.may_end.wait()
        return web.Response(status=201, text=f"run {len(service.runs)}")

    async def long(request: web.Request) -> web.StreamResponse:
        status, _, _ = service.run(await request.read())
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"x" * 40)
        return response

    async def transaction(request: web.Request) -> web.Response:
        async with request[IDEMPOTENCY].transaction() as connection:
            await service.kept.insert(connection, "tea")
            service.runs.append(b"")
            if service.statuses[:1] == [-1]:
                service.statuses.pop()
                raise web.HTTPPaymentRequired
        service.has_begun.set()
        if not service.may_end.is_set():
            await service.may_end.wait()
        return web.Response(status=service.statuses.pop() if service.statuses else 201, text="made")

    app = web.Application(middlewares=[idempotency_middleware(store=service.kept.store, **settings)])
    app.router.add_post("/orders", orders)
    app.router.add_put("/orders", orders)
    app.router.add_post("/slow", slow)
    app.router.add_post("/long", long)
    app.router.add_post("/transaction", transaction)
    return aiohttp_app(app)


@pytest.fixture(params=[fastapi_app, aiohttp_service])
async def start(request, stack, in_sqlite):
    """Start a service over SQLite, and a client of it."""

    async def start(kept: Any = in_sqlite, **settings: Any) -> tuple[Service, httpx.AsyncClient]:
        service = Service(kept)
        url = await stack.enter_async_context(request.param(service, **settings))
        return service, await stack.enter_async_context(httpx.AsyncClient(base_url=url))

    return start


async def test_a_repeat_gets_the_first_answer(start):
    """Status, body and headers, without the session's cookie, which nobody keeps."""
    service, client = await start()
    first = await client.post("/orders", content=b"tea", headers=KEY)
    again = await client.post("/orders", content=b"tea", headers=KEY)
    assert service.runs == [b"tea"]
    assert (first.status_code, first.text) == (again.status_code, again.text) == (201, "run 1")
    assert first.headers["Set-Cookie"] == "session=secret"
    assert "Set-Cookie" not in again.headers
    for name in ("Location", "X-Run", "Content-Type", "Content-Length"):
        assert first.headers[name] == again.headers[name]
    assert len(again.headers.get_list("Date")) == 1


async def test_requests_that_a_key_says_nothing_about(start):
    """Without a key, or by another method, each runs."""
    service, client = await start()
    for _ in range(2):
        assert (await client.post("/orders")).status_code == 201
        assert (await client.put("/orders", headers=KEY)).status_code == 201
    assert len(service.runs) == 4


async def test_methods_in_any_case(start):
    """As in `Retry.methods`; else no key would be heeded, and nobody told."""
    service, client = await start(methods=("put",))
    for _ in range(2):
        assert (await client.put("/orders", headers=KEY)).text == "run 1"
    assert len(service.runs) == 1


@pytest.mark.parametrize(
    ("headers", "title"),
    [({}, "missing"), ({"Idempotency-Key": "token"}, "malformed"), ({"Idempotency-Key": '""'}, "malformed")],
)
async def test_keys_that_are_refused(start, headers, title):
    """400 as problem details, and nothing has run."""
    service, client = await start(required=True)
    answer = await client.post("/orders", headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    problem = answer.json()
    assert title in problem["title"]
    assert problem["status"] == 400
    assert problem["type"].startswith("https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header")
    assert service.runs == []


@pytest.mark.parametrize(("path", "body"), [("/orders", b"milk"), ("/orders?gift=1", b"tea"), ("/slow", b"tea")])
async def test_another_request_under_the_key(start, path, body):
    """422, whether its body, its query or its path differs."""
    service, client = await start()
    await client.post("/orders", content=b"tea", headers=KEY)
    answer = await client.post(path, content=body, headers=KEY)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert service.runs == [b"tea"]


async def test_a_repeat_of_one_that_runs(start):
    """409 with a Retry-After; after the end it gets the answer."""
    service, client = await start()
    first = asyncio.create_task(client.post("/slow", headers=KEY))
    await service.has_begun.wait()
    answer = await client.post("/slow", headers=KEY)
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json")
    assert answer.headers["Retry-After"] == "1"
    service.may_end.set()
    assert (await first).text == (await client.post("/slow", headers=KEY)).text == "run 1"


async def test_callers_do_not_see_each_others_answers(start):
    """The same key with another Authorization or API key is another key; with another cookie, where it has neither."""
    service, client = await start()
    callers = [{"Cookie": "s=1"}, {"Cookie": "s=2"}, {"Authorization": "a"}, {"Authorization": "b"}, {"X-API-Key": "1"}]
    for cookie in ({}, {"Cookie": "s=3"}):
        for number, caller in enumerate(callers, 1):
            headers = {"Idempotency-Key": KEY["Idempotency-Key"]} | cookie | caller
            assert (await client.post("/orders", headers=headers)).text == f"run {number}"
    assert len(service.runs) == 5


async def test_scope_that_the_application_gives(start):
    """A token that is refreshed between two attempts is still the same caller's."""

    def account(request: Any) -> str:
        headers = dict(request["headers"] if isinstance(request, dict) else request.raw_headers)
        return (headers.get(b"authorization") or headers[b"Authorization"]).split(b":")[0].decode()

    _, client = await start(scope=account)
    texts = [
        (await client.post("/orders", headers=KEY | {"Authorization": token})).text
        for token in ("ann:1", "ann:2", "bob:1")
    ]
    assert texts == ["run 1", "run 1", "run 2"]


@pytest.mark.parametrize(
    ("status", "runs"), [(404, 1), (400, 1), (303, 1), (500, 2), (503, 2), (429, 2), (409, 2), (425, 2)]
)
async def test_answers_that_are_kept(start, status, runs):
    """Those that would be the same again. One that says "try again" isn't, so that a retry runs."""
    service, client = await start()
    service.statuses = [status]
    try:
        first = (await client.post("/orders", headers=KEY)).status_code
    except httpx.HTTPError:
        first = 500
    again = await client.post("/orders", headers=KEY)
    assert (first, again.status_code) == (status, status if runs == 1 else 201)
    assert len(service.runs) == runs


async def test_request_that_is_too_large(start):
    """413, unread where it says its length; just as large as allowed, it runs."""
    service, client = await start(max_body=100)
    answer = await client.post("/orders", content=b"x" * 101, headers=KEY)
    assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")

    async def parts():
        for _ in range(3):
            yield b"x" * 40

    assert (await client.post("/orders", content=parts(), headers=KEY)).status_code == 413
    assert (await client.post("/orders", content=b"x" * 100, headers=KEY)).status_code == 201
    assert service.runs == [b"x" * 100]


async def test_answer_that_is_too_long(start):
    """It arrives whole; a repeat doesn't run, because the first has acted, and is told that its answer wasn't kept."""
    service, client = await start(max_body=100)
    assert (await client.post("/long", headers=KEY)).content == b"x" * 120
    again = await client.post("/long", headers=KEY)
    assert (again.status_code, again.json()["title"]) == (422, "Answer was not kept")
    assert len(service.runs) == 1


async def test_error_that_is_too_long(start):
    """A 503 isn't kept, however long it is, so a retry runs."""
    service, client = await start(max_body=100)
    service.statuses = [503]
    first = await client.post("/long", headers=KEY)
    assert (first.status_code, len(first.content)) == (503, 120)
    assert (await client.post("/long", headers=KEY)).status_code == 201


async def test_late_handler(start, in_sqlite):
    """Its lock has expired and another has run: it gets 409, and then the answer of the other."""
    service, client = await start(lock_ttl=10.0)
    late = asyncio.create_task(client.post("/slow", headers=KEY))
    await service.has_begun.wait()
    await in_sqlite.pass_time(10)
    service.has_begun.clear()
    other = asyncio.create_task(client.post("/slow", headers=KEY))
    await service.has_begun.wait()
    service.may_end.set()
    statuses = {(await late).status_code, (await other).status_code}
    assert statuses == {409, 201}
    assert (await client.post("/slow", headers=KEY)).status_code == 201
    assert len(service.runs) == 2


async def test_rows_are_committed_with_the_answer(start, transactional):
    """Nobody has an answer whose row isn't there; a repeat adds none."""
    service, client = await start(transactional)
    service.may_end.set()
    for _ in range(2):
        assert (await client.post("/transaction", headers=KEY)).text == "made"
        assert await transactional.orders() == ["tea"]


@pytest.mark.parametrize(("status", "rows"), [(503, 0), (404, 1)])
async def test_answer_decides_about_the_rows(start, transactional, status, rows):
    """They are committed if the answer is kept; else a retry runs, and finds nothing of the first."""
    service, client = await start(transactional)
    service.may_end.set()
    service.statuses = [status]
    assert (await client.post("/transaction", headers=KEY)).status_code == status
    assert await transactional.orders() == ["tea"] * rows
    await client.post("/transaction", headers=KEY)
    assert await transactional.orders() == ["tea"]


async def test_error_that_leaves_the_block(start, transactional):
    """It rolls back what the block wrote, and its answer is kept."""
    service, client = await start(transactional)
    service.statuses = [-1]
    for _ in range(2):
        assert (await client.post("/transaction", headers=KEY)).status_code == 402
    assert len(service.runs) == 1
    assert await transactional.orders() == []


async def test_late_transaction_is_rolled_back(start, transactional):
    """The lock expires while its handler holds the transaction: a rival that runs meanwhile leaves the only row."""
    service, client = await start(transactional, lock_ttl=10.0)
    late = asyncio.create_task(client.post("/transaction", headers=KEY))
    await service.has_begun.wait()
    if transactional.store.__class__.__name__ == "SQLite":  # where a rival can't begin before the transaction's end
        service.may_end.set()
        assert (await late).status_code == 201
        assert await transactional.orders() == ["tea"]
        return
    await transactional.pass_time(10)
    service.has_begun.clear()
    rival = asyncio.create_task(client.post("/transaction", headers=KEY))
    await service.has_begun.wait()
    service.may_end.set()
    assert sorted([(await late).status_code, (await rival).status_code]) == [201, 409]
    assert await transactional.orders() == ["tea"]
    assert len(service.runs) == 2


class Failing:
    """A store whose named methods fail."""

    def __init__(self, *names: str) -> None:
        self._names = names

    async def begin(self, *_: Any) -> State:
        return self._end("begin", State.STARTED)

    async def finish(self, *_: Any) -> bool:
        return self._end("finish", True)

    async def abandon(self, *_: Any) -> None:
        return self._end("abandon", None)

    def _end(self, name: str, result: Any) -> Any:
        if name in self._names:
            raise StoreFailed(f"no {name} today")
        return result


async def test_store_that_can_not_be_asked(start, in_sqlite):
    """503 with a Retry-After, and nothing has run, because it might have run before."""
    in_sqlite.store = Failing("begin")
    service, client = await start(in_sqlite)
    answer = await client.post("/orders", headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert service.runs == []


@pytest.mark.usefixtures("broken_log")
async def test_store_that_can_not_keep_and_a_log_that_raises(start, in_sqlite):
    """The caller has its answer even so."""
    in_sqlite.store = Failing("finish", "abandon")
    _, client = await start(in_sqlite)
    assert (await client.post("/orders", headers=KEY)).status_code == 201


async def test_store_that_can_not_keep(start, in_sqlite, caplog):
    """The caller has its answer all the same, because its request was processed; the log has a line."""
    in_sqlite.store = Failing("finish", "abandon")
    service, client = await start(in_sqlite)
    assert (await client.post("/orders", headers=KEY)).status_code == 201
    assert "was not kept under its key: no finish today" in caplog.text
    service.statuses = [503]
    assert (await client.post("/orders", headers=KEY)).status_code == 503
    assert "stays locked until its lock expires: no abandon today" in caplog.text


async def test_store_without_transactions():
    """Whoever asks for one is told which store to use."""
    run = Run("k", Claim.of("me", "k", "x"), Failing(), 1.0)
    with pytest.raises(TypeError, match="Failing has no transactions; use PostgreSQL or SQLite"):
        async with run.transaction():
            pass


async def test_10_000_repeats_of_100_keys(kept):
    """100 run; the others get their answers, or 409 while they run."""
    runs = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        runs.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": runs[-1]})

    middleware = IdempotencyMiddleware(app, store=kept.store)

    async def ask(body: bytes) -> tuple[int, bytes]:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"idempotency-key", b'"%b"' % body)]}
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        await middleware(scope, receive, send)
        return sent[0]["status"], sent[1]["body"]

    bodies = [b"%d" % (number % 100) for number in range(10_000)]
    answers = await asyncio.gather(*(ask(body) for body in bodies))
    assert len(runs) == len(set(runs)) == 100
    assert {status for status, _ in answers} <= {201, 409}
    assert all(body == text for body, (status, text) in zip(bodies, answers, strict=True) if status == 201)
    assert [await ask(body) for body in bodies[:100]] == [(201, body) for body in bodies[:100]]


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"ttl": 0}, ValueError),
        ({"lock_ttl": -1}, ValueError),
        ({"max_body": 1.5}, TypeError),
        ({"required": 1}, TypeError),
        ({"methods": "POST"}, TypeError),
        ({"methods": [b"POST"]}, ValueError),
    ],
)
def test_settings_that_can_not_be(setting, error):
    """Each is refused where it is given, by its name."""
    name = next(iter(setting))
    with pytest.raises(error, match=f"idempotency.{name}"):
        idempotency_middleware(store=Failing(), **setting)
    with pytest.raises(error, match=f"idempotency.{name}"):
        IdempotencyMiddleware(None, store=Failing(), **setting)
