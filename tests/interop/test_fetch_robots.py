"""What sites' robots.txt allow, over real sockets (RFC 9309)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from protego import Protego

import seawall
from seawall.fetch import robots as module
from seawall.fetch.agent import token_of
from seawall.fetch.cache import Cache
from seawall.fetch.page import Kind
from seawall.fetch.robots import Robots, relevant
from seawall.fetch.target import Target, target
from seawall.testing import Request, Server

pytestmark = pytest.mark.anyio

AGENT = "seawall-fetch/1.0"


class Site:
    """A server whose robots.txt is *body*, with a client that makes one attempt; *robots* asks it."""

    def __init__(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.status, self.body, self.headers = status, body, headers
        self.now = 0.0

    async def __aenter__(self) -> Site:
        self.server = await Server(self.answer).__aenter__()
        self.client = await seawall.AsyncClient(retry=None, breaker=None).__aenter__()
        self.robots = Robots(self.client, AGENT, now=lambda: self.now)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.server.__aexit__(None, None, None)

    async def answer(self, request: Request) -> None:
        await request.reply(self.status, self.body, **self.headers)

    async def said(self, path: str = "/x") -> str:
        """ "" if it may be fetched, else the name of the denial."""
        wanted = target(self.server.url + path)
        assert isinstance(wanted, Target)
        denial = await self.robots.denial(wanted)
        return "" if denial is None else denial.problem.name

    @property
    def asked(self) -> int:
        return len(self.server.requests)


RULES = b"""\xef\xbb\xbf# ours
User-agent: other
Disallow: /

User-Agent: Seawall-Fetch/2.0 # in any case, of any version
Disallow: /private
Allow: /private/open
Disallow: /*.gif$
Crawl-delay: 2.5

User-agent: *
Disallow: /everybody
"""


async def test_rules():
    """Those of our group hold and no others, with wildcards, and the longest one wins."""
    async with Site(body=RULES) as site:
        paths = ["/", "/private/x", "/private/open/x", "/x.gif", "/x.gif?y", "/everybody", "/robots.txt"]
        found = [await site.said(path) for path in paths]
        assert found == ["", "RobotsDisallowed", "", "RobotsDisallowed", "", "", ""]
        assert site.robots.delay(site.server.url) == 2.5
        assert site.asked == 1


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"User-agent: *\nDisallow: /", ""),
        (401, b"", ""),
        (429, b"", ""),
        (204, b"", ""),
        (500, b"User-agent: *\nAllow: /", "RobotsUnreachable"),
        (503, b"", "RobotsUnreachable"),
        (200, b"<html>\x00\xff", ""),
        (200, b"User-agent: *\nDisallow:", ""),
        (200, b"User-agent: *\nDisallow: /", "RobotsDisallowed"),
    ],
)
async def test_statuses(status, body, said):
    """4xx allows everything, 5xx nothing (section 2.3.1)."""
    async with Site(status, body) as site:
        assert await site.said() == said


async def test_a_site_that_cannot_be_reached():
    """Nothing is allowed; that is a failure, which may be over later, and not the site's wish."""
    async with Site() as site:
        wanted = target("http://127.0.0.1:1/x")
        assert isinstance(wanted, Target)
        denial = await site.robots.denial(wanted)
        assert denial is not None
        assert (denial.kind, denial.problem.name) == (Kind.FAILED, "RobotsUnreachable")


async def test_how_long_it_is_remembered():
    """A day; what failed is asked for again after five minutes."""
    async with Site(body=RULES) as site:
        await site.said()
        site.now = 24 * 3600 - 1
        await site.said()
        assert site.asked == 1
        site.now, site.status = 24 * 3600, 500
        assert await site.said() == "RobotsUnreachable"
        site.now, site.status = site.now + 301, 404
        assert await site.said("/private") == ""
        assert site.asked == 3


async def test_it_is_asked_once_for_many():
    """A hundred URLs of an origin wait for one answer, and cancelling the one that asks has another ask."""
    async with Site(body=RULES) as site:
        has_come, may_go = asyncio.Event(), asyncio.Event()

        async def answer(request: Request) -> None:
            has_come.set()
            await may_go.wait()
            await request.reply(200, RULES)

        site.answer = answer  # type: ignore[method-assign]
        site.server._handler = answer
        first = asyncio.create_task(site.said("/private"))
        await has_come.wait()
        others = [asyncio.create_task(site.said("/private")) for _ in range(100)]
        first.cancel()
        await asyncio.wait([first])
        may_go.set()
        assert await asyncio.gather(*others) == ["RobotsDisallowed"] * 100
        assert site.asked == 2


@pytest.mark.parametrize(("hops", "said"), [(5, "RobotsDisallowed"), (6, "")])
async def test_redirects(hops, said):
    """Five are followed; after more, there is no robots.txt (section 2.3.1.2)."""

    async def answer(request: Request) -> None:
        number = int(request.target.partition("=")[2] or 0)
        if number < hops:
            await request.reply(302, location=f"/elsewhere?n={number + 1}")
        else:
            await request.reply(200, b"User-agent: *\nDisallow: /")

    async with Site() as site:
        site.server._handler = answer
        assert await site.said() == said


async def test_a_redirect_that_leads_nowhere():
    """To what can't be fetched: then there is no robots.txt."""
    async with Site(302, location="ftp://a.test/robots.txt") as site:
        assert await site.said() == ""


async def test_one_of_a_gigabyte():
    """500 KiB are read, the rule that is cut off there isn't believed, and the rest never comes."""
    sent = 0

    async def answer(request: Request) -> None:
        nonlocal sent
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\nUser-agent: *\nDisallow: /x\n")
        line = b"Disallow: /" + b"y" * 1012 + b"\n"
        try:
            while sent < 1_000_000_000:
                await request.send(line * 64)
                sent += len(line) * 64
        except OSError:
            pass

    async with Site() as site:
        site.server._handler = answer
        assert await site.said("/x1") == "RobotsDisallowed"
        assert await site.said("/y") == ""
        (text,) = (known.text for known, _ in site.robots._known._entries.values())
        assert module.MAX_SIZE - 2000 < len(text) <= module.MAX_SIZE
    assert sent < 50_000_000


@pytest.mark.parametrize(("came", "said"), [(RULES, "RobotsDisallowed"), (b"", "RobotsUnreachable")])
async def test_one_that_the_client_refuses_in_the_middle(came, said):
    """As too large, or as a bomb: what came before holds; if nothing did, nobody knows the rules."""

    class Refused:
        status_code, headers = 200, dict[str, str]()

        async def aiter_bytes(self) -> AsyncIterator[bytes]:
            yield came
            raise seawall.errors.ResponseTooLarge("too large")

    class Refusing:
        @asynccontextmanager
        async def stream(self, *_: object, **__: object) -> AsyncIterator[Refused]:
            yield Refused()

    wanted = target("http://a.test/private")
    assert isinstance(wanted, Target)
    denial = await Robots(Refusing(), AGENT).denial(wanted)  # type: ignore[arg-type]
    assert denial is not None
    assert denial.problem.name == said


async def test_one_that_hangs():
    """It is waited for as long as was set, and no longer; nothing is allowed."""

    async def answer(request: Request) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nUser-agent: *\nAllow: /\n")
        await request.hang()

    async with Site() as site:
        site.server._handler = answer
        site.robots = Robots(site.client, AGENT, timeout=0.05)
        assert await site.said() == "RobotsUnreachable"


async def test_a_delay_without_end():
    """A site can't have a job wait for a year."""
    async with Site(body=b"User-agent: *\nCrawl-delay: 1e9") as site:
        await site.said()
        assert site.robots.delay(site.server.url) == module.MAX_DELAY


def test_many_agents():
    """However many agents a file names, the parser meets three; each rule stays in its group."""
    text = "\n".join(
        [f"User-agent: bot{number}" for number in range(10_000)]
        + ["USERAGENT seawall-fetch", "Disallow: /a"]
        + [f"User agent: bot{number}" for number in range(10)]
        + ["Disallow: /b", "User-agent: * # all", "Disallow: /c"]
    )
    assert relevant(text, "seawall-fetch").splitlines() == [
        "User-agent: 0",
        "User-agent: seawall-fetch",
        "Disallow: /a",
        "User-agent: 0",
        "Disallow: /b",
        "User-agent: *",
        "Disallow: /c",
    ]
    assert relevant("User-agent: bot\nDisallow: /", "seawall-fetch") == ""


@pytest.mark.parametrize(
    "line", ["User-agent-policy: x", "User-agent x: y", "User-agents: x", "User-agent#x", "User-agent"]
)
def test_what_only_looks_like_an_agent(line):
    """It ends no group, and the rules behind it hold as the parser has it (RFC 9309 section 2.2.4)."""
    text = f"User-agent: *\nDisallow: /a\n{line}\nDisallow: /b"
    found = [Protego.parse(each).can_fetch("http://a.test/b", "bot") for each in (text, relevant(text, "bot"))]
    assert found[0] == found[1]


def test_a_line_without_end_that_may_be_an_agent():
    """However many spaces and colons it has, it is looked at once."""
    text = "User-agent: *\nuser agent" + " " * 200_000 + ":" * 200_000
    assert relevant(text, "bot").splitlines()[1:] == ["User-agent: 0"]


@pytest.mark.parametrize(
    ("rules", "size", "is_beside"), [(10, 10, False), (10, 60_000, False), (4000, 10, True), (1000, 60_000, True)]
)
async def test_many_rules_and_a_long_url(monkeypatch, rules, size, is_beside):
    """Comparing them takes up to seconds, for which the loop isn't held up."""
    threads, real = list[bool](), Protego.can_fetch

    def can_fetch(self: Protego, url: str, agent: str) -> bool:
        threads.append(threading.current_thread() is not threading.main_thread())
        return real(self, url, agent)

    monkeypatch.setattr(Protego, "can_fetch", can_fetch)
    async with Site(
        body=b"User-agent: *\n" + b"".join(b"Disallow: /*y%d\n" % number for number in range(rules))
    ) as site:
        assert [await site.said(f"/{'x' * size}{end}") for end in ("", "y7")] == ["", "RobotsDisallowed"]
    assert threads == [is_beside] * 2


async def test_a_name_like_no_other():
    """Rules for others hold for none of us, whatever we are called: the parser looks for names within ours."""
    async with Site(body=b"User-agent: elsewhere\nDisallow: /\n\nUser-agent: *\nDisallow: /private") as site:
        for agent in ("OthersBot/1.0", "others"):
            site.robots = Robots(site.client, agent)
            assert [await site.said(path) for path in ("/x", "/private")] == ["", "RobotsDisallowed"]


@pytest.mark.parametrize(
    ("agent", "token"),
    [
        (AGENT, "seawall-fetch"),
        ("Mozilla/5.0 (compatible; FooBot/2.1; +http://foo.test)", "FooBot"),
        ("Mozilla/5.0 (X11)", "Mozilla"),
        ("", ""),
    ],
)
def test_what_we_are_called(agent, token):
    """The product's name, as sites look for it (section 2.2.1)."""
    assert token_of(agent) == token


def test_the_cache_stays_light():
    """What was used last stays, up to the weight; one that is heavier than that stays alone."""
    cache: Cache[str, int] = Cache(10)
    for name in "abc":
        cache.put(name, ord(name), weight=4)
    assert [cache.get(name) for name in "abc"] == [None, 98, 99]
    cache.get("b")
    cache.put("d", 1, weight=4)
    assert [cache.get(name) for name in "bcd"] == [98, None, 1]
    cache.put("b", 2, weight=1)
    cache.put("e", 3, weight=5)
    assert [cache.get(name) for name in "bde"] == [2, 1, 3]
    cache.put("f", 4, weight=100)
    assert [cache.get(name) for name in "bdef"] == [None, None, None, 4]
