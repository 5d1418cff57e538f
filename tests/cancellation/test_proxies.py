"""A small storm through proxies; ``python -m benchmarks cancellations`` is the large one."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from benchmarks.cancellations import WAYS, is_clean, listen, storm

from seawall.testing import FaultProcess


@pytest.fixture(scope="module")
def server():
    with FaultProcess() as server:
        yield server


@pytest.mark.anyio
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_of_a_storm_through_a_proxy(server, way):
    """After 300 calls that were cancelled at any instant: no permit, socket or task, on either side."""
    proxy, origin = listen(server, way)
    found = await storm(proxy, origin, ssl.create_default_context(cadata=server.ca()), 300)
    assert is_clean(found), found
    assert found["outcomes"]["cancelled"] >= 300
    async with asyncio.timeout(30):
        while any(port["open"] for port in server.conns().values() if port["url"] == proxy):
            await asyncio.sleep(0.01)
