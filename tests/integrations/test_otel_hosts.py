"""How many series a scraper's hosts become. Over httpx only, because it takes 11,000 calls."""

from __future__ import annotations

import pytest

import seawall
from seawall.testing import ScriptedWire
from tests.integrations.seen import Seen

pytestmark = pytest.mark.anyio

REQUESTS = "http.client.request.duration"
CALLS = "seawall.call.duration"


@pytest.fixture
def seen():
    return Seen()


async def test_ten_thousand_hosts(stack, seen):
    """Have 101 values and those that per_host names, in histograms and levels alike; ports don't add to them."""
    wire = ScriptedWire(200)
    otel = seen.otel(spans=None)
    per_host = {"last.test": seawall.Policy(), "*.internal": seawall.Policy()}
    client = await stack.enter_async_context(seawall.AsyncClient(transport=wire, observers=[otel], per_host=per_host))
    second = await stack.enter_async_context(seawall.AsyncClient(transport=wire, observers=[seen.otel(spans=None)]))
    for number in range(10_000):
        await (client if number % 10 else second).get(f"http://h{number}.test:{80 + number % 7}/")
    for port in range(1, 1000):
        await client.get(f"http://h1.test:{port}/")
    await client.get("http://last.test/")
    for name in (REQUESTS, CALLS, "seawall.bulkhead.in_flight", "http.client.open_connections"):
        hosts = seen.values(name, "server.address")
        assert len(hosts) <= 102
        assert {"_OTHER", "last.test"} <= hosts.keys()
    assert seen.values(REQUESTS, "server.address")["_OTHER"] == 9900
    assert len(seen.points(REQUESTS)) <= 102 + 200
