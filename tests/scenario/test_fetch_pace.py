"""How far apart a site's requests are, at exact instants."""

from __future__ import annotations

import asyncio

import pytest

import seawall
from seawall.fetch.pace import pace
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
