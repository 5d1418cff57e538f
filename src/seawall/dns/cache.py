"""
What is known about names, and until when. A pure state machine: it does no I/O, and the time is an argument.

Rules (RFC 8767, RFC 2308): an entry is fresh until `expires_at`. Addresses may serve as stale for a while after
`stale_from`, but only where DNS failed. "No such name" replaces what was known, so nothing stale outlives it. A failure
replaces nothing, but after the second one in a row the name rests: it isn't looked up for a while (RFC 9520).
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import NamedTuple, TypeAlias

from ..config import DNS
from ..errors import ResolveError
from ..origin import Address
from .resolver import Answer, Found

__all__ = ["ANY", "SYSTEM", "Cache", "Entry", "Failures", "Key"]

REFRESH_AT = 0.8  # of the TTL
MIN_REST, MAX_REST = 0.25, 5.0  # seconds; RFC 9520 section 3.2 asks resolvers with many clients for 1 s to 5 min
MAX_GONE = 256  # addresses of one name
MANY_RETURNS = 4  # more than one, because a service that fails over and back brings its addresses back each time
RETURNS_WITHIN = 3600.0  # seconds for these: a load balancer changes each answer, and a service seldom fails over
REFRESH_FROM = 0.5  # of the TTL, because an earlier refresh would double the queries for nothing

Key: TypeAlias = tuple[str, int]
"""Host and port."""
ANY, SYSTEM = 0, -1  # in place of a port: all of them; the failures of the system's resolver


class Entry(NamedTuple):
    """
    The result of one lookup.

    Attributes:
        found: The addresses, or the error to raise: NameNotFound or NoAddress.
        refresh_at: From this instant on, a hit begins a lookup.
        expires_at: From this instant on, the entry isn't used before the name has been looked up again.
        stale_from: The end of the TTL, which doubt doesn't move.
        doubted_at: When an entry of its name last expired early, because none of its addresses took a connection.
        known_at: The instant that the result is from.
    """

    found: Found | ResolveError
    refresh_at: float
    expires_at: float
    stale_from: float
    doubted_at: float = -math.inf
    known_at: float = -math.inf

    def knows(self, family: int) -> bool:
        """Whether the entry has all addresses of *family* that the name has."""
        return not (isinstance(self.found, Found) and self.found.unknown == family)


class Failures(NamedTuple):
    """Failed lookups of one name: how many in a row, the last error, and until when the name rests."""

    number: int
    error: ResolveError
    until: float


class Cache:
    """
    (host, port) → what is known. The least recently used entry is dropped first. The port is `ANY` where it doesn't
    matter.
    """

    def __init__(self, settings: DNS) -> None:
        self._settings = settings
        self._max = settings.max_entries
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._failures: OrderedDict[Key, Failures] = OrderedDict()
        self._gone: OrderedDict[Key, dict[Address, None]] = OrderedDict()  # no longer in the record; oldest first
        self._returns: dict[Key, deque[float]] = {}  # when the last answers came with some of those

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, key: Key, now: float) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None or now >= entry.expires_at:
            return None
        self._entries.move_to_end(key)
        return entry

    def is_known_since(self, key: Key, instant: float) -> bool:
        """Whether an answer, or a denial, has come after *instant*."""
        entry = self._entries.get(key)
        return entry is not None and entry.known_at > instant

    def use(self, key: Key) -> None:
        """Its entry serves a caller that didn't ask for it here."""
        if key in self._entries:
            self._entries.move_to_end(key)

    def stale(self, key: Key, now: float, *, is_secure: bool) -> Answer | None:
        """An expired answer that may still serve because DNS fails."""
        entry = self._entries.get(key)
        if entry is None or not isinstance(entry.found, Found):
            return None
        limit = self._settings.stale_ttl if is_secure else self._settings.stale_ttl_plain
        if now >= entry.stale_from + limit:
            return None
        self._entries.move_to_end(key)
        return entry.found.answer._replace(ttl=None, source="stale")

    def store(self, key: Key, found: Found | ResolveError, now: float) -> Entry:
        """Keep an answer for its TTL, within `min_ttl` and `max_ttl`; a negative one for `negative_ttl`."""
        settings = self._settings
        if isinstance(found, Found):
            ttl = settings.min_ttl if found.answer.ttl is None else found.answer.ttl
            ttl = min(max(ttl, settings.min_ttl), settings.max_ttl)
            # Early enough for a silent DNS, and then for the system's resolver, before any caller would wait.
            refresh_after = max(ttl * REFRESH_FROM, min(ttl * REFRESH_AT, ttl - 2 * settings.stale_wait))
        else:
            ttl = refresh_after = settings.negative_ttl
        before = self._entries.get(key)
        doubted_at = -math.inf if before is None else before.doubted_at
        entry = Entry(found, now + refresh_after, now + ttl, now + ttl, doubted_at, now)
        self._compare(key, found, now)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        self._failures.pop(key, None)
        while len(self._entries) > self._max:
            self._entries.popitem(last=False)
        return entry

    def gives_subsets(self, key: Key, now: float) -> bool:
        """
        Whether addresses leave the record and come back, as a load balancer's do, so a missing one still serves.

        A fail-over and back is one return, however many addresses the service has.
        """
        returns = self._returns.get(key)
        return returns is not None and len(returns) == MANY_RETURNS and now - returns[0] <= RETURNS_WITHIN

    def _compare(self, key: Key, found: Found | ResolveError, now: float) -> None:
        before = self._entries.get(key)
        if before is None or not isinstance(before.found, Found) or not isinstance(found, Found):
            return
        gone, addresses = self._gone.setdefault(key, {}), found.answer.addresses
        if returned := [address for address in addresses if address in gone]:
            self._returns.setdefault(key, deque(maxlen=MANY_RETURNS)).append(now)
            for address in returned:
                gone.pop(address, None)  # a resolver may name it twice
        left = set(before.found.answer.addresses).difference(addresses)
        gone.update(
            (address, None)
            for address in before.found.answer.addresses
            if address in left and address.family != found.unknown
        )
        while len(gone) > MAX_GONE:
            del gone[next(iter(gone))]
        while len(self._gone) > self._max:
            self._returns.pop(self._gone.popitem(last=False)[0], None)

    def fail(self, key: Key, error: ResolveError, now: float) -> None:
        """
        Note that a lookup failed.

        The first failure is forgiven, because a datagram may be lost. Then the name rests for 0.25 s, 0.5 s, 1 s, 2 s,
        4 s, and at most 5 s, because callers must notice within that time that a resolver works again.
        """
        known = self._failures.pop(key, None)
        number = 1 if known is None else known.number + 1
        rest = 0.0 if number == 1 else min(MAX_REST, MIN_REST * 2.0 ** min(number - 2, 10))
        self._failures[key] = Failures(number, error, now + rest)
        while len(self._failures) > self._max:
            self._failures.popitem(last=False)

    def still_fails(self, key: Key, now: float) -> None:
        """Count the last failure as one of now, because the resolver is still busy with that lookup."""
        known = self._failures.get(key)
        if known is not None and known.until < now:
            self._failures[key] = known._replace(until=now)

    def recovered(self, key: Key) -> None:
        """Forget the failures, because a lookup succeeded whose answer isn't stored under *key*."""
        self._failures.pop(key, None)

    def has_failed(self, key: Key, now: float) -> bool:
        """Whether the last lookup failed, and lately: a name that is in use is looked up again soon after its rest."""
        known = self._failures.get(key)
        return known is not None and now < known.until + MAX_REST

    def failure(self, key: Key, now: float) -> ResolveError | None:
        """The error to raise while the name rests."""
        known = self._failures.get(key)
        return known.error if known is not None and now < known.until else None

    def doubt(self, key: Key, rest: float, now: float) -> None:
        """Let the entry expire now, but no sooner than *rest* seconds after it last expired early."""
        entry = self._entries.get(key)
        if entry is None or now >= entry.expires_at:
            return
        at = entry.doubted_at if entry.doubted_at > now else max(now, entry.doubted_at + rest)
        if at < entry.expires_at:
            self._entries[key] = entry._replace(refresh_at=min(at, entry.refresh_at), expires_at=at, doubted_at=at)
