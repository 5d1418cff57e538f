"""Modelled servers behind seawall's real layers, on the virtual clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from random import Random
from typing import Any

import seawall
from seawall.config import Policy
from seawall.core.attempt import AttemptState
from seawall.core.emitter import Emitter
from seawall.core.pipeline import Pipeline
from seawall.errors import ReadTimeout, SeawallError
from seawall.events import BodyEnd, History, Phase
from seawall.policy.outcome import Outcome
from seawall.testing import VirtualLoop
from seawall.wire.body import Over, Reading

ORIGIN = seawall.Origin("http", "server.test", 80)
ATTEMPT_TIMEOUT = 1.0  # s
OFF: dict[str, Any] = {"retry": None, "bulkhead": None, "breaker": None, "budget": None}
RETRY = seawall.Retry()
FIXED = seawall.Bulkhead(adaptive=False)
POLICIES: dict[str, dict[str, Any]] = {
    "no retry": OFF,
    "naive retry": OFF | {"retry": seawall.Retry(backoff=0, throttled_backoff=0)},
    "retry with backoff": OFF | {"retry": RETRY},
    "+ budget": OFF | {"retry": RETRY, "budget": seawall.Budget()},
    "+ bulkhead": OFF | {"retry": RETRY, "bulkhead": FIXED},
    "+ breaker": OFF | {"retry": RETRY, "breaker": seawall.Breaker()},
    "defaults": {
        "retry": RETRY,
        "bulkhead": seawall.Bulkhead(),
        "breaker": seawall.Breaker(),
        "budget": seawall.Budget(),
    },
}
POLICIES["defaults + hedge"] = POLICIES["defaults"] | {"hedge": seawall.Hedge()}
POLICIES["fixed bulkhead"] = POLICIES["defaults"] | {"bulkhead": FIXED}


class Server:
    """
    A model of a server.

    Args:
        capacity: Requests per second.
        drops_abandoned: Whether it skips requests whose client no longer waits.
        slow_start: Seconds for which it works at half its speed after a freeze.
    """

    def __init__(self, capacity: float, *, drops_abandoned: bool = False, slow_start: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = 1.0 / capacity
        self._drops = drops_abandoned
        self._slow_start = slow_start
        self._slow_until = 0.0
        self._queue: deque[asyncio.Future[int]] = deque()
        self._is_busy = False
        self._frozen_until = 0.0
        self.retry_after: float | None = None  # while this is set, it rejects requests
        self.arrivals: list[float] = []

    def freeze(self, seconds: float) -> None:
        self._frozen_until = self._loop.time() + seconds
        self._slow_until = self._frozen_until + self._slow_start

    def ask(self) -> asyncio.Future[int]:
        """A future of the status."""
        self.arrivals.append(self._loop.time())
        answer: asyncio.Future[int] = self._loop.create_future()
        if self.retry_after is not None:
            answer.set_result(503)
            return answer
        self._queue.append(answer)
        if not self._is_busy:
            self._begin()
        return answer

    def _begin(self) -> None:
        while self._queue and self._drops and self._queue[0].done():
            self._queue.popleft()
        self._is_busy = bool(self._queue)
        if self._is_busy:
            now = self._loop.time()
            begins_at = max(now, self._frozen_until)
            service = self._service * (2.0 if begins_at < self._slow_until else 1.0)
            self._loop.call_at(begins_at + service, self._finish, self._queue.popleft())

    def _finish(self, answer: asyncio.Future[int]) -> None:
        if not answer.done():
            answer.set_result(200)
        self._begin()


class Request:
    """The model's `seawall.core.exchange.Request`; *timeout* is that of its connect and of its read."""

    origin = ORIGIN
    method = "GET"
    path = "/"
    options: Policy | None = None
    body: object = None
    is_repeated = False
    is_straight = True
    has_key = False
    streamed = None

    def __init__(self, timeout: float = ATTEMPT_TIMEOUT) -> None:
        self.timeouts: Mapping[str, float | None] = {"connect": timeout, "read": timeout, "pool": 5.0}

    def add(self, name: str, value: str) -> None: ...

    def is_replayable(self) -> bool:
        return True

    def part(self, partition: Callable[[Any], Hashable]) -> Hashable:
        """As a request without a credential has it, because only a limit asks."""
        return b""

    def adopt(self, error: SeawallError) -> Exception:
        return error


class Reply:
    """The model's `seawall.core.exchange.Reply`: a status, and perhaps a Retry-After."""

    is_whole = True

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        self.response = status
        self._retry_after = retry_after

    def outcome(self) -> Outcome:
        return Outcome(Phase.HEADERS, status=self.response, retry_after=self._retry_after)

    async def read(self) -> None: ...

    def own(self, over: Over, reading: Reading | None = None) -> None:
        over(BodyEnd.COMPLETE, None)

    async def discard(self) -> None: ...

    def keep(self) -> None: ...

    def abandon(self) -> None: ...

    def shown(self) -> int:
        return self.response

    def attach(self, history: History) -> None: ...


class Exchange:
    """A `seawall.core.exchange.Exchange` with a model instead of a wire."""

    def __init__(self, server: Server, timeout: float = ATTEMPT_TIMEOUT) -> None:
        self._server = server
        self._timeout = timeout

    async def send(self, request: Request, attempt: AttemptState) -> Reply:
        attempt.reached(Phase.SENT)
        return Reply(await self.answered(self._server), self._server.retry_after)

    async def answered(self, server: Server) -> int:
        """The server's status. Raises ReadTimeout."""
        answer = server.ask()
        if answer.done():
            return answer.result()
        timer = asyncio.get_running_loop().call_later(self._timeout, _give_up, answer)
        try:
            return await answer
        finally:
            timer.cancel()
            answer.cancel()  # tells the server that no client waits for it

    def failure(self, error: Exception, attempt: AttemptState) -> Outcome | None:
        return Outcome(attempt.phase, error=error, expired="read" if isinstance(error, ReadTimeout) else None)

    def blame(self, request: Request, attempt: AttemptState) -> None: ...


def _give_up(answer: asyncio.Future[int]) -> None:
    if not answer.done():
        answer.set_exception(ReadTimeout("no answer in time"))


def layers(policy: Mapping[str, Any], rng: Random) -> Pipeline:
    """The layers of one client."""
    return Pipeline(
        Policy(deadline=seawall.UNSET, **{"hedge": None, **policy}),
        {},
        propagation=None,
        emitter=Emitter(),
        rng=rng,
    )


def virtual(coroutine: Any) -> Any:
    """Run a coroutine on the virtual clock; returns its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
