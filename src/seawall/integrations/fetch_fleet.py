"""The state of ``seawall fetch``'s workers in Redis or Valkey: which has which parcel, and how often it was begun."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ..fetch.dispatch import PostAway

__all__ = [
    "GROUP",
    "STREAM",
    "TIMEOUT",
    "Fleet",
    "Lease",
    "Tries",
    "checked",
    "connected",
    "fleet",
    "lease_key",
    "messages",
    "nameless",
    "once",
]

STREAM: Final = "seawall:fetch"
GROUP: Final = "workers"
TIMEOUT: Final = 5.0  # seconds that Redis has for an answer
COUNTED: Final = 1_000  # messages; each has an order for workers, so reading more takes long
_USER: Final = re.compile(r"//.*@", re.S)
KEPT: Final = 7 * 24 * 3600  # seconds that it is known why a parcel was given up, because its sender may be stopped
ENDED: Final = "each ended, or lost its lease, before the parcel was done: look at their memory and logs"


class Lease(NamedTuple):
    """
    A bucket of hosts that a worker has.

    Attributes:
        left: Seconds until it lapses, unless its worker renews it.
    """

    out: str
    bucket: int
    worker: str
    parcel: str
    left: float


class Fleet(NamedTuple):
    """
    Attributes:
        waiting: Messages that no worker has taken.
        taken: Messages that workers have taken and not acknowledged.
    """

    leases: tuple[Lease, ...]
    waiting: int
    taken: int


class Tries:
    """
    How often workers have begun the parcels of a job, so that one which ends each worker isn't begun for ever.

    Args:
        out: The folder of the parcels.
    """

    def __init__(self, redis: Any, out: str) -> None:
        self._redis = redis
        self._given_up = f"{STREAM}:given-up:{out}"

    async def begin(self, name: str, most: int) -> bool:
        """Count another one of the parcel *name*; False: it was begun *most* times, and is given up now."""
        tried = _tried(name)
        count = await self._redis.hincrby(tried, "count", 1)
        await self._redis.expire(tried, KEPT)
        if count <= most:
            return True
        said = await self._redis.hget(tried, "said")
        reason = f"its parcel was begun {most} times and never done: {said or ENDED}"
        await self._redis.hset(self._given_up, name, reason)
        await self._redis.expire(self._given_up, KEPT)
        return False

    async def failed(self, name: str, said: str) -> None:
        """Note why the last one came to nothing."""
        await self._redis.hset(_tried(name), "said", said)

    async def uncount(self, name: str) -> None:
        """The last one was none, because nobody was asked."""
        await self._redis.hincrby(_tried(name), "count", -1)

    async def given_up(self) -> dict[str, str]:
        """The parcels that were given up, each with the reason."""
        found: dict[str, str] = await self._redis.hgetall(self._given_up)
        return found


def _tried(name: str) -> str:
    return f"{STREAM}:tried:{name}"


class _Bounded(Redis):
    """
    Bounds each command by itself.

    With a ``socket_timeout`` redis-py 8 sends by ``asyncio.wait_for``, which swallows a cancellation that comes just as
    the command is sent, before Python 3.12: a task that was cancelled for the last time then goes on for ever.
    """

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise TimeoutError(f"no answer within {TIMEOUT:g} s") from None


def nameless(url: str) -> str:
    """*url* without user, password and query, for what is shown; also where a password has a / in it."""
    return _USER.sub("//", url).partition("?")[0]


def checked(url: str) -> str:
    """
    *url*, which can be that of a Redis.

    Raises:
        ValueError: It can't; said without what redis-py and urllib quote, which may be a part of its password.
    """
    try:
        Redis.from_url(url)
    except ValueError:
        raise ValueError(
            f"{nameless(url)} can't be the URL of a Redis: it begins with redis://, rediss:// or unix://, and in its "
            "password / is %2F, # is %23 and ? is %3F"
        ) from None
    return url


def connected(url: str) -> Any:
    """
    Its retries are off, because those who ask have their own.

    Raises:
        ValueError: As `checked`.
    """
    checked(url)
    return _Bounded.from_url(url, decode_responses=True, **once(socket_timeout=None))


def once(*, socket_timeout: float | None) -> dict[str, Any]:
    """What makes a connection of redis-py's try once, within bounds."""
    return {"retry": Retry(NoBackoff(), 0), "socket_timeout": socket_timeout, "socket_connect_timeout": TIMEOUT}


async def fleet(url: str) -> Fleet:
    """
    What workers have, and what waits for them.

    Raises:
        PostAway: Redis doesn't answer.
        ValueError: As `checked`.
    """
    redis = connected(url)
    try:
        return await _fleet(redis)
    except (RedisError, OSError) as error:
        raise PostAway(f"Redis doesn't answer: {error}") from error
    finally:
        await redis.aclose()


async def _fleet(redis: Any) -> Fleet:
    leases = []
    async for key in redis.scan_iter(f"{STREAM}:lease:*"):
        said, left = await redis.get(key), await redis.pttl(key)
        if said is not None:
            leases.append(Lease(**json.loads(said), left=left / 1000))
    return Fleet(tuple(sorted(leases)), *await messages(redis))


async def messages(redis: Any) -> tuple[int, int]:
    """How many wait, at most `COUNTED`, and how many workers have taken."""
    groups = await redis.xinfo_groups(STREAM) if await redis.exists(STREAM) else []
    group = next((each for each in groups if each["name"] == GROUP), None)
    if group is None:
        return 0, 0
    waiting = group.get("lag")  # which Redis has from 7.0 on, and not where a message was deleted
    if waiting is None:
        waiting = len(await redis.xrange(STREAM, min=f"({group['last-delivered-id']}", count=COUNTED))
    return waiting, group["pending"]


def lease_key(out: str, bucket: int) -> str:
    return f"{STREAM}:lease:{out}:{bucket}"
