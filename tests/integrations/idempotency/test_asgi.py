"""What an ASGI server and application may do besides, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.responses import StreamingResponse

from seawall.integrations.idempotency import Answer, Claim, IdempotencyMiddleware, State, StoreFailed
from seawall.integrations.idempotency.claim import fingerprint
from seawall.integrations.idempotency.keys import credentials
from seawall.testing import cancel_everywhere

pytestmark = pytest.mark.anyio

START = {"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"1")]}
SCOPE = {"type": "http", "method": "POST", "path": "/", "headers": [(b"idempotency-key", b'"k"')]}
REQUEST = {"type": "http.request", "body": b"tea"}

App = Callable[[Any, Any, Any], Awaitable[None]]


async def ask(app: App, *messages: Any, scope: Any = SCOPE) -> list[Any]:
    """What a server is sent for a request that arrives as *messages*."""
    arriving, sent = list(messages or [REQUEST]), []

    async def receive() -> Any:
        return arriving.pop(0) if arriving else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)  # as a server that writes
        sent.append(message)

    await app(dict(scope), receive, send)
    return sent


def claim() -> Claim:
    """Of the same request."""
    return Claim.of(credentials(SCOPE["headers"]), "k", fingerprint("POST", "/", b"", b"tea"))


async def test_body_arrives_once_and_then_the_disconnect(in_sqlite):
    """In one piece, however it came; that the caller has left is told once the answer is out."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())
        left = asyncio.create_task(receive())
        await send(START)
        await in_sqlite.count()
        assert not left.done()
        await send({"type": "http.response.body", "body": b"made"})
        seen.append(await left)

    parts = [{"type": "http.request", "body": part, "more_body": part != b"a"} for part in (b"t", b"e", b"a")]
    await ask(IdempotencyMiddleware(app, store=in_sqlite.store), *parts)
    assert seen == [{"type": "http.request", "body": b"tea", "more_body": False}, {"type": "http.disconnect"}]


async def test_path_stays_on_its_line_of_the_log(caplog):
    """Where its key can't be checked, too."""

    class Away:
        async def begin(self, *_: Any) -> State:
            raise StoreFailed("no store today")

    middleware = IdempotencyMiddleware(None, store=Away())
    assert (await ask(middleware, scope=SCOPE | {"path": "/a\nCRITICAL"}))[0]["status"] == 503
    assert "POST /a%0ACRITICAL was not run" in caplog.text


async def test_caller_that_leaves_in_its_request(in_sqlite):
    """Nothing runs, nothing is sent, and no key is taken."""
    app = IdempotencyMiddleware(None, store=in_sqlite.store)
    assert await ask(app, {"type": "http.request", "body": b"te", "more_body": True}) == []
    assert await in_sqlite.store.begin(claim(), 10.0) is State.STARTED


async def test_caller_that_leaves_during_a_streamed_answer(in_sqlite):
    """Starlette would cancel the answer: the request would have acted, and its repeat would act again."""
    runs = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        runs.append(await receive())

        async def parts():
            yield b"paid "
            await in_sqlite.count()
            yield b"%d" % len(runs)

        await StreamingResponse(parts(), 201)(scope, receive, send)

    middleware = IdempotencyMiddleware(app, store=in_sqlite.store)
    for _ in range(2):
        assert (await ask(middleware))[1]["body"] == b"paid 1"
    assert len(runs) == 1


async def test_caller_that_left_is_told_after_the_lock(in_sqlite):
    """A repeat may run by then, so nothing is gained by hiding it any longer."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([await receive(), await receive(), await receive()])

    await ask(IdempotencyMiddleware(app, store=in_sqlite.store, lock_ttl=0.001))
    assert seen[1:] == [{"type": "http.disconnect"}] * 2


async def test_other_kinds_of_scope(in_sqlite):
    """Lifespans and WebSockets pass untouched."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    await ask(IdempotencyMiddleware(app, store=in_sqlite.store, required=True), scope={"type": "lifespan"})
    assert seen == [{"type": "lifespan"}]


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        (START, {"type": "http.response.pathsend", "path": "/tmp/file"}),
        (START | {"trailers": True}, {"type": "http.response.body", "body": b"made"}),
    ],
)
async def test_answers_whose_whole_is_not_here(in_sqlite, start, rest):
    """A file that the server sends, and trailers, pass as they are; a repeat is told that they weren't kept."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send(rest)

    middleware = IdempotencyMiddleware(app, store=in_sqlite.store)
    assert await ask(middleware) == [start, rest]
    assert (await ask(middleware))[0]["status"] == 422


@pytest.mark.parametrize("is_after_start", [False, True])
@pytest.mark.parametrize(
    "beside",
    [
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
        {"type": "http.response.push", "path": "/a", "headers": []},
        {"type": "http.response.debug", "info": {}},
    ],
)
async def test_what_goes_beside_an_answer(in_sqlite, beside, is_after_start):
    """It is sent at once, and the answer is kept as if it weren't there."""
    runs, body = [], {"type": "http.response.body", "body": b"ok"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        runs.append(1)
        for message in (START, beside, body) if is_after_start else (beside, START, body):
            await send(message)

    middleware = IdempotencyMiddleware(app, store=in_sqlite.store)
    assert await ask(middleware) == [beside, START, body]
    again = await ask(middleware)
    assert ([message["type"] for message in again], again[1]["body"]) == ([START["type"], body["type"]], b"ok")
    assert len(runs) == 1


async def test_answer_of_many_parts(in_sqlite):
    """It is sent in one piece once it is kept; a longer one from where it is too long, part by part."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        for part in (b"a", b"b", b"c", b""):
            await send({"type": "http.response.body", "body": part, "more_body": part != b""})

    whole = {"type": "http.response.body", "body": b"abc", "more_body": False}
    assert await ask(IdempotencyMiddleware(app, store=in_sqlite.store)) == [START, whole]
    other = dict(SCOPE, path="/other", headers=[(b"idempotency-key", b'"other"')])
    sent = await ask(
        IdempotencyMiddleware(app, store=in_sqlite.store, max_body=1), {"type": "http.request"}, scope=other
    )
    assert [message.get("body") for message in sent] == [None, b"ab", b"c", b""]


async def test_background_task_that_fails(in_sqlite):
    """The answer stays, because it was given: a repeat doesn't run."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"made"})
        raise RuntimeError("the mail was not sent")

    middleware = IdempotencyMiddleware(app, store=in_sqlite.store)
    with pytest.raises(RuntimeError):
        await ask(middleware)
    assert (await ask(middleware))[1]["body"] == b"made"


async def test_transaction_after_the_answer(in_sqlite):
    """Nothing could be committed with the answer any more, which is an error rather than a row without a key."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with scope["state"]["idempotency"].transaction() as connection:
            pass
        await send(START)
        await send({"type": "http.response.body", "body": b"made"})
        with pytest.raises(RuntimeError, match="on its way"):
            async with scope["state"]["idempotency"].transaction():
                pass
        with pytest.raises(RuntimeError, match="has ended"):
            await connection.execute("INSERT INTO orders (item) VALUES ('tea')")

    await ask(IdempotencyMiddleware(app, store=in_sqlite.store))


async def test_commit_that_fails(in_sqlite):
    """503, because nobody knows whether it was committed: a repeat will tell."""

    class Broken:
        connection = None

        async def commit(self, *_: Any) -> bool:
            raise StoreFailed("no disk")

        async def rollback(self) -> None: ...

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with scope["state"]["idempotency"].transaction():
            pass
        await send(START)
        await send({"type": "http.response.body", "body": b"made"})

    async def transaction() -> Broken:
        return Broken()

    in_sqlite.store.transaction = transaction
    sent = await ask(IdempotencyMiddleware(app, store=in_sqlite.store))
    assert sent[0]["status"] == 503
    assert len(sent) == 2


@pytest.mark.parametrize("is_transaction", [True, False])
async def test_cancelled_at_every_await(transactional, is_transaction):
    """Afterwards the key has its answer, with the row, or there is neither; no lock and no transaction is left."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if is_transaction:
            async with scope["state"]["idempotency"].transaction() as connection:
                await transactional.insert(connection, "tea")
        await send(START)
        await send({"type": "http.response.body", "body": b"made"})

    middleware = IdempotencyMiddleware(app, store=transactional.store)
    others = asyncio.all_tasks()

    async def after() -> None:
        assert asyncio.all_tasks() == others
        mine = claim()
        state = await transactional.store.begin(mine, 10.0)
        assert state is State.STARTED or isinstance(state, Answer)
        assert await transactional.orders() == ["tea"] * (is_transaction and isinstance(state, Answer))
        await transactional.clear()

    assert await cancel_everywhere(lambda: ask(middleware), after=after) > 10


async def test_cancelled_while_the_answer_is_sent(in_sqlite):
    """It was kept before that, so a repeat gets it."""
    is_sending = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"made"})

    async def send(message: Any) -> None:
        is_sending.set()
        await asyncio.Event().wait()

    async def receive() -> Any:
        return REQUEST

    middleware = IdempotencyMiddleware(app, store=in_sqlite.store)
    task = asyncio.create_task(middleware(dict(SCOPE), receive, send))
    await is_sending.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (await ask(middleware))[1]["body"] == b"made"


async def test_late_answer_of_many_parts(in_sqlite):
    """Another run has the key by then: the caller gets 409 whole, and nothing of the application's own answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await in_sqlite.pass_time(60)
        assert await in_sqlite.store.begin(claim(), 60.0) is State.STARTED
        await send(START)
        for part in (b"too", b"long", b"by far", b""):
            await send({"type": "http.response.body", "body": part, "more_body": part != b""})

    start, body = await ask(IdempotencyMiddleware(app, store=in_sqlite.store, max_body=4))
    assert start["status"] == 409
    assert b"took over" in body["body"]
    assert await in_sqlite.store.begin(claim(), 60.0) is State.RUNNING
