"""
Time that takes none.

Rules: the clock moves only when nothing is ready, and then to the instant of the next timer, to the last bit. Where it
can't move, or would have to wait for what takes real time (a thread, a socket), that is an error at once and no hang.
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
    """What can't be done on a virtual clock: threads, sockets, and time beyond its `max_time`."""


class Deadlock(VirtualTimeError):
    """Nothing is ready, and no timer is set: what the tasks wait for will never come. Says where they are."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An event loop whose clock starts at 0 and jumps to the next timer whenever there is nothing else to do.

    Every timeout, delay and TTL of a client runs on the loop's clock, so a scenario of an hour takes milliseconds, and
    its instants are exact (as floats are: 0.1 s and then 0.2 s end at 0.30000000000000004).

    It waits for nobody: what happens in threads of others' own (anyio's, a resolver's) it jumps over.

    With anyio's pytest plugin: `VIRTUAL`. In a script: `run`. Elsewhere: ``asyncio.Runner(loop_factory=VirtualLoop)``.

    Args:
        max_time: s on the virtual clock after which a scenario is taken for one that never ends; at most 40 days.

    Raises:
        Deadlock: Out of whatever runs the loop; also where only such a thread could have brought news.
        VirtualTimeError: For `run_in_executor`, which getaddrinfo uses too; for each socket or pipe that a task would
            wait for; out of whatever runs the loop, beyond *max_time*.
    """

    def __init__(self, *, max_time: float = MAX_TIME) -> None:
        self._virtual_now = 0.0
        self._instants: list[float] = []  # a heap; of cancelled timers too
        selector = _Jumping(self._jump)
        super().__init__(selector)
        selector.is_sealed = True  # after the loop's own pipe
        self._clock_resolution = RESOLUTION  # where the system's is coarse, timers 15 ms apart would be one
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
            "for it (a look-up of the system's resolver? seawall.testing.FakeResolver takes none)"
        )

    def _jump(self, delay: float | None) -> None:
        """
        To where the loop's next timer is, *delay* s from now; None: there is none.

        Not to now + delay, which may be off by a bit; and to the last of the timers that the loop takes for due
        together, for who is called before its instant and waits for the rest of it would be called for ever.
        """
        if delay is None:
            raise Deadlock(f"nothing is ready and no timer is set, at {self._virtual_now:g} s{self._waiting()}")
        now = self._virtual_now + delay
        while self._instants and self._instants[0] <= now + RESOLUTION:
            at = heapq.heappop(self._instants)
            now = at if at >= now - RESOLUTION else now
        if now > self._max_time:
            raise VirtualTimeError(
                f"{self._max_time:g} s of virtual time are over (max_time), and it goes on{self._waiting()}"
            )
        self._virtual_now = now

    def _waiting(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        return "; waiting:" + "".join(f"\n  {whereabouts(task)}" for task in tasks)


class _Jumping(selectors.DefaultSelector):
    """A selector that, in place of waiting, moves the clock."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump
        self.is_sealed = False

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.is_sealed:
            raise VirtualTimeError(
                f"socket or pipe {fileobj!r}: it takes real time, and the virtual clock would not wait for it "
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
What a fixture for anyio's pytest plugin returns, for tests on the virtual clock::

    @pytest.fixture
    def anyio_backend():
        return VIRTUAL
"""


def run(main: Coroutine[Any, Any, T], *, max_time: float = MAX_TIME) -> T:
    """
    ``asyncio.run`` on a `VirtualLoop`: the result of *main*.

    Raises:
        VirtualTimeError, Deadlock: See `VirtualLoop`.
        RuntimeError: A loop is running here already.
    """
    if asyncio._get_running_loop() is not None:
        main.close()
        raise RuntimeError("a loop is running here: use a plain `def` test, or anyio_backend = seawall.testing.VIRTUAL")
    with asyncio.Runner(loop_factory=partial(VirtualLoop, max_time=max_time)) as runner:
        return runner.run(main)
