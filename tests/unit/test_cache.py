"""What is known of names, and until when: instants are arguments."""

from __future__ import annotations

import socket

import pytest

from seawall.config import DNS
from seawall.dns.cache import MANY_RETURNS, MAX_GONE, Cache
from seawall.dns.resolver import Answer, Found
from seawall.errors import NameNotFound, ResolverFailure
from seawall.origin import Address

SETTINGS = DNS(min_ttl=1.0, max_ttl=300.0, negative_ttl=5.0, stale_ttl=3600.0, stale_ttl_plain=60.0, stale_wait=0.2)
ONE, TWO = Address("192.0.2.1"), Address("192.0.2.2")


A, B = ("a", 0), ("b", 0)


def answer(*addresses: Address, ttl: float | None = 10.0) -> Found:
    return Found(Answer(addresses or (ONE,), ttl, "dns"))


@pytest.fixture
def cache() -> Cache:
    return Cache(SETTINGS)


@pytest.mark.parametrize(
    ("ttl", "refresh_after", "kept"),
    [
        (10.0, 8.0, 10.0),  # 80 %
        (1.0, 0.6, 1.0),  # twice stale_wait before its end
        (0.0, 0.6, 1.0),  # min_ttl
        (None, 0.6, 1.0),
        (86400.0, 240.0, 300.0),  # max_ttl
    ],
)
def test_answer_is_kept_for_its_ttl(cache, ttl, refresh_after, kept):
    """Within the bounds; it is looked up ahead of that."""
    entry = cache.store(A, answer(ttl=ttl), 100.0)
    assert entry.refresh_at == pytest.approx(100.0 + refresh_after)
    assert entry.expires_at == 100.0 + kept
    assert cache.fresh(A, 100.0 + kept - 0.001) is entry
    assert cache.fresh(A, 100.0 + kept) is None
    assert (cache.fresh(("a", 1), 100.0), cache.fresh(B, 100.0)) == (None, None)


def test_half_of_a_short_ttl_is_the_earliest_refresh():
    """Sooner, it would double the queries for nothing."""
    entry = Cache(DNS(stale_wait=0.4)).store(A, answer(ttl=1.0), 0.0)
    assert entry.refresh_at == 0.5


def test_denial_is_kept_for_its_own_time(cache):
    """And is not looked up ahead of time."""
    entry = cache.store(A, NameNotFound("a"), 0.0)
    assert (entry.refresh_at, entry.expires_at) == (5.0, 5.0)
    assert cache.stale(A, 6.0, is_secure=True) is None


@pytest.mark.parametrize(("is_secure", "until"), [(True, 3610.0), (False, 70.0)])
def test_stale_answer_serves_for_a_while(cache, is_secure, until):
    """For longer with TLS, which proves whose the address is; and it says that it is stale."""
    cache.store(A, answer(), 0.0)
    found = cache.stale(A, until - 0.001, is_secure=is_secure)
    assert (found.addresses, found.source) == ((ONE,), "stale")
    assert cache.stale(A, until, is_secure=is_secure) is None
    assert cache.stale(B, 0.0, is_secure=is_secure) is None


def test_denial_leaves_nothing_stale(cache):
    """What replaces an answer ends it."""
    cache.store(A, answer(), 0.0)
    cache.store(A, NameNotFound("a"), 5.0)
    assert cache.stale(A, 6.0, is_secure=True) is None


def test_least_recently_used_goes_first():
    """Of as many as are kept of each family; what is looked at is used."""
    cache = Cache(DNS(max_entries=2))
    cache.store(A, answer(), 0.0)
    cache.store(B, answer(), 0.0)
    assert cache.fresh(A, 1.0)
    cache.store(("c", 0), answer(), 1.0)
    assert [cache.fresh((host, 0), 2.0) is not None for host in "abc"] == [True, False, True]
    assert len(cache) == 2
    cache.store(A, answer(), 2.0)
    cache.store(("d", 0), answer(), 2.0)
    assert [cache.fresh((host, 0), 2.0) is not None for host in "acd"] == [True, False, True]


def test_stale_answer_that_serves_is_used():
    """So other names don't push it out while DNS fails for it alone."""
    cache = Cache(DNS(max_entries=2))
    cache.store(A, answer(), 0.0)
    cache.store(B, answer(), 0.0)
    assert cache.stale(A, 400.0, is_secure=True)
    cache.store(("c", 0), answer(), 400.0)
    assert cache.stale(A, 400.0, is_secure=True)


def test_name_that_fails_rests_for_longer_and_longer(cache):
    """Not after the first failure; 5 s at most; an answer ends it."""
    now, rests = 0.0, []
    for _ in range(9):
        error = ResolverFailure("silent")
        cache.fail(A, error, now)
        rest = 0.0
        while cache.failure(A, now + rest) is error:
            rest += 0.25
        rests.append(rest)
        now += rest
    assert rests == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert cache.failure(("a", 1), now) is None
    assert (cache.has_failed(A, now + 4.99), cache.has_failed(A, now + 5.0)) == (True, False)
    cache.fail(A, ResolverFailure("silent"), now)
    cache.store(A, answer(), now)
    assert (cache.failure(A, now), cache.has_failed(A, now)) == (None, False)


def test_failure_replaces_nothing(cache):
    """What is known stays, stale or fresh."""
    entry = cache.store(A, answer(), 0.0)
    cache.fail(A, ResolverFailure("silent"), 1.0)
    assert cache.fresh(A, 2.0) is entry


def test_failures_are_bounded():
    """As names are; the oldest goes first."""
    cache = Cache(DNS(max_entries=2))
    for host in "abc":
        cache.fail((host, 0), ResolverFailure("silent"), 0.0)
    assert [cache.has_failed((host, 0), 1.0) for host in "abc"] == [False, True, True]


def test_name_that_gives_subsets(cache):
    """From the fourth address on that was gone and came back: one that is missing is not gone."""
    cache.store(A, answer(ONE), 0.0)
    for turn in range(MANY_RETURNS + 1):
        assert cache.gives_subsets(A, 1.0) is False
        cache.store(A, answer((TWO, ONE)[turn % 2]), 1.0)
    assert cache.gives_subsets(A, 1.0) is True
    assert (cache.gives_subsets(("a", 1), 1.0), cache.gives_subsets(B, 1.0)) == (False, False)


def test_service_that_fails_over_gives_no_subsets(cache):
    """All its addresses come back at once, and that seldom; those that it left are gone each time."""
    blue, green = ([Address(f"192.0.{net}.{host}") for host in range(20)] for net in (1, 2))
    for turn in range(MANY_RETURNS):
        cache.store(A, answer(*(blue, green)[turn % 2]), float(turn))
    assert cache.gives_subsets(A, 10.0) is False
    for day in range(20):
        cache.store(A, answer(*(blue, green)[day % 2]), 86400.0 * day)
        assert cache.gives_subsets(A, 86400.0 * day) is False


def test_name_that_gave_subsets(cache):
    """An hour ago: what leaves its record now is gone."""
    for turn in range(MANY_RETURNS + 2):
        cache.store(A, answer((TWO, ONE)[turn % 2]), 1.0)
    assert (cache.gives_subsets(A, 3601.0), cache.gives_subsets(A, 3602.0)) == (True, False)


def test_name_that_moves_gives_no_subsets(cache):
    """Each address is new; those that went are remembered up to a bound."""
    for number in range(2 * MAX_GONE):
        cache.store(A, answer(Address(f"192.0.{number // 256}.{number % 256}")), 0.0)
    assert cache.gives_subsets(A, 1.0) is False
    assert len(cache._gone[A]) == MAX_GONE
    for number in range(MANY_RETURNS):  # they are forgotten
        cache.store(A, answer(Address(f"192.0.0.{number}")), 0.0)
    assert cache.gives_subsets(A, 1.0) is False


def test_what_left_records_is_bounded():
    """By as many names as are kept."""
    cache = Cache(DNS(max_entries=2))
    for host in "abc":
        for turn in range(MANY_RETURNS + 2):
            cache.store((host, 0), answer((TWO, ONE)[turn % 2]), 0.0)
    assert [cache.gives_subsets((host, 0), 1.0) for host in "abc"] == [False, True, True]
    assert (len(cache._gone), len(cache._returns)) == (2, 2)


def test_answer_that_is_doubted_is_over_at_once_but_the_next_one_a_second_later(cache):
    """So that a retry finds a name that moved, and a dead name is looked up once a second at most because of that."""
    cache.store(A, answer(ttl=100.0), 10.0)
    assert cache.fresh(A, 10.25) is not None
    cache.doubt(A, 1.0, 10.25)
    assert cache.fresh(A, 10.25) is None
    assert cache.stale(A, 10.25, is_secure=False).addresses == (ONE,)
    cache.store(A, answer(ttl=100.0), 10.5)
    for now in (10.5, 11.0):  # the second doubt doesn't put the lookup off
        cache.doubt(A, 1.0, now)
    assert cache.fresh(A, 11.0) is not None
    assert cache.fresh(A, 11.25) is None
    cache.store(A, answer(ttl=100.0), 11.25)
    cache.doubt(A, 1.0, 12.0)
    assert cache.fresh(A, 12.0) is not None
    assert cache.fresh(A, 12.25) is None
    cache.store(A, answer(ttl=100.0), 12.25)
    cache.doubt(A, 1.0, 13.5)
    assert cache.fresh(A, 13.5) is None


def test_doubt_never_lengthens_an_answers_time(cache):
    """What ends sooner ends as it would have; of what isn't known there is nothing to doubt."""
    cache.store(B, answer(ttl=2.0), 10.0)
    cache.doubt(B, 1.0, 10.0)
    cache.store(B, answer(ttl=2.0), 10.0)
    cache.doubt(B, 5.0, 10.0)
    assert cache.fresh(B, 11.999) is not None
    assert cache.fresh(B, 12.0) is None
    cache.doubt(B, 1.0, 13.0)
    assert cache.fresh(B, 13.0) is None
    cache.doubt(("c", 0), 1.0, 10.0)


def test_family_that_is_not_known_yet_is_not_gone(cache):
    """Of one answer only the first family was there in time, again and again: that is not a name that gives subsets."""
    six = Address("2001:db8::1")
    for _ in range(2 * MANY_RETURNS):
        entry = cache.store(A, Found(Answer((ONE,), 10.0, "dns"), socket.AF_INET6), 0.0)
        assert (entry.knows(socket.AF_INET), entry.knows(socket.AF_INET6)) == (True, False)
        cache.store(A, answer(ONE, six), 0.0)
    assert cache.gives_subsets(A, 1.0) is False
