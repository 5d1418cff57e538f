"""
Addresses to one connection: the guard, then RFC 8305's race, then what a proxy wants, then TLS.

Rules: an address that failed lately is tried last, but never excluded: where all are bad, all are dialled. TLS is made
on the winner only. A guard sees all addresses of a name, and those that come late.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeGuard, TypeVar

from ..dns.guard import Guard
from ..dns.resolver import SHORTAGES, Answer
from ..errors import DialError, NoAddress
from ..events import Phase
from ..origin import Address, Origin
from ..route import Proxy, Route
from . import sockets
from .addresses import Addresses, Load
from .alpn import Versions
from .connection import Pooled
from .disagreement import tls_error
from .http1.connection import Connection
from .progress import Progress
from .proxy import tunnel, unreachable
from .race import ATTEMPT_DELAY, MAX_ADDRESSES, Late, Race, dial_error, reason
from .tls import TO_PROXY, Contexts, offer
from .trace import Trace, connected

__all__ = ["Dialler"]

T = TypeVar("T")
Made = TypeVar("Made", bound=Pooled)

STRAIGHT: Final = Route()
ABANDONED: Final = "abandoned"
CHECKED_AT_ONCE: Final = 256  # addresses; a guard needs 1 ms for them, then other tasks have a turn


def _nothing() -> None:
    """In place of a callback."""


class _Wanted(NamedTuple):
    """
    A dial.

    Attributes:
        peer: Whose addresses are dialled: the proxy, if there is one, else the origin.
    """

    origin: Origin
    peer: Origin
    route: Route
    progress: Progress
    server_hostname: str | None
    trace: Trace | None
    crossed: Callable[[], None] = _nothing


class Dialler:
    """
    Dials; what it learns of *addresses* and *versions* is theirs to keep.

    Args:
        spare: Closes an idle connection because no descriptor is left; False where none is idle.
    """

    def __init__(
        self,
        *,
        tls: Contexts,
        guard: Guard | None = None,
        addresses: Addresses,
        versions: Versions,
        spare: Callable[[], bool],
    ) -> None:
        self.addresses = addresses
        self.versions = versions
        self._guard = guard
        self._tls = tls
        self._spare = spare

    async def dial(
        self,
        origin: Origin,
        answer: Answer,
        progress: Progress,
        *,
        route: Route = STRAIGHT,
        late: Late = None,
        server_hostname: str | None = None,
        trace: Trace | None = None,
        crossed: Callable[[], None] = _nothing,
    ) -> Pooled:
        """
        One connection; the caller sets the time limit.

        Args:
            answer: The addresses of the origin; through a proxy, those of the proxy.
            late: Awaited for more addresses, which join the race.
            server_hostname: For SNI and the certificate's check, in place of the origin's host.
            crossed: Called when the proxy leads to the origin, before TLS with that.
        **Cancellation:** all sockets are closed.

        Raises:
            AddressNotAllowed: The guard refused an address.
            DialError: No address took a connection.
            NoAddress: None is of the local address's family.
            TLSError: The one that did doesn't speak TLS, or has a bad certificate.
            ProxyError: The proxy gives no connection to the origin.
        """
        peer = route.peer(origin)
        wanted = _Wanted(origin, peer, route, progress, server_hostname, trace, crossed)
        addresses = self.addresses.order(peer, answer, progress.avoid)
        # The user has named the proxy, so the guard doesn't look at its addresses.
        if self._guard is not None and route.proxy is None and (unchecked := self.addresses.to_check(origin, answer)):
            await self._check(origin, answer, unchecked)
        progress.reached(Phase.CONNECTING)
        if (family := sockets.family_of(route)) is not None:
            addresses = [each for each in addresses if each.family == family]
        addresses = addresses[:MAX_ADDRESSES]
        load = self.addresses.load(peer, addresses[0]) if addresses else Load(has_others=False)
        load.in_flight += 1
        try:
            connect = partial(self._connect_any, wanted, addresses, late)
            sock, address = await connected(trace, connect, host=peer.host, port=peer.port)
            progress.address = address
            return await self._led_on(wanted, sock, address, addresses)
        except (DialError, NoAddress) as error:
            if route.proxy is None or progress.phase > Phase.CONNECTING:
                raise
            raise unreachable(origin, route.proxy, error) from error
        finally:
            load.in_flight -= 1

    async def dial_unix(
        self,
        origin: Origin,
        progress: Progress,
        route: Route,
        *,
        server_hostname: str | None = None,
        trace: Trace | None = None,
    ) -> Pooled:
        """As `dial`, to the Unix socket of *route*."""
        progress.reached(Phase.CONNECTING)
        assert route.uds is not None
        sock = await sockets.to_unix(origin, route, trace, self._with_descriptor)
        progress.address = address = Address(route.uds)
        wanted = _Wanted(origin, origin, route, progress, server_hostname, trace)
        return await self._led_on(wanted, sock, address, [address])

    async def _check(self, origin: Origin, answer: Answer | None, addresses: Sequence[Address]) -> None:
        """
        All of them, because a name with one bad address is refused whole.

        Args:
            answer: Whose addresses they are; the verdict is kept as long as the answer is.
        Raises:
            AddressNotAllowed: The guard refused one.
        """
        guard = self._guard
        if guard is None:
            return
        refused: tuple[Address, ...] = ()
        for start in range(0, len(addresses), CHECKED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            if refused := guard.refused(addresses[start : start + CHECKED_AT_ONCE]):
                break
        if answer is not None:
            self.addresses.checked(origin, answer, refused)
        guard.check(origin, refused)

    async def _led_on(self, wanted: _Wanted, sock: socket.socket, address: Address, addresses: list[Address]) -> Pooled:
        """
        The connection of *sock*: through the proxy, and with TLS, where these are wanted.

        Args:
            address: Where *sock* leads.
            addresses: The peer's, which may do better.
        """
        origin, route, made = wanted.origin, wanted.route, list[Pooled]()
        try:
            try:
                if route.proxy is None:
                    connection = _kept(made, self.versions.connection(origin))
                    await connection.connect(sock)
                    return await self._secured(wanted, connection)
                to_proxy = await self._to_proxy(route.proxy, wanted.peer, sock, made)
            except (OSError, ssl.CertificateError) as error:
                raise self._broken(wanted.peer, address, addresses, error) from error.with_traceback(None)
            if self.versions.is_forwarded(origin, route):
                wanted.crossed()
                return to_proxy
            wanted.progress.reached(Phase.TUNNEL)
            await tunnel(to_proxy, route.proxy, origin)
            wanted.crossed()
            try:
                connection = _kept(made, self.versions.connection(origin))
                connection.take_over(to_proxy)
                return await self._secured(wanted, connection)
            except (OSError, ssl.CertificateError) as error:
                if _is_shortage(error):
                    raise dial_error(origin, [error], [address]) from error.with_traceback(None)
                raise tls_error(origin, None, error, is_last=True) from error.with_traceback(None)
        except BaseException:
            for each in made:
                each.close()
            sock.close()
            raise

    async def _to_proxy(self, proxy: Proxy, peer: Origin, sock: socket.socket, made: list[Pooled]) -> Connection:
        """The connection to *proxy* itself, with TLS where it wants that."""
        connection = _kept(made, self.versions.plain(peer))
        await connection.connect(sock)
        if peer.is_secure:
            if (tls := proxy.context) is None:
                tls = await self._with_descriptor(lambda: self._tls(for_proxy=True))
            else:
                offer(tls, TO_PROXY)  # it may be the client's too, which offers HTTP/2 to origins
            await connection.handshake(tls, peer.server_name)
            self.versions.agreed(connection)
        return connection

    async def _secured(self, wanted: _Wanted, connection: Pooled) -> Pooled:
        """*connection* with the TLS of the origin, where it wants that."""
        if wanted.origin.is_secure:
            connection.hold()  # a proxy's tunnel has been read until now, and what follows may have to wait
            wanted.progress.reached(Phase.TLS)
            offers_http2, trace = connection.is_multiplexed, wanted.trace
            # It may have to read certificates.
            tls = await self._with_descriptor(lambda: self._tls(http2=offers_http2))
            name = wanted.server_hostname or wanted.origin.server_name
            if trace is None:
                await connection.handshake(tls, name)
            else:
                async with trace.step("connection.start_tls", ssl_context=tls, server_hostname=name):
                    await connection.handshake(self._tls(http2=offers_http2), name)  # others had a turn meanwhile
        return self.versions.agreed(connection)

    def _broken(
        self, peer: Origin, address: Address, addresses: list[Address], error: OSError | ssl.CertificateError
    ) -> DialError:
        """The error of a connection that *peer* took at *address*, and on which TLS failed, or that broke."""
        if _is_shortage(error):
            return dial_error(peer, [error], [address])
        if not isinstance(error, ssl.SSLCertVerificationError):
            self.addresses.mark_bad(peer, address)
        is_last = all(each == address or self.addresses.is_bad(peer, each) for each in addresses)
        return tls_error(peer, address, error, is_last=is_last)

    def mark_late(self, origin: Origin, progress: Progress, limit: float) -> None:
        """
        The connect timeout is over: what was waited for hung.

        An attempt that had just begun isn't to blame, so its address is among the first next time.

        Args:
            limit: The connect timeout, in seconds.
        """
        if progress.address is not None:  # in the handshake; it had won the race
            self.addresses.mark_bad(origin, progress.address)
            return
        enough = min(ATTEMPT_DELAY, limit / 2)
        for dial in progress.dials:
            if dial.outcome == ABANDONED and dial.duration >= enough:
                self.addresses.mark_bad(origin, dial.address)

    async def _connect_any(
        self, wanted: _Wanted, addresses: list[Address], late: Late
    ) -> tuple[socket.socket, Address]:
        peer, route = wanted.peer, wanted.route
        connect = partial(self._connect, peer, wanted.progress, route)
        if len(addresses) == 1 and late is None:
            try:
                return await connect(addresses[0]), addresses[0]
            except OSError as error:
                raise dial_error(peer, [error], addresses) from error
        check = partial(self._check, peer, None) if route.proxy is None else _unchecked
        family = sockets.family_of(route)
        won = await Race(peer, addresses, self.addresses, connect=connect, check=check, family=family).run(late)
        if won is None:
            raise sockets.unbindable(peer, route)
        return won

    async def _connect(self, origin: Origin, progress: Progress, route: Route, address: Address) -> socket.socket:
        """
        A connected socket; *progress* is told how it went.

        Raises:
            OSError: Refused, unreachable, or no descriptor is left; the address is marked.
        """
        target = address.at(origin.port)
        sock = await self._with_descriptor(lambda: sockets.made(address.family, route))
        began_at, outcome = progress.now(), ABANDONED
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does it where the protocol is named
            sockets.bind(sock, route)
            await asyncio.get_running_loop().sock_connect(sock, target)
            outcome = "connected"
            self.addresses.connected(origin, address)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                outcome = reason(error)
                self.addresses.mark_bad(origin, address)
            raise
        finally:
            progress.dialled(address, began_at, outcome)
        return sock

    async def _with_descriptor(self, make: Callable[[], T]) -> T:
        """What *make* makes; while no descriptor is left for it, idle connections are closed, the oldest first."""
        while True:
            try:
                return make()
            except OSError as error:
                if error.errno not in SHORTAGES or not self._spare():
                    raise
            await asyncio.sleep(0)  # meanwhile the loop closes the connection's socket


def _kept(made: list[Pooled], connection: Made) -> Made:
    """*connection*, which is among those *made*, and closed if the dial fails."""
    made.append(connection)
    return connection


def _is_shortage(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in SHORTAGES


async def _unchecked(addresses: Sequence[Address]) -> None:
    """A proxy's addresses that came late, which the guard doesn't look at."""
