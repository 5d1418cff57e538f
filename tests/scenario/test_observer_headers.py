"""What observers add to attempts, and what they can't break. On virtual time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

import seawall
from seawall import events
from seawall.testing import FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


class Giver:
    """Gives each attempt the headers that *give* makes of its number."""

    def __init__(self, *given: Any) -> None:
        self._given = given

    def attempt_started(self, call: events.CallStarted, attempt: events.AttemptStarted) -> Mapping[str, str] | None:
        return self._given[min(attempt.number, len(self._given)) - 1]

    def on(self, event: events.Event) -> None:
        """Nothing."""


def client(wire: httpx.AsyncBaseTransport, *observers: Giver) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, rng=FixedRandom(), observers=observers)


async def test_headers_of_an_attempt_are_its_own():
    """Neither the caller's request has them, nor a later attempt, nor one that a redirect leads to."""
    elsewhere = httpx.Response(302, headers={"location": "/there"})
    wire = ScriptedWire(503, elsewhere, 200)
    async with client(wire, Giver({"x-one": "1"}, {"x-two": "2"}, None)) as c:
        request = c.build_request("GET", URL)
        before = request.headers.copy()
        response = await c.send(request, follow_redirects=True)
    sent = [{name: value for name, value in each.headers.items() if name.startswith("x-")} for each in wire.attempts]
    assert sent == [{"x-one": "1"}, {"x-two": "2"}, {}]
    assert request.headers == before
    assert [each.request.headers == before for each in (*response.history, response)] == [True, True]


@pytest.mark.parametrize(
    "given",
    [
        {"x": 5},
        {"x": None},
        {"x": b"y"},
        {"x": "\u20ac"},
        {"x": "a\r\nb: c"},
        {"a b": "c"},
        {"": "c"},
        {5: "a"},
        [1],
        "abc",
    ],
)
async def test_what_cannot_be_a_header(given, caplog):
    """It is logged, and breaks no call; what the other observers give is sent."""
    wire = ScriptedWire(200)
    async with client(wire, Giver(given), Giver({"traceparent": "00-1"})) as c:
        assert (await c.get(URL)).status_code == 200
    (sent,) = wire.attempts
    assert sent.headers["traceparent"] == "00-1"
    assert not {"x", "a b"} & sent.headers.keys()
    assert [record.levelno for record in caplog.records if record.name == "seawall"] == [logging.ERROR]
