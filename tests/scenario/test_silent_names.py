"""Names whose DNS falls silent, on the virtual clock: who waits for it, and how long."""

from __future__ import annotations

import asyncio
import socket

import pytest

from seawall.config import DNS
from seawall.dns.caching import CachingResolver
from seawall.dns.resolver import Answer
from seawall.errors import NoAddress
from seawall.origin import Address, Origin

from ..names import both_families

pytestmark = pytest.mark.anyio

ORIGIN = Origin("http", "quiet.test", 80)


class Quiet:
    """Answers at once, until it is silent; DNS as well as the system's resolver."""

    def takes(self, host):
        return True

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self.is_silent = False
        self.asked = 0

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        self.asked += family != socket.AF_INET6
        if self.is_silent:
            await asyncio.Event().wait()
        if family == socket.AF_INET6:
            raise NoAddress(f"{host}: none of that family")
        return Answer((Address("127.0.0.2"),), self._ttl, "dns")

    async def aclose(self) -> None: ...


def caching(upstream: Quiet, *, fallback: Quiet | None = None, **settings: float) -> CachingResolver:
    return both_families(upstream, fallback=fallback, **settings)


async def fallen_silent() -> tuple[Quiet, CachingResolver]:
    """One that knows a name of TTL 1, and whom it asks."""
    upstream = Quiet(1.0)
    resolver = caching(upstream)
    await resolver.resolve(ORIGIN)
    upstream.is_silent = True
    return upstream, resolver


async def waits(resolver: CachingResolver, *, every: float, seconds: float) -> list[float]:
    """s that each call took, one after another."""
    loop = asyncio.get_running_loop()
    found, until = [], loop.time() + seconds
    while loop.time() < until:
        began_at = loop.time()
        await resolver.resolve(ORIGIN)
        found.append(loop.time() - began_at)
        await asyncio.sleep(every)
    return found


@pytest.mark.parametrize("has_system", [False, True])
@pytest.mark.parametrize("ttl", [1.0, 2.0, 60.0])
async def test_nobody_waits_for_a_name_in_use(ttl, has_system):
    """It was asked for again before its time was over, so by then DNS and the system are known to be silent."""
    upstream, system = Quiet(ttl), Quiet(ttl)
    resolver = caching(upstream, fallback=system if has_system else None)
    await resolver.resolve(ORIGIN)
    upstream.is_silent = system.is_silent = True
    found = await waits(resolver, every=0.01, seconds=ttl + 14.0)
    assert max(found) == pytest.approx(0.0, abs=0.011)
    assert resolver.stats()["quiet.test"].stale > 1000
    assert (system.asked > 1) == has_system
    await resolver.aclose()


async def test_first_alone_waits_for_a_name_out_of_use():
    """0.2 s, once; who comes while the next lookup is under way has what is old at once."""
    upstream, resolver = await fallen_silent()
    await asyncio.sleep(5.0)
    first, *others = await waits(resolver, every=0.01, seconds=14.0)
    assert first == pytest.approx(0.2)
    assert max(others) == 0.0
    assert upstream.asked > 2  # a lookup goes on for 5 s, because the name server may just be slow
    await resolver.aclose()


async def test_answer_after_silence_is_used():
    """Though nobody waits for it: within 5 s of its return."""
    upstream, resolver = await fallen_silent()
    await waits(resolver, every=0.01, seconds=10.0)
    upstream.is_silent = False
    await waits(resolver, every=0.01, seconds=5.0 + DNS().timeout)
    stale = resolver.stats()["quiet.test"].stale
    await waits(resolver, every=0.01, seconds=2.0)
    assert resolver.stats()["quiet.test"].stale == stale
    await resolver.aclose()


async def test_refreshed_ahead():
    """At 0.6 s of a TTL of 1 s, 4 s of 5 s: no query more than that asks, nor before half of it."""
    for ttl, asked in ((1.0, 17), (5.0, 3), (10.0, 2)):
        upstream = Quiet(ttl)
        resolver = caching(upstream)
        await waits(resolver, every=0.01, seconds=10.0)
        assert upstream.asked == asked
        await resolver.aclose()
    upstream = Quiet(1.0)
    resolver = caching(upstream, stale_wait=0.5)
    await waits(resolver, every=0.01, seconds=10.0)
    assert upstream.asked == 20
    await resolver.aclose()


@pytest.mark.parametrize("stale_wait", [0.2, 0.0])
async def test_system_is_asked_once_for_each_silence(stale_wait):
    """However many calls there are meanwhile: what it says is good for 10 s, and then DNS is asked first again."""
    upstream, system = Quiet(60.0), Quiet(60.0)
    resolver = caching(upstream, fallback=system, stale_wait=stale_wait)
    await resolver.resolve(ORIGIN)
    await asyncio.sleep(50.0)
    upstream.is_silent = True
    await waits(resolver, every=0.001, seconds=4.0)
    assert system.asked == 1
    await resolver.aclose()


async def test_system_is_left_alone_where_dns_answers():
    """Even where nobody would wait for DNS."""
    upstream, system = Quiet(1.0), Quiet(1.0)
    resolver = caching(upstream, fallback=system, stale_wait=0.0)
    await waits(resolver, every=0.01, seconds=5.0)
    assert system.asked == 0
    await resolver.aclose()


class Blocking(Quiet):
    """As getaddrinfo: a lookup keeps its thread for 10 s, whether anybody waits for it or not."""

    free_at = 0.0

    def takes(self, host):
        return asyncio.get_running_loop().time() >= self.free_at

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        if self.is_silent:
            self.free_at = asyncio.get_running_loop().time() + 10.0
        return await super().resolve(host, port, family=family)


async def test_nobody_waits_for_a_system_that_was_busy_with_the_name():
    """It is asked again once its thread is free, and that it was silent before still counts by then."""
    upstream, system = Quiet(1.0), Blocking(1.0)
    resolver = caching(upstream, fallback=system)
    await resolver.resolve(ORIGIN)
    upstream.is_silent = system.is_silent = True
    assert max(await waits(resolver, every=0.01, seconds=25.0)) == pytest.approx(0.0, abs=0.011)
    assert system.asked == 3
    await resolver.aclose()


@pytest.mark.parametrize("has_system", [False, True])
async def test_kept_alive_connections_wait_for_no_name(has_system):
    """They are asked about as their name is refreshed, so a silent DNS is known by the time it would be waited for."""
    loop = asyncio.get_running_loop()
    upstream, system = Quiet(1.0), Quiet(1.0)
    resolver = caching(upstream, fallback=system if has_system else None)
    (address,) = (await resolver.resolve(ORIGIN)).addresses
    upstream.is_silent = system.is_silent = True
    until = loop.time() + 10.0
    while loop.time() < until:
        await asyncio.sleep(max(0.01, resolver.recheck_in(ORIGIN, address) if upstream.asked == 1 else 0.01))
        began_at = loop.time()
        assert await resolver.is_still(ORIGIN, address) in (True, None)
        assert loop.time() == began_at
    assert upstream.asked > 2  # a lookup goes on for 5 s, because the name server may just be slow
    await resolver.aclose()


async def test_failure_is_forgotten():
    """Half a minute later, the answer of a healthy DNS is waited for again."""
    upstream = Quiet(1.0)
    resolver = caching(upstream)
    await resolver.resolve(ORIGIN)
    upstream.is_silent = True
    await asyncio.sleep(2.0)
    await resolver.resolve(ORIGIN)
    await asyncio.sleep(30.0)
    upstream.is_silent = False
    assert (await resolver.resolve(ORIGIN)).source == "dns"
    await resolver.aclose()


async def test_family_that_is_new_is_found():
    """Of a name in use: both families are asked for as often as each other."""

    class Growing(Quiet):
        has_six = False

        async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
            if family == socket.AF_INET6 and self.has_six:
                return Answer((Address("::2"),), self._ttl, "dns")
            return await super().resolve(host, port, family=family)

    upstream = Growing(60.0)
    resolver = caching(upstream)
    await resolver.resolve(ORIGIN)
    upstream.has_six = True
    await waits(resolver, every=1.0, seconds=60.0)
    assert [each.ip for each in (await resolver.resolve(ORIGIN)).addresses] == ["::2", "127.0.0.2"]
    assert upstream.asked == 2
    await resolver.aclose()


@pytest.mark.parametrize("takes", [0.1, 100.0])
async def test_other_family_is_not_asked_about_meanwhile(takes):
    """While one family is slow to be refreshed, that the other has none is known: asked once, not by each call."""
    asked_six = 0

    class Slow(Quiet):
        async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
            nonlocal asked_six
            if family == socket.AF_INET6:
                asked_six += 1
            elif self.asked:
                await asyncio.sleep(takes)
            return await super().resolve(host, port, family=family)

    resolver = caching(Slow(300.0))
    await resolver.resolve(ORIGIN)
    await asyncio.sleep(241.0)
    await waits(resolver, every=0.001, seconds=1.0)
    assert asked_six == 2
    await resolver.aclose()
