"""
`Jobs`, a middleware for taskiq: each worker process has a client, and each job a deadline and its own keys.

Rules: seawall's retries are for what takes seconds, the queue's for what takes minutes. A call that was refused on this
side says nothing about its job, so the job isn't failed but put back into the queue, under its id. A job that is put
back is there before its message is acknowledged, so a crash in between runs it twice, and never loses it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from random import Random, SystemRandom
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from taskiq import AsyncBroker, ScheduleSource, TaskiqEvents, TaskiqMessage, TaskiqMiddleware, TaskiqResult, TaskiqState
from taskiq.exceptions import NoResultError
from taskiq.kicker import AsyncKicker

from ..careful import Careful
from ..config.check import number, shown
from ..core.clock import now
from ..core.deadline import CALLER, INHERITED, Caller
from ..core.job import JOB, Job
from ..errors import ClientClosed, Rejected

__all__ = ["Jobs"]

logger = Careful("seawall.call")

SINCE: Final = "seawall_deferred_at"  # the label with the time of a job's first deferral, in seconds since 1970
RETRY_AFTER: Final = 1.0  # s, where a refusal doesn't know better: a bulkhead drains within
HELD_OPEN: Final = 60.0  # s, where a person holds a breaker open
MARGIN: Final = 0.02  # s that a job has left after its calls' deadline, to say what went wrong; at most a tenth of all
JITTER: Final = 0.5  # of the delay at most, because the jobs that one breaker has refused must not return at once


class Closing(Protocol):
    """A client, which can be drained."""

    async def aclose(self, *, drain: float = ...) -> None: ...


C = TypeVar("C", bound=Closing)


class Run(NamedTuple):
    """
    A job that runs in this task: its message as it came, and what was set for it.

    Attributes:
        outer: The job that has sent it, if an in-memory broker runs both in one task.
    """

    outer: Run | None
    message: TaskiqMessage
    deadline: Token[float | None]
    caller: Token[Caller | None]
    job: Token[Job | None]


RUN: ContextVar[Run | None] = ContextVar("seawall_taskiq_run", default=None)


class Jobs(TaskiqMiddleware, Generic[C]):
    """
    For taskiq: ``broker = RedisStreamBroker(url).with_middlewares(Jobs(seawall.AsyncClient))``.

    - A worker process opens one client when it starts, which a task asks for by its class: ``client:
      Annotated[seawall.AsyncClient, TaskiqDepends()]``. It is drained when the worker stops.
    - A job's ``timeout`` label is the deadline of all its calls, which end just before taskiq cancels the job.
    - The keys of `seawall.job` are made from the task's id, so a job that runs twice sends the same ones.
    - A job that BreakerOpen, LimitExceeded, OriginPaused, Shed or BulkheadFull ends is put back into the queue for its
      ``retry_after`` (at random up to half more), under its id. So is one that ClientClosed ends when a worker stops.

    Give it last, after taskiq's own retries, or they put the job back as well.

    Args:
        open_client: Makes the client, such as ``lambda: seawall.AsyncClient(deadline=10.0)``.
        drain: Seconds, >= 0, that calls in flight have left when the worker stops. taskiq gives 5 s to all that is
            closed then, unless ``--shutdown-timeout`` says otherwise.
        schedule_source: Keeps deferred jobs until taskiq's scheduler sends them. None has the worker hold them, where
            each takes one of its ``--max-async-tasks``; it works with every broker.
        max_hold: Seconds, > 0, for which the worker holds a job at most; then it is back in the queue.
        max_wait: Seconds, > 0, from its first deferral, after which a job fails with its error after all.
        rng: Chance, for tests; None draws from the system's.
    Attributes:
        client: This worker's; None before it has started, and in a process that only sends jobs.
    Raises:
        TypeError, ValueError: A setting that can't be; the message names it and its range.
    """

    def __init__(
        self,
        open_client: Callable[[], C],
        *,
        drain: float = 3.0,
        schedule_source: ScheduleSource | None = None,
        max_hold: float = 5.0,
        max_wait: float = 3600.0,
        rng: Random | None = None,
    ) -> None:
        super().__init__()
        if not callable(open_client):
            raise TypeError(f"Jobs: open_client must be a function that makes a client, not {shown(open_client)}")
        if not isinstance(schedule_source, ScheduleSource | None):
            raise TypeError(f"Jobs: schedule_source must be taskiq's ScheduleSource, not {shown(schedule_source)}")
        number("Jobs", "drain", drain, low=0)
        number("Jobs", "max_hold", max_hold, low=0, above=True)
        number("Jobs", "max_wait", max_wait, low=0, above=True)
        self._open_client = open_client
        self._drain = drain
        self._source = schedule_source
        self._max_hold = max_hold
        self._max_wait = max_wait
        self._rng = rng or SystemRandom()
        self._is_stopping = False
        self.client: C | None = None

    def set_broker(self, broker: AsyncBroker) -> None:
        super().set_broker(broker)
        broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, self._start)
        broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, self._stop)

    def _start(self, _: TaskiqState) -> None:
        self._is_stopping = False
        self.client = client = self._open_client()
        self.broker.add_dependency_context({type(client): client})

    async def _stop(self, _: TaskiqState) -> None:
        self._is_stopping = True
        if self.client is not None:
            await self.client.aclose(drain=self._drain)

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Set the deadline and the job of all that this task does."""
        timeout = _timeout(message.labels.get("timeout"))
        RUN.set(
            Run(
                RUN.get(),
                # taskiq puts arguments of other types into the lists and dicts of the message itself.
                message.model_copy(
                    update={"args": [*message.args], "kwargs": {**message.kwargs}, "labels": {**message.labels}}
                ),
                INHERITED.set(None if timeout is None else now() + timeout),
                CALLER.set(None),  # of the request that has sent the job, if it runs in the same process
                JOB.set(Job(message.task_id)),
            )
        )
        return message

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Undo what `pre_execute` has set, because an in-memory broker may run the job in its sender's task."""
        run = RUN.get()
        if run is not None:
            JOB.reset(run.job)
            CALLER.reset(run.caller)
            INHERITED.reset(run.deadline)
            RUN.set(run.outer)

    async def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        """Put a job that was refused back into the queue."""
        run = RUN.get()
        delay = retry_after(exception)
        if delay is None and self._is_stopping and isinstance(exception, ClientClosed):
            delay = 0.0
        if run is None or delay is None or isinstance(result.error, NoResultError):  # taskiq's retries have put it back
            return
        delay *= 1.0 + self._rng.uniform(0.0, JITTER)
        at = time.time()
        since = float(run.message.labels.get(SINCE, at))
        what = f"job {message.task_id} ({message.task_name})"
        why = f"{type(exception).__name__}: {exception}"
        if at + delay > since + self._max_wait:
            logger.warning("%s fails, because it was deferred for %.3g s already: %s", what, at - since, why)
            return
        logger.info("%s is deferred by %.3g s: %s", what, delay, why)
        await self._put_back(run.message, since, delay)
        message.labels["retry_on_error"] = False  # or taskiq's retries put it back too
        result.error = NoResultError()

    async def _put_back(self, message: TaskiqMessage, since: float, delay: float) -> None:
        kicker: AsyncKicker[Any, Any] = AsyncKicker(
            task_name=message.task_name, broker=self.broker, labels=message.labels | {SINCE: since}
        ).with_task_id(message.task_id)
        if self._source is None:
            await asyncio.sleep(min(delay, self._max_hold))
            await kicker.kiq(*message.args, **message.kwargs)
        else:
            at = datetime.fromtimestamp(time.time() + delay, UTC)
            await kicker.schedule_by_time(self._source, at, *message.args, **message.kwargs)


def retry_after(error: BaseException) -> float | None:
    """
    Seconds until work is worth another try that a gate on this side refused; None if *error* isn't such a refusal.

    Of several errors at once, as task groups raise them, all must be refusals.
    """
    if isinstance(error, BaseExceptionGroup):
        delays = [retry_after(each) for each in error.exceptions]
        known = [delay for delay in delays if delay is not None]
        return max(known) if len(known) == len(delays) else None
    if not isinstance(error, Rejected):
        return None
    delay: float = getattr(error, "retry_after", RETRY_AFTER)
    return HELD_OPEN if math.isinf(delay) else delay


def _timeout(label: object) -> float | None:
    """Seconds for the calls of a job with this label; None without a limit, or where taskiq itself fails on it."""
    try:
        timeout = float(label)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return timeout - min(MARGIN, timeout / 10) if 0.0 < timeout < math.inf else None
