"""What is known of names, and until when: instants are arguments."""

from __future__ import annotations

import pytest

from seawall.dns.cache import MANY_RETURNS, MAX_GONE, Cache
from seawall.dns.resolver import Answer
from seawall.errors import NameNotFound, NoAddress, ResolverFailure
from seawall.origin import Address
from seawall.settings import DNS

SETTINGS = DNS(min_ttl=1.0, max_ttl=300.0, negative_ttl=5.0, stale_ttl=3600.0, stale_ttl_plain=60.0, stale_wait=0.2)
ONE, TWO = Address("192.0.2.1"), Address("192.0.2.2")


def answer(*addresses: Address, ttl: float | None = 10.0) -> Answer:
    return Answer(addresses or (ONE,), ttl, "dns")


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
    entry = cache.store("a", 2, answer(ttl=ttl), 100.0)
    assert entry.refresh_at == pytest.approx(100.0 + refresh_after)
    assert entry.expires_at == 100.0 + kept
    assert cache.fresh("a", 2, 100.0 + kept - 0.001) is entry
    assert cache.fresh("a", 2, 100.0 + kept) is None
    assert (cache.fresh("a", 10, 100.0), cache.fresh("b", 2, 100.0)) == (None, None)


def test_half_of_a_short_ttl_is_the_earliest_refresh():
    """Sooner, it would double the queries for nothing."""
    entry = Cache(DNS(stale_wait=0.4)).store("a", 2, answer(ttl=1.0), 0.0)
    assert entry.refresh_at == 0.5


def test_denial_is_kept_for_its_own_time(cache):
    """And is not looked up ahead of time."""
    entry = cache.store("a", 2, NameNotFound("a"), 0.0)
    assert (entry.refresh_at, entry.expires_at) == (5.0, 5.0)
    assert cache.stale("a", 2, 6.0, is_secure=True) is None


@pytest.mark.parametrize(("is_secure", "until"), [(True, 3610.0), (False, 70.0)])
def test_stale_answer_serves_for_a_while(cache, is_secure, until):
    """For longer with TLS, which proves whose the address is; and it says that it is stale."""
    cache.store("a", 2, answer(), 0.0)
    found = cache.stale("a", 2, until - 0.001, is_secure=is_secure)
    assert (found.addresses, found.source) == ((ONE,), "stale")
    assert cache.stale("a", 2, until, is_secure=is_secure) is None
    assert cache.stale("b", 2, 0.0, is_secure=is_secure) is None


def test_denial_leaves_nothing_stale(cache):
    """What replaces an answer ends it."""
    cache.store("a", 2, answer(), 0.0)
    cache.store("a", 2, NameNotFound("a"), 5.0)
    assert cache.stale("a", 2, 6.0, is_secure=True) is None


def test_least_recently_used_goes_first():
    """Of as many as are kept of each family; what is looked at is used."""
    cache = Cache(DNS(max_entries=2), families=1)
    cache.store("a", 2, answer(), 0.0)
    cache.store("b", 2, answer(), 0.0)
    assert cache.fresh("a", 2, 1.0)
    cache.store("c", 2, answer(), 1.0)
    assert [cache.fresh(host, 2, 2.0) is not None for host in "abc"] == [True, False, True]
    assert len(cache) == 2
    cache.store("a", 2, answer(), 2.0)
    cache.store("d", 2, answer(), 2.0)
    assert [cache.fresh(host, 2, 2.0) is not None for host in "acd"] == [True, False, True]


def test_name_that_fails_rests_for_longer_and_longer(cache):
    """Not after the first failure; 5 s at most; an answer ends it."""
    now, rests = 0.0, []
    for _ in range(9):
        error = ResolverFailure("silent")
        cache.fail("a", 2, error, now)
        rest = 0.0
        while cache.failure("a", 2, now + rest) is error:
            rest += 0.25
        rests.append(rest)
        now += rest
    assert rests == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert cache.failure("a", 10, now) is None
    assert (cache.has_failed("a", 2, now + 4.99), cache.has_failed("a", 2, now + 5.0)) == (True, False)
    cache.fail("a", 2, ResolverFailure("silent"), now)
    cache.store("a", 2, answer(), now)
    assert (cache.failure("a", 2, now), cache.has_failed("a", 2, now)) == (None, False)


def test_failure_replaces_nothing(cache):
    """What is known stays, stale or fresh."""
    entry = cache.store("a", 2, answer(), 0.0)
    cache.fail("a", 2, ResolverFailure("silent"), 1.0)
    assert cache.fresh("a", 2, 2.0) is entry


def test_failures_are_bounded():
    """As names are; the oldest goes first."""
    cache = Cache(DNS(max_entries=2))
    for host in "abc":
        cache.fail(host, 2, ResolverFailure("silent"), 0.0)
    assert [cache.has_failed(host, 2, 1.0) for host in "abc"] == [False, True, True]


def test_name_that_gives_subsets(cache):
    """From the fourth address on that was gone and came back: one that is missing is not gone."""
    cache.store("a", 2, answer(ONE), 0.0)
    for turn in range(MANY_RETURNS + 1):
        assert cache.gives_subsets("a", 2) is False
        cache.store("a", 2, answer((TWO, ONE)[turn % 2]), 1.0)
    assert cache.gives_subsets("a", 2) is True
    assert (cache.gives_subsets("a", 10), cache.gives_subsets("b", 2)) == (False, False)


def test_name_that_moves_gives_no_subsets(cache):
    """Each address is new; those that went are remembered up to a bound."""
    for number in range(2 * MAX_GONE):
        cache.store("a", 2, answer(Address(f"192.0.{number // 256}.{number % 256}")), 0.0)
    assert cache.gives_subsets("a", 2) is False
    assert len(cache._gone["a", 2]) == MAX_GONE
    for number in range(MANY_RETURNS):  # they are forgotten
        cache.store("a", 2, answer(Address(f"192.0.0.{number}")), 0.0)
    assert cache.gives_subsets("a", 2) is False


def test_what_left_records_is_bounded():
    """By as many names as are kept."""
    cache = Cache(DNS(max_entries=2))
    for host in "abc":
        for turn in range(MANY_RETURNS + 2):
            cache.store(host, 2, answer((TWO, ONE)[turn % 2]), 0.0)
    assert [cache.gives_subsets(host, 2) for host in "abc"] == [False, True, True]
    assert (len(cache._gone), len(cache._returns)) == (2, 2)


def test_missing_family_is_known_for_as_long_as_the_other(cache):
    """And both are looked up together."""
    cache.store("a", 10, NoAddress("a"), 0.0)
    cache.store("a", 2, answer(ttl=100.0), 1.0)
    cache.align("a", (10, 2), 1.0)
    entry = cache.fresh("a", 10, 100.9)
    assert isinstance(entry.answer, NoAddress)
    assert (entry.refresh_at, entry.expires_at) == (81.0, 101.0)


def test_missing_family_that_was_looked_up_late_is_not_looked_up_again_at_once(cache):
    """Where the other's refresh is due already, it is good to the other's end."""
    cache.store("a", 2, answer(ttl=100.0), 0.0)
    cache.store("a", 10, NoAddress("a"), 80.0)
    cache.align("a", (10, 2), 80.0)
    entry = cache.fresh("a", 10, 99.0)
    assert (entry.refresh_at, entry.expires_at) == (100.0, 100.0)


def test_only_a_missing_family_is_known_for_longer(cache):
    """Not a name that there isn't; not an answer; not what is known for longer anyway."""
    cache.align("a", (10, 2), 0.0)
    six = cache.store("a", 10, answer(ttl=3.0), 0.0)
    cache.store("a", 2, answer(ttl=100.0), 0.0)
    cache.align("a", (10, 2), 0.0)
    assert cache.fresh("a", 10, 1.0) is six
    cache.store("b", 10, NameNotFound("b"), 0.0)
    cache.store("b", 2, answer(ttl=100.0), 0.0)
    cache.align("b", (10, 2), 0.0)
    assert cache.fresh("b", 10, 5.0) is None
    late = cache.store("c", 10, NoAddress("c"), 10.0)
    cache.store("c", 2, answer(ttl=15.0), 0.0)
    cache.align("c", (10, 2), 10.0)
    assert cache.fresh("c", 10, 10.0) is late
    alone = cache.store("d", 10, NoAddress("d"), 0.0)
    cache.align("d", (10, 2), 0.0)
    assert cache.fresh("d", 10, 1.0) is alone
