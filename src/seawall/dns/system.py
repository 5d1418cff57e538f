"""
The operating system's resolver, in a few threads of its own.

It knows names that c-ares doesn't (mDNS, VPNs, containers), but blocks a thread for as long as it likes. So it doesn't
use the loop's executor, where twelve dead names would delay everything else, and isn't asked while its own threads are
all busy. These are daemons, and not an executor's, because Python waits for an executor's threads when it exits.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeAlias

from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure
from ..origin import Address
from .resolver import Answer, failed

__all__ = ["SystemResolver"]

THREADS = 4
MAX_WAITING = 64

Lookup: TypeAlias = "Future[list[tuple[Any, ...]]]"
"""What getaddrinfo returns."""


class SystemResolver:
    """`Resolver` through ``getaddrinfo``, which gives no TTL."""

    def __init__(self) -> None:
        self._asked = Counter[str]()  # names that use a thread, or wait for one
        self._in_threads: set[Lookup] = set()
        self._waiting: dict[Lookup, tuple[Any, ...]] = {}  # for a thread; and getaddrinfo's arguments

    @property
    def _running(self) -> int:
        return self._asked.total()

    def takes(self, host: str) -> bool:
        """Whether a thread is free, and no lookup of *host* is in flight."""
        return self._running < THREADS and host not in self._asked

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """
        As `Resolver.resolve`.

        **Cancellation:** a lookup that has begun keeps its thread until getaddrinfo returns.

        Raises:
            ResolverFailure: `MAX_WAITING` lookups are waiting already.
        """
        if self._running >= THREADS + MAX_WAITING:
            text = f'{self._running} lookups are in flight or waiting (resolver="cares" needs no threads)'
            raise ResolverFailure(f"{host}: system resolver: {text}")
        lookup: Lookup = Future()
        lookup.add_done_callback(self._telling(host, asyncio.get_running_loop()))
        self._asked[host] += 1
        self._waiting[lookup] = host, port, family, socket.SOCK_STREAM
        self._start()
        try:
            found = await asyncio.wrap_future(lookup)
        except socket.gaierror as error:
            raise failed(_kind(error), f"{host}: system resolver: {error.strerror}") from error
        except (OSError, UnicodeError, RuntimeError) as error:  # RuntimeError: the machine can't start a thread
            raise failed(ResolverFailure, f"{host}: system resolver: {error}") from error
        addresses = tuple(dict.fromkeys(Address(_scoped(sockaddr)) for *_, sockaddr in found))
        if not addresses:
            raise NoAddress(f"{host}: system resolver: no address")
        return Answer(addresses, None, "system")

    async def aclose(self) -> None:
        """Start no more lookups. Those that block a thread end by themselves."""
        for lookup in [*self._waiting]:
            lookup.cancel()

    def _start(self) -> None:
        """A thread for each of those that have waited longest, as many as there may be."""
        while self._waiting and len(self._in_threads) < THREADS:
            lookup = next(iter(self._waiting))
            arguments = self._waiting.pop(lookup)
            if not lookup.set_running_or_notify_cancel():
                continue
            self._in_threads.add(lookup)
            thread = threading.Thread(target=_look_up, args=(lookup, arguments), name="seawall-dns", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                lookup.set_exception(error)

    def _telling(self, host: str, loop: asyncio.AbstractEventLoop) -> Callable[[Lookup], None]:
        """Has *loop* hear that the lookup has ended, in whatever thread that was."""

        def tell(lookup: Lookup) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._done, host, lookup)

        return tell

    def _done(self, host: str, lookup: Lookup) -> None:
        self._asked -= Counter([host])
        self._waiting.pop(lookup, None)
        self._in_threads.discard(lookup)
        self._start()


def _look_up(lookup: Lookup, arguments: tuple[Any, ...]) -> None:
    try:
        lookup.set_result(socket.getaddrinfo(*arguments))
    except BaseException as error:  # noqa: BLE001  # it is the caller's
        lookup.set_exception(error)
    finally:
        del lookup  # because it holds the error, and that this frame


def _kind(error: socket.gaierror) -> type[ResolveError]:
    if error.errno == socket.EAI_NONAME:
        return NameNotFound
    if error.errno == getattr(socket, "EAI_NODATA", None):
        return NoAddress
    return ResolverFailure


def _scoped(sockaddr: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    return str(sockaddr[0])
