"""``seawall top`` and ``seawall demo --serve``, as a user runs them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from rich.console import Console

import seawall
from seawall.cli.served import over
from seawall.cli.top import screen
from seawall.integrations.dashboard import Dashboard, dashboard
from seawall.integrations.dashboard.stream import json_of
from seawall.integrations.dashboard.view import Query
from seawall.testing import Request, Server

pytestmark = pytest.mark.anyio

COMMAND = (sys.executable, "-c", "import seawall.cli; seawall.cli.main()")


def heed() -> None:
    """Ctrl-C, as in a terminal: a shell has what it runs in the background ignore it, and all that this runs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def app(stack: AsyncExitStack) -> Dashboard:
    """The dashboard of a client that has made two calls."""

    async def answer(request: Request) -> None:
        await request.reply(503 if request.target == "/bad" else 200)

    upstream = await stack.enter_async_context(Server(answer))
    client = await stack.enter_async_context(seawall.AsyncClient(name="orders", retry=None))
    app = dashboard(client)
    for path in ("/good", "/bad"):
        await client.get(upstream.url + path)
    return app


async def run(*arguments: str, columns: int = 80) -> tuple[int, str]:
    """``seawall ...`` with its output in a pipe: the exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env=os.environ | {"COLUMNS": str(columns)}, stdout=-1, stderr=-2
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize(("columns", "has_budget"), [(80, False), (200, True)])
async def test_once(stack, app, columns, has_budget):
    """The figures fit the terminal: fewer columns in a narrow one, and no line is longer."""
    server = await stack.enter_async_context(over(app))
    status, output = await run("top", f"{server.url}/", "--once", columns=columns)
    assert status == 0, output
    assert max(map(len, output.splitlines())) <= columns
    assert "orders   1 origin " in output
    assert "http://127.0.0.1:" in output
    assert "503  GET http://127.0.0.1:" in output
    assert ("budget" in output) is has_budget


def figures(body: bytes) -> bytes:
    return b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", "answered 404; is it where the dashboard is mounted?"),
        (b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n", "answered 401; --header"),
        (b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n[]", "isn't the JSON of a seawall dashboard"),
        (b"HTTP/1.1 200 X\r\ncontent-length: 3\r\n\r\n\x1b[31", "isn't the JSON of a seawall dashboard"),
        (
            b'HTTP/1.1 200 X\r\ncontent-length: 40\r\n\r\n{"version":7,"second":1,"origins":[]}   ',
            "figures of version 7",
        ),
        (figures(b'{"version":1,"second":1,"origins":[]}'), "isn't the JSON of a seawall dashboard"),
        (figures(b'{"version":1,"second":"x","origins":{}}'), "isn't the JSON of a seawall dashboard"),
        pytest.param(figures(b"[" * 100_000), "isn't the JSON of a seawall dashboard", id="deep"),
        pytest.param(figures(bytes(17 * 1024**2)), "max_response_size", id="large"),
        (b"", "reset by peer"),
    ],
)
async def test_a_url_that_is_not_a_dashboard(stack, answer, said):
    """Status 1 and one line that says what is wrong, without a traceback."""

    async def handler(request: Request) -> None:
        if answer:
            await request.send(answer)
        else:
            request.reset()

    server = await stack.enter_async_context(Server(handler))
    status, output = await run("top", server.url.replace("//", "//me:s3cret@"))
    assert (status, said in output, "s3cret" in output) == (1, True, False), output
    assert (output.count("\n"), "Traceback" in output) == (1, False)


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:1/", "http://[", "ftp://a.test"])
async def test_a_url_that_nothing_answers(url):
    """The same."""
    status, output = await run("top", url)
    assert (status, output.startswith("seawall top: "), "Traceback" in output) == (1, True, False), output


async def test_it_changes_until_ctrl_c(app):
    """On a terminal: it goes on while the dashboard is away, says so, and ends quietly with status 0."""
    ours, theirs = pty.openpty()
    reader, seen = asyncio.StreamReader(), b""
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
    )
    async with over(app) as server:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "top", server.url, "--interval", "0.2",
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
            stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=heed,
        )  # fmt: skip
        os.close(theirs)
        while b"orders" not in seen:
            seen += await reader.read(4096)
    while b"no figures for" not in seen:
        seen += await reader.read(4096)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # how Linux ends a terminal
        while piece := await reader.read(4096):
            seen += piece
    transport.close()
    assert await process.wait() == 0
    assert b"Traceback" not in seen
    assert seen.endswith(b"\x1b[?1049l")  # the screen is as it was


def test_text_of_others_is_harmless():
    """Markup and control characters of an origin, a path or a name are text."""
    evil = "[red]\x1b[31m\x07"
    frame: dict[str, Any] = {
        "at": 1.0, "second": 1, "health": {"failing": 1, "strained": 0, "well": 0, "idle": 0},
        "clients": [{"name": evil, "in_flight": 0, "connections": 0}],
        "origins": [{
            "origin": evil, "health": "failing", "reasons": [evil], "rate": 1.0, "good": None, "attempts": None,
            "p50": None, "p99": None, "gates": None, "addresses": [],
            "series": {"calls": [1, 0, 5], "failed": [0, 0, 1]},
        }],
        "failures": [{
            "at": 0.5, "count": 2, "method": evil, "origin": evil, "path": evil, "outcome": evil, "note": evil,
        }],
    }  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(screen(frame, width=200, height=30))
    assert out.getvalue().count("[red]?[31m?") >= 6
    assert "\x1b" not in out.getvalue()


async def test_figures_with_control_characters(stack, app):
    """Where a dashboard sends numbers too: a terminal would obey what stands there."""
    frame = json.loads(json_of(app._view.frame(Query())))
    gates = frame["origins"][0]["gates"]
    gates.update(dict.fromkeys(gates, "\x1b]0;evil\x07"), limit=1, budget=1)

    async def handler(request: Request) -> None:
        await request.reply(200, json.dumps(frame).encode())

    server = await stack.enter_async_context(Server(handler))
    status, output = await run("top", server.url, "--once", columns=200)
    assert (status, "?]0;evil?" in output, "\x1b" in output) == (0, True, False), output


@pytest.mark.parametrize("second", ["5", None, 1.5, True])
async def test_a_second_that_is_not_one(stack, app, second):
    """It isn't a dashboard's, because what comes next is asked for by it."""
    frame = json.loads(json_of(app._view.frame(Query()))) | {"second": second}

    async def handler(request: Request) -> None:
        await request.reply(200, json.dumps(frame).encode())

    server = await stack.enter_async_context(Server(handler))
    status, output = await run("top", server.url, "--once")
    assert (status, "isn't the JSON of a seawall dashboard" in output) == (1, True), output


@pytest.mark.parametrize(("host", "status"), [("evil.test", 421), ("", 421), ("[", 421), ("localhost:1", 200)])
async def test_a_name_that_was_made_to_point_here(app, host, status):
    """A page of somebody else's, which its name's owner has point to loopback, gets nothing of the demo's dashboard."""
    async with over(app) as server, seawall.AsyncClient(retry=None) as client:
        assert (await client.get(f"{server.url}/stats", headers={"host": host})).status_code == status


async def test_demo_that_serves():
    """It says where its page is, serves it while it calls the six hosts, and ends quietly at Ctrl-C."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "demo", "--serve", "--port", "0", "--rate", "50", stdout=-1, stderr=-2, preexec_fn=heed
    )
    assert process.stdout is not None
    seen = ""
    while "The dashboard is at" not in seen:
        line = (await process.stdout.readline()).decode()
        assert line, seen
        seen += line
    url = seen.partition("The dashboard is at ")[2].split()[0]
    async with seawall.AsyncClient() as client:
        assert (await client.get(url)).headers["content-type"] == "text/html; charset=utf-8"
        async with client.stream("GET", f"{url}stream") as stream:
            async for line in stream.aiter_lines():
                if len(line.partition('"origins":[{')[2]) and "healthy.test" in line:
                    break
    process.send_signal(signal.SIGINT)
    rest = (await process.stdout.read()).decode()
    assert (await process.wait(), rest) == (0, "")


async def test_demo_with_a_port_that_is_taken(stack):
    """Status 1, and what to do."""
    server = await stack.enter_async_context(Server(lambda request: request.reply()))
    status, output = await run("demo", "--serve", "--port", str(server.port))
    assert (status, "--port 0" in output, "Traceback" in output) == (1, True, False), output
