"""
Addresses to one connection: the guard, then RFC 8305's race, then what a proxy wants, then TLS.

Rules: an address that failed lately is tried last, but never excluded: where all are bad, all are dialled. TLS is made
on the winner only. A guard sees all addresses of a name, and those that come late.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from ..dns.guard import Guard
from ..dns.resolver import SHORTAGES, Answer
from ..errors import CertificateError, DialError, HandshakeError, HostnameMismatch, NoAddress
from ..events import Phase
from ..origin import Address, Origin
from ..route import Route
from . import sockets
from .addresses import Addresses, Load
from .alpn import Versions
from .connection import Pooled
from .disagreement import is_disagreement
from .progress import Progress
from .proxy import tunnel, unreachable
from .race import ATTEMPT_DELAY, MAX_ADDRESSES, Late, Race, dial_error, reason
from .tls import TO_PROXY, offer
from .trace import Trace

__all__ = ["Dialler"]

T = TypeVar("T")

STRAIGHT: Final = Route()
ABANDONED: Final = "abandoned"
CHECKED_AT_ONCE: Final = 256  # addresses; a guard needs 1 ms for them, then other tasks have a turn

# X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_EMAIL_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
MISMATCHES: Final = (62, 63, 64)


class Contexts(Protocol):
    """The TLS context of a connection; see `TLS.context`."""

    def __call__(self, *, http2: bool = True, for_proxy: bool = False) -> ssl.SSLContext: ...


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
    ) -> Pooled:
        """
        One connection; the caller sets the time limit.

        Args:
            answer: The addresses of the origin; through a proxy, those of the proxy.
            late: Awaited for more addresses, which join the race.
            server_hostname: For SNI and the certificate's check, in place of the origin's host.
        **Cancellation:** all sockets are closed.

        Raises:
            AddressNotAllowed: The guard refused an address.
            DialError: No address took a connection.
            NoAddress: None is of the local address's family.
            TLSError: The one that did doesn't speak TLS, or has a bad certificate.
            ProxyError: There is no way through the proxy.
        """
        peer = route.peer(origin)
        addresses = self.addresses.order(peer, answer, progress.avoid)
        # The user has named the proxy, so the guard doesn't look at its addresses.
        if self._guard is not None and peer is origin and (unchecked := self.addresses.to_check(origin, answer)):
            await self._check(origin, answer, unchecked)
        progress.reached(Phase.CONNECTING)
        if (family := sockets.family_of(route)) is not None:
            addresses = [each for each in addresses if each.family == family]
        addresses = addresses[:MAX_ADDRESSES]
        load = self.addresses.load(peer, addresses[0]) if addresses else Load(has_others=False)
        load.in_flight += 1
        try:
            connect = partial(self._connect_any, peer, addresses, progress, late, route)
            sock, address = await _traced(trace, peer, connect)
            progress.address = address
            return await self._finish(origin, sock, address, addresses, progress, route, server_hostname, trace)
        except (DialError, NoAddress) as error:
            if route.proxy is None or progress.phase > Phase.CONNECTING:
                raise
            raise unreachable(origin, route.proxy, error) from error
        finally:
            load.in_flight -= 1

    async def dial_unix(
        self, origin: Origin, progress: Progress, route: Route, *, trace: Trace | None = None
    ) -> Pooled:
        """As `dial`, to the Unix socket of *route*."""
        progress.reached(Phase.CONNECTING)
        assert route.uds is not None
        sock = await self._opened(lambda: sockets.made(socket.AF_UNIX, route))
        try:
            await _traced(trace, origin, partial(asyncio.get_running_loop().sock_connect, sock, route.uds))
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                text = f"{origin}: can't connect to the Unix socket {route.uds!r}: {reason(error)}"
                raise DialError(text, origin=origin, is_shortage=error.errno in SHORTAGES) from error
            raise
        progress.address = address = Address(route.uds)
        return await self._finish(origin, sock, address, [address], progress, route, None, trace)

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

    async def _finish(
        self,
        origin: Origin,
        sock: socket.socket,
        address: Address,
        addresses: list[Address],
        progress: Progress,
        route: Route,
        server_hostname: str | None,
        trace: Trace | None,
    ) -> Pooled:
        """The connection of *sock*: through the proxy, and with TLS, where these are wanted."""
        peer, proxy, is_through = route.peer(origin), route.proxy, False
        made: list[Pooled] = []
        try:
            if proxy is None:
                connection = self.versions.connection(origin)
                made.append(connection)
                await connection.connect(sock)
            else:
                to_proxy = self.versions.plain(peer)
                made.append(to_proxy)
                await to_proxy.connect(sock)
                if peer.is_secure:
                    if (tls := proxy.context) is None:
                        tls = await self._opened(lambda: self._tls(for_proxy=True))
                    else:
                        offer(tls, TO_PROXY)  # it may be the client's too, which offers HTTP/2 to origins
                    await to_proxy.handshake(tls, peer.server_name)
                    self.versions.agreed(to_proxy)
                if self.versions.is_forwarded(origin, route):
                    return to_proxy
                progress.reached(Phase.TUNNEL)
                await tunnel(to_proxy, proxy, origin)
                connection, peer, is_through = self.versions.connection(origin), origin, True
                made.append(connection)
                connection.take_over(to_proxy)
            if origin.is_secure:
                progress.reached(Phase.TLS)
                offers_http2 = connection.is_multiplexed
                tls = await self._opened(lambda: self._tls(http2=offers_http2))  # it may have to read certificates
                name = server_hostname or origin.server_name
                if trace is None:
                    await connection.handshake(tls, name)
                else:
                    async with trace.step("connection.start_tls", ssl_context=tls, server_hostname=name):
                        await connection.handshake(self._tls(http2=offers_http2), name)  # others had a turn meanwhile
            return self.versions.agreed(connection)
        except BaseException as error:
            for each in made:
                each.close()
            sock.close()
            if not isinstance(error, OSError | ssl.CertificateError):
                raise
            if isinstance(error, OSError) and error.errno in SHORTAGES:
                raise dial_error(peer, [error], [address]) from error.with_traceback(None)
            if not (is_through or isinstance(error, ssl.SSLCertVerificationError)):
                self.addresses.mark_bad(peer, address)
            is_last = is_through or all(each == address or self.addresses.is_bad(peer, each) for each in addresses)
            cause = error.with_traceback(None)  # asyncio's frames, which hold it
            raise _tls_error(peer, route if is_through else address, error, is_last=is_last) from cause

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
        self, origin: Origin, addresses: list[Address], progress: Progress, late: Late, route: Route
    ) -> tuple[socket.socket, Address]:
        if len(addresses) == 1 and late is None:
            try:
                return await self._connect(origin, progress, route, addresses[0]), addresses[0]
            except OSError as error:
                raise dial_error(origin, [error], addresses) from error
        connect = partial(self._connect, origin, progress, route)
        check = partial(self._check, origin, None) if route.proxy is None else _unchecked
        family = sockets.family_of(route)
        won = await Race(origin, addresses, self.addresses, connect=connect, check=check, family=family).run(late)
        if won is None:
            raise sockets.unbindable(origin, route)
        return won

    async def _connect(self, origin: Origin, progress: Progress, route: Route, address: Address) -> socket.socket:
        """
        A connected socket; *progress* is told how it went.

        Raises:
            OSError: Refused, unreachable, or no descriptor is left; the address is marked.
        """
        target = address.at(origin.port)
        sock = await self._opened(lambda: sockets.made(address.family, route))
        began_at, outcome = progress.now(), ABANDONED
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does it where the protocol is named
            if route.local_address is not None:
                sock.bind(Address(route.local_address).at(0))
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

    async def _opened(self, make: Callable[[], T]) -> T:
        """What *make* makes; while no descriptor is left for it, idle connections are closed, the oldest first."""
        while True:
            try:
                return make()
            except OSError as error:
                if error.errno not in SHORTAGES or not self._spare():
                    raise
            await asyncio.sleep(0)  # meanwhile the loop closes the connection's socket


async def _traced(trace: Trace | None, peer: Origin, connect: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What *connect* makes, with what httpcore tells of it."""
    if trace is None:
        return await connect()
    async with trace.step("connection.connect_tcp", host=peer.host, port=peer.port):
        return await connect()


async def _unchecked(addresses: Sequence[Address]) -> None:
    """A proxy's addresses that came late, which the guard doesn't look at."""


def _tls_error(origin: Origin, way: Address | Route, error: Exception, *, is_last: bool) -> DialError:
    where = f"{origin} {'through' if isinstance(way, Route) else 'at'} {way}"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in MISMATCHES:
            return HostnameMismatch(f"{where}: the certificate is not for {origin.host}: {error.verify_message}")
        return CertificateError(f"{where}: the certificate can't be trusted: {error.verify_message}")
    if origin.is_secure:
        reason = getattr(error, "reason", "") or str(error)
        text = f"{where}: TLS handshake failed: {reason or 'the peer closed the connection'}"
        return HandshakeError(text, is_final=is_last and is_disagreement(error))
    return DialError(f"{where}: the connection broke at once: {error}", origin=origin)
