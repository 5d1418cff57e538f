"""
`Queue` and `Worker`: the parcels of ``seawall fetch`` on taskiq, over the streams of Redis or Valkey.

A message only names a parcel, whose URLs and pages lie in a folder that all machines see; so a message that is lost or
delivered twice costs time, and never a page. A worker acknowledges a message once the disk has the parcel's pages. One
that can't have the bucket's lease, because another worker has it, leaves the message as it is: taskiq delivers what
wasn't acknowledged anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, NamedTuple, Self

from redis.asyncio.lock import Lock
from redis.exceptions import LockError, RedisError
from taskiq import Context, TaskiqDepends
from taskiq.acks import AcknowledgeType
from taskiq.exceptions import SendTaskError
from taskiq.receiver import Receiver
from taskiq_redis import RedisStreamBroker

from ..careful import Careful
from ..fetch.dispatch import PostAway
from ..fetch.parcel import BUCKETS
from .fetch_fleet import GROUP, STREAM, TIMEOUT, Tries, checked, connected, lease_key, messages, once

__all__ = ["DELIVERIES", "LAPSE", "Message", "Queue", "Unable", "Worker"]

logger = Careful("seawall.call")

PARCEL: Final = "seawall:parcel"
BEAT: Final = "seawall:beat"
LAPSE: Final = 30.0  # seconds after which what a dead worker had is another's
DELIVERIES: Final = 5  # of a parcel that fails; with the lapse between, a disk has two minutes to become well
RENEWALS: Final = 3  # in that time
AWAY: Final = 1.0  # seconds until a worker tries again to reach it
BLOCK: Final = 1_000  # ms that a worker's read waits for a message
IDLE: Final = 1_000  # ms after which a message that was taken is looked at again; its bucket's lease says if it is done


class Unable(Exception):
    """This worker can't do a parcel, and has asked nobody for it; another one may."""


class Message(NamedTuple):
    """
    Attributes:
        out: The folder of the parcels, which all machines see under this path.
        name: The parcel's.
        bucket: Of the parcel's hosts.
        wanted: How to fetch its URLs.
    """

    out: str
    name: str
    bucket: int
    wanted: Mapping[str, Any]


def _broker(url: str, *, socket_timeout: float | None) -> RedisStreamBroker:
    return RedisStreamBroker(
        checked(url),
        queue_name=STREAM,
        consumer_group_name=GROUP,
        consumer_id="0",  # what was sent before the first worker came is for it
        xread_block=BLOCK,
        xread_count=1,  # or a worker takes a hundred that others could do
        idle_timeout=IDLE,
        unacknowledged_lock_timeout=TIMEOUT,
        **once(socket_timeout=socket_timeout),
    )


class Queue:
    """
    The sender's side: a `seawall.fetch.dispatch.Post`.

    Args:
        url: Of Redis or Valkey.
        out, wanted: As in `Message`.
    Raises:
        ValueError: *url* can't be one.
    """

    def __init__(self, url: str, out: str, wanted: Mapping[str, Any]) -> None:
        self._url = url
        self._out = out
        self._wanted = dict(wanted)
        self._broker = _broker(url, socket_timeout=None)  # as in `connected`
        self._parcel = self._broker.register_task(_nothing, PARCEL)
        self._beat = self._broker.register_task(_nothing, BEAT, ack_type=AcknowledgeType.WHEN_RECEIVED.value)

    async def __aenter__(self) -> Self:
        """
        Raises:
            PostAway: Redis doesn't answer.
        """
        self._redis = connected(self._url)
        try:
            async with self._answers():
                await self._redis.ping()
                await self._broker.startup()
        except PostAway:
            await self._redis.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._broker.shutdown()
        await self._redis.aclose()

    async def send(self, name: str, bucket: int) -> None:
        """As in `Post`."""
        async with self._answers():
            await self._parcel.kiq(Message(self._out, name, bucket, self._wanted)._asdict())

    async def tend(self, out: int) -> bool:
        """
        As in `Post`. A worker of taskiq looks for what dead ones had only after it was sent a message, so it is sent
        one that says nothing, where parcels have neither a lease nor a message that waits.
        """
        async with self._answers():
            waiting, taken = await messages(self._redis)
            if taken and not waiting:
                keys = [lease_key(self._out, bucket) for bucket in range(BUCKETS)]
                if out > sum(lease is not None for lease in await self._redis.mget(keys)):
                    await self._beat.kiq()
            return bool(taken or waiting)

    async def given_up(self) -> Mapping[str, str]:
        """As in `Post`."""
        async with self._answers():
            return await Tries(self._redis, self._out).given_up()

    @contextlib.asynccontextmanager
    async def _answers(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TIMEOUT):
                yield
        except (RedisError, OSError, SendTaskError) as error:
            said = error.__cause__ if isinstance(error, SendTaskError) and error.__cause__ else error
            raise PostAway(f"Redis doesn't answer: {str(said) or f'not within {TIMEOUT:g} s'}") from error


class Worker:
    """
    A taskiq worker in this process, which does parcels until *stop* is set.

    Args:
        url: Of Redis or Valkey.
        name: What others call it.
        do: Does a parcel, and returns once the disk has its pages; *stop* asks it to end early, with what it has. What
            it raises leaves the parcel to another worker, after *lapse*; Unable leaves it at once.
        at_once: Parcels at once.
        lapse: Seconds after which what this worker has is another's, unless it renews its lease.
        deliveries: Workers that begin a parcel, one after another, before it is given up.
    Raises:
        ValueError: *url* can't be one.
    """

    def __init__(
        self,
        url: str,
        name: str,
        do: Callable[[Message, asyncio.Event], Awaitable[None]],
        *,
        at_once: int,
        lapse: float = LAPSE,
        deliveries: int = DELIVERIES,
    ) -> None:
        self._url = checked(url)
        self._name = f"{name} {secrets.token_hex(4)}"  # so that two of one name can't take each other's leases
        self._do = do
        self._at_once = at_once
        self._slots = asyncio.Semaphore(at_once)
        self._lapse = lapse
        self._deliveries = deliveries
        self._stop = asyncio.Event()
        self._running: set[asyncio.Task[Any]] = set()
        self._redis: Any = None

    async def run(self, stop: asyncio.Event) -> None:
        """Returns once *stop* is set, and what this worker has is done or given back."""
        self._stop = stop
        self._redis = connected(self._url)

        async def parcel(message: dict[str, Any], context: Annotated[Context, TaskiqDepends()]) -> None:
            await self._parcel(Message(**message), context)  # taskiq gives a function a new name, and can't a method

        broker = _broker(self._url, socket_timeout=TIMEOUT)
        broker.is_worker_process = True
        broker.register_task(parcel, PARCEL)
        broker.register_task(_nothing, BEAT)
        stopping = asyncio.ensure_future(stop.wait())
        while True:
            receiver = Receiver(broker, max_async_tasks=self._at_once, ack_type=AcknowledgeType.MANUAL)
            listening = asyncio.ensure_future(receiver.listen(stop))
            await asyncio.wait((listening, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                break
            if (error := listening.exception()) is not None:
                logger.warning("the queue of seawall fetch doesn't answer, so it is asked again: %s", _said(error))
                await asyncio.wait((stopping,), timeout=AWAY)
        if self._running:
            await asyncio.wait(self._running)
        # taskiq's reader may miss its cancellation, as after SIGSTOP; without connections it can't read on.
        await asyncio.wait((listening,), timeout=TIMEOUT)
        with contextlib.suppress(RedisError, OSError):
            await broker.shutdown()
        await asyncio.gather(listening, return_exceptions=True)
        await self._redis.aclose()

    async def _parcel(self, message: Message, context: Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            async with self._slots:
                if not self._stop.is_set() and await self._done(message):
                    await context.ack()
        except (RedisError, OSError, Unable) as error:
            logger.warning("a parcel of seawall fetch is left to another worker: %s", _said(error))
        finally:
            self._running.discard(task)

    async def _done(self, message: Message) -> bool:
        """Whether the disk has the parcel's pages, or never will."""
        key = lease_key(message.out, message.bucket)
        lock = Lock(self._redis, key, timeout=self._lapse, blocking=False, thread_local=False)
        lease = {"out": message.out, "bucket": message.bucket, "worker": self._name, "parcel": message.name}
        if not await lock.acquire(token=json.dumps(lease)):
            return False
        tries = Tries(self._redis, message.out)
        if not await tries.begin(message.name, self._deliveries):
            logger.warning("parcel %s of seawall fetch is given up", message.name)
            await lock.release()
            return True
        doing = asyncio.ensure_future(self._do(message, self._stop))
        renewing = asyncio.create_task(self._renew(lock))
        try:
            await asyncio.wait((doing, renewing), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                logger.warning("this worker's lease has lapsed, so parcel %s is another's", message.name)
                return False
        finally:
            doing.cancel()
            renewing.cancel()
            await asyncio.wait((doing, renewing))
            # After an error the lease is left to lapse, because the next worker asks for the same URLs.
            if doing.cancelled() or doing.exception() is None or isinstance(doing.exception(), Unable):
                with contextlib.suppress(RedisError, OSError, LockError):
                    await lock.release()
            await self._note(message.name, tries, doing)
        doing.result()
        return True

    async def _note(self, name: str, tries: Tries, doing: asyncio.Future[None]) -> None:
        error = None if doing.cancelled() else doing.exception()
        with contextlib.suppress(RedisError, OSError):
            if isinstance(error, Unable):
                await tries.uncount(name)
            elif error is not None:
                await tries.failed(name, _said(error))

    async def _renew(self, lock: Lock) -> None:
        """Returns once the lease has lapsed, or may have."""
        loop = asyncio.get_running_loop()
        lapses_at = loop.time() + self._lapse
        while True:
            await asyncio.sleep(self._lapse / RENEWALS)
            if (asked_at := loop.time()) >= lapses_at:  # the machine was suspended
                return
            try:
                async with asyncio.timeout_at(lapses_at):  # wait_for of Python 3.11 may swallow a cancellation
                    await lock.reacquire()
                lapses_at = asked_at + self._lapse
            except LockError:
                return
            except (RedisError, OSError):
                if loop.time() >= lapses_at:
                    return


async def _nothing(message: dict[str, Any] | None = None) -> None:
    """What a sender registers; workers have their own."""


def _said(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
