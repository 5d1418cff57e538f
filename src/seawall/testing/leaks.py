"""
What a block leaves behind: tasks, threads, file descriptors, permits.

Rules: what was there before the block is not a leak. What is left gets time to end: rounds of the loop, a garbage
collection, and where that is not enough up to `grace` seconds of real time, in which the thread is blocked for 10 ms at
a time. Worker threads of the default executor and of anyio are not leaks, because they wait for the next caller.

False alarms, and their cure: a library opens a file at its first use and keeps it: use it once before the block. A
client keeps idle connections beyond the block: close the client inside, or let it connect before.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar
from weakref import WeakSet

from ..config.check import number
from ..stats import Stats
from .whereabouts import whereabouts

__all__ = ["LeakCheck", "Leaked", "held", "no_leaks"]

DESCRIPTORS = "/proc/self/fd"
PAUSE = 0.01  # s
ROUNDS = 20  # of the loop: sockets are closed in the rounds after their transports
KEPT = ("asyncio_", "AnyIO worker thread")  # how the names of threads begin that are kept for the next who needs one
SHARED = ("(_run_safe_shutdown_loop)",)  # how others end: the one thread of a process in which pycares closes channels


class Leaked(AssertionError):
    """
    A block left something behind.

    Attributes:
        things: What is left, one line each.
    """

    def __init__(self, things: list[str]) -> None:
        super().__init__("left behind:" + "".join(f"\n  {thing}" for thing in things))
        self.things = things


class Watched(Protocol):
    """A client: `seawall.AsyncClient`, `seawall.AsyncTransport`."""

    def stats(self) -> Stats: ...


W = TypeVar("W", bound=Watched)


def no_leaks(*clients: Watched, grace: float = 2.0) -> LeakCheck:
    """
    Check what a block leaves behind.

    ``async with no_leaks(client):`` raises `Leaked` at the end of a block that left something. ``with`` is for code
    without an event loop; it doesn't see tasks.

    It doesn't see a socket that was dropped without being closed, because it collects garbage; Python's ResourceWarning
    reports those. A block that raised is not checked.

    Args:
        clients: Must hold no permits at the end, see `held`. For clients that are made inside: `LeakCheck.watch`.
        grace: Seconds of real time within which leftovers must end; a block that leaves nothing takes none of it.
    """
    return LeakCheck(*clients, grace=grace)


def held(stats: Stats) -> list[str]:
    """What a client holds although it has nothing to do, one line each: calls, permits, waiters, busy connections."""
    things = [f"{stats.calls} calls in flight"] if stats.calls else []
    for origin, state in stats.origins.items():
        things += [f"{state.in_flight} permits of {origin}"] if state.in_flight else []
        things += [f"{state.waiting} waiters for {origin}"] if state.waiting else []
    busy = stats.connections - sum(state.idle for state in stats.origins.values())
    return things + ([f"{busy} of {stats.connections} connections neither idle nor closed"] if busy else [])


@dataclass(frozen=True, slots=True)
class _Seen:
    """What exists at one instant, without the clients."""

    tasks: WeakSet[asyncio.Task[Any]]
    threads: WeakSet[threading.Thread]
    descriptors: dict[int, str]


class LeakCheck:
    """Made by `no_leaks`."""

    def __init__(self, *clients: Watched, grace: float) -> None:
        if grace != math.inf:
            number("no_leaks", "grace", grace, low=0)
        for client in clients:
            if not callable(getattr(client, "stats", None)):
                raise TypeError(f"clients must be seawall's, with stats(), not {client!r}")
        self._clients = list(clients)
        self._grace = grace

    def watch(self, client: W) -> W:
        """Check *client* too at the end: ``async with check.watch(seawall.AsyncClient()) as client``."""
        self._clients.append(client)
        return client

    def __enter__(self) -> Self:
        if _loop() is not None:
            raise RuntimeError("an event loop runs in this thread: use `async with no_leaks()`")
        self._before = _see()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if exc_type is None:
            for _ in self._looks():
                pass

    async def __aenter__(self) -> Self:
        if _loop() is None:
            raise RuntimeError("no_leaks needs asyncio, and no asyncio event loop runs in this thread")
        await _settle()
        self._before = _see()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if exc_type is None:
            await _settle()
            for _ in self._looks():
                await _settle()

    def _looks(self) -> Iterator[None]:
        """Ends when nothing is left, with `Leaked` after the grace; the caller runs rounds of the loop in between."""
        give_up_at = time.monotonic() + self._grace
        while True:
            gc.collect()
            things = self._left()
            if not things:
                return
            if time.monotonic() >= give_up_at:
                raise Leaked(things)
            time.sleep(PAUSE)
            yield

    def _left(self) -> list[str]:
        before, now = self._before, _see()
        mine = asyncio.current_task() if now.tasks else None
        tasks = [f"task {whereabouts(task)}" for task in now.tasks if task not in before.tasks and task is not mine]
        threads = [f"thread {thread.name}" for thread in now.threads if thread not in before.threads]
        descriptors = [
            f"fd {fd}: {_describe(fd, target)}"
            for fd, target in now.descriptors.items()
            if before.descriptors.get(fd) != target
        ]
        permits = [f"client: {thing}" for client in self._clients for thing in held(client.stats())]
        return sorted(tasks) + sorted(threads) + descriptors + permits


def _see() -> _Seen:
    threads = [
        thread for thread in threading.enumerate() if not (thread.name.startswith(KEPT) or thread.name.endswith(SHARED))
    ]
    return _Seen(WeakSet(_tasks()), WeakSet(threads), _descriptors())


async def _settle() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


def _tasks() -> list[asyncio.Task[Any]]:
    """The tasks of the running loop; [] where no loop runs."""
    loop = _loop()
    return list(asyncio.all_tasks(loop)) if loop else []


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _descriptors() -> dict[int, str]:
    """Each open descriptor and its file; without /proc, the sockets that Python knows."""
    if not os.path.isdir(DESCRIPTORS):
        socks = [thing for thing in gc.get_objects() if issubclass(type(thing), socket.socket)]
        return {sock.fileno(): f"socket:{id(sock)}" for sock in socks if sock.fileno() >= 0}
    found = {}
    for name in os.listdir(DESCRIPTORS):
        try:
            found[int(name)] = os.readlink(f"{DESCRIPTORS}/{name}")
        except OSError:
            continue  # the descriptor of this very listing
    return found


def _describe(fd: int, target: str) -> str:
    if not target.startswith("socket:"):
        return target
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            peer = "listening" if is_listening else f"to {_peer(sock)}"
            return f"{sock.type.name} socket at {_address(sock.getsockname())}, {peer}"
    except OSError:
        return target  # closed a moment ago, or of a kind that Python doesn't know


def _peer(sock: socket.socket) -> str:
    try:
        return _address(sock.getpeername())
    except OSError:
        return "nobody"


def _address(name: Any) -> str:
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else repr(name)
