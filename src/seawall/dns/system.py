"""
The operating system's resolver, in a few threads of its own.

It knows names that c-ares doesn't (mDNS, VPNs, containers), but blocks a thread for as long as it likes. So it doesn't
use the loop's executor, where twelve dead names would delay everything else, and isn't asked while its own threads are
all busy.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure
from ..origin import Address
from .resolver import Answer, failed

__all__ = ["SystemResolver"]

THREADS = 4
MAX_WAITING = 64


class SystemResolver:
    """`Resolver` through ``getaddrinfo``, which gives no TTL."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._asked = Counter[str]()  # names that use a thread, or wait for one

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
        if self._executor is None:
            self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="seawall-dns")
        try:
            lookup = self._executor.submit(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        except RuntimeError as error:  # the machine can't start a thread
            raise ResolverFailure(f"{host}: system resolver: {error}") from error
        self._asked[host] += 1
        loop = asyncio.get_running_loop()
        lookup.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(self._done, host))
        try:
            found = await asyncio.wrap_future(lookup)
        except socket.gaierror as error:
            raise failed(_kind(error), f"{host}: system resolver: {error.strerror}") from error
        except (OSError, UnicodeError) as error:
            raise failed(ResolverFailure, f"{host}: system resolver: {error}") from error
        addresses = tuple(dict.fromkeys(Address(_scoped(sockaddr)) for *_, sockaddr in found))
        if not addresses:
            raise NoAddress(f"{host}: system resolver: no address")
        return Answer(addresses, None, "system")

    async def aclose(self) -> None:
        """Start no more lookups. Those that block a thread end by themselves."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def _done(self, host: str) -> None:
        self._asked -= Counter([host])


def _kind(error: socket.gaierror) -> type[ResolveError]:
    if error.errno == socket.EAI_NONAME:
        return NameNotFound
    if error.errno == getattr(socket, "EAI_NODATA", None):
        return NoAddress
    return ResolverFailure


def _scoped(sockaddr: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    return str(sockaddr[0])
