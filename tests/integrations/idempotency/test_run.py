"""A run and its transaction: blocks beside each other, and what fails or is cancelled on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from seawall.integrations.idempotency import Answer, Claim, Run, State, StoreFailed
from seawall.integrations.idempotency.keys import Keys

pytestmark = pytest.mark.anyio

LOCK = 60.0
CREATED = Answer(201, (), b"made")


def claim() -> Claim:
    return Claim.of("", "k", "f")


async def begun(store: Any) -> Run:
    mine = claim()
    assert await store.begin(mine, LOCK) is State.STARTED
    return Run("k", mine, store, LOCK)


async def test_blocks_beside_each_other(transactional):
    """They share one transaction; another one would have no end, and SQLite's would never begin."""
    run = await begun(transactional.store)

    async def block() -> Any:
        async with run.transaction() as connection:
            return connection

    try:
        async with asyncio.timeout(5):
            first, second = await asyncio.gather(block(), block())
        assert first is second
        await transactional.insert(first, "tea")
        assert await run.finish(CREATED) is CREATED
    finally:
        await run.abandon()  # or a failure would hang
    assert await transactional.orders() == ["tea"]
    assert await transactional.store.begin(claim(), LOCK) == CREATED


async def test_block_that_opens_while_the_answer_is_on_its_way(in_sqlite):
    """A task that the handler didn't wait for is told so, and its transaction doesn't stay open for ever."""
    run = await begun(in_sqlite.store)
    anothers = await in_sqlite.store.transaction()

    async def block() -> None:
        async with run.transaction():
            raise AssertionError("it is open")

    late = asyncio.create_task(block())
    await asyncio.sleep(0)
    answering = asyncio.create_task(run.finish(CREATED))
    await asyncio.sleep(0)
    await anothers.rollback()
    assert await answering is CREATED
    with pytest.raises(RuntimeError, match="on its way"):
        await late
    async with asyncio.timeout(5):
        assert await in_sqlite.store.begin(claim(), LOCK) == CREATED


class Broken:
    """A store whose connection is lost."""

    connection = None

    def __init__(self) -> None:
        self.holder: str | None = None

    async def begin(self, claim: Claim, _: float) -> State:
        self.holder = claim.token
        return State.STARTED

    async def finish(self, *_: Any) -> bool:
        return True

    async def abandon(self, _: Claim) -> None:
        self.holder = None

    async def transaction(self) -> Broken:
        return self

    async def commit(self, *_: Any) -> bool:
        raise StoreFailed("the connection was closed")

    async def rollback(self) -> None:
        raise StoreFailed("the connection was closed")


@pytest.mark.parametrize("error", [ValueError("no tea"), asyncio.CancelledError()])
async def test_rollback_that_fails(error, caplog):
    """What the handler raised goes on, a cancellation too; the log has a line."""
    run = await begun(Broken())
    with pytest.raises(type(error)) as caught:
        async with run.transaction():
            raise error
    assert caught.value is error
    assert "couldn't be rolled back" in caplog.text


async def test_rollback_that_fails_frees_the_key():
    """By another connection, because else a retry would be refused until the lock expires."""
    store = Broken()
    run = await begun(store)
    async with run.transaction():
        pass
    await run.abandon()
    assert store.holder is None


async def test_transaction_that_sqlite_rolls_back_itself(in_sqlite):
    """As where its disk is full: neither a later row nor the answer is committed alone."""
    run = await begun(in_sqlite.store)
    async with run.transaction() as connection:
        await connection.execute("INSERT INTO orders (id, item) VALUES (1, 'tea')")
        with pytest.raises(Exception, match="UNIQUE"):
            await connection.execute("INSERT OR ROLLBACK INTO orders (id, item) VALUES (1, 'tea')")
        with pytest.raises(RuntimeError, match="has ended"):
            await in_sqlite.insert(connection, "milk")
    assert (await run.finish(CREATED)).status == 503
    assert await in_sqlite.orders() == []
    assert await in_sqlite.store.begin(claim(), LOCK) is State.RUNNING


async def test_cancelled_again_and_again():
    """As by anyio, while the store takes the key: it is let go once it is taken, and not before that."""
    is_asked, may_begin, is_free = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow(Broken):
        async def begin(self, claim: Claim, _: float) -> State:
            is_asked.set()
            await may_begin.wait()
            return await super().begin(claim, _)

        async def abandon(self, claim: Claim) -> None:
            assert self.holder == claim.token
            is_free.set()

    keys = Keys(Slow(), methods=("POST",), required=False, ttl=LOCK, lock_ttl=LOCK, max_body=10)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await is_asked.wait()
                scope.cancel()

            group.start_soon(cancel)
            await keys.enter("", "k", "POST", "/", b"", b"")
    assert scope.cancelled_caught
    may_begin.set()
    async with asyncio.timeout(5):
        await is_free.wait()
