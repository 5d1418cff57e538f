"""The resolver that the wire talks to, over resolvers that are told what to find, on the virtual clock."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from seawall.dns.caching import CachingResolver
from seawall.dns.resolver import Answer
from seawall.errors import NameNotFound
from seawall.origin import Address, Origin
from seawall.policy.deadline import deadline, inherited
from seawall.settings import DNS
from seawall.testing import FakeResolver
from seawall.testing.clock import VIRTUAL

pytestmark = pytest.mark.anyio

A = Origin("http", "a.test", 80)
CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


@pytest.fixture
def anyio_backend():
    return VIRTUAL


class System(FakeResolver):
    """In place of the system's."""

    is_saturated = False


def now() -> float:
    return asyncio.get_running_loop().time()


def caching(upstream, *, fallback=None, families=(0,), **settings) -> CachingResolver:
    return CachingResolver(
        upstream, DNS(**settings), now=asyncio.get_running_loop().time, families=families, fallback=fallback
    )


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
    resolver = caching(upstream, fallback=system, fallback_after=1.0, families=(2,))
    assert (await resolver.resolve(A)).addresses == (Address("192.0.2.1"),)
    assert now() == 1.05  # the lookup that is still in flight gets the resolution delay
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
