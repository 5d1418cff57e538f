"""
The open connections of a client: idle ones by origin, and the client-wide cap.

Rules: everything costs the same whatever the number of connections or origins. The last one in is the first one out, so
the surplus of a burst expires. A slot of the cap is one open connection; where the cap binds, idle connections are
given up: first those that nobody has used for a second, because they are a surplus; then those of an origin that holds
at least two more than the one that waits, or any for an origin that holds none. So an origin whose calls hang, and
which takes all slots that it can get, leaves another the connections that it works with.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..origin import Address, Elsewhere, Holder, Origin
from .http1.connection import Connection

if TYPE_CHECKING:  # it needs the extra "http2"
    from .http2.connection import Multiplexed
    from .http2.stream import Channel

__all__ = ["Pool", "Slots"]

LOOKED_AT: Final = 16  # idle connections, where a name has several addresses, or one is to be given up
WARM_FOR: Final = 1.0  # s after its last use that an idle connection isn't surplus, though others wait for a slot


class Slots(Protocol):
    """The cap: cancel-safe, with turns among origins."""

    async def acquire(
        self, timeout: float | None, origin: Holder, undo: Callable[[Any], None], make_room: Callable[[], None]
    ) -> Any: ...

    def hand_over(self, origin: Holder, given: object) -> None: ...

    def release(self, origin: Holder) -> None: ...

    def held(self, origin: Holder) -> int: ...

    def owes(self, origin: Holder) -> bool: ...

    def is_next(self, origin: Holder) -> bool: ...

    def is_waiting(self, origin: Holder) -> bool: ...

    @property
    def has_waiters(self) -> bool: ...


class Pool:
    """
    Args:
        max_idle: Idle connections kept, all origins together; None: any number.
        expiry: s that an idle connection is kept; None: as long as the server does.
    """

    def __init__(self, slots: Slots, *, max_idle: int | None, expiry: float | None, now: Callable[[], float]) -> None:
        self._slots = slots
        self._max_idle = max_idle
        self._expiry = expiry
        self._now = now
        self._idle: dict[Origin, dict[Connection, None]] = {}
        self._shared: dict[Origin, dict[Multiplexed, None]] = {}  # with streams or without
        self._by_age: OrderedDict[Connection | Multiplexed, float] = OrderedDict()  # idle → since when; oldest first
        self._early: dict[Connection | Multiplexed, asyncio.TimerHandle] = {}  # the server keeps them for less
        self._resting: dict[Connection, asyncio.TimerHandle] = {}  # idle once that is over
        self._open: set[Connection | Multiplexed] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> int:
        return len(self._open)

    def idle(self, origin: Origin) -> int:
        shared = self._shared.get(origin, ())
        return len(self._idle.get(origin, ())) + sum(connection in self._by_age for connection in shared)

    def take(self, origin: Origin, now: float, avoid: Sequence[Address] = ()) -> Connection | Channel | None:
        """A stream of a connection that has room, or the connection of *origin* that was used last; none to *avoid*."""
        if self._shared and (channel := self._stream(origin, now, avoid)) is not None:
            return channel
        while idle := self._idle.get(origin):
            connection = next(reversed(idle))
            load = connection.load
            if avoid or (load is not None and load.has_others):
                other = _least_loaded(idle, avoid)
                if other is None:
                    return None
                connection = other
            self._forget(connection)
            if connection.is_usable and now < connection.ends_at and not connection.has_unseen():
                return connection
            connection.close()
        return None

    def _stream(self, origin: Origin, now: float, avoid: Sequence[Address]) -> Channel | None:
        """
        None while others of *origin* wait for a slot: it is their turn.

        Those of other origins don't matter, because a stream costs no slot; only the connection that has to go to them
        takes no new ones.
        """
        shared = list(self._shared.get(origin, ()))
        if self._slots.has_waiters:
            if self._slots.is_waiting(origin):
                return None
            shared = [connection for connection in shared if not self._is_draining(connection)]
        for connection in shared:
            if now >= connection.ends_at or not connection.is_usable:
                connection.retire()
                continue
            if not connection.has_room or connection.address in avoid:
                continue
            if self._by_age.pop(connection, None) is not None and connection.has_unseen():
                connection.close()
                continue
            return connection.channel()
        return None

    def _is_draining(self, connection: Multiplexed) -> bool:
        """Whether its slot is to go to another origin, while its own has more of them to work with."""
        shared = self._shared[connection.origin]
        return len(shared) > 1 and next(iter(shared)) is connection and self._slots.owes(connection.origin)

    async def reserve(self, timeout: float | None, origin: Origin) -> Connection | Channel | None:
        """
        A slot for a connection to be opened; `add` or `cancel` ends it.

        Returns:
            None; or, where all slots are taken, a connection of *origin* that became free, which needs no slot.
        Raises:
            BulkheadFull: None became free within *timeout* s.
        """
        make_room = partial(self._make_room, origin)
        given: Connection | Channel | None = await self._slots.acquire(timeout, origin, self._take_back, make_room)
        return given

    async def take_slot(self, timeout: float | None, origin: Origin) -> Callable[[], None]:
        """
        A slot for a connection that another transport opens: none of ours is handed over in its place.

        Returns:
            What gives it back, to be called once.
        Raises:
            BulkheadFull: None became free within *timeout* s.
        """
        holder = Elsewhere(origin)
        await self._slots.acquire(timeout, holder, self._take_back, partial(self._make_room, holder))
        return partial(self._slots.release, holder)

    def _take_back(self, given: Connection | Channel) -> None:
        if isinstance(given, Connection):
            self.keep(given, self._now())
        else:
            given.close()

    def _offer(self, connection: Multiplexed) -> None:
        """A stream of it is over: its room is for those of its origin who have waited longest."""
        if self._slots.has_waiters and self._is_draining(connection):
            return
        while connection.has_room and self._slots.is_waiting(connection.origin):
            self._by_age.pop(connection, None)
            self._slots.hand_over(connection.origin, connection.channel())

    def cancel(self, origin: Origin) -> None:
        """No connection was opened after all."""
        self._slots.release(origin)

    def add(self, connection: Connection | Multiplexed) -> None:
        """A connection was opened in a reserved slot, which is free again once it is closed, whoever closes it."""
        self._open.add(connection)
        if isinstance(connection, Connection):
            if connection.load is not None:
                connection.load.in_flight += 1
        else:
            self._shared.setdefault(connection.origin, {})[connection] = None
            connection.on_room = self._offer
            connection.on_idle = lambda idle: self.keep(idle, self._now())

        def closed() -> None:
            self._forget(connection)
            if not isinstance(connection, Connection):
                self._unshare(connection)
            else:
                if connection.load is not None:
                    connection.load.in_flight -= 1
                if self._resting and (timer := self._resting.pop(connection, None)) is not None:
                    timer.cancel()
            self._open.discard(connection)
            self._slots.release(connection.origin)

        if connection.is_closed:
            closed()
        else:
            connection.on_closed = closed

    def keep(self, connection: Connection | Multiplexed, now: float) -> None:
        """Its exchange is over: keep it for another, or close it."""
        keep_for, by_age, has_waiters = connection.keep_for, self._by_age, self._slots.has_waiters
        is_over = not connection.is_usable or now >= connection.ends_at or keep_for == 0
        if not is_over and has_waiters:
            if self._slots.is_next(connection.origin):
                if not isinstance(connection, Connection):
                    if connection.has_room:
                        self._offer(connection)
                        return
                    is_over = True  # it is in doubt: its slot is of more use than it
                elif connection.rests_until <= now:
                    self._slots.hand_over(connection.origin, connection)
                    return
            else:
                is_over = self._slots.owes(connection.origin)
        if is_over or self._max_idle == 0:
            connection.close()
            return
        if isinstance(connection, Connection) and connection.rests_until > now:
            rest = connection.rests_until - now
            rested = partial(self._rested, connection, rest)
            self._resting[connection] = asyncio.get_running_loop().call_later(rest, rested, context=Context())
            return
        while self._max_idle is not None and len(by_age) >= self._max_idle:
            self._close_oldest()
        if isinstance(connection, Connection):  # any other is among the shared ones
            self._idle.setdefault(connection.origin, {})[connection] = None
            if connection.load is not None:
                connection.load.in_flight -= 1
        if keep_for is not None and (self._expiry is None or keep_for < self._expiry):
            self._expire_early(connection, keep_for)
        by_age[connection] = now
        if self._timer is None or has_waiters:  # then it is surplus sooner
            self._start_timer()

    def _rested(self, connection: Connection, rest: float) -> None:
        """Now it is idle, or whoever waits gets it: a dial in its place would take no less."""
        del self._resting[connection]
        if connection.keep_for is not None:
            connection.keep_for = max(0.0, connection.keep_for - rest)
        self.keep(connection, max(connection.rests_until, self._now()))

    def drop_idle(self, origin: Origin, address: Address | None = None) -> None:
        """The idle connections of *origin* (to *address* only) are most likely no good, or not to be used."""
        for connection in list(self._idle.get(origin, ())):
            if address is None or connection.address == address:
                self._forget(connection)
                connection.close()

    def retire(self, origin: Origin, address: Address) -> None:
        """No connection of *origin* to *address* is used again; those in use end with what they are used for."""
        self.drop_idle(origin, address)
        for connection in list(self._open):
            if connection.origin == origin and connection.address == address:
                if isinstance(connection, Connection):
                    connection.ends_at = self._now()
                else:
                    connection.retire()

    def spare(self) -> bool:
        """Close the idle connection that was not used for longest, for its descriptor; False: there is none."""
        if self._by_age:
            self._close_oldest()
        elif self._resting:
            next(iter(self._resting)).close()
        else:
            return False
        return True

    def close(self) -> None:
        """Close every connection, in use or not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._open):
            connection.close()

    def _unshare(self, connection: Multiplexed) -> None:
        shared = self._shared[connection.origin]
        del shared[connection]
        if not shared:
            del self._shared[connection.origin]

    def _expire_early(self, connection: Connection | Multiplexed, keep_for: float) -> None:
        """The server keeps it for less than we would: close it before the server does."""

        def expire() -> None:
            if self._early.pop(connection, None) is not None:
                self._forget(connection)
                connection.close()

        self._early[connection] = asyncio.get_running_loop().call_later(keep_for, expire, context=Context())

    def _forget(self, connection: Connection | Multiplexed) -> None:
        if self._early and (timer := self._early.pop(connection, None)) is not None:
            timer.cancel()
        if self._by_age.pop(connection, None) is not None and isinstance(connection, Connection):
            idle = self._idle[connection.origin]
            del idle[connection]
            if not idle:
                del self._idle[connection.origin]
            if connection.load is not None:
                connection.load.in_flight += 1

    def _close_oldest(self) -> None:
        self._give_up(next(iter(self._by_age)))

    def _give_up(self, connection: Connection | Multiplexed) -> None:
        self._forget(connection)
        connection.close()

    def _make_room(self, origin: Holder) -> None:
        """*origin* has to wait for a slot: give up an idle connection, now or as soon as one is surplus."""
        if not self._by_age:
            return
        surplus = self._surplus(origin)
        if surplus is None:
            self._start_timer()
        else:
            self._give_up(surplus)

    def _surplus(self, origin: Holder) -> Connection | Multiplexed | None:
        """The idle connection that is missed least; None where each is of more use than the slot is to who waits."""
        if isinstance(origin, Origin) and (own := self._idle.get(origin)):
            return next(iter(own))  # to an address that is to be avoided
        oldest, since = next(iter(self._by_age.items()))
        if since + WARM_FOR <= self._now():
            return oldest
        owed = (each for each in islice(self._by_age, LOOKED_AT) if self._slots.owes(each.origin))
        return max(owed, key=lambda each: self._slots.held(each.origin), default=None)

    @property
    def _idle_for(self) -> float | None:
        """s that an idle connection is kept, as things stand."""
        if not self._slots.has_waiters:
            return self._expiry
        return WARM_FOR if self._expiry is None else min(WARM_FOR, self._expiry)

    def _start_timer(self) -> None:
        """To go off when the oldest idle connection is to be closed, or before."""
        idle_for = self._idle_for
        if idle_for is None or not self._by_age:
            return
        due = next(iter(self._by_age.values())) + idle_for
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._expire, context=Context())

    def _expire(self) -> None:
        self._timer = None
        now = self._now()
        while self._by_age and (idle_for := self._idle_for) is not None:
            if now < next(iter(self._by_age.values())) + idle_for:
                break
            self._close_oldest()
        self._start_timer()


def _least_loaded(idle: dict[Connection, None], avoid: Sequence[Address]) -> Connection | None:
    """Of the last few that were used: to whose address least is under way; none to *avoid*."""
    usable = (each for each in reversed(idle) if each.address not in avoid)
    return min(islice(usable, LOOKED_AT), key=lambda each: each.load.in_flight if each.load else 0, default=None)
