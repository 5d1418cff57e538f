"""
A call that is over leaves no cycle of references behind: errors, connections and bodies go at once.

What is left to the garbage collector piles up in an outage, until a full collection stops the event loop for 50 ms.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType, TracebackType

import httpx
import pytest

import seawall
from seawall.testing import FaultProcess

pytestmark = pytest.mark.anyio

FAST = seawall.Retry(backoff=0, throttled_backoff=0)
FAULTS = ["ok", "404", "503", "429", "hang", "drip", "close", "reset", "hang:body", "truncate", "malformed:nul"]
PORTS = ["refuse", "blackhole", "accept_close", "accept_hang", "accept_garbage", "tls_hang", "tls_close", "h2:clear"]
MINE: ContextVar[object] = ContextVar("mine")


class Thing:
    """Something of a caller's."""


@pytest.fixture(scope="module")
def faults() -> Iterator[FaultProcess]:
    """In a process of its own: what the server leaves is no matter here."""
    with FaultProcess() as server:
        yield server


async def garbage(client: seawall.Client, url: str) -> list[object]:
    """What of ours, of httpx's, of frames and errors only the collector can free after calls that end in any way."""

    async def call() -> None:
        try:
            await client.get(url)
        except httpx.HTTPError as error:
            assert error.__traceback__ is not None

    await call()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(3):
            await call()
        gc.collect()
        left = [
            thing
            for thing in gc.garbage
            if isinstance(thing, FrameType | TracebackType | BaseException)
            or type(thing).__module__.startswith(("seawall", "httpx", "tenacity"))
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    return left


@pytest.mark.parametrize("breaker", [None, seawall.Breaker(min_calls=1)], ids=["attempts", "breaker open"])
@pytest.mark.parametrize("fault", [*FAULTS, *(f"port:{port}" for port in PORTS)])
async def test_nothing_waits_for_the_collector(faults, fault, breaker):
    if fault.startswith("port:"):
        base, step = faults.listen(fault.removeprefix("port:")), "ok"
    else:
        base, step = faults.url, fault
    async with seawall.Client(timeout=0.05, deadline=0.3, retry=FAST, breaker=breaker, http2="h2" in fault) as client:
        assert await garbage(client, f"{base}/x/{step}") == []


async def test_nor_after_a_name_that_is_not_there(client):
    assert await garbage(client, "http://nowhere.test") == []


@pytest.mark.parametrize("port", ["serve", "tls", "h2"])
async def test_an_idle_connection_holds_nothing_of_its_caller(faults, port):
    """
    A transport keeps the context that it was made in; not here.

    Without timeouts: asyncio keeps a cancelled timer, and the timer its context, until it would have struck.
    """
    url, trusted = faults.listen(port), ssl.create_default_context(cadata=faults.ca())

    async def call(client: seawall.Client) -> weakref.ref[Thing]:
        thing = Thing()
        MINE.set(thing)
        assert (await client.get(f"{url}/x/ok")).status_code == 200
        return weakref.ref(thing)

    async with seawall.Client(verify=trusted, http2=port == "h2", timeout=None) as client:
        thing = await asyncio.create_task(call(client))
        for _ in range(10):
            await asyncio.sleep(0)
        assert client.stats().connections == 1
        assert thing() is None
