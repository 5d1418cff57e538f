"""
The open connections of a client: idle ones by origin, and the client-wide cap.

Rules: everything costs the same whatever the number of connections or origins. The last one in is the first one out, so
the surplus of a burst expires. A slot of the cap is one open connection; where the cap binds, idle connections are
closed: first those that nobody has used for a second, because they are surplus; then those of an origin that holds at
least two more than the one that waits, or any for an origin that holds none. So an origin whose calls hang, and which
takes all slots that it can get, leaves another the connections that it works with.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol, TypeAlias

from ..origin import Address, Origin
from ..route import Destination, Elsewhere, Holder, origin_of
from .connection import Channel, Pooled
from .shared import Shared

__all__ = ["Pool", "Slots"]

LOOKED_AT: Final = 16  # idle connections, where a name has several addresses, or one must be closed
WARM_FOR: Final = 1.0  # s after its last use that an idle connection isn't surplus, though others wait for a slot

Told: TypeAlias = Callable[[Origin, Address | None, str], None] | None


class Slots(Protocol):
    """
    The cap: cancel-safe, with turns among origins.

    Attributes:
        waiting: Calls that wait for a slot.
    """

    waiting: int

    def try_acquire(self, origin: Holder) -> bool: ...

    async def acquire(
        self, timeout: float | None, origin: Holder, undo: Callable[[Any], None], make_room: Callable[[], None]
    ) -> Any: ...

    def hand_over(self, origin: Holder, given: object) -> None: ...

    def release(self, origin: Holder) -> None: ...

    def held(self, origin: Holder) -> int: ...

    def owes(self, origin: Holder) -> bool: ...

    def is_next(self, origin: Holder) -> bool: ...

    def is_waiting(self, origin: Holder) -> bool: ...


class Pool:
    """
    Args:
        max_idle: Idle connections kept, all origins together; None keeps any number.
        expiry: Seconds that an idle connection is kept; None keeps it as long as the server does.
        on_opened, on_closed: Called once with each connection's origin, address and protocol; None disables them.
    """

    def __init__(
        self,
        slots: Slots,
        *,
        max_idle: int | None,
        expiry: float | None,
        now: Callable[[], float],
        on_opened: Told = None,
        on_closed: Told = None,
    ) -> None:
        self._slots = slots
        self._max_idle = max_idle
        self._expiry = expiry
        self._now = now
        self._on_opened = on_opened
        self._on_closed = on_closed
        self._idle: dict[Destination, dict[Pooled, None]] = {}  # those that are not shared, by origins with open ones
        self._shared = Shared(slots, self._use)
        self._by_age: OrderedDict[Pooled, float] = OrderedDict()  # idle → since when; oldest first
        self._early: dict[Pooled, asyncio.TimerHandle] = {}  # the server keeps them for less
        self._resting: dict[Pooled, asyncio.TimerHandle] = {}  # idle once that is over
        self._open: dict[Destination, dict[Pooled, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def open(self) -> int:
        return sum(map(len, self._open.values()))

    @property
    def connections(self) -> list[Pooled]:
        """Those that are open, in use or not."""
        return [each for connections in self._open.values() for each in connections]

    def idle(self, origin: Destination) -> int:
        shared = self._shared.by_origin.get(origin, ())
        return len(self._idle.get(origin, ())) + sum(connection in self._by_age for connection in shared)

    def has_room(self, origin: Destination) -> bool:
        """Whether an open connection of *origin* takes a request at once."""
        shared = self._shared.by_origin.get(origin, ())
        return bool(self._idle.get(origin)) or any(each.is_usable and each.has_room for each in shared)

    def take(self, origin: Destination, now: float, avoid: Sequence[Address] = ()) -> Channel | None:
        """A stream of a connection that has room, or the connection of *origin* that was used last; none to *avoid*."""
        if self._shared.by_origin and (channel := self._shared.take(origin, now, avoid)) is not None:
            return channel
        while idle := self._idle.get(origin):
            connection = next(reversed(idle))
            load = connection.load
            if avoid or (load is not None and load.has_others):
                other = _least_loaded(idle, avoid)
                if other is None:
                    return None
                connection = other
            self._use(connection)
            if connection.is_usable and now < connection.ends_at and not connection.has_unseen():
                return connection.channel()
            connection.close()
        return None

    def try_reserve(self, origin: Holder) -> bool:
        """A slot as by `reserve`, where there is one without waiting."""
        return self._slots.try_acquire(origin)

    async def reserve(self, timeout: float | None, origin: Destination) -> Channel | None:
        """
        A slot for a connection to be opened; `add` or `cancel` ends it.

        Returns:
            None; or, where all slots are taken, a connection of *origin* that became free, which needs no slot.
        Raises:
            BulkheadFull: None became free within *timeout* s.
        """
        make_room = partial(self._make_room, origin)
        given: Channel | None = await self._slots.acquire(timeout, origin, _put_back, make_room)
        return given

    async def wait_for_slot(self, timeout: float | None, holder: Elsewhere) -> None:
        """
        A slot for a connection that another transport opens: none of ours is handed over in its place.

        Raises:
            BulkheadFull: None became free within *timeout* seconds.
        """
        await self._slots.acquire(timeout, holder, _put_back, partial(self._make_room, holder))

    def cancel(self, origin: Holder) -> None:
        """No connection was opened after all."""
        self._slots.release(origin)

    def add(self, connection: Pooled) -> None:
        """A connection was opened in a reserved slot, which is free again once it is closed, whoever closes it."""
        self._open.setdefault(connection.origin, {})[connection] = None
        connection.on_idle = self.keep
        if connection.is_multiplexed:
            self._shared.add(connection)
            connection.on_room = self._shared.offer
        else:
            self._idle.setdefault(connection.origin, {})
        if connection.load is not None:
            connection.load.in_flight += 1
        if self._on_opened is not None:
            self._on_opened(origin_of(connection.origin), connection.address, connection.protocol)
        if connection.is_closed:
            self._closed(connection)
            return
        connection.on_closed = partial(self._closed, connection)
        if self._is_closed:
            connection.close()

    def _closed(self, connection: Pooled) -> None:
        origin = connection.origin
        self._use(connection)
        if connection.is_multiplexed:
            self._shared.discard(connection)
        if connection.load is not None:
            connection.load.in_flight -= 1
        if self._resting and (timer := self._resting.pop(connection, None)) is not None:
            timer.cancel()
        mine = self._open[origin]
        del mine[connection]
        if not mine:
            del self._open[origin]
            self._idle.pop(origin, None)
        self._slots.release(origin)
        if self._on_closed is not None:
            self._on_closed(origin_of(origin), connection.address, connection.protocol)

    def keep(self, connection: Pooled, now: float) -> None:
        """Its last exchange is over: keep it for another, or close it."""
        keep_for, by_age, slots = connection.keep_for, self._by_age, self._slots
        is_over = not connection.is_usable or now >= connection.ends_at or keep_for == 0 or self._max_idle == 0
        if slots.waiting and not is_over:
            if not slots.is_next(connection.origin):
                is_over = slots.owes(connection.origin)
            elif connection.is_multiplexed:
                if connection.has_room:
                    self._shared.offer(connection)
                    return
                is_over = True  # it is in doubt: its slot is of more use than it
            elif connection.rests_until <= now and not (is_over := connection.has_unseen()):
                slots.hand_over(connection.origin, connection.channel())
                return
        if is_over:
            connection.close()
            return
        if connection.rests_until > now:
            rest = connection.rests_until - now
            rested = partial(self._rested, connection, rest)
            self._resting[connection] = asyncio.get_running_loop().call_later(rest, rested, context=Context())
            return
        while self._max_idle is not None and len(by_age) >= self._max_idle:
            self._close_oldest()
        if not connection.is_multiplexed:
            self._idle[connection.origin][connection] = None
            if connection.load is not None:
                connection.load.in_flight -= 1
        if keep_for is not None and (self._expiry is None or keep_for < self._expiry):
            self._expire_early(connection, keep_for)
        by_age[connection] = now
        if self._timer is None or slots.waiting:  # then it is surplus sooner
            self._start_timer()

    def _rested(self, connection: Pooled, rest: float) -> None:
        """Now it is idle, or a waiter gets it, because a dial in its place would take no less."""
        del self._resting[connection]
        if connection.keep_for is not None:
            connection.keep_for = max(0.0, connection.keep_for - rest)
        self.keep(connection, max(connection.rests_until, self._now()))

    def drop_idle(self, origin: Destination, address: Address | None = None) -> None:
        """The idle connections of *origin* (to *address* only) are most likely no good, or must not be used."""
        for connection in list(self._idle.get(origin, ())):
            if address is None or connection.address == address:
                connection.close()

    def retire(self, origin: Destination, address: Address) -> None:
        """No connection of *origin* to *address* is used again; those in use end with what they are used for."""
        self.drop_idle(origin, address)
        for connection in list(self._open.get(origin, ())):
            if connection.address == address:
                connection.retire()

    def spare(self) -> bool:
        """Close the idle connection that was not used for longest, for its descriptor; False where none is idle."""
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
        self._is_closed = True
        for connection in self.connections:
            connection.close()

    def _expire_early(self, connection: Pooled, keep_for: float) -> None:
        """The server keeps it for less than we would: close it before the server does."""
        close = connection.close
        self._early[connection] = asyncio.get_running_loop().call_later(keep_for, close, context=Context())

    def _use(self, connection: Pooled) -> bool:
        """It is in use from now on; returns whether it was idle."""
        if self._early and (timer := self._early.pop(connection, None)) is not None:
            timer.cancel()
        if self._by_age.pop(connection, None) is None:
            return False
        if not connection.is_multiplexed:
            del self._idle[connection.origin][connection]
            if connection.load is not None:
                connection.load.in_flight += 1
        return True

    def _close_oldest(self) -> None:
        next(iter(self._by_age)).close()

    def _make_room(self, origin: Holder) -> None:
        """*origin* must wait for a slot: close an idle connection, now or as soon as one is surplus."""
        if not self._by_age:
            return
        surplus = self._surplus(origin)
        if surplus is None:
            self._start_timer()
        else:
            surplus.close()

    def _surplus(self, origin: Holder) -> Pooled | None:
        """The idle connection that is missed least; None where each is of more use than the slot is to the waiter."""
        if not isinstance(origin, Elsewhere) and (own := self._idle.get(origin)):
            return next(iter(own))  # to an address that must be avoided
        oldest, since = next(iter(self._by_age.items()))
        if since + WARM_FOR <= self._now():
            return oldest
        owed = (each for each in islice(self._by_age, LOOKED_AT) if self._slots.owes(each.origin))
        return max(owed, key=lambda each: self._slots.held(each.origin), default=None)

    @property
    def _idle_for(self) -> float | None:
        """Seconds that an idle connection is kept, as things stand."""
        if not self._slots.waiting:
            return self._expiry
        return WARM_FOR if self._expiry is None else min(WARM_FOR, self._expiry)

    def _start_timer(self) -> None:
        """To go off when the oldest idle connection must be closed, or before."""
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


def _put_back(given: Channel) -> None:
    given.put_back()


def _least_loaded(idle: dict[Pooled, None], avoid: Sequence[Address]) -> Pooled | None:
    """Of the last few that were used, the one to whose address least is in flight; none to *avoid*."""
    usable = (each for each in reversed(idle) if each.address not in avoid)
    return min(islice(usable, LOOKED_AT), key=lambda each: each.load.in_flight if each.load else 0, default=None)
