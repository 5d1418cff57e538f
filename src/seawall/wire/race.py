"""
Addresses to one connected socket: RFC 8305.

Rules: an attempt starts 250 ms after the one before, or at once when that fails; the first to connect wins and the
others are closed. Addresses that come late join in; where a guard refuses one, that ends the race. They have a moment
more once all others have failed. Where this machine has no route to the others' family, because it has no IPv6, say,
and the answer with the IPv4 addresses was lost, they have as long as their lookup takes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from ..dns.resolver import ADVICE, SHORTAGES
from ..errors import DialError
from ..origin import Address, Origin
from .addresses import Addresses

__all__ = ["ATTEMPT_DELAY", "LATE_GRACE", "MAX_ADDRESSES", "Late", "Race", "dial_error", "reason"]

Late: TypeAlias = Callable[[], Awaitable[list[Address]]] | None

LATE_GRACE: Final = 0.05  # s for addresses to come once all others have failed; RFC 8305's resolution delay
ATTEMPT_DELAY: Final = 0.25  # s; RFC 8305 section 5
MAX_ADDRESSES: Final = 64  # per dial: more than names have (a UDP answer holds 28, rarely 60), yet not a port scan
REFUSALS: Final = frozenset(
    (errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)
)
NO_PORT: Final = frozenset((errno.EADDRNOTAVAIL, errno.EADDRINUSE))
"""Errors that are this machine's: it has no free port for the address, no IPv6, or not the local address."""
NO_WAY: Final = frozenset((errno.ENETUNREACH, errno.EAFNOSUPPORT))
"""Errors of addresses of a family that this machine has no route for; EADDRNOTAVAIL is another, but of IPv6 only."""
NO_PORT_ADVICE: Final = (
    "this machine has no port left for it, no IPv6, or not the address that local_address= names: keep more "
    "connections open (Limits), call less at once, or widen net.ipv4.ip_local_port_range"
)
SHOWN: Final = 8  # addresses in an error's text


class _Attempt(NamedTuple):
    """A socket that is being connected."""

    address: Address
    began_at: float


class Race:
    """
    The dials of one connection.

    Args:
        addresses: In their order.
        known: What is known of all addresses.
        connect: Connects a socket to an address, and notes how that went.
        check: Raises AddressNotAllowed where a guard refuses one of the addresses that came late.
        family: Of the *addresses*, and the only one of which late addresses are dialled; None dials both.
    """

    def __init__(
        self,
        origin: Origin,
        addresses: Sequence[Address],
        known: Addresses,
        *,
        connect: Callable[[Address], Coroutine[Any, Any, socket.socket]],
        check: Callable[[Sequence[Address]], Awaitable[None]],
        family: socket.AddressFamily | None = None,
    ) -> None:
        self._origin = origin
        self._known = known
        self._connect = connect
        self._check = check
        self._family = family
        self._left = deque(addresses)
        self._tried: list[Address] = []
        self._errors: list[OSError] = []
        self._attempts: dict[asyncio.Task[socket.socket], _Attempt] = {}  # those that have not failed
        self._coming: asyncio.Future[list[Address]] | None = None

    async def run(self, late: Late) -> tuple[socket.socket, Address] | None:
        """
        The first to connect; all other attempts have ended by then, and their sockets are closed.

        None where there was no address to dial, not even a late one.

        Args:
            late: Awaited for more addresses.
        Raises:
            AddressNotAllowed: The guard refused an address that came late.
            DialError: All have failed.
        """
        self._coming = coming = None if late is None else asyncio.ensure_future(late())
        winner: asyncio.Task[socket.socket] | None = None
        try:
            winner = await self._first()
            if winner is None:
                return None
            won = self._attempts.pop(winner)
            self._note_outrun(won)
            return winner.result(), won.address
        finally:
            running: list[asyncio.Future[Any]] = [task for task in self._attempts if not task.done()]
            if coming is not None and not coming.done():
                running.append(coming)
            for task in running:
                task.cancel()
            for task in self._attempts:
                if task not in running and not task.cancelled() and task.exception() is None:
                    task.result().close()  # it connected too
            try:
                if running:
                    await asyncio.wait(running)
            except asyncio.CancelledError:
                if winner is not None:
                    winner.result().close()
                raise

    async def _first(self) -> asyncio.Task[socket.socket] | None:
        """The attempt that has a connection; None where there was none. RFC 8305 section 5."""
        loop = asyncio.get_running_loop()
        last: asyncio.Task[socket.socket] | None = None
        next_at = loop.time()
        while True:
            if self._left and (last is None or last.done() or loop.time() >= next_at):
                next_at = loop.time() + ATTEMPT_DELAY
                last = self._begin(loop)
            waits: list[asyncio.Future[Any]] = [*self._attempts]
            if self._coming is not None:
                waits.append(self._coming)
            if not waits:
                break
            timeout = None
            if self._left:
                timeout = max(0.0, next_at - loop.time())
            elif self._tried and not self._attempts and not self._has_no_way():
                timeout = LATE_GRACE  # all have failed: what is still to come has a moment, and no more
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            has_come = self._coming is not None and self._coming.done()
            if has_come:
                await self._join()
            if (winner := self._connected()) is not None:
                return winner
            if not self._left and not self._attempts and timeout is not None and not has_come:
                break
        if not self._tried:
            return None
        errors = self._errors
        cause: BaseException = errors[0] if len(errors) == 1 else ExceptionGroup("all addresses failed", errors)
        raise dial_error(self._origin, errors, self._tried) from cause

    def _has_no_way(self) -> bool:
        """Whether this machine can't reach the only family that was tried, which says nothing of the origin."""
        families = {each.is_ipv6 for each in self._tried}
        codes = NO_WAY | {errno.EADDRNOTAVAIL} if families == {True} else NO_WAY
        return len(families) == 1 and codes.issuperset(error.errno for error in self._errors)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[socket.socket]:
        """Dial the next address."""
        address = self._left.popleft()
        self._tried.append(address)
        task = loop.create_task(self._connect(address))
        self._attempts[task] = _Attempt(address, loop.time())
        return task

    async def _join(self) -> None:
        """The late addresses are here. Raises AddressNotAllowed."""
        assert self._coming is not None
        found, self._coming = self._coming.result(), None
        await self._check(found)
        known = {*self._tried, *self._left}
        family = self._family
        if found := [each for each in found if each not in known and (family is None or each.family == family)]:
            last = self._tried[-1] if self._tried else found[0]
            both = self._known.joined(self._origin, self._left, found, last)
            self._left = deque(both[: MAX_ADDRESSES - len(self._tried)])

    def _connected(self) -> asyncio.Task[socket.socket] | None:
        """The first attempt that has a connection; those that failed are counted. Raises what isn't an OSError."""
        for task in [task for task in self._attempts if task.done()]:
            error = task.exception()
            if error is None:
                return task
            del self._attempts[task]
            if not isinstance(error, OSError):
                raise error
            self._errors.append(error.with_traceback(None))  # which would hold this list
        return None

    def _note_outrun(self, won: _Attempt) -> None:
        """Those that the winner outran though it began later; those that began after it had no chance."""
        now = asyncio.get_running_loop().time()
        for task, lost in self._attempts.items():
            if not task.done() and lost.began_at < won.began_at:
                ran, needed = now - lost.began_at, now - won.began_at
                self._known.outrun(self._origin, lost.address, ran=ran, needed=needed)


def dial_error(origin: Origin, errors: Sequence[OSError], addresses: Sequence[Address]) -> DialError:
    """None of the *addresses* took a connection."""
    texts = ", ".join(dict.fromkeys(reason(error) for error in errors))
    tried = ", ".join(str(address) for address in addresses[:SHOWN])
    if len(addresses) > SHOWN:
        tried += f" and {len(addresses) - SHOWN} others"
    theirs = [error.errno for error in errors if error.errno not in NO_PORT]
    lacks_port, lacks_descriptor = not theirs, not SHORTAGES.isdisjoint(theirs)
    if lacks_port:
        texts += f": {NO_PORT_ADVICE}"
    if lacks_descriptor:
        texts += f", and no connection is idle: {ADVICE}"
    return DialError(
        f"{origin}: can't connect: {texts} (tried {tried})",
        origin=origin,
        is_shortage=lacks_port or lacks_descriptor,
        is_refused=bool(theirs) and REFUSALS.issuperset(theirs),
    )


def reason(error: OSError) -> str:
    """In words, without the number."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
