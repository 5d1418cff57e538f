"""Decoding takes time: that of the call whose body it is."""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest

import seawall
from seawall.testing import Body, ScriptedWire
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.leaks import held
from seawall.wire.decoder import Decoder
from tests.bodies import encoded

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
NOISE = random.Random(3).randbytes(2_000_000)


@pytest.fixture
def slow(monkeypatch, request):
    """The clock goes on while a decoder works, by so many seconds a step."""
    step = Decoder._step

    def takes_time(self: Decoder) -> bytes | None:
        asyncio.get_running_loop()._virtual_now += request.param
        return step(self)

    monkeypatch.setattr(Decoder, "_step", takes_time)


def answer(stream: httpx.AsyncByteStream) -> httpx.Response:
    return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream)


BODY = encoded(["gzip"], NOISE)


@pytest.mark.parametrize("slow", [0.002], indirect=True)
@pytest.mark.parametrize("stream", [Body(BODY), httpx.ByteStream(BODY)], ids=["parts", "bytes"])
async def test_deadline_holds(slow, stream):
    """It strikes between two turns, and nothing is left."""
    async with seawall.AsyncClient(transport=ScriptedWire(answer(stream)), deadline=0.5) as client:
        with pytest.raises(seawall.DeadlineExceeded) as caught:
            await client.get(URL)
        assert 0.5 <= asyncio.get_running_loop().time() <= 0.55
        assert len(caught.value.attempts) == 1
        assert held(client.stats()) == []


@pytest.mark.parametrize("slow", [0.02], indirect=True)
async def test_derived_deadline_goes_on_with_the_body(slow):
    """Where nobody asked for a deadline, a body that is being decoded is one that comes in."""
    async with seawall.AsyncClient(
        transport=ScriptedWire(answer(Body(BODY))), timeout=httpx.Timeout(0.1), retry=None
    ) as client:
        assert (await client.get(URL)).content == NOISE
        assert asyncio.get_running_loop().time() > 8.0


async def test_cancelled_at_every_turn():
    """No permit is left, and the next call is answered."""
    body = encoded(["gzip"], NOISE[:200_000])
    async with seawall.AsyncClient(transport=ScriptedWire(answer(Body(body)))) as client:

        async def call() -> None:
            assert (await client.get(URL)).content == NOISE[:200_000]

        assert await cancel_everywhere(call, after=lambda: held(client.stats()) == []) > 10
        assert held(client.stats()) == []
