"""
What is known of names, and until when. A pure state machine: no I/O, the time is an argument.

Rules (RFC 8767, RFC 2308): an entry is fresh until `expires_at`; a positive one may serve as stale until `stale_at`,
and only where DNS failed; "no such name" replaces what was known, so nothing stale outlives it; a failure replaces
nothing, but from the second one in a row on a name is left alone for a while (RFC 9520).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import NoAddress, ResolveError
from ..origin import Address
from ..settings import DNS
from .resolver import Answer

__all__ = ["Cache", "Entry", "Failures"]

REFRESH_AT = 0.8  # of the TTL
MIN_REST, MAX_REST = 0.25, 5.0  # s; RFC 9520 section 3.2 asks resolvers, which have many clients, for 1 s to 5 min
MAX_GONE = 256  # addresses of one name
MANY_RETURNS = 4  # a service that fails over and back brings one back each time
REFRESH_FROM = 0.5  # of the TTL; sooner, refreshing ahead doubles the queries for nothing


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What one lookup found.

    Attributes:
        answer: The addresses, or what to raise: NameNotFound or NoAddress.
        refresh_at: From here on, a hit is a reason to look up again.
    """

    answer: Answer | ResolveError
    refresh_at: float
    expires_at: float


class Failures(NamedTuple):
    """Of lookups of one name: how many in a row, the last, and until when it is not asked again."""

    number: int
    error: ResolveError
    until: float


class Cache:
    """
    (host, family) → what is known; least recently used goes first.

    Args:
        families: Kept of each name.
    """

    def __init__(self, settings: DNS, *, families: int = 1) -> None:
        self._settings = settings
        self._max = settings.max_entries * families
        self._entries: OrderedDict[tuple[str, int], Entry] = OrderedDict()
        self._failures: OrderedDict[tuple[str, int], Failures] = OrderedDict()
        self._gone: OrderedDict[tuple[str, int], dict[Address, None]] = OrderedDict()  # left the record; oldest first
        self._returns: dict[tuple[str, int], int] = {}  # addresses of it that were gone and came back

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, host: str, family: int, now: float) -> Entry | None:
        entry = self._entries.get((host, family))
        if entry is None or now >= entry.expires_at:
            return None
        self._entries.move_to_end((host, family))
        return entry

    def stale(self, host: str, family: int, now: float, *, is_secure: bool) -> Answer | None:
        """An answer whose time is over, where it may still serve because DNS fails."""
        entry = self._entries.get((host, family))
        if entry is None or not isinstance(entry.answer, Answer):
            return None
        limit = self._settings.stale_ttl if is_secure else self._settings.stale_ttl_plain
        if now >= entry.expires_at + limit:
            return None
        return entry.answer._replace(source="stale")

    def store(self, host: str, family: int, answer: Answer | ResolveError, now: float) -> Entry:
        """Keep an answer for its TTL, clamped; a negative one for `negative_ttl`."""
        settings = self._settings
        if isinstance(answer, Answer):
            ttl = settings.min_ttl if answer.ttl is None else answer.ttl
            ttl = min(max(ttl, settings.min_ttl), settings.max_ttl)
            # A silent DNS, and then the system's resolver, have each had their time before anybody would wait.
            refresh_after = max(ttl * REFRESH_FROM, min(ttl * REFRESH_AT, ttl - 2 * settings.stale_wait))
        else:
            ttl = refresh_after = settings.negative_ttl
        entry = Entry(answer, now + refresh_after, now + ttl)
        self._compare((host, family), answer)
        self._entries[host, family] = entry
        self._entries.move_to_end((host, family))
        self._failures.pop((host, family), None)
        while len(self._entries) > self._max:
            self._entries.popitem(last=False)
        return entry

    def gives_subsets(self, host: str, family: int) -> bool:
        """Its addresses come and go and come again, as a load balancer's: one that is missing is not gone."""
        return self._returns.get((host, family), 0) >= MANY_RETURNS

    def _compare(self, key: tuple[str, int], answer: Answer | ResolveError) -> None:
        before = self._entries.get(key)
        if before is None or not isinstance(before.answer, Answer) or not isinstance(answer, Answer):
            return
        gone = self._gone.setdefault(key, {})
        for address in answer.addresses:
            if gone.pop(address, False) is None:
                self._returns[key] = self._returns.get(key, 0) + 1
        gone.update(dict.fromkeys(address for address in before.answer.addresses if address not in answer.addresses))
        while len(gone) > MAX_GONE:
            del gone[next(iter(gone))]
        while len(self._gone) > self._max:
            self._returns.pop(self._gone.popitem(last=False)[0], None)

    def fail(self, host: str, family: int, error: ResolveError, now: float) -> None:
        """
        Note that a lookup failed.

        The first failure is forgiven, for a datagram may be lost; then the name rests for 0.25 s, 0.5 s, 1 s, 2 s, 4 s,
        5 s at most: a resolver that is back is to be noticed within that time.
        """
        known = self._failures.pop((host, family), None)
        number = 1 if known is None else known.number + 1
        rest = 0.0 if number == 1 else min(MAX_REST, MIN_REST * 2.0 ** min(number - 2, 10))
        self._failures[host, family] = Failures(number, error, now + rest)
        while len(self._failures) > self._max:
            self._failures.popitem(last=False)

    def has_failed(self, host: str, family: int, now: float) -> bool:
        """The last lookup of it failed, and lately: who is asked about it all the time is asked again soon after."""
        known = self._failures.get((host, family))
        return known is not None and now < known.until + MAX_REST

    def failure(self, host: str, family: int, now: float) -> ResolveError | None:
        """What to raise in place of asking again."""
        known = self._failures.get((host, family))
        return known.error if known is not None and now < known.until else None

    def align(self, host: str, families: tuple[int, ...], now: float) -> None:
        """
        Where one family has addresses, "none" of the other is as good for as long.

        Else a host with IPv4 only would be asked for AAAA every `negative_ttl`. Both are asked for again together.
        """
        entries = [self._entries.get((host, family)) for family in families]
        positive = [entry for entry in entries if entry is not None and isinstance(entry.answer, Answer)]
        best = max(positive, key=lambda entry: entry.expires_at, default=None)
        if best is None:
            return
        refresh_at = best.refresh_at if now < best.refresh_at else best.expires_at
        for family, entry in zip(families, entries, strict=True):
            if entry is not None and isinstance(entry.answer, NoAddress) and entry.expires_at < best.expires_at:
                self._entries[host, family] = Entry(entry.answer, refresh_at, best.expires_at)
