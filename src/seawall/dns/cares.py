"""
aiodns and pycares: the only file that imports them.

What is peculiar about c-ares, and what is done about it:

- Its timeout is a hint: after three answers it becomes 5 x the mean round trip. The caller sets the time limit; here
  five tries keep asking until it strikes, and a channel that timed out is not used again.
- It has a cache of its own (on since 1.31) that can't be switched off and rounds TTLs up. So no channel is asked for
  the same name and family twice: a repeated question goes to a new channel. Making one costs 0.1 ms.
- EDNS brings DNS cookies, and those false timeouts: ``flags=0``.
- It hears of a new resolv.conf, but not of a new target of a symlink (systemd-resolved), nor of a file that is mounted
  over it (containers). So what is there is looked at every 5 s, as Go does, and a new channel reads it anew.
- A query can't be cancelled: cancelling one who waits for it leaves it running, unheard.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiodns
import pycares

from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from ..origin import Address
from .resolver import Answer, failed

__all__ = ["CaresResolver", "Service"]

AI_NOSORT = 1 << 7  # RFC 6724 sorting costs 11 µs an address, and dialling does its own
RESOLV_CONF = "/etc/resolv.conf"
LOOK_EVERY = 5.0  # s; Go's
TRY_TIMEOUT = 0.5  # s, then doubling: a lost datagram is to cost no more than a slow server
TRIES = 5

MAX_ASKED = 1024  # names that one channel is asked, and keeps
ETIMEOUT = 12
SRV = 33  # the type; no address family has that number

# https://c-ares.org/docs/ares_strerror.html
ERRORS: dict[int, type[ResolveError]] = {
    1: NoAddress,  # ENODATA
    4: NameNotFound,  # ENOTFOUND
    8: NameNotFound,  # EBADNAME
    ETIMEOUT: ResolveTimeout,
}


class Service(NamedTuple):
    """An SRV record; *target* "" says that the service is not to be had."""

    priority: int
    weight: int
    port: int
    target: str
    ttl: float


class _Channel:
    """An aiodns resolver, what it was asked, and how many answers it owes."""

    __slots__ = ("asked", "is_retired", "pending", "pid", "resolver")

    def __init__(self, nameservers: Sequence[str] | None) -> None:
        self.resolver = aiodns.DNSResolver(nameservers, timeout=TRY_TIMEOUT, tries=TRIES, flags=0)
        self.asked: set[tuple[str, int]] = set()
        self.pending = 0
        self.is_retired = False
        self.pid = os.getpid()  # c-ares' thread does not survive a fork


class CaresResolver:
    """`Resolver` that asks DNS servers (and /etc/hosts) through c-ares, without a thread per lookup."""

    def __init__(self, nameservers: Sequence[str] | None = None) -> None:
        self._nameservers = nameservers
        self._channel: _Channel | None = None
        self._channels: set[_Channel] = set()
        self._looked_at = float("-inf")
        self._system: object = None  # what resolv.conf was when it was looked at

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """
        As `Resolver.resolve`; the TTL is the minimum over the CNAME chain.

        **Cancellation:** the query ends unheard; those of others go on.
        """
        async with self._asking(host, family) as resolver:
            result = await resolver.getaddrinfo(
                host, family=socket.AddressFamily(family), type=socket.SOCK_STREAM, flags=AI_NOSORT
            )
        addresses = dict.fromkeys(Address(_text(node.addr[0])) for node in result.nodes)
        if not addresses:
            raise NoAddress(f"{host}: DNS: the answer has no address")
        ttl = min([node.ttl for node in result.nodes] + [cname.ttl for cname in result.cnames])
        return Answer(tuple(addresses), float(ttl), "dns")

    async def services(self, name: str) -> list[Service]:
        """
        The SRV records of a name.

        Raises:
            NameNotFound, NoAddress, ResolverFailure, ResolveTimeout: There are none.
        """
        async with self._asking(name, SRV) as resolver:
            result = await resolver.query_dns(name, "SRV")
        found = [(each.data, each.ttl) for each in result.answer if isinstance(each.data, pycares.SRVRecordData)]
        if not found:
            raise NoAddress(f"{name}: DNS: the answer has no SRV record")
        return [
            Service(each.priority, each.weight, each.port, each.target.rstrip("."), float(ttl)) for each, ttl in found
        ]

    async def aclose(self) -> None:
        self._channel = None
        while self._channels:
            await self._channels.pop().resolver.close()

    @asynccontextmanager
    async def _asking(self, host: str, family: int) -> AsyncIterator[aiodns.DNSResolver]:
        """A channel's resolver for one query, whose failure becomes a `ResolveError`."""
        channel = await self._channel_for(host, family)
        channel.pending += 1
        try:
            yield channel.resolver
        except aiodns.error.DNSError as error:
            code, text = error.args
            channel.is_retired |= code == ETIMEOUT
            raise failed(ERRORS.get(code, ResolverFailure), f"{host}: DNS: {text}") from error
        except asyncio.CancelledError:
            channel.is_retired = True  # it may be what was too slow
            raise
        finally:
            channel.pending -= 1
            await self._close_if_done(channel)

    async def _channel_for(self, host: str, family: int) -> _Channel:
        channel = self._channel
        if self._has_changed() and channel is not None:
            channel.is_retired = True
            await self._close_if_done(channel)
        if channel is not None and channel.pid != os.getpid():
            self._channels.discard(channel)
            channel = None
        elif channel is not None and ((host, family) in channel.asked or len(channel.asked) >= MAX_ASKED):
            channel.is_retired = True
            await self._close_if_done(channel)
        if channel is None or channel.is_retired:
            channel = self._channel = _Channel(self._nameservers)
            self._channels.add(channel)
        channel.asked.add((host, family))
        return channel

    def _has_changed(self) -> bool:
        """Whether the system's settings are others than when they were last looked at."""
        now = time.monotonic()
        if self._nameservers is not None or now - self._looked_at < LOOK_EVERY:
            return False
        before, self._looked_at, self._system = self._system, now, _stamp()
        return before is not None and before != self._system

    async def _close_if_done(self, channel: _Channel) -> None:
        """aiodns closes without suspending: nothing can come between."""
        if channel.is_retired and not channel.pending and channel in self._channels:
            self._channels.discard(channel)
            await channel.resolver.close()


def _stamp() -> object:
    try:
        found = os.stat(RESOLV_CONF)  # of a symlink's target
    except OSError:
        return "none"
    return found.st_ino, found.st_mtime_ns, found.st_size


def _text(address: bytes | str) -> str:
    return address.decode() if isinstance(address, bytes) else address
