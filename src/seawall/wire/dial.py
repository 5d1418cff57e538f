"""
Addresses to one connected stream: RFC 8305, then TLS.

Rules: an attempt starts 250 ms after the one before, or at once when that fails; the first to connect wins and the
others are closed. An address that failed lately is tried last, but never left out: where all are bad, all are dialled.
TLS is made on the winner only. A guard sees all addresses of a name, and those that come late: a bad one ends the race.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from ..dns.guard import Guard
from ..dns.resolver import ADVICE, SHORTAGES, Answer
from ..errors import CertificateError, DialError, HandshakeError, HostnameMismatch
from ..events import Phase
from ..origin import Address, Origin
from .addresses import Addresses
from .alpn import Versions
from .http1.connection import Connection
from .progress import Progress
from .socket import is_disagreement
from .trace import Trace

if TYPE_CHECKING:  # it needs the extra "http2"
    from .http2.connection import Multiplexed

__all__ = ["Dialler"]

T = TypeVar("T")

Late: TypeAlias = "Callable[[], Awaitable[list[Address]]] | None"

GIVEN_UP = "given up"
LATE_GRACE = 0.05  # s for addresses to come once all others have failed; RFC 8305's resolution delay
ATTEMPT_DELAY = 0.25  # s; RFC 8305 section 5
MAX_ADDRESSES = 64  # per dial: more than names have (a DNS answer over UDP holds 28, rarely 60), yet not a port scan
CHECKED_AT_ONCE = 256  # addresses; a guard needs 1 ms for them, then other tasks have a turn
SHOWN = 8  # addresses in an error's text

# X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_EMAIL_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
MISMATCHES = (62, 63, 64)


class _Attempt(NamedTuple):
    """A connection that is being opened."""

    address: Address
    began_at: float


class Contexts(Protocol):
    """The TLS context of a connection, which offers HTTP/2 or does not."""

    def __call__(self, *, http2: bool = True) -> ssl.SSLContext: ...


class Dialler:
    """
    Dials; what it learns of *addresses* and *versions* is theirs to keep.

    Args:
        spare: Closes an idle connection where no descriptor is left; False: there is none.
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
        late: Late = None,
        server_hostname: str | None = None,
        trace: Trace | None = None,
    ) -> Connection | Multiplexed:
        """
        One connection; the caller sets the time limit.

        Args:
            late: Awaited for addresses that are still to come; they join the race.
            server_hostname: For SNI and the certificate's check, in place of the origin's host.
        **Cancellation:** all sockets are closed.

        Raises:
            AddressNotAllowed: The guard said no.
            DialError: No address took a connection.
            TLSError: The one that did spoke no TLS, or had a bad certificate.
        """
        addresses = self.addresses.order(origin, answer, progress.avoid)
        if self._guard is not None and (unchecked := self.addresses.to_check(origin, answer)):
            await self._check(self._guard, origin, unchecked, answer)
        progress.reached(Phase.CONNECTING)
        addresses = addresses[:MAX_ADDRESSES]
        load = self.addresses.load(origin, addresses[0])
        load.in_flight += 1
        try:
            return await self._dial(origin, addresses, progress, late, server_hostname, trace)
        finally:
            load.in_flight -= 1

    async def _check(
        self, guard: Guard, origin: Origin, addresses: Sequence[Address], answer: Answer | None = None
    ) -> None:
        """
        All of them, for a name with one bad address is refused whole.

        Args:
            answer: Whose addresses they are; the verdict is kept as long as it is.
        Raises:
            AddressNotAllowed: The guard said no.
        """
        refused: tuple[Address, ...] = ()
        for start in range(0, len(addresses), CHECKED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            if refused := guard.refused(addresses[start : start + CHECKED_AT_ONCE]):
                break
        if answer is not None:
            self.addresses.checked(origin, answer, refused)
        guard.check(origin, refused)

    async def _dial(
        self,
        origin: Origin,
        addresses: list[Address],
        progress: Progress,
        late: Late,
        server_hostname: str | None,
        trace: Trace | None,
    ) -> Connection | Multiplexed:
        if trace is None:
            sock, address = await self._connect_any(origin, addresses, progress, late)
        else:
            async with trace.step("connection.connect_tcp", host=origin.host, port=origin.port):
                sock, address = await self._connect_any(origin, addresses, progress, late)
        progress.address = address
        stream = self.versions.stream(origin)
        try:
            await stream.connect(sock)
            if origin.is_secure:
                progress.reached(Phase.TLS)
                offers_http2 = not isinstance(stream, Connection)
                tls = await self._opened(lambda: self._tls(http2=offers_http2))  # it may have to read certificates
                name = server_hostname or origin.server_name
                if trace is None:
                    await stream.handshake(tls, name)
                else:
                    async with trace.step("connection.start_tls", ssl_context=tls, server_hostname=name):
                        await stream.handshake(self._tls(http2=offers_http2), name)  # others had a turn meanwhile
            return self.versions.agreed(stream)
        except (OSError, ssl.CertificateError) as error:
            stream.close()
            sock.close()
            if isinstance(error, OSError) and error.errno in SHORTAGES:
                raise _dial_error(origin, [error], [address]) from error.with_traceback(None)
            if not isinstance(error, ssl.SSLCertVerificationError):
                self.addresses.mark_bad(origin, address)
            is_last = all(each == address or self.addresses.is_bad(origin, each) for each in addresses)
            cause = error.with_traceback(None)  # asyncio's frames, which hold it
            raise _tls_error(origin, address, error, is_last=is_last) from cause
        except BaseException:
            stream.close()
            sock.close()
            raise

    def mark_late(self, origin: Origin, progress: Progress, limit: float) -> None:
        """
        The time for connecting is over: what was waited for hung.

        An attempt that had just begun isn't to blame: its address is among the first next time.

        Args:
            limit: The connect timeout, s.
        """
        if progress.address is not None:  # in the handshake; it had won the race
            self.addresses.mark_bad(origin, progress.address)
            return
        enough = min(ATTEMPT_DELAY, limit / 2)
        for dial in progress.dials:
            if dial.outcome == GIVEN_UP and dial.duration >= enough:
                self.addresses.mark_bad(origin, dial.address)

    async def _connect_any(
        self, origin: Origin, addresses: list[Address], progress: Progress, late: Late
    ) -> tuple[socket.socket, Address]:
        if len(addresses) == 1 and late is None:
            try:
                return await self._connect(origin, addresses[0], progress), addresses[0]
            except OSError as error:
                raise _dial_error(origin, [error], addresses) from error
        return await self._race(origin, addresses, progress, late)

    async def _race(
        self, origin: Origin, addresses: list[Address], progress: Progress, late: Late
    ) -> tuple[socket.socket, Address]:
        """The first to connect; all other attempts have ended by then, and their sockets are closed."""
        attempts: dict[asyncio.Task[socket.socket], _Attempt] = {}
        coming = None if late is None else asyncio.ensure_future(late())
        winner: asyncio.Task[socket.socket] | None = None
        try:
            winner = await self._first(origin, deque(addresses), progress, attempts, coming)
            won = attempts.pop(winner)
            self._note_outrun(origin, won, attempts)
            return winner.result(), won.address
        finally:
            running: list[asyncio.Future[Any]] = [task for task in attempts if not task.done()]
            if coming is not None and not coming.done():
                running.append(coming)
            for task in running:
                task.cancel()
            for task in attempts:
                if task not in running and not task.cancelled() and task.exception() is None:
                    task.result().close()  # it connected too
            try:
                if running:
                    await asyncio.wait(running)
            except asyncio.CancelledError:
                if winner is not None:
                    winner.result().close()
                raise

    def _note_outrun(
        self, origin: Origin, won: _Attempt, attempts: dict[asyncio.Task[socket.socket], _Attempt]
    ) -> None:
        """Whom one outran that was begun later, 250 ms at least; those that were begun after it had no chance."""
        now = asyncio.get_running_loop().time()
        for task, lost in attempts.items():
            if not task.done() and lost.began_at < won.began_at:
                self.addresses.outrun(origin, lost.address, ran=now - lost.began_at, needed=now - won.began_at)

    async def _first(
        self,
        origin: Origin,
        left: deque[Address],
        progress: Progress,
        attempts: dict[asyncio.Task[socket.socket], _Attempt],
        coming: asyncio.Future[list[Address]] | None,
    ) -> asyncio.Task[socket.socket]:
        """
        RFC 8305 section 5: the attempt that has a connection, out of *attempts*, where those stay that have not failed.

        Args:
            left: Addresses to be dialled, to which those that are *coming* are added.
        Raises:
            AddressNotAllowed: The guard said no to one that came late.
            DialError: All have failed.
        """
        loop = asyncio.get_running_loop()
        tried, errors = list[Address](), list[OSError]()
        last: asyncio.Task[socket.socket] | None = None
        next_at = loop.time()
        while True:
            if left and (last is None or last.done() or loop.time() >= next_at):
                tried.append(left.popleft())
                began_at = loop.time()
                last = loop.create_task(self._connect(origin, tried[-1], progress))
                attempts[last] = _Attempt(tried[-1], began_at)
                next_at = began_at + ATTEMPT_DELAY
            waits: list[asyncio.Future[Any]] = [*attempts]
            if coming is not None:
                waits.append(coming)
            if not waits:
                break
            timeout = None
            if left:
                timeout = max(0.0, next_at - loop.time())
            elif not attempts:  # all have failed: what is still to come has a moment, and no more
                timeout = LATE_GRACE
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            has_come = coming is not None and coming.done()
            if coming is not None and has_come:
                found, coming = coming.result(), None
                if self._guard is not None:
                    await self._check(self._guard, origin, found)
                known = {*tried, *left}
                if found := [address for address in found if address not in known]:
                    both = self.addresses.joined(origin, left, found, tried[-1])
                    left = deque(both[: MAX_ADDRESSES - len(tried)])
            for task in [task for task in attempts if task.done()]:
                error = task.exception()
                if error is None:
                    return task
                del attempts[task]
                if not isinstance(error, OSError):
                    raise error
                errors.append(error.with_traceback(None))  # which would hold this list
            if not left and not attempts and timeout is not None and not has_come:
                break
        cause: BaseException = errors[0] if len(errors) == 1 else ExceptionGroup("all addresses failed", errors)
        raise _dial_error(origin, errors, tried) from cause

    async def _connect(self, origin: Origin, address: Address, progress: Progress) -> socket.socket:
        """
        A connected socket; *progress* is told how it went.

        Raises:
            OSError: Refused, unreachable, or no socket to be had; the address is marked.
        """
        target = address.at(origin.port)
        kind = socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0)
        sock = await self._opened(lambda: socket.socket(address.family, kind))
        began_at, outcome = progress.now(), GIVEN_UP
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does it where the protocol is named
            await asyncio.get_running_loop().sock_connect(sock, target)
            outcome = "connected"
            self.addresses.connected(origin, address)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                outcome = _reason(error)
                self.addresses.mark_bad(origin, address)
            raise
        finally:
            progress.dialled(address, began_at, outcome)
        return sock

    async def _opened(self, make: Callable[[], T]) -> T:
        """What *make* makes; while no descriptor is left for it, idle connections are given up, the oldest first."""
        while True:
            try:
                return make()
            except OSError as error:
                if error.errno not in SHORTAGES or not self._spare():
                    raise
            await asyncio.sleep(0)  # meanwhile the loop closes the connection's socket


def _dial_error(origin: Origin, errors: list[OSError], addresses: list[Address]) -> DialError:
    texts = ", ".join(dict.fromkeys(_reason(error) for error in errors))
    tried = ", ".join(str(address) for address in addresses[:SHOWN])
    if len(addresses) > SHOWN:
        tried += f" and {len(addresses) - SHOWN} others"
    is_shortage = any(error.errno in SHORTAGES for error in errors)
    if is_shortage:
        texts += f", and no connection is idle: {ADVICE}"
    return DialError(f"{origin}: can't connect: {texts} (tried {tried})", origin=origin, is_shortage=is_shortage)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _tls_error(origin: Origin, address: Address, error: Exception, *, is_last: bool) -> DialError:
    where = f"{origin} at {address}"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in MISMATCHES:
            return HostnameMismatch(f"{where}: the certificate is not for {origin.host}: {error.verify_message}")
        return CertificateError(f"{where}: the certificate can't be trusted: {error.verify_message}")
    if origin.is_secure:
        reason = getattr(error, "reason", "") or str(error)
        text = f"{where}: TLS handshake failed: {reason or 'the peer closed the connection'}"
        return HandshakeError(text, is_final=is_last and is_disagreement(error))
    return DialError(f"{where}: the connection broke at once: {error}", origin=origin)
