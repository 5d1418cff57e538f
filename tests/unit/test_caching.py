"""The resolver that the wire talks to, over resolvers that are told what to find, on the virtual clock."""

from __future__ import annotations

import asyncio
import math
import socket
from contextvars import ContextVar

import pytest

from seawall.config import DNS
from seawall.core.deadline import deadline, inherited
from seawall.dns.caching import MAX_PORTS, RECHECK, CachingResolver
from seawall.dns.chain import Chained
from seawall.dns.resolver import Answer, Dangling, Rank, ServerFailure
from seawall.dns.static import FunctionResolver
from seawall.errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from seawall.events import Event, LookupEnded
from seawall.origin import Address, Origin
from seawall.stats import NameStats
from seawall.testing import FakeResolver
from seawall.testing.clock import VIRTUAL

from ..names import both_families

pytestmark = pytest.mark.anyio

A = Origin("http", "a.test", 80)
CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


@pytest.fixture
def anyio_backend():
    return VIRTUAL


class System(FakeResolver):
    """In place of the system's."""

    def takes(self, host):
        return True


def now() -> float:
    return asyncio.get_running_loop().time()


def caching(upstream, *, fallback=None, by_port=False, **settings) -> CachingResolver:
    return CachingResolver(upstream, DNS(**settings), now=now, by_port=by_port, fallback=fallback)


async def test_lookup_belongs_to_no_caller():
    """It inherits neither its variables nor its deadline, because others wait for it too."""
    seen = []

    class Asks(FakeResolver):
        async def resolve(self, host, port, *, family=0):
            seen.append((CALLER.get(), inherited()))
            return await super().resolve(host, port, family=family)

    resolver = caching(Asks({"a.test": (1.0, "192.0.2.1")}))
    CALLER.set("first")
    with pytest.raises(TimeoutError), deadline(5.0):
        async with asyncio.timeout(0.5):
            await resolver.resolve(A)
    CALLER.set("second")
    assert (await resolver.resolve(A)).addresses == (Address("192.0.2.1"),)
    assert (seen, now()) == ([("nobody", None)], 1.0)
    await resolver.aclose()


@pytest.mark.parametrize("later", ["192.0.2.9", NameNotFound("a.test: no such name")])
async def test_lookup_that_ends_later_is_what_counts(later):
    """The system answered first, and calls were served from memory: what DNS says then replaces that at once."""
    upstream, system = FakeResolver({"a.test": (1.5, later)}, ttl=300.0), System({"a.test": "192.0.2.1"})
    resolver = caching(upstream, fallback=system, fallback_after=1.0)
    assert (await resolver.resolve(A)).addresses == (Address("192.0.2.1"),)
    assert now() == 1.0
    for _ in range(3):
        assert (await resolver.resolve(A)).addresses == (Address("192.0.2.1"),)
    await asyncio.sleep(0.6)
    if isinstance(later, str):
        assert resolver.cached(A).addresses == (Address(later),)
    else:
        with pytest.raises(NameNotFound):
            resolver.cached(A)
    assert (len(upstream.lookups), len(system.lookups)) == (1, 1)
    await resolver.aclose()


@pytest.mark.parametrize("said", ["192.0.2.9", NameNotFound("a.test: no such name")])
async def test_system_that_ends_later_replaces_nothing(said):
    """The cache asked it because DNS was slow. An answer, or a denial, that DNS has given since counts more."""
    upstream, system = FakeResolver({"a.test": (1.1, said)}, ttl=300.0), System({"a.test": (1.5, "192.0.2.1")})
    resolver = caching(upstream, fallback=system, fallback_after=1.0)
    for later in (0.0, 1.5):
        await asyncio.sleep(later)
        if isinstance(said, str):
            assert (await resolver.resolve(A)).addresses == (Address(said),)
        else:
            with pytest.raises(NameNotFound):
                await resolver.resolve(A)
    assert (len(upstream.lookups), len(system.lookups), resolver.in_flight) == (1, 1, 0)
    await resolver.aclose()


async def test_name_that_cannot_be_is_not_asked_for():
    """The call ends at once, and no resolver sees it."""

    class Unasked(FakeResolver):
        async def resolve(self, host, port, *, family=0):
            pytest.fail("it was asked")

    resolver = caching(Unasked({}))
    with pytest.raises(NameNotFound, match="control characters"):
        await resolver.resolve(Origin("http", "a\x7f.test", 80))
    assert now() == 0
    await resolver.aclose()


async def test_resolvers_one_after_another():
    """Each has what it knows for as long as it knows it; together they count what each was asked."""
    names = Chained([caching(FakeResolver({"b.test": "192.0.2.2"})), caching(FakeResolver({"a.test": "192.0.2.1"}))])
    assert (names.good_for(A), names.stats()) == (0.0, {})
    for _ in range(3):
        assert (await names.resolve(A)).addresses == (Address("192.0.2.1"),)
    assert names.good_for(A) > 0
    assert (names.in_flight, names.entries) == (0, 2)  # the first knows that it has no such name
    first, second = (each.stats()["a.test"] for each in names._names)
    assert names.stats() == {"a.test": NameStats(*(sum(pair) for pair in zip(first, second, strict=True)))}
    await names.aclose()


async def test_first_of_a_chain_that_knows_a_name_now():
    """What the next one knows of it counts no more, so connections to its addresses aren't kept."""
    first, old, new = FakeResolver({}), Address("192.0.2.1"), Address("192.0.2.9")
    names = Chained([caching(first), caching(FakeResolver({"a.test": old}))])
    assert (await names.resolve(A)).addresses == (old,)
    assert await names.is_still(A, old) is True
    first.add("a.test", new)
    await asyncio.sleep(names.recheck_in(A, old))
    assert await names.is_still(A, old) is False
    assert (await names.resolve(A)).addresses == (new,)
    assert (await names.is_still(A, old), await names.is_still(A, new)) == (False, True)
    await names.aclose()


async def test_late_addresses_of_a_chain():
    """They come from the resolver that knows the name."""
    later = {socket.AF_INET: 0.0, socket.AF_INET6: 1.0}

    class Families(FakeResolver):
        async def resolve(self, host, port, *, family=0):
            await asyncio.sleep(later[family])
            return Answer((Address("192.0.2.1" if family == socket.AF_INET else "2001:db8::1"),), 60.0, "dns")

    names = Chained([caching(FakeResolver({})), both_families(Families())])
    assert names.late(A) is None
    assert (await names.resolve(A)).addresses == (Address("192.0.2.1"),)
    assert set(await names.late(A)()) == {Address("192.0.2.1"), Address("2001:db8::1")}
    await names.aclose()


async def test_resolver_of_the_users_is_asked_for_all_families_at_once():
    """By 0, as socket has it."""
    seen = []

    class Asked(FakeResolver):
        async def resolve(self, host, port, *, family=0):
            seen.append((host, port, family))
            return await super().resolve(host, port, family=family)

    resolver = caching(Asked({"a.test": "192.0.2.1"}), by_port=True)
    await resolver.resolve(A)
    assert seen == [("a.test", 80, 0)]
    await resolver.aclose()


async def test_what_is_known_is_known_for_its_ttl():
    """Not a moment longer, however often it is asked for; the lookup ahead of time brings what is new."""
    upstream = FakeResolver({"a.test": ["192.0.2.1", (0.05, "192.0.2.2")]}, ttl=10.0)
    resolver = caching(upstream)
    found = {}
    await resolver.resolve(A)
    for instant in (0.0, 7.9, 8.1, 8.3):
        await asyncio.sleep(instant - now())
        found[instant] = (await resolver.resolve(A)).addresses[0].ip[-1]
    assert found == {0.0: "1", 7.9: "1", 8.1: "1", 8.3: "2"}
    await asyncio.sleep(30.0)
    assert resolver.cached(A) is None
    assert resolver.stats()["a.test"].hits == 4
    await resolver.aclose()


async def test_answer_from_memory_says_so():
    """The source of a call's addresses is in its history; what is static stays static."""
    for source, then in (("dns", "cache"), ("system", "cache"), ("static", "static")):
        resolver = caching(FakeResolver({"a.test": Answer((Address("192.0.2.1"),), 60.0, source)}))
        sources = [(await resolver.resolve(A)).source for _ in range(3)]
        assert sources == [source, then, then]
        await resolver.aclose()


async def test_lookup_without_a_descriptor_is_tried_again_while_some_are_spared():
    """One at a time; then it fails, and that says nothing of the name."""
    spared = [True, True]
    short = ResolverFailure("no descriptor", is_shortage=True)
    upstream = FakeResolver({"a.test": [short, short, "192.0.2.1"], "b.test": short})
    resolver = CachingResolver(upstream, DNS(), now=now, spare=lambda: spared.pop() if spared else False)
    assert (await resolver.resolve(A)).addresses == (Address("192.0.2.1"),)
    assert (spared, len(upstream.lookups)) == ([], 3)
    for _ in range(3):
        with pytest.raises(ResolverFailure, match="no descriptor"):
            await resolver.resolve(Origin("http", "b.test", 80))
    assert len(upstream.lookups) == 6
    await resolver.aclose()


async def test_closing_ends_lookups_that_hang():
    """And whoever waits for one hears of it; all that is asked is closed too."""
    upstream, system = FakeResolver({"a.test": math.inf}), System({"a.test": math.inf})
    resolver = caching(upstream, fallback=system)
    waiting = asyncio.create_task(resolver.resolve(A))
    await asyncio.sleep(1.5)
    await resolver.aclose()
    assert now() == 1.5
    assert (upstream.is_closed, system.is_closed) == (True, True)
    with pytest.raises(ResolverFailure, match="cancelled"):
        await waiting
    assert len(asyncio.all_tasks()) == 2  # anyio's two


async def test_closing_that_is_cancelled_closes_what_is_asked():
    """Though a lookup of the user's own resolver doesn't let itself be cancelled."""

    class Stubborn(FakeResolver):
        async def resolve(self, host, port, *, family=0):
            try:
                await asyncio.sleep(1.0)
            except asyncio.CancelledError:
                await asyncio.sleep(1.0)
            raise NameNotFound(host)

    upstream, system = Stubborn({}), System({})
    resolver = caching(upstream, fallback=system)
    waiting = asyncio.create_task(resolver.resolve(A))
    await asyncio.sleep(0.1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await resolver.aclose()
    assert (upstream.is_closed, system.is_closed) == (True, True)
    with pytest.raises(NameNotFound):
        await waiting


async def test_names_that_are_counted_are_bounded():
    """As those that are kept: the oldest goes first."""
    resolver = caching(FakeResolver({f"{n}.test": "192.0.2.1" for n in "abc"}), max_entries=2)
    for name in "abc":
        await resolver.resolve(Origin("http", f"{name}.test", 80))
        await resolver.resolve(Origin("http", f"{name}.test", 80))
    assert list(resolver.stats()) == ["b.test", "c.test"]
    assert {(stats.hits, stats.misses) for stats in resolver.stats().values()} == {(1, 1)}
    assert list(resolver._hits) == ["b.test", "c.test"]
    for port in range(1, 3 * MAX_PORTS):
        await resolver.resolve(Origin("http", "c.test", port))
        assert len(resolver._hits["c.test"]) <= MAX_PORTS
    await resolver.aclose()


async def test_name_in_use_is_kept_whatever_other_names_come():
    """A client that meets thousands of names keeps the addresses and counts of the one that it uses all the time."""
    names = {f"{number}.test": "192.0.2.2" for number in range(20)}
    resolver = caching(upstream := FakeResolver({"a.test": "192.0.2.1", **names}), max_entries=4)
    for name in names:
        await resolver.resolve(A)
        await resolver.resolve(Origin("http", name, 80))
    upstream.add("a.test", ResolverFailure("an outage"))
    await asyncio.sleep(resolver.recheck_in(A, Address("192.0.2.1")))
    assert (await resolver.resolve(A)).addresses == (Address("192.0.2.1"),)
    assert resolver.stats()["a.test"].hits == len(names)
    await resolver.aclose()


async def test_resolver_that_looks_up_in_a_way_of_its_own():
    """A user's resolver is asked by the two methods that it must have, whatever others it has."""

    class Mine(FakeResolver):
        async def look_up(self, service: str) -> Answer:
            return await super().resolve(service, 80)

        async def resolve(self, host, port, *, family=0):
            return await self.look_up(host)

    resolver = caching(Mine({"a.test": "192.0.2.1"}))
    assert (await resolver.resolve(A)).addresses == (Address("192.0.2.1"),)
    await resolver.aclose()


class OwnKind(ResolveError):
    """A kind of error that is none of seawall's."""


@pytest.mark.parametrize("some", [list, iter])
async def test_addresses_that_are_no_tuple(some):
    """They are made one, because a list may change after the guard has looked at it, and an iterator ends."""
    mine = [Address("192.0.2.1"), Address("192.0.2.2")]
    resolver = caching(FunctionResolver(lambda host, port: Answer(some(mine), 60.0, "mine")))
    assert (await resolver.resolve(A)).addresses == tuple(mine)
    assert (await resolver.resolve(A)).addresses == tuple(mine)
    await resolver.aclose()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Answer((), None, "mine"), "no address"),
        (Answer((Address("not.an.address"),), None, "mine"), "isn't an IP address"),
        (Answer((Address("192.0.2.1", 0),), None, "mine"), "port 0"),
        (Answer((Address("192.0.2.1", 65536),), None, "mine"), "port 65536"),
        (Answer((Address("192.0.2.1", 80.5),), None, "mine"), "port 80.5"),
        (Answer((Address("192.0.2.1"),), "5", "mine"), "the TTL '5', which must be seconds"),
        (Answer((Address("192.0.2.1"),), math.nan, "mine"), "the TTL nan"),
        (Answer((Address("192.0.2.1"),), None, "mine", (Rank(1, 1, 0), Rank(1, 1, 1))), "gave 2 ranks for 1 addresses"),
        (Answer((Address("192.0.2.1"),), None, "mine", (Rank(1, "1", 0),)), "isn't a seawall.dns.Rank of numbers"),
        (Answer((Address("192.0.2.1"),), None, "mine", ((1, 1, 0),)), "isn't a seawall.dns.Rank of numbers"),
        (OwnKind("I said why"), "the resolver failed: OwnKind"),
        (KeyError("a bug"), "the resolver failed: KeyError"),
        (OSError("a bug"), "the resolver failed: OSError"),
    ],
)
async def test_what_a_resolver_may_not_answer(found, why):
    """It is the resolver's failure, whoever wrote it, and says what is wrong; ports from 1 to 65535 are good."""

    class Mine:
        async def resolve(self, host, port, *, family=0):
            if isinstance(found, Exception):
                raise found
            return found

        async def aclose(self):
            pass

    resolver = caching(Mine())
    with pytest.raises(ResolveError, match=why) as caught:
        await resolver.resolve(A)
    assert type(caught.value) is (NoAddress if why == "no address" else ResolverFailure)
    assert caught.value.__cause__.__cause__ is (found if isinstance(found, Exception) else None)  # for the log
    await resolver.aclose()


@pytest.mark.parametrize("port", [1, 65535])
async def test_ports_that_a_resolver_may_answer(port):
    """They are dialled in place of the origin's."""
    resolver = caching(FakeResolver({"a.test": Address("192.0.2.1", port)}))
    assert (await resolver.resolve(A)).addresses == (Address("192.0.2.1", port),)
    await resolver.aclose()


async def test_silence_of_dns_ends_at_its_timeout():
    """To the instant, with an error that says how long."""
    resolver = caching(FakeResolver({"a.test": math.inf}), timeout=2.0)
    with pytest.raises(ResolveTimeout, match=r"within 2 s \(DNS.timeout\)") as caught:
        await resolver.resolve(A)
    assert (now(), caught.value.elapsed) == (2.0, 2.0)
    await resolver.aclose()


@pytest.mark.parametrize(("other", "waited"), [(0.01, 0.01), (0.05, 0.05), (math.inf, 0.05), (1.0, 0.05)])
async def test_other_family_has_the_resolution_delay(other, waited):
    """Once one has answered; what comes later is heard of by `late`."""

    class Families(FakeResolver):
        async def resolve(self, host, port, *, family=0):
            if family == socket.AF_INET6:
                await asyncio.sleep(other)
                return Answer((Address("2001:db8::1"),), None, "fake")
            return Answer((Address("192.0.2.1"),), None, "fake")

    resolver = both_families(Families())
    answer = await resolver.resolve(A)
    assert now() == waited
    late = resolver.late(A)
    if other < 0.05:
        assert answer.addresses == (Address("2001:db8::1"), Address("192.0.2.1"))
        assert late is None
    elif other == 1.0:
        assert answer.addresses == (Address("192.0.2.1"),)
        assert await late() == [Address("2001:db8::1"), Address("192.0.2.1")]  # all of the name's
        assert now() == 1.0
    await resolver.aclose()


async def test_how_long_what_is_known_is_good():
    """inf of an address, 0 of what nothing is known of, the rest of the TTL else; a recheck is due at the refresh."""
    resolver = caching(FakeResolver({"a.test": "192.0.2.1"}, ttl=10.0))
    literal = Origin("http", "192.0.2.9", 80)
    assert (resolver.good_for(literal), resolver.recheck_in(literal, Address("192.0.2.9"))) == (math.inf, math.inf)
    assert (resolver.good_for(A), resolver.recheck_in(A, Address("192.0.2.1"))) == (0.0, RECHECK)
    await resolver.resolve(A)
    await asyncio.sleep(1.0)
    assert (resolver.good_for(A), resolver.recheck_in(A, Address("192.0.2.1"))) == (9.0, 7.0)
    await asyncio.sleep(8.0)
    assert (resolver.good_for(A), resolver.recheck_in(A, Address("192.0.2.1"))) == (1.0, 1.0)
    await resolver.aclose()


async def test_whether_an_address_is_still_in_the_record():
    """True, False, and None where nobody knows; the one who asks first waits, for 0.2 s at most."""
    upstream = FakeResolver({"a.test": ["192.0.2.1", "192.0.2.2", math.inf]}, ttl=10.0)
    resolver = caching(upstream)
    assert await resolver.is_still(A, Address("192.0.2.1")) is True
    assert await resolver.is_still(A, Address("192.0.2.2")) is False
    await asyncio.sleep(10.0)
    assert await resolver.is_still(A, Address("192.0.2.1")) is False
    assert await resolver.is_still(A, Address("192.0.2.2")) is True
    await asyncio.sleep(10.0)
    began_at = now()
    assert await resolver.is_still(A, Address("192.0.2.2")) is None
    assert now() - began_at == pytest.approx(0.2)
    began_at = now()
    assert await resolver.is_still(A, Address("192.0.2.2")) is None
    assert (now() - began_at, len(upstream.lookups)) == (0.0, 3)
    await resolver.aclose()


async def test_name_that_is_denied_has_no_address_any_more():
    """Nor any family of it."""
    upstream = FakeResolver({"a.test": ["192.0.2.1", NameNotFound("a.test: gone")]}, ttl=10.0)
    resolver = caching(upstream)
    await resolver.resolve(A)
    await asyncio.sleep(10.0)
    assert await resolver.is_still(A, Address("192.0.2.1")) is False
    with pytest.raises(NameNotFound):
        await resolver.resolve(A)
    await resolver.aclose()


@pytest.mark.parametrize(("origin", "stale_for"), [(A, 60.0), (Origin("https", "a.test", 443), 3600.0)])
async def test_disproved_answer_has_its_whole_time_where_dns_fails(origin, stale_for):
    """One refused connection is not to lose a name for which the answer holds, and DNS is silent."""
    resolver = caching(FakeResolver({"a.test": ["192.0.2.1", math.inf]}, ttl=100.0))
    await resolver.resolve(origin)
    await asyncio.sleep(10.0)
    resolver.disprove(origin)
    for instant in (20.0, 99.0, 99.0 + stale_for):
        await asyncio.sleep(instant - now())
        assert (await resolver.resolve(origin)).source == "stale"
    await asyncio.sleep(101.0 + stale_for - now())
    with pytest.raises(ResolveTimeout):
        await resolver.resolve(origin)
    await resolver.aclose()


async def test_system_that_answers_has_not_failed_before():
    """Failures count where they are in a row: one now and then is forgiven, and the system asked again at once."""
    flaky = ResolverFailure("flaky")
    upstream = FakeResolver({"a.test": ResolverFailure("SERVFAIL")})
    system = System({"a.test": [flaky, "192.0.2.1"] * 10})
    resolver = caching(upstream, fallback=system)
    for _ in range(10):
        with pytest.raises(ResolverFailure):
            await resolver.resolve(A)
        await asyncio.sleep(0.3)
        assert (await resolver.resolve(A)).source == "fake"
        await asyncio.sleep(100.0)
    await resolver.aclose()


class MineNotFound(NameNotFound):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class MineFailed(ResolverFailure):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


@pytest.mark.parametrize("kind", [MineNotFound, MineFailed])
async def test_errors_of_the_users_own_classes(kind):
    """They reach each caller as they are, though a resolver's author may have given them any arguments."""
    resolver = caching(FakeResolver({"a.test": kind(7)}))
    for _ in range(4):
        with pytest.raises(kind, match=r"^a.test: code 7$") as caught:
            await resolver.resolve(A)
        assert caught.value.code == 7
    await resolver.aclose()


async def test_name_whose_addresses_all_fail_is_asked_anew_at_once_and_then_once_a_second():
    """The retry of a call finds a name that has moved; a name that stays dead costs one more lookup a second."""
    upstream = FakeResolver({"a.test": "192.0.2.1"}, ttl=60.0)
    resolver = caching(upstream)
    await resolver.resolve(A)
    await asyncio.sleep(0.25)
    upstream.add("a.test", "192.0.2.2")
    resolver.disprove(A)
    assert (await resolver.resolve(A)).addresses == (Address("192.0.2.2"),)
    moved_at = now()
    for _ in range(12):  # of a quarter of a second
        resolver.disprove(A)
        await resolver.resolve(A)
        await asyncio.sleep(0.25)
    assert now() - moved_at == 3.0
    assert len(upstream.lookups) == 2 + 2


async def test_system_that_answers_in_time_comes_before_what_is_stale():
    """DNS is silent and the old answer's time over: what the system says within `stale_wait` is newer."""
    upstream = FakeResolver({"a.test": ["192.0.2.1", math.inf]}, ttl=10.0)
    resolver = caching(upstream, fallback=System({"a.test": (0.1, "192.0.2.2")}))
    await resolver.resolve(A)
    await asyncio.sleep(10.0)
    assert (await resolver.resolve(A)).addresses == (Address("192.0.2.2"),)
    assert now() == pytest.approx(10.3)
    await resolver.aclose()


def ended(events: list[Event]) -> list[LookupEnded]:
    return [event for event in events if isinstance(event, LookupEnded)]


async def test_each_lookup_that_ends_is_told_once():
    """Of the name, by whom, how long, how many addresses and for how long they hold; a hit is no lookup."""
    events: list[Event] = []
    found = Answer((Address("192.0.2.1"), Address("192.0.2.2")), 60.0, "dns")
    resolver = CachingResolver(FakeResolver({"a.test": (0.5, found)}), DNS(), now=now, emit=events.append)
    await asyncio.sleep(10.0)
    callers = [asyncio.create_task(resolver.resolve(A)) for _ in range(3)]
    await asyncio.sleep(0.25)
    assert (resolver.in_flight, resolver.entries, events) == (1, 0, [])
    await asyncio.gather(*callers)
    await resolver.resolve(A)
    assert events == [LookupEnded("a.test", "dns", 0.5, 2, None, 60.0)]
    assert (resolver.in_flight, resolver.entries) == (0, 1)
    await resolver.aclose()


@pytest.mark.parametrize(
    ("found", "duration", "error"),
    [
        (NameNotFound("no such name"), 0.0, "NameNotFound"),
        (Answer((), None, "mine"), 0.0, "NoAddress"),
        (KeyError("a bug"), 0.0, "ResolverFailure"),
        (ServerFailure("SERVFAIL"), 0.0, "ResolverFailure"),
        (Dangling("an alias of nothing"), 0.0, "NameNotFound"),
        (math.inf, 2.5, "ResolveTimeout"),  # it goes on for a while after its last waiter left
    ],
)
async def test_lookup_that_finds_nothing_is_told_with_its_error(found, duration, error):
    """By the class of the error that its waiters get, whatever the resolver raised."""
    events: list[Event] = []

    class Mine(FakeResolver):
        async def resolve(self, host, port, *, family=0):
            if isinstance(found, KeyError):
                raise found
            return await super().resolve(host, port, family=family)

    resolver = CachingResolver(Mine({"a.test": found}), DNS(), now=now, emit=events.append)
    with pytest.raises(ResolveError) as caught:
        await resolver.resolve(A)
    assert type(caught.value).__name__ == error
    await asyncio.sleep(10.0)
    assert ended(events) == [LookupEnded("a.test", "", duration, 0, error, None)]
    await resolver.aclose()


async def test_lookup_of_the_systems_resolver_is_told_as_its():
    """Each of the two that a call may wait for is told; where there are no addresses the system's says whose it was."""
    events: list[Event] = []
    upstream, system = FakeResolver({"a.test": (1.5, "192.0.2.1")}), System({"a.test": ResolverFailure("no route")})
    resolver = CachingResolver(upstream, DNS(fallback_after=1.0), now=now, fallback=system, emit=events.append)
    await resolver.resolve(A)
    assert [(event.source, event.error) for event in ended(events)] == [("system", "ResolverFailure"), ("fake", None)]
    await resolver.aclose()


async def test_lookup_that_closing_cancels_is_told():
    """As cancelled, because nothing failed."""
    events: list[Event] = []
    resolver = CachingResolver(FakeResolver({"a.test": math.inf}), DNS(), now=now, emit=events.append)
    waiting = asyncio.create_task(resolver.resolve(A))
    await asyncio.sleep(1.0)
    await resolver.aclose()
    assert events == [LookupEnded("a.test", "", 1.0, 0, "cancelled", None)]
    with pytest.raises(ResolverFailure):
        await waiting
