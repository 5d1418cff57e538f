"""Calls that are made below another call of ours, by the application that it reached in this process."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

import seawall
from seawall import events
from seawall.testing import FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

OUTER = seawall.Origin("http", "outer.test", 80)
INNER = seawall.Origin("http", "inner.test", 80)

Ask = Callable[[httpx.Request], Coroutine[Any, Any, httpx.Response]]


def application(ask: Ask) -> httpx.AsyncBaseTransport:
    """Answers as *ask* does; a call to it runs in the caller's task."""
    return httpx.MockTransport(ask)


async def test_call_below_another_of_the_same_engine():
    """It is a call of its own, with a history of its own: what the outer call shows is its own attempts."""
    heard: list[events.Event] = []
    async with (
        seawall.Engine(rng=FixedRandom(), observers=[heard.append]) as engine,
        httpx.AsyncClient(transport=seawall.AsyncTransport(ScriptedWire(503, 200), engine=engine)) as stock,
    ):
        histories: list[events.History] = []

        async def ask(request: httpx.Request) -> httpx.Response:
            response = await stock.get("http://inner.test/")
            histories.append(response.extensions["seawall"])
            return httpx.Response(response.status_code)

        async with (
            seawall.AsyncClient(transport=application(ask), engine=engine) as c,
            c.stream("GET", "http://outer.test/") as r,
        ):
            outer = r.extensions["seawall"]
    assert [(each.origin, each.number, each.outcome) for each in outer] == [(OUTER, 1, "503"), (OUTER, 2, "200")]
    assert [[(each.origin, each.number, each.outcome) for each in history] for history in histories] == [
        [(INNER, 1, "503")],
        [(INNER, 1, "200")],
    ]
    started = {each.call: each.origin for each in heard if isinstance(each, events.CallStarted)}
    assert started == {1: OUTER, 2: INNER, 3: INNER}
    ended = sorted((each.call, each.origin, each.outcome) for each in heard if isinstance(each, events.CallEnded))
    assert ended == [(1, OUTER, "200"), (2, INNER, "503"), (3, INNER, "200")]


async def test_denial_is_told_by_the_call_that_decides():
    """A call below isn't repeated by itself, because the one above is; and only that says why no more follows."""
    heard: dict[str, list[events.RetryDenied]] = {"inner": [], "outer": []}

    def observer(whose: str) -> Callable[[events.Event], None]:
        return lambda event: heard[whose].append(event) if isinstance(event, events.RetryDenied) else None

    async with seawall.AsyncClient(
        transport=ScriptedWire(503), rng=FixedRandom(), observers=[observer("inner")]
    ) as inner:

        async def ask(request: httpx.Request) -> httpx.Response:
            return httpx.Response((await inner.get("http://inner.test/")).status_code)

        async with seawall.AsyncClient(
            transport=application(ask), rng=FixedRandom(), observers=[observer("outer")]
        ) as c:
            await c.get("http://outer.test/")
        assert inner.stats().totals.denied == {}
    assert heard["inner"] == []
    assert [each.detail for each in heard["outer"]] == ["max_attempts=3 reached"]
