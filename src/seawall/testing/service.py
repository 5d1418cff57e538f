"""How a server of the fault kit runs: in the caller's event loop, or in a thread of its own."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import math
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypeVar

__all__ = ["Service", "bound", "is_loopback", "watchful"]

T = TypeVar("T")
PATIENCE: Final = 1.0  # s that a server's end takes once it is cancelled, because a test's handler may never end


class Service:
    """
    Base of the servers: ``async with`` runs one in the running loop, ``with`` in a thread of its own.

    With a thread, tests of blocking clients need no event loop. The thread is a daemon, so that nothing listens any
    longer than the process lives, even if the test dies. A subclass defines `_open` and `_close`, which run in the
    loop; its public methods reach the loop through `_run`.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None
    _thread_id = 0
    _has_run = False

    async def _open(self) -> None:
        """Bind and listen; the ``with`` raises what this raises."""
        raise NotImplementedError

    async def _close(self) -> None:
        """Close every socket and end every task; called once after `_open`, even if that failed."""
        raise NotImplementedError

    def _check(self) -> None:
        """Raise what must fail the test at the end of a block that raised nothing."""

    def _run(self, function: Callable[[], T]) -> T:
        """Run *function* in the loop's thread and wait for it, because it must not run while the server does."""
        loop = self._loop
        if loop is None:
            raise RuntimeError(f"{type(self).__name__} is not running: enter it with `async with` or `with`")
        if self._thread_id == threading.get_ident():
            return function()

        async def inside() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(inside(), loop).result(timeout=10)

    def _look(self, function: Callable[[], T]) -> T:
        """Like `_run`, for a function that only reads; after the server's end, it runs here."""
        return function() if self._loop is None and self._has_run else self._run(function)

    # in the caller's loop

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        watchful(loop)
        self._begin()
        self._loop, self._thread_id = loop, threading.get_ident()
        try:
            await self._open()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._end()
        if exc_type is None:
            self._check()

    # in a thread of its own

    def __enter__(self) -> Self:
        self._begin()
        opened = threading.Event()
        failures: list[BaseException] = []

        def live() -> None:
            with asyncio.Runner(
                loop_factory=asyncio.SelectorEventLoop
            ) as runner:  # Windows' default one isn't watchful
                runner.run(self._live(opened, failures))

        self._thread = threading.Thread(target=live, name=type(self).__name__, daemon=True)
        self._thread.start()
        opened.wait()
        if failures:
            self._thread.join()
            self._thread = None
            raise failures[0]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        thread, loop = self._thread, self._loop
        assert thread is not None
        if loop is not None:
            with suppress(RuntimeError):  # it is closed already
                loop.call_soon_threadsafe(self._stopping.set)
        thread.join(timeout=10)
        self._thread = None
        if exc_type is None:
            self._check()

    async def _live(self, opened: threading.Event, failures: list[BaseException]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._thread_id = threading.get_ident()
        try:
            await self._open()
            opened.set()
            await self._stopping.wait()
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)
        finally:
            await self._end()
            opened.set()

    def _begin(self) -> None:
        if self._loop is not None or self._thread is not None:
            raise RuntimeError(f"{type(self).__name__} is running already")

    async def _end(self) -> None:
        """Close all, however often the caller is cancelled: anyio cancels each await of a scope."""
        loop, closing = asyncio.get_running_loop(), asyncio.ensure_future(self._close())
        cancelled, patience, give_up_at = None, None, math.inf
        while not closing.done() and loop.time() < give_up_at:
            try:
                await asyncio.wait((closing,), timeout=patience)
            except asyncio.CancelledError as error:
                cancelled, patience = error, PATIENCE
                give_up_at = min(give_up_at, loop.time() + PATIENCE)
        self._loop, self._has_run = None, True
        if closing.done():
            closing.result()
        if cancelled is not None:
            raise cancelled


def watchful(loop: asyncio.AbstractEventLoop) -> None:
    """
    Check that *loop* can watch sockets that the kit accepts by hand.

    Raises:
        RuntimeError: It can't, as Windows' default loop.
    """
    if type(loop).add_reader is asyncio.AbstractEventLoop.add_reader:
        raise RuntimeError(
            f"{type(loop).__name__} can't watch sockets (add_reader), which the fault kit needs: run it in an "
            "asyncio.SelectorEventLoop, or enter it with `with` in place of `async with`, which gives it a thread and "
            "a loop of its own"
        )


def is_loopback(host: str) -> bool:
    """
    Whether only clients on this machine reach a server that listens on *host*.

    Raises:
        ValueError: *host* isn't an IP address. An empty one would mean all of this machine's addresses, and a name may
            mean any of them.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        raise ValueError(
            f"host must be an IP address of this machine, not {host!r}: 127.0.0.1 or ::1 for clients on this machine, "
            "another for all clients that reach it"
        ) from None


def bound(kind: socket.SocketKind, host: str, port: int) -> socket.socket:
    """
    A non-blocking socket bound to *host* and *port* (0 takes any free one).

    Raises:
        ValueError: *host* isn't an IP address, or *port* isn't a port.
        OSError: The port is in use, or *host* is not an address of this machine; says which.
    """
    is_loopback(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind, socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else 0)  # so: TCP_NODELAY
    try:
        if kind == socket.SOCK_STREAM and os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(("127.0.0.1" if host == "localhost" else host, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(error.errno, f"{host}:{port} is in use; give another port, or 0 for any free one") from error
        hint = ""
        if error.errno == errno.EADDRNOTAVAIL and sys.platform == "darwin" and is_loopback(host):
            hint = f"; macOS has 127.0.0.1 only, until you add others: sudo ifconfig lo0 alias {host}"
        raise OSError(error.errno, f"can't listen on {host}:{port}: {error.strerror}{hint}") from error
    except (OverflowError, TypeError):
        sock.close()
        raise ValueError(f"port must be a whole number from 0 to 65535, not {port!r}") from None
    return sock
