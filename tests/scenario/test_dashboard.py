"""The dashboard of a client under load: frames, streams, what slow readers get. On virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

import seawall
from seawall.integrations.dashboard import Dashboard, dashboard
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/orders/1?token=secret"


class Reader:
    """One request to the dashboard, by a reader that takes no more than it is let."""

    def __init__(self, app: Dashboard, path: str = "/stream", **scope: Any) -> None:
        where, _, query = path.partition("?")
        self._scope = {"type": "http", "method": "GET", "path": where, "query_string": query.encode(), "headers": []}
        self._scope |= scope
        self._app = app
        self._has_left = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = ""
        self.is_over = False

    async def run(self) -> Reader:
        await self._app(self._scope, self._receive, self._send)
        self.is_over = True
        return self

    def leave(self) -> None:
        self._has_left.set()

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [
            json.loads(line[6:]) for line in self.text.splitlines() if line.startswith("data: ") and line != "data: {}"
        ]

    async def _receive(self) -> dict[str, Any]:
        await self._has_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self.may_read.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.text += message.get("body", b"").decode()


@asynccontextmanager
async def reading(app: Dashboard, path: str = "/stream", *, is_slow: bool = False) -> AsyncIterator[Reader]:
    """A reader of a stream, until the end of the block."""
    reader = Reader(app, path)
    if is_slow:
        reader.may_read.clear()
    task = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        reader.leave()
        reader.may_read.set()
        await task


def client(*steps: Any, **settings: Any) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=ScriptedWire(*steps), rng=FixedRandom(), **settings)


async def stats(app: Dashboard, query: str = "") -> dict[str, Any]:
    """``/stats`` as of now."""
    return json.loads((await Reader(app, f"/stats?{query}").run()).text)


async def test_a_frame_says_what_the_client_did():
    """Per origin: rate, good, percentiles, attempts per call, gates, seconds; for the client: its totals."""
    async with client(*[200, 200, 404, 503] * 10, retry=None, name="orders") as c:
        app = dashboard(c)
        for _ in range(40):
            await c.get(URL)
            await asyncio.sleep(0.25)
        frame = await stats(app)
        (row,) = frame["origins"]
    assert (frame["version"], frame["second"], frame["health"]["strained"]) == (1, 10, 1)
    assert (row["origin"], row["total"], row["rate"], row["good"], row["attempts"]) == (
        "http://api.test:80",
        40,
        4.0,
        0.75,
        1.0,
    )
    assert row["series"]["calls"] == [4] * 10
    assert row["series"]["failed"] == [1] * 10
    assert (row["reasons"], row["health"]) == (["25 % failed"], "strained")
    assert (row["gates"]["in_flight"], row["gates"]["limit"], row["gates"]["breaker"]) == (0, 64, "closed")
    assert (frame["clients"][0]["name"], frame["clients"][0]["calls"]) == ("orders", 40)
    assert [(each["outcome"], each["count"], each["path"]) for each in frame["failures"]] == [("503", 10, "/orders/1")]
    assert "secret" not in json.dumps(frame)


async def test_a_failure_has_its_attempts():
    """Each with its delay, outcome and phases, so that the page can draw when what happened."""
    async with client(503, httpx.ReadError, 503) as c:
        app = dashboard(c)
        await c.get(URL)
        ((failure,), second) = (lambda frame: (frame["failures"], frame["second"]))(await stats(app))
    assert (failure["method"], failure["origin"], failure["outcome"]) == ("GET", "http://api.test:80", "503")
    assert [each["outcome"] for each in failure["attempts"]] == ["503", "ReadError", "503"]
    assert failure["attempts"][0]["delay"] == 0 < failure["attempts"][1]["delay"]
    assert failure["at"] <= second + 1
    assert "max_attempts" in failure["note"]


async def test_every_value_of_the_schema():
    """What docs/howto/dashboard.md promises of ``/stats``: each key is there, in each row, whatever happened."""
    async with client(200, 503) as c:
        app = dashboard(c)
        await c.get(URL)
        await asyncio.sleep(1)
        frame = await stats(app)
    assert set(frame) == {
        "version", "at", "second", "since", "can_control", "health", "matching", "clients", "origins", "failures",
    }  # fmt: skip
    assert set(frame["health"]) == {"failing", "strained", "well", "idle"}
    assert set(frame["clients"][0]) == {
        "name", "is_closed", "in_flight", "waiting", "connections", "max_connections", "budget", "calls", "attempts",
        "denied", "rejected",
    }  # fmt: skip
    (row,) = frame["origins"]
    assert set(row) == {
        "id", "client", "origin", "health", "reasons", "total", "rate", "good", "attempts", "p50", "p99", "gates",
        "dns", "addresses", "series",
    }  # fmt: skip
    assert set(row["gates"]) == {
        "in_flight", "limit", "max_concurrent", "waiting", "ghosts", "breaker", "next_probe", "budget", "max_budget",
        "rate", "limited", "paused_for", "away_for", "awaited_by", "connections", "idle",
    }  # fmt: skip
    assert set(row["series"]) == {"from", "calls", "failed", "p99"}


async def test_a_stream_has_a_frame_each_second():
    """The first has all seconds, each later one those since; a reader that adds them up has what a new one gets."""
    async with client(*[200] * 100) as c:
        app = dashboard(c)

        async def load() -> None:
            for _ in range(50):
                await c.get(URL)
                await asyncio.sleep(0.2)

        loading = asyncio.create_task(load())
        await asyncio.sleep(3.5)
        async with reading(app) as reader:
            await asyncio.sleep(4.7)
        frames = reader.frames
        await loading
    assert reader.text.startswith("retry: 2000\n\n")
    assert reader.headers["content-type"].startswith("text/event-stream")
    assert [frame["second"] for frame in frames] == [3, 4, 5, 6, 7, 8]
    assert [frame["since"] for frame in frames] == [0, 3, 4, 5, 6, 7]
    assert [len(frame["origins"][0]["series"]["calls"]) for frame in frames] == [3, 1, 1, 1, 1, 1]
    assert sum(sum(frame["origins"][0]["series"]["calls"]) for frame in frames) == 40


async def test_a_slow_reader_gets_fewer_frames_and_no_fewer_seconds():
    """Nothing queues for it: what it missed is in the next frame."""
    async with client(*[200] * 100) as c:
        app = dashboard(c)
        await c.get(URL)
        async with reading(app) as reader:
            await asyncio.sleep(2.5)
            reader.may_read.clear()
            await asyncio.sleep(7)
            reader.may_read.set()
            await asyncio.sleep(2)
        frames = reader.frames
    assert [frame["second"] for frame in frames] == [0, 1, 2, 3, 10, 11]
    rows = [frame["origins"][0]["series"] for frame in frames]
    assert [(row["from"], len(row["calls"])) for row in rows] == [(0, 0), (0, 1), (1, 1), (2, 1), (3, 7), (10, 1)]


async def test_twenty_streams():
    """The next is answered 503, in words; a place is free again once a reader has left, or was cancelled."""
    async with client() as c:
        app = dashboard(c)
        readers = [Reader(app) for _ in range(20)]
        tasks = [asyncio.create_task(reader.run()) for reader in readers]
        await asyncio.sleep(2.5)
        refused = await Reader(app).run()
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert "20 streams are open" in refused.text
        assert (await Reader(app, "/stats").run()).status == 200
        readers[0].leave()
        tasks[1].cancel()
        await asyncio.wait(tasks[:2])
        async with reading(app) as one, reading(app) as other:
            await asyncio.sleep(0.1)
            assert (await Reader(app).run()).status == 503
        assert (one.status, other.status) == (200, 200)
        for reader in readers[2:]:
            reader.leave()
        await asyncio.wait(tasks)
        assert app._streams._open == 0


async def test_streams_that_begin_at_once_are_counted():
    """No more than 20 get through, though all ask before any has been answered."""
    async with client() as c:
        app = dashboard(c)
        readers = [Reader(app) for _ in range(30)]
        for reader in readers:
            reader.may_read.clear()
        tasks = [asyncio.create_task(reader.run()) for reader in readers]
        await asyncio.sleep(1)
        for reader in readers:
            reader.may_read.set()
        await asyncio.sleep(1)
        assert sorted(reader.status for reader in readers) == [200] * 20 + [503] * 10
        for reader in readers:
            reader.leave()
        await asyncio.wait(tasks)


async def test_a_stream_ends_after_a_while():
    """With a ping on its way, and a word to the page to come again, because a server that shuts down waits for it."""
    async with client() as c:
        reader = await Reader(dashboard(c)).run()
    assert reader.is_over
    assert len(reader.frames) == 20
    assert reader.text.count(": ping\n\n") == 1
    assert reader.text.endswith("event: again\ndata: {}\n\n")


async def test_a_reader_that_reads_nothing_loses_its_place():
    """It could hold it for good otherwise, and twenty of them would keep the dashboard from everybody."""
    async with client(200) as c:
        app = dashboard(c, max_streams=1)
        async with reading(app, is_slow=True) as stuck:
            await asyncio.sleep(30)
            assert (await Reader(app, "/stream").run()).status == 503
            await asyncio.sleep(30)
            assert stuck.is_over
            async with reading(app) as other:
                await asyncio.sleep(1)
            assert other.status == 200


async def test_a_reader_that_fails():
    """A server that raises because the reader has left ends its stream, and nothing else."""
    async with client() as c:
        app = dashboard(c)
        reader = Reader(app)

        async def broken(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                raise ConnectionResetError

        await app(reader._scope, reader._receive, broken)
        assert app._streams._open == 0


async def test_a_closed_client():
    """It is shown as closed; the page and its stream go on."""
    async with client(200) as c:
        app = dashboard(c)
        await c.get(URL)
        async with reading(app) as reader:
            await asyncio.sleep(1.5)
            await c.aclose()
            await asyncio.sleep(1.5)
    assert [frame["clients"][0]["is_closed"] for frame in reader.frames] == [False, False, True, True]


async def test_origins_are_filtered_by_the_server():
    """By text and by trouble, among all that there are, though it shows fifty at a time."""
    async with client(*[200] * 120, *[503] * 3, retry=None) as c:
        app = dashboard(c)
        for number in range(60):
            for _ in range(2):
                await c.get(f"http://Host-{number}.test/")
        for _ in range(3):
            await c.get("http://bad.test/")
        await asyncio.sleep(1)
        everything, some, bad, none = [
            await stats(app, query) for query in ("", "filter=HOST-5", "troubled=1", "filter=%3Cb%3E")
        ]
    assert (len(everything["origins"]), everything["matching"]) == (50, 61)
    assert everything["health"] == {"failing": 1, "strained": 0, "well": 60, "idle": 0}
    assert {row["origin"] for row in some["origins"]} == {f"http://host-{n}.test:80" for n in (5, *range(50, 60))}
    assert [row["origin"] for row in bad["origins"]] == ["http://bad.test:80"]
    assert (none["origins"], none["matching"]) == ([], 0)


async def test_the_most_called_come_first():
    """And those that are called about as much in the order of their names, so that rows seldom change places."""
    async with client(*[200] * 100) as c:
        app = dashboard(c)
        for host, calls in (("b", 20), ("c", 40), ("a", 21)):
            for _ in range(calls):
                await c.get(f"http://{host}.test/")
        await asyncio.sleep(1)
        frame = await stats(app)
    assert [row["origin"] for row in frame["origins"]] == [f"http://{host}.test:80" for host in "cab"]


async def test_clients_of_one_engine_are_one():
    """Two that share it are shown once; two engines have rows of their own, and a name or a number each."""
    async with client(200, name="one") as one, client(200) as two:
        app = dashboard(one, one.engine, two)
        await one.get(URL)
        await two.get(URL)
        frame = await stats(app)
    assert [each["name"] for each in frame["clients"]] == ["one", "client 2"]
    assert sorted(row["id"] for row in frame["origins"]) == ["0 http://api.test:80", "1 http://api.test:80"]
    with pytest.raises(TypeError, match="dashboard"):
        dashboard(httpx.AsyncClient())


async def test_a_stream_that_breaks_off_is_a_failure():
    """Its call had ended well with its headers."""
    async with client(httpx.Response(200, stream=Body(b"half", httpx.ReadError))) as c:
        app = dashboard(c)
        with pytest.raises(httpx.ReadError):
            async with c.stream("GET", URL) as response:
                await response.aread()
        await asyncio.sleep(1)
        frame = await stats(app)
    assert (frame["origins"][0]["good"], frame["failures"][0]["outcome"]) == (0.0, "ReadError")
    assert (frame["failures"][0]["method"], frame["failures"][0]["path"]) == ("GET", "/orders/1")


@pytest.mark.parametrize(
    ("path", "scope", "status"),
    [
        ("/", {}, 200),
        ("/other", {}, 404),
        ("/stream/", {}, 404),
        ("/control", {"method": "POST"}, 404),
        ("/", {"method": "POST"}, 405),
        ("/stats", {"method": "HEAD"}, 200),
        ("/stream", {"method": "HEAD"}, 200),
        ("/seawall/stats", {"root_path": "/seawall"}, 200),
        ("/stats", {"root_path": "/seawall"}, 200),
        ("/seawall", {"root_path": "/seawall"}, 307),
        ("/ä\r\nb", {"root_path": "/ä\r\nb"}, 307),
        ("/seawallet", {"root_path": "/seawall"}, 404),
        ("/stats?since=99999999999999999999&since=-1", {}, 200),
    ],
)
async def test_routes(path, scope, status):
    """Below the mount, in both spellings that servers have; HEAD has no body; what isn't there is 404."""
    async with client() as c:
        reader = await Reader(dashboard(c), path, **scope).run()
    assert reader.status == status
    assert reader.headers["x-content-type-options"] == "nosniff"
    if scope.get("method") == "HEAD":
        assert reader.text == ""
    if status == 307:
        assert reader.headers["location"] in ("seawall/", "%C3%A4%0D%0Ab/")
