"""`Redis`: keys in Redis or Valkey. In this package the only import of redis-py; extra: ``redis``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis.asyncio
from redis.exceptions import RedisError

from .answer import Answer
from .claim import Claim
from .store import State, StoreFailed, judged

__all__ = ["Redis"]

PREFIX: Final = "seawall:idempotency:"

BEGIN: Final = """
local held = redis.call('HMGET', KEYS[1], 'fingerprint', 'answer', 'token')
if held[3] == ARGV[2] then return 1 end  -- the client sends it again where a connection broke
if held[1] then return held end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'token', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
FINISH: Final = """
local token = redis.call('HGET', KEYS[1], 'token')
if token and token ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'token', ARGV[2], 'answer', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
ABANDON: Final = """
local held = redis.call('HMGET', KEYS[1], 'token', 'answer')
if held[1] == ARGV[1] and not held[2] then redis.call('DEL', KEYS[1]) end
"""


class Redis:
    """
    Keys in Redis or Valkey, for many machines.

    It has no transactions: a process that is killed between its work and its answer has acted, and after the lock's
    life a repeat acts again. The server must persist (``appendonly yes``) and mustn't evict (``maxmemory-policy
    noeviction``), because a key that it forgets runs again.

    Args:
        client: The application's, which it opens and closes; without ``decode_responses``. Its ``socket_timeout`` and
            ``retry`` say how long a request waits for Redis. Requests queue for a connection of a
            BlockingConnectionPool; another pool refuses those beyond its ``max_connections``, which get 503.
        prefix: Of each key.
    """

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._prefix = prefix
        self._begin = client.register_script(BEGIN)
        self._finish = client.register_script(FINISH)
        self._abandon = client.register_script(ABANDON)

    async def begin(self, claim: Claim, lock_ttl: float) -> State | Answer:
        """As `Store.begin`."""
        held = await self._call(self._begin, claim, claim.fingerprint, claim.token, _milliseconds(lock_ttl))
        return State.STARTED if held == 1 else judged(claim, held[0].decode(), held[1])

    async def finish(self, claim: Claim, answer: Answer, ttl: float) -> bool:
        """As `Store.finish`."""
        given = (claim.fingerprint, claim.token, answer.pack(), _milliseconds(ttl))
        return bool(await self._call(self._finish, claim, *given))

    async def abandon(self, claim: Claim) -> None:
        """As `Store.abandon`."""
        await self._call(self._abandon, claim, claim.token)

    async def _call(self, script: Any, claim: Claim, *arguments: Any) -> Any:
        with _failures():
            return await script(keys=[self._prefix + claim.key], args=arguments)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreFailed(f"Redis: {type(error).__name__}: {error}") from error
