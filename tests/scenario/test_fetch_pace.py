"""How far apart a site's requests are, at exact instants."""

from __future__ import annotations

import asyncio

import httpx
import pytest

import seawall
from seawall.fetch.pace import pace
from seawall.fetch.robots import TTL, Robots
from seawall.fetch.target import Target, target
from seawall.testing import FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

DELAYS = {"http://slow.test": 2.5, "http://slow.test:8080": 1.0}


@pytest.mark.parametrize(
    ("interval", "url", "apart"),
    [
        (0.0, "http://slow.test/", 2.5),
        (0.0, "http://slow.test:8080/", 1.0),
        (0.0, "http://other.test/", 0.0),
        (0.5, "http://other.test/", 0.5),
        (0.5, "http://slow.test/", 2.5),
        (4.0, "http://slow.test/", 4.0),
    ],
)
async def test_requests_are_apart(interval, url, apart):
    """By what was set or the origin asked for, whichever is longer, to the millisecond that the burst is worth."""
    wire = ScriptedWire()
    limit = pace(interval, lambda origin: DELAYS.get(origin, 0.0))
    async with seawall.AsyncClient(transport=wire, limit=limit, deadline=None) as client:
        await asyncio.gather(*(client.get(url) for _ in range(4)))
    gaps = [after - before for before, after in zip(wire.instants, wire.instants[1:], strict=False)]
    assert gaps == pytest.approx([apart] * 3, abs=0.0011)


async def test_retries_are_apart_too():
    """An attempt waits for its turn as a call does."""
    wire = ScriptedWire(503, 503, 200)
    async with seawall.AsyncClient(
        transport=wire, limit=pace(10.0, lambda origin: 0.0), deadline=None, rng=FixedRandom(0.0)
    ) as client:
        assert (await client.get("http://a.test/")).status_code == 200
    assert wire.instants[2] - wire.instants[0] == pytest.approx(20.0, abs=0.01)


async def said(robots: Robots, url: str) -> str:
    """ "" if it may be fetched, else the name of the denial."""
    wanted = target(url)
    assert isinstance(wanted, Target)
    denial = await robots.denial(wanted)
    return "" if denial is None else denial.problem.name


@pytest.mark.parametrize("interval", [25.0, 3600.0])
async def test_a_robots_txt_waits_for_its_turns(interval):
    """Each of its hops is a request as any other; what they wait for isn't the server's time."""
    hops = [httpx.Response(302, headers={"location": f"/{number}"}) for number in range(3)]
    wire = ScriptedWire(*hops, httpx.Response(200, content=b"User-agent: *\nDisallow: /private"))
    limit = pace(interval, lambda origin: 0.0)
    async with seawall.AsyncClient(transport=wire, limit=limit, waits=True) as client:
        robots = Robots(client, "bot", interval=interval)
        assert await said(robots, "http://a.test/private") == "RobotsDisallowed"
    assert wire.instants[-1] - wire.instants[0] == pytest.approx(3 * interval, abs=0.01)


async def test_a_robots_txt_is_asked_for_again_after_a_crawl_delay():
    """A day later, right behind a page: it waits for the minute that the site wants, and the site isn't given up."""
    rules = httpx.Response(200, content=b"User-agent: *\nCrawl-delay: 60")
    wire, day = ScriptedWire(rules, 200, rules), 0.0
    async with seawall.AsyncClient(
        transport=wire, limit=pace(0.0, lambda origin: robots.delay(origin)), waits=True, deadline=300.0
    ) as client:
        robots = Robots(client, "bot", now=lambda: day)
        assert await said(robots, "http://a.test/1") == ""
        assert (await client.get("http://a.test/1")).status_code == 200
        day = TTL
        assert await said(robots, "http://a.test/2") == ""
    assert wire.instants[2] - wire.instants[1] == pytest.approx(60.0, abs=0.01)
