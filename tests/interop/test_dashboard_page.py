"""The dashboard's page in headless Chromium: what it shows, that it goes on, and that nothing gets into it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest

import seawall
from seawall.cli.served import over
from seawall.events import Attempt, CallEnded, Phase
from seawall.integrations.dashboard import Dashboard, dashboard
from seawall.testing import Request, Server
from tests.browser import CHROMIUM, Tab, browser

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium isn't installed: apt-get install chromium"),
]

MARKUP = "<img src=x onerror=document.title='broken'>"
CONTRAST = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const light = (rgb) => [.2126, .7152, .0722].reduce((sum, part, i) => sum + part * linear(rgb[i] / 255), 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode());) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.getClientRects().length || ["SCRIPT", "NOSCRIPT"].includes(node.tagName)) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found[`${node.tagName}.${node.className} ${text.data.slice(0, 20)}`] = ratio;
  }
  return found;
})()
"""
"""Texts whose contrast is below WCAG 2.2's AA (success criterion 1.4.3)."""


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def tab(stack: AsyncExitStack) -> Tab:
    make = await stack.enter_async_context(browser())
    made: Tab = await make()
    await made.look(width=1280, height=900)
    return made


@pytest.fixture
async def upstream(stack: AsyncExitStack) -> str:
    """Answers two requests in three with 503."""
    count = 0

    async def misbehave(request: Request) -> None:
        nonlocal count
        count += 1
        await request.reply(503 if count % 3 else 200)

    return (await stack.enter_async_context(Server(misbehave))).url


@pytest.fixture
async def client(stack: AsyncExitStack, upstream: str) -> seawall.AsyncClient:
    """Under a steady load."""
    client = await stack.enter_async_context(seawall.AsyncClient(name="orders", retry=None, breaker=None))

    async def load() -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await client.get(f"{upstream}/orders/1")
            await asyncio.sleep(0.05)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    task = asyncio.create_task(load())
    stack.push_async_callback(stop)
    return client


def inject(app: Dashboard, host: str, *, path: str = "/", detail: str = "") -> None:
    """A call that failed, to a host with any name, because a URL can't have every name."""
    origin, recorder = seawall.Origin("http", host, 80), app._view.clients[0].recorder
    attempt = Attempt(
        call=-1, origin=origin, method="GET", path=path, number=1, delay=0, duration=0.2, phase=Phase.SENT, status=None,
        error="ReadTimeout", detail=detail, address=seawall.dns.Address("127.0.0.1"), protocol="", is_reused=False,
        marks=((Phase.SENT, 0.1),), source="", dials=(), queued=(), bytes_out=0, bytes_in=0,
    )  # fmt: skip
    for event in (attempt, CallEnded(-1, origin, "GET", path, 1, "ReadTimeout", detail, 0.2)):
        recorder.on(event)


async def test_it_changes_each_second_while_an_upstream_misbehaves(stack, tab, client, upstream):
    """Figures, charts and failures; no error in the console, no violation of its policy, and nothing on it moves."""
    server = await stack.enter_async_context(over(dashboard(client)))
    await tab.open(f"{server.url}/")
    await tab.until("document.readyState === 'complete' && rows.size && failures.size === 1")
    await tab.ask(
        "globalThis.shifts = 0; new PerformanceObserver((list) => { for (const each of list.getEntries())"
        " shifts += each.value }).observe({ type: 'layout-shift' })"
    )
    seconds = await tab.ask(
        "new Promise((done) => { const seen = []; source.addEventListener('message', (message) =>"
        " { seen.push(JSON.parse(message.data).second); if (seen.length === 4) done(seen) }) })"
    )
    assert seconds == sorted(set(seconds))  # a busy machine may skip one
    assert await tab.ask("shifts") == 0
    assert await tab.ask("byId('state').textContent") in ("1 failing of 1 origin", "1 strained of 1 origin")
    assert upstream.removeprefix("http://") in await tab.ask("byId('rows').textContent")
    assert await tab.ask("byId('rows').querySelector('.failed').getAttribute('d').length") > 10
    assert await tab.ask("byId('failures').textContent.includes('503 × ')")
    assert await tab.ask("document.querySelectorAll('#failures .tries li').length") == 1
    assert await tab.ask("byId('link').textContent") == "live"
    assert tab.complaints == []


async def test_what_is_read_stays_where_it_is(stack, tab):
    """Rows and failures change places once in ten seconds, not with each frame."""
    async with seawall.AsyncClient() as client:
        app = dashboard(client)
        for host in ("a.test", "b.test"):
            inject(app, host)
        server = await stack.enter_async_context(over(app))
        await tab.open(f"{server.url}/")
        await tab.until("document.readyState === 'complete' && rows.size === 2 && failures.size === 2")
        await tab.ask("byId('pause').click()")
        places = await tab.ask("""
            (async () => {
              const frame = await (await fetch("stats")).json(), places = [];
              for (const second of [100, 101, 109, 110]) {
                frame.second = second; frame.since = second === 100 ? 0 : second - 1; frame.at = second + .5;
                frame.origins.reverse();
                frame.failures.reverse().forEach((failure, index) => { failure.at = second - index; });
                take(frame);
                const texts = (id) => [...byId(id).children].map((node) => node.textContent.match(/[ab].test/)[0][0]);
                places.push([...texts("rows"), ...texts("failures")].join(""));
              }
              return places;
            })()
        """)
    assert places[0] == places[1] == places[2] != places[3]


async def test_it_survives_a_restart_of_its_server(stack, tab, client):
    """It says that it reconnects, and shows the new process's figures without a reload."""
    server = over(dashboard(client))
    async with server:
        await tab.open(f"{server.url}/")
        await tab.until("document.readyState === 'complete' && rows.size")
        port = server.port
    await tab.until("byId('link').textContent === 'reconnecting'")
    async with seawall.AsyncClient(name="anew") as other:
        app = dashboard(other)
        inject(app, "anew.test")
        server = await stack.enter_async_context(over(app, port=port))
        await tab.until("byId('link').textContent === 'live' && byId('clients').textContent === 'anew'")
        await tab.until("rows.size === 1 && failures.size === 1")
        assert "anew.test" in await tab.ask("byId('rows').textContent")
    assert [text for text in tab.complaints if "net::ERR_" not in text] == []


async def test_text_from_outside_stays_text(stack, tab):
    """Markup in origins, paths, errors and names is shown as it is written, and runs nothing."""
    async with seawall.AsyncClient(name=MARKUP) as client:
        app = dashboard(client, allow_control=True)
        inject(app, MARKUP, path=f"/{MARKUP}", detail=f"{MARKUP}</script>")
        server = await stack.enter_async_context(over(app))
        await tab.open(f"{server.url}/")
        await tab.until("document.readyState === 'complete' && rows.size && failures.size")
        await tab.ask("document.querySelector('.open').click(), document.querySelector('summary').click()")
        shown = await tab.ask("document.body.innerText")
        assert shown.count(MARKUP) >= 4
        assert await tab.ask("document.querySelectorAll('img, script').length") == 1
        assert "broken" not in await tab.ask("document.title")
        assert tab.complaints == []


@pytest.mark.parametrize("is_dark", [False, True])
async def test_it_can_be_read(stack, tab, client, is_dark):
    """Contrast of every text at least 4.5, in both schemes; at 375 px nothing is cut off; the keyboard reaches all."""
    app = dashboard(client, allow_control=True)
    for host in ("a-name-that-is-so-long-that-it-can-not-be-shown-as-a-whole.example.com", "idle.test"):
        inject(app, host)
    server = await stack.enter_async_context(over(app))
    await tab.look(width=1280, height=900, is_dark=is_dark)
    await tab.open(f"{server.url}/")
    await tab.until("document.readyState === 'complete' && rows.size === 3 && failures.size")
    await tab.ask("document.querySelector('.open').click(), document.querySelector('summary').click()")
    assert await tab.ask(CONTRAST) == {}
    assert await tab.ask("document.documentElement.scrollWidth") <= 1280
    await tab.look(width=375, height=800, is_dark=is_dark)
    await tab.until("innerWidth === 375")
    assert await tab.ask(CONTRAST) == {}
    assert await tab.ask("document.documentElement.scrollWidth") == 375
    await tab.ask("document.activeElement.blur()")
    reached = []
    for _ in range(12):
        for kind in ("keyDown", "keyUp"):
            await tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(
            await tab.ask(
                "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
            )
        )
    assert {"pause", "filter", "troubled", "open", "BUTTON", "SUMMARY"} <= set(reached)


async def test_what_one_can_do_on_it(stack, tab, client, upstream):
    """Filter, open a row, force its breaker, pause and go on."""
    async with seawall.AsyncClient() as other:
        await other.get(upstream)
        app = dashboard(client, other, allow_control=True)
        inject(app, "other.test")
        server = await stack.enter_async_context(over(app))
        await tab.open(f"{server.url}/")
        await tab.until("document.readyState === 'complete' && rows.size === 3")
        await tab.ask("byId('filter').value = 'OTHER'; byId('filter').dispatchEvent(new Event('input'))")
        await tab.until("rows.size === 1 && byId('rows').textContent.includes('other.test')")
        await tab.ask("byId('filter').value = ''; byId('filter').dispatchEvent(new Event('input'))")
        await tab.until("rows.size === 3")
        row = json.dumps(f"1 {seawall.Origin('http', '127.0.0.1', int(upstream.rpartition(':')[2]))}")
        await tab.ask(f"rows.get({row}).button.click()")
        await tab.ask(f"rows.get({row}).panel.querySelector('.orders button').click()")
        await tab.until(f"rows.get({row}).panel.querySelector('output').textContent === 'the breaker is forced open'")
        assert other.breakers[upstream].state == "forced open"
        await tab.until(f"rows.get({row}).node.textContent.includes('forced open')")
        await tab.ask("byId('pause').click()")
        assert await tab.ask("[byId('link').textContent, source]") == ["paused", None]
        await tab.ask("byId('pause').click()")
        await tab.until("byId('link').textContent === 'live'")
        assert tab.complaints == []


async def test_a_page_too_many(stack, tab, client):
    """It says so, and asks again by itself."""
    app = dashboard(client, max_streams=0)
    server = await stack.enter_async_context(over(app))
    await tab.open(f"{server.url}/")
    await tab.until("document.readyState === 'complete' && byId('link').textContent === 'no stream'")
    assert "as many open as it allows" in await tab.ask("byId('link').title")
    app._streams.max_streams = 1
    await tab.until("byId('link').textContent === 'live'")
