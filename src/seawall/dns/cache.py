"""
What is known of names, and until when. A pure state machine: no I/O, the time is an argument.

Rules (RFC 8767, RFC 2308): an entry is fresh until `expires_at`; a positive one may serve as stale for a while after
`stale_from`, and only where DNS failed; "no such name" replaces what was known, so nothing stale outlives it; a
failure replaces nothing, but from the second one in a row on a name is left alone for a while (RFC 9520).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple, TypeAlias

from ..config import DNS
from ..errors import ResolveError
from ..origin import Address
from .resolver import Answer, Found

__all__ = ["ANY", "SYSTEM", "Cache", "Entry", "Failures", "Key"]

REFRESH_AT = 0.8  # of the TTL
MIN_REST, MAX_REST = 0.25, 5.0  # s; RFC 9520 section 3.2 asks resolvers, which have many clients, for 1 s to 5 min
MAX_GONE = 256  # addresses of one name
MANY_RETURNS = 4  # a service that fails over and back brings one back each time
REFRESH_FROM = 0.5  # of the TTL; sooner, refreshing ahead doubles the queries for nothing

Key: TypeAlias = tuple[str, int]
"""Host and port."""
ANY, SYSTEM = 0, -1  # in place of a port: all of them; the failures of the system's resolver


class Entry(NamedTuple):
    """
    What one lookup found.

    Attributes:
        found: The addresses, or what to raise: NameNotFound or NoAddress.
        refresh_at: From here on, a hit is a reason to look up again.
        expires_at: From here on, it isn't used before the name has been looked up again.
        stale_from: The end of its time to live, which an answer that was disproved still has.
        doubted_at: When an answer for its name was last over before its time, because none of its addresses served.
    """

    found: Found | ResolveError
    refresh_at: float
    expires_at: float
    stale_from: float
    doubted_at: float = -math.inf

    def knows(self, family: int) -> bool:
        """Whether an address of *family* that isn't in it is none of the name's."""
        return not (isinstance(self.found, Found) and self.found.unknown == family)


class Failures(NamedTuple):
    """Of lookups of one name: how many in a row, the last, and until when it is not asked again."""

    number: int
    error: ResolveError
    until: float


class Cache:
    """
    (host, port) → what is known; least recently used goes first. Where the port doesn't matter, it is always the same.
    """

    def __init__(self, settings: DNS) -> None:
        self._settings = settings
        self._max = settings.max_entries
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._failures: OrderedDict[Key, Failures] = OrderedDict()
        self._gone: OrderedDict[Key, dict[Address, None]] = OrderedDict()  # left the record; oldest first
        self._returns: dict[Key, int] = {}  # addresses of it that were gone and came back

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, key: Key, now: float) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None or now >= entry.expires_at:
            return None
        self._entries.move_to_end(key)
        return entry

    def stale(self, key: Key, now: float, *, is_secure: bool) -> Answer | None:
        """An answer whose time is over, where it may still serve because DNS fails."""
        entry = self._entries.get(key)
        if entry is None or not isinstance(entry.found, Found):
            return None
        limit = self._settings.stale_ttl if is_secure else self._settings.stale_ttl_plain
        if now >= entry.stale_from + limit:
            return None
        return entry.found.answer._replace(ttl=None, source="stale")

    def store(self, key: Key, found: Found | ResolveError, now: float) -> Entry:
        """Keep an answer for its TTL, clamped; a negative one for `negative_ttl`."""
        settings = self._settings
        if isinstance(found, Found):
            ttl = settings.min_ttl if found.answer.ttl is None else found.answer.ttl
            ttl = min(max(ttl, settings.min_ttl), settings.max_ttl)
            # A silent DNS, and then the system's resolver, have each had their time before anybody would wait.
            refresh_after = max(ttl * REFRESH_FROM, min(ttl * REFRESH_AT, ttl - 2 * settings.stale_wait))
        else:
            ttl = refresh_after = settings.negative_ttl
        before = self._entries.get(key)
        doubted_at = -math.inf if before is None else before.doubted_at
        entry = Entry(found, now + refresh_after, now + ttl, now + ttl, doubted_at)
        self._compare(key, found)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        self._failures.pop(key, None)
        while len(self._entries) > self._max:
            self._entries.popitem(last=False)
        return entry

    def gives_subsets(self, key: Key) -> bool:
        """Its addresses come and go and come again, as a load balancer's: one that is missing is not gone."""
        return self._returns.get(key, 0) >= MANY_RETURNS

    def _compare(self, key: Key, found: Found | ResolveError) -> None:
        before = self._entries.get(key)
        if before is None or not isinstance(before.found, Found) or not isinstance(found, Found):
            return
        gone, addresses = self._gone.setdefault(key, {}), found.answer.addresses
        for address in addresses:
            if gone.pop(address, False) is None:
                self._returns[key] = self._returns.get(key, 0) + 1
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

        The first failure is forgiven, for a datagram may be lost; then the name rests for 0.25 s, 0.5 s, 1 s, 2 s, 4 s,
        5 s at most: a resolver that is back is to be noticed within that time.
        """
        known = self._failures.pop(key, None)
        number = 1 if known is None else known.number + 1
        rest = 0.0 if number == 1 else min(MAX_REST, MIN_REST * 2.0 ** min(number - 2, 10))
        self._failures[key] = Failures(number, error, now + rest)
        while len(self._failures) > self._max:
            self._failures.popitem(last=False)

    def still_fails(self, key: Key, now: float) -> None:
        """Its last lookup failed, and whoever was asked is still busy with it: that counts as a failure of now."""
        known = self._failures.get(key)
        if known is not None and known.until < now:
            self._failures[key] = known._replace(until=now)

    def recovered(self, key: Key) -> None:
        """A lookup succeeded whose answer isn't stored under its own key."""
        self._failures.pop(key, None)

    def has_failed(self, key: Key, now: float) -> bool:
        """The last lookup of it failed, and lately: who is asked about it all the time is asked again soon after."""
        known = self._failures.get(key)
        return known is not None and now < known.until + MAX_REST

    def failure(self, key: Key, now: float) -> ResolveError | None:
        """What to raise in place of asking again."""
        known = self._failures.get(key)
        return known.error if known is not None and now < known.until else None

    def doubt(self, key: Key, rest: float, now: float) -> None:
        """Be over now, or *rest* seconds after the last doubt ended it, if it was to hold for longer."""
        entry = self._entries.get(key)
        if entry is None or now >= entry.expires_at:
            return
        at = entry.doubted_at if entry.doubted_at > now else max(now, entry.doubted_at + rest)
        if at < entry.expires_at:
            self._entries[key] = entry._replace(refresh_at=min(at, entry.refresh_at), expires_at=at, doubted_at=at)
