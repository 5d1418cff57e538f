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
- All queries that a channel has pending go out from one port, so one that a server holds back would pin those after it
  to a port that can be found out (RFC 5452 section 9.2). So a query goes to a channel that owes no answer, as long as
  there are no more than `MAX_CHANNELS`, because each is a thread and four descriptors.
- Its getaddrinfo takes whatever addresses are in an answer, and doesn't say whose they are. So records are asked for,
  and those of another owner are left out (RFC 5452 section 6). Names of /etc/hosts and localhost still go through it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import aiodns
import pycares

from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from ..origin import Address
from .resolver import Answer, failed, shortage

__all__ = ["CaresResolver", "Service"]

R = TypeVar("R")

AI_NOSORT = 1 << 7  # RFC 6724 sorting costs 11 µs an address, and dialling does its own
RESOLV_CONF = "/etc/resolv.conf"
HOSTS = "/etc/hosts" if os.name == "posix" else os.path.expandvars(r"%SystemRoot%\System32\drivers\etc\hosts")
LOOK_EVERY = 5.0  # s; Go's
TRY_TIMEOUT = 0.5  # s, then doubling: a lost datagram is to cost no more than a slow server
TRIES = 5

MAX_ASKED = 1024  # names that one channel is asked, and keeps
MAX_CHANNELS = 8
KEPT = 2  # channels that owe nothing: one for each family
ETIMEOUT = 12

A, AAAA, SRV = pycares.QUERY_TYPE_A, pycares.QUERY_TYPE_AAAA, pycares.QUERY_TYPE_SRV
KINDS = {socket.AF_INET: (A,), socket.AF_INET6: (AAAA,), 0: (AAAA, A)}
ADDRESSES = (pycares.ARecordData, pycares.AAAARecordData)
FAMILIES = {A: socket.AF_INET, AAAA: socket.AF_INET6}

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


class _Searching(aiodns.DNSResolver):
    """aiodns', which has no search of its own."""

    def search(self, name: str, kind: int) -> asyncio.Future[pycares.DNSResult]:
        """As `query_dns`, but through the search list of resolv.conf."""
        future: asyncio.Future[pycares.DNSResult] = self.loop.create_future()

        def done(result: pycares.DNSResult, code: int | None) -> None:
            if future.done():
                return
            if code is None:
                future.set_result(result)
            else:
                future.set_exception(aiodns.error.DNSError(code, pycares.errno.strerror(code)))

        def called(result: pycares.DNSResult, code: int | None) -> None:
            if not self.loop.is_closed():
                self.loop.call_soon_threadsafe(done, result, code)

        try:
            self._channel.search(name, kind, callback=called)
        except pycares.AresError as error:
            future.set_exception(aiodns.error.DNSError(*error.args))
        return future


class _Channel:
    """An aiodns resolver, what it was asked, and how many answers it owes."""

    __slots__ = ("asked", "is_retired", "pending", "pid", "resolver")

    def __init__(self, nameservers: Sequence[str] | None) -> None:
        self.resolver = _Searching(nameservers, timeout=TRY_TIMEOUT, tries=TRIES, flags=0)
        self.asked: set[tuple[str, int]] = set()
        self.pending = 0
        self.is_retired = False
        self.pid = os.getpid()  # c-ares' thread does not survive a fork


class CaresResolver:
    """`Resolver` that asks DNS servers (and /etc/hosts) through c-ares, without a thread per lookup."""

    def __init__(self, nameservers: Sequence[str] | None = None) -> None:
        self._nameservers = nameservers
        self._channels: dict[_Channel, None] = {}
        self._looked_at = float("-inf")
        self._system: object = None  # what resolv.conf was when it was looked at
        self._hosts: object = None  # the same of /etc/hosts
        self._local: frozenset[str] = frozenset()  # the names in it

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """
        As `Resolver.resolve`; the TTL is the minimum over the CNAME chain.

        **Cancellation:** the query ends unheard; those of others go on.
        """
        kinds = KINDS[family]
        if len(kinds) == 1:
            return await self._addresses(host, kinds[0])
        results = await asyncio.gather(*(self._addresses(host, kind) for kind in kinds), return_exceptions=True)
        answers = [result for result in results if isinstance(result, Answer)]
        if not answers:
            raise next(result for result in results if isinstance(result, BaseException))
        addresses = dict.fromkeys(address for answer in answers for address in answer.addresses)
        return Answer(tuple(addresses), min(answer.ttl or 0.0 for answer in answers), "dns")

    async def _addresses(self, host: str, kind: int) -> Answer:
        if self._is_local(host):
            wanted = FAMILIES[kind]
            found = await self._ask(
                host, kind, lambda of: of.getaddrinfo(host, family=wanted, type=socket.SOCK_STREAM, flags=AI_NOSORT)
            )
            texts = [_text(node.addr[0]) for node in found.nodes]
            ttls = [node.ttl for node in found.nodes] + [cname.ttl for cname in found.cnames]
        else:
            result = await self._ask(host, kind, lambda of: of.search(host, kind))
            records = _own(host, result.answer)
            texts = [data.addr for data in (each.data for each in records) if isinstance(data, ADDRESSES)]
            ttls = [record.ttl for record in records]
        addresses = dict.fromkeys(map(Address, texts))
        if not addresses:
            raise NoAddress(f"{host}: DNS: the answer has no address")
        return Answer(tuple(addresses), float(min(ttls)), "dns")

    async def services(self, name: str) -> list[Service]:
        """
        The SRV records of a name.

        Raises:
            NameNotFound, NoAddress, ResolverFailure, ResolveTimeout: There are none.
        """
        result = await self._ask(name, SRV, lambda of: of.query_dns(name, "SRV"))
        records = _own(name, result.answer)
        found = [(each.data, each.ttl) for each in records if isinstance(each.data, pycares.SRVRecordData)]
        if not found:
            raise NoAddress(f"{name}: DNS: the answer has no SRV record")
        return [
            Service(each.priority, each.weight, each.port, each.target.rstrip("."), float(ttl)) for each, ttl in found
        ]

    async def aclose(self) -> None:
        while self._channels:
            channel, _ = self._channels.popitem()
            await channel.resolver.close()

    async def _ask(self, host: str, kind: int, query: Callable[[_Searching], Awaitable[R]]) -> R:
        """
        The result of a *query* of a channel's resolver; its failure becomes a `ResolveError`.

        Not a context manager: since Python 3.13 contextlib's frame would hold the error, and the error that frame.
        """
        loop, is_again = asyncio.get_running_loop(), False
        while True:
            channel = await self._channel_for(host, kind)
            channel.pending += 1
            asked_at = loop.time()
            try:
                return await query(channel.resolver)
            except aiodns.error.DNSError as error:
                code, text = error.args
                channel.is_retired |= code == ETIMEOUT
                # Too soon for a timeout: c-ares got no socket to ask by, and another lookup has made one free since.
                is_unasked = code == ETIMEOUT and loop.time() - asked_at < TRY_TIMEOUT / 2
                if is_again or not is_unasked or shortage() is not None:
                    raise failed(ERRORS.get(code, ResolverFailure), f"{host}: DNS: {text}") from error
                is_again = True
            except asyncio.CancelledError:
                channel.is_retired = True  # it may be what was too slow
                raise
            finally:
                channel.pending -= 1
                free = sum(not each.pending for each in self._channels)
                if not channel.pending and (channel.is_retired or free > KEPT):
                    await self._close(channel)

    async def _channel_for(self, host: str, kind: int) -> _Channel:
        """One that owes no answer; a new one; or, where there are too many, the one that owes the fewest."""
        if self._has_changed():
            for channel in self._channels:
                channel.is_retired = True
        for channel in list(self._channels):
            if channel.pid != os.getpid():
                del self._channels[channel]
            elif (host, kind) in channel.asked or len(channel.asked) >= MAX_ASKED:
                if not channel.pending:
                    await self._close(channel)
            elif channel.is_retired and not channel.pending:
                await self._close(channel)
        usable = [each for each in self._channels if not each.is_retired and (host, kind) not in each.asked]
        best = min(usable, key=lambda each: each.pending, default=None)
        if best is None or (best.pending and len(self._channels) < MAX_CHANNELS):
            best = _Channel(self._nameservers)
            self._channels[best] = None
        best.asked.add((host, kind))
        return best

    def _has_changed(self) -> bool:
        """Whether the system's settings are others than when they were last looked at."""
        now = time.monotonic()
        if self._nameservers is not None or now - self._looked_at < LOOK_EVERY:
            return False
        before, self._looked_at, self._system = self._system, now, _stamp(RESOLV_CONF)
        return before is not None and before != self._system

    def _is_local(self, host: str) -> bool:
        """Whether c-ares answers for it without DNS: by /etc/hosts, or because it is localhost (RFC 6761)."""
        stamp = _stamp(HOSTS)
        if stamp != self._hosts:
            try:
                with open(HOSTS, encoding="utf-8", errors="replace") as lines:
                    fields = (line.partition("#")[0].split() for line in lines)
                    self._local = frozenset(name.lower() for line in fields for name in line[1:])
            except FileNotFoundError:
                self._local = frozenset()
            except OSError:  # no descriptor is left, or it may not be read: as before
                stamp = self._hosts
            self._hosts = stamp
        name = host.removesuffix(".").lower()
        return name in self._local or name == "localhost" or name.endswith(".localhost")

    async def _close(self, channel: _Channel) -> None:
        """aiodns closes without suspending: nothing can come between."""
        if self._channels.pop(channel, channel) is None:
            await channel.resolver.close()


def _own(host: str, records: Sequence[pycares.DNSRecord]) -> list[pycares.DNSRecord]:
    """
    The records of *host*, as it is or with a suffix of the search list, and of what it is an alias of.

    Raises:
        ResolverFailure: There are records, and all are of other names.
    """
    name = host.removesuffix(".").lower()
    owned = [(record.name.removesuffix(".").lower(), record) for record in records]
    is_searched = not host.endswith(".")
    owners = {owner for owner, _ in owned if owner == name or (is_searched and owner.startswith(f"{name}."))}
    aliases = {owner: record.data.cname for owner, record in owned if isinstance(record.data, pycares.CNAMERecordData)}
    for owner in list(owners):
        while (target := aliases.pop(owner, None)) is not None:
            owner = target.removesuffix(".").lower()
            owners.add(owner)
    found = [record for owner, record in owned if owner in owners]
    if records and not found:
        raise ResolverFailure(f"{host}: DNS: the answer is about {records[0].name}")
    return found


def _stamp(path: str) -> object:
    try:
        found = os.stat(path)  # of a symlink's target
    except OSError:
        return "none"
    return found.st_ino, found.st_mtime_ns, found.st_size


def _text(address: bytes | str) -> str:
    return address.decode() if isinstance(address, bytes) else address
