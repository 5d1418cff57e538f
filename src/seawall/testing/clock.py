"""
An event loop on a virtual clock.

Rules: the clock moves only when nothing is ready, and then exactly to the instant of the next timer. Where it can't
move, or would have to wait for something that takes real time (a thread, a socket), it raises at once and never hangs.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar, TypeVarTuple

from ..config.check import number
from .whereabouts import whereabouts

__all__ = ["VIRTUAL", "Deadlock", "VirtualLoop", "VirtualTimeError", "run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DAY: Final = 86400.0
MAX_TIME: Final = 7 * DAY
LONGEST: Final = 40 * DAY  # beyond 2**22 s, floats are no finer than the resolution
RESOLUTION: Final = 1e-9  # s; the loop calls a timer that is due within it


class VirtualTimeError(RuntimeError):
    """Something that a virtual clock can't do: threads, sockets, and time beyond its `max_time`."""


class Deadlock(VirtualTimeError):
    """Nothing is ready and no timer is set, so the tasks would wait for ever. Says where each of them waits."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An event loop whose clock starts at 0 and jumps to the next timer whenever there is nothing else to do.

    Every timeout, delay and TTL of a client runs on the loop's clock, so a scenario of an hour takes milliseconds, and
    its instants are exact (as floats are: 0.1 s and then 0.2 s end at 0.30000000000000004).

    It never waits for threads that a library runs by itself (anyio's, a resolver's): the clock jumps meanwhile.

    With anyio's pytest plugin: `VIRTUAL`. In a script: `run`. Elsewhere: ``asyncio.Runner(loop_factory=VirtualLoop)``.

    Args:
        max_time: Virtual seconds after which a scenario counts as endless; at most 40 days.

    Raises:
        Deadlock: Raised by whatever runs the loop; also where only a thread of a library could have woken a task.
        VirtualTimeError: Raised by `run_in_executor`, which getaddrinfo uses too; wherever a task would wait for a
            socket or pipe; and, beyond *max_time*, by whatever runs the loop.
    """

    def __init__(self, *, max_time: float = MAX_TIME) -> None:
        self._virtual_now = 0.0
        self._instants: list[float] = []  # a heap; cancelled timers stay in it
        selector = _Jumping(self._jump)
        super().__init__(selector)
        selector.is_sealed = True  # after the loop's own pipe
        self._clock_resolution = RESOLUTION  # a coarse clock of the system would merge timers 15 ms apart
        try:
            number("VirtualLoop", "max_time", max_time, low=0, high=LONGEST, above=True)
        except (TypeError, ValueError):
            self.close()
            raise
        self._max_time = max_time

    def time(self) -> float:
        return self._virtual_now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        heapq.heappush(self._instants, when)
        return timer

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        what = func.args[0] if isinstance(func, partial) and func.args else func  # as asyncio.to_thread wraps it
        raise VirtualTimeError(
            f"{getattr(what, '__qualname__', what)} in a thread takes real time, and the virtual clock would not wait "
            "for it (if it is a lookup by the system's resolver, use seawall.testing.FakeResolver)"
        )

    def _jump(self, delay: float | None) -> None:
        """
        Move the clock to the loop's next timer, which is *delay* seconds away; None means that there is none.

        Not to now + delay, because that may be off by a bit; and to the last of the timers that the loop runs together,
        because a callback that runs before its instant, and then waits for the rest, would be called for ever.
        """
        if delay is None:
            raise Deadlock(f"nothing is ready and no timer is set, at {self._virtual_now:g} s{self._waiting()}")
        now = self._virtual_now + delay
        while self._instants and self._instants[0] <= now + RESOLUTION:
            at = heapq.heappop(self._instants)
            now = at if at >= now - RESOLUTION else now
        if now > self._max_time:
            raise VirtualTimeError(
                f"{self._max_time:g} s of virtual time (max_time) have passed without an end{self._waiting()}"
            )
        self._virtual_now = now

    def _waiting(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        return "; waiting:" + "".join(f"\n  {whereabouts(task)}" for task in tasks)


class _Jumping(selectors.DefaultSelector):
    """A selector that moves the clock instead of waiting."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump
        self.is_sealed = False

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.is_sealed:
            raise VirtualTimeError(
                f"socket or pipe {fileobj!r} takes real time, and the virtual clock would not wait for it "
                "(seawall.testing.ScriptedWire answers without one)"
            )
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            self._jump(timeout)
        return ready


VIRTUAL: Final[tuple[str, dict[str, Any]]] = ("asyncio", {"loop_factory": VirtualLoop})
"""
What the fixture ``anyio_backend`` of anyio's pytest plugin must return, for tests on the virtual clock::

    @pytest.fixture
    def anyio_backend():
        return VIRTUAL
"""


def run(main: Coroutine[Any, Any, T], *, max_time: float = MAX_TIME) -> T:
    """
    ``asyncio.run`` on a `VirtualLoop`: the result of *main*.

    Raises:
        VirtualTimeError, Deadlock: See `VirtualLoop`.
        RuntimeError: A loop already runs in this thread.
    """
    if asyncio._get_running_loop() is not None:
        main.close()
        raise RuntimeError(
            "a loop already runs in this thread: use a plain `def` test, or anyio_backend = seawall.testing.VIRTUAL"
        )
    with asyncio.Runner(loop_factory=partial(VirtualLoop, max_time=max_time)) as runner:
        return runner.run(main)
