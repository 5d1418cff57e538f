"""What every store holds, on real databases."""

from __future__ import annotations

import asyncio
import sqlite3

import asyncpg
import pytest

from seawall.integrations.idempotency import Answer, Claim, State, StoreFailed, TransactionalStore
from seawall.integrations.idempotency.file import File
from seawall.integrations.idempotency.postgres import PostgreSQL
from seawall.integrations.idempotency.sqlite import SETUP

from .conftest import STORES

pytestmark = pytest.mark.anyio

CREATED = Answer(201, ((b"content-type", b"text/plain; charset=latin-1"), (b"x-odd", b"\xe9")), b"\x00made\n\xff")
TTL = 100.0
LOCK = 10.0


def claim(key: str = "a", body: str = "x") -> Claim:
    return Claim.of("me", key, body)


async def test_first_starts_and_a_repeat_gets_its_answer(kept):
    """A key is running from the first claim on, until its answer is kept; then each repeat gets that, byte for byte."""
    first = claim()
    assert await kept.store.begin(first, LOCK) is State.STARTED
    assert await kept.store.begin(claim(), LOCK) is State.RUNNING
    assert await kept.store.finish(first, CREATED, TTL) is True
    assert await kept.store.begin(claim(), LOCK) == CREATED
    assert await kept.store.begin(claim("b"), LOCK) is State.STARTED


async def test_another_request_under_the_key(kept):
    """It is told so, while the first runs and afterwards."""
    first = claim()
    await kept.store.begin(first, LOCK)
    assert await kept.store.begin(claim(body="y"), LOCK) is State.MISMATCH
    await kept.store.finish(first, CREATED, TTL)
    assert await kept.store.begin(claim(body="y"), LOCK) is State.MISMATCH


async def test_abandoned_key_starts_again(kept):
    """Nothing is left of it; but an answer that was kept isn't abandoned any more."""
    first, second = claim(), claim()
    await kept.store.begin(first, LOCK)
    await kept.store.abandon(first)
    assert await kept.count() == 0
    assert await kept.store.begin(second, LOCK) is State.STARTED
    await kept.store.finish(second, CREATED, TTL)
    await kept.store.abandon(second)
    assert await kept.store.begin(claim(), LOCK) == CREATED


async def test_lock_of_a_killed_process_expires(kept):
    """Up to lock_ttl the key is running; after it the next claim has it."""
    await kept.store.begin(claim(), LOCK)
    await kept.pass_time(LOCK - 2)
    assert await kept.store.begin(claim(), LOCK) is State.RUNNING
    await kept.pass_time(2)
    assert await kept.store.begin(claim(), LOCK) is State.STARTED
    assert await kept.store.begin(claim(), LOCK) is State.RUNNING


async def test_late_finisher_overwrites_nothing(kept):
    """A run whose lock expired may finish only while no other has the key, and takes nobody's key away."""
    late, next_one = claim(), claim()
    await kept.store.begin(late, LOCK)
    await kept.pass_time(LOCK)
    await kept.store.begin(next_one, LOCK)
    assert await kept.store.finish(late, Answer(200, (), b"late"), TTL) is False
    await kept.store.abandon(late)
    assert await kept.store.begin(claim(), LOCK) is State.RUNNING
    assert await kept.store.finish(next_one, CREATED, TTL) is True
    assert await kept.store.finish(late, Answer(200, (), b"late"), TTL) is False
    assert await kept.store.begin(claim(), LOCK) == CREATED


async def test_late_finisher_without_a_rival(kept):
    """Its answer is kept, because it did act, and nobody else did."""
    late = claim()
    await kept.store.begin(late, LOCK)
    await kept.pass_time(LOCK)
    assert await kept.store.finish(late, CREATED, TTL) is True
    assert await kept.store.begin(claim(), LOCK) == CREATED


async def test_tokens_differ_after_an_abandoned_run(kept):
    """The third run of a key isn't taken for the first, whose lock expired."""
    late, second, third = claim(), claim(), claim()
    await kept.store.begin(late, LOCK)
    await kept.pass_time(LOCK)
    await kept.store.begin(second, LOCK)
    await kept.store.abandon(second)
    await kept.store.begin(third, LOCK)
    assert await kept.store.finish(late, CREATED, TTL) is False
    assert await kept.store.begin(claim(), LOCK) is State.RUNNING


async def test_answer_expires(kept):
    """After its ttl the key is new, for any request; and the dead make room as new keys come."""
    for name in "abc":
        one = claim(name)
        await kept.store.begin(one, LOCK)
        await kept.store.finish(one, CREATED, TTL)
    await kept.pass_time(TTL - LOCK - 2)
    assert await kept.store.begin(claim(), LOCK) == CREATED
    await kept.pass_time(LOCK + 2)
    assert await kept.store.begin(claim(body="y"), LOCK) is State.STARTED
    assert await kept.store.begin(claim("d"), LOCK) is State.STARTED
    assert await kept.count() == 2


async def test_one_of_many_starts(kept):
    """100 claims at once for each of 10 keys: one of them runs."""
    claims = [claim(str(number % 10)) for number in range(1000)]
    states = await asyncio.gather(*(kept.store.begin(each, LOCK) for each in claims))
    assert sorted(each.key for each, state in zip(claims, states, strict=True) if state is State.STARTED) == sorted(
        {each.key for each in claims}
    )
    assert set(states) == {State.STARTED, State.RUNNING}


async def test_begin_that_redis_is_sent_again(request, stack):
    """redis-py does so where a connection breaks: a claim that has begun isn't told that another one runs."""
    store = (await STORES["redis"](request, stack)).store
    first = claim()
    assert await store.begin(first, LOCK) is State.STARTED
    assert await store.begin(first, LOCK) is State.STARTED
    assert await store.begin(claim(), LOCK) is State.RUNNING


async def test_rows_and_answer_are_committed_at_once(transactional):
    """Until then nobody sees the row; then the key has its answer."""
    first = claim()
    await transactional.store.begin(first, LOCK)
    transaction = await transactional.store.transaction()
    await transactional.insert(transaction.connection, "tea")
    if isinstance(transactional.store, PostgreSQL):  # SQLite's readers share the connection
        assert await transactional.orders() == []
    assert await transaction.commit(first, CREATED, TTL) is True
    assert await transactional.orders() == ["tea"]
    assert await transactional.store.begin(claim(), LOCK) == CREATED


async def test_rows_of_a_late_finisher_are_rolled_back(transactional):
    """Of two runs of one key, whose lock expired in between, one row stays: that of the run that holds the key."""
    late, next_one = claim(), claim()
    await transactional.store.begin(late, LOCK)
    await transactional.pass_time(LOCK)
    await transactional.store.begin(next_one, LOCK)
    transaction = await transactional.store.transaction()
    await transactional.insert(transaction.connection, "late")
    assert await transaction.commit(late, CREATED, TTL) is False
    transaction = await transactional.store.transaction()
    await transactional.insert(transaction.connection, "tea")
    assert await transaction.commit(next_one, CREATED, TTL) is True
    assert await transactional.orders() == ["tea"]


async def test_transaction_that_is_rolled_back(transactional):
    """It leaves no row, its connection takes no more, and the next one begins."""
    transaction = await transactional.store.transaction()
    await transactional.insert(transaction.connection, "tea")
    await transaction.rollback()
    with pytest.raises(Exception, match=r"ended|released"):
        await transactional.insert(transaction.connection, "tea")
    assert await transactional.orders() == []
    await (await transactional.store.transaction()).rollback()


async def test_who_has_transactions(kept):
    """Redis hasn't, and is found out before anything is written."""
    assert isinstance(kept.store, TransactionalStore) is (kept.orders is not None)


async def test_store_that_fails(kept, stack):
    """A database that can't be reached is one error, whatever the library calls it."""
    await stack.aclose()
    if kept.orders is not None and not isinstance(kept.store, PostgreSQL):
        kept.store._file.path.unlink()
        kept.store._file.path.mkdir()
        kept.store = type(kept.store)(kept.store._file.path)
        stack.push_async_callback(kept.store.aclose)
    elif kept.orders is None:
        import redis.asyncio

        client = redis.asyncio.Redis(unix_socket_path="/nonexistent", retry=None)
        kept.store = type(kept.store)(client)
        stack.push_async_callback(client.aclose)
    with pytest.raises(StoreFailed):
        await kept.store.begin(claim(), LOCK)


@pytest.mark.parametrize(("patience", "is_opened"), [(5.0, True), (0.0, False)])
async def test_file_that_another_process_writes_to(tmp_path, patience, is_opened):
    """As where workers start at once: the first use waits for it, but no longer than it may."""
    path = tmp_path / "keys.db"
    anothers = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    anothers.execute("CREATE TABLE orders (item)")
    anothers.execute("BEGIN IMMEDIATE")
    file = File(path, SETUP.format("NORMAL"), patience, sleep=lambda _: anothers.rollback())
    try:
        await file.run(lambda database: database.execute("SELECT * FROM seawall_idempotency"))
    except sqlite3.OperationalError:
        assert not is_opened
    else:
        assert is_opened
    finally:
        anothers.close()
        await file.aclose()


async def test_workers_that_make_the_table_at_once(postgres_socket):
    """As at the first start of a service: each of them has it, and none fails."""
    async with asyncpg.create_pool(
        host=postgres_socket, user="postgres", database="postgres", min_size=8, max_size=8
    ) as pool:
        for _ in range(10):
            await pool.execute("DROP TABLE IF EXISTS seawall_idempotency")
            await asyncio.gather(*(PostgreSQL(pool).create_table() for _ in range(8)))
        assert await PostgreSQL(pool).begin(claim(), LOCK) is State.STARTED
