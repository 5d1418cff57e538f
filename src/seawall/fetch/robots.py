"""`Robots`: whether a site's robots.txt lets us fetch a URL, and how slowly (RFC 9309)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin
from weakref import WeakValueDictionary

from protego import Protego

from ..config import options
from ..core.seat import aside
from ..errors import ResponseTooLarge
from .agent import TOKEN, token_of
from .cache import Cache
from .client import Client, Response
from .page import Kind, Problem
from .target import Refused, Target, target

__all__ = ["MAX_DELAY", "READ", "Denial", "Robots"]

TTL: Final = 24 * 3600.0  # seconds, section 2.4
UNREACHABLE_TTL: Final = 300.0  # of a site that failed, because it may be well again
TIMEOUT: Final = 30.0  # seconds for one robots.txt, all attempts and redirects
MAX_SIZE: Final = 512 * 1024  # bytes, section 2.5: at least 500 KiB; what is behind is not read
READ: Final = 2 * MAX_SIZE  # bytes of a body that a client must allow, because they come in pieces
MAX_REDIRECTS: Final = 5  # section 2.3.1.2
TURNS: Final = MAX_REDIRECTS + 2  # of the origin's limit that one robots.txt may take, with the URL before it
MAX_DELAY: Final = 60.0  # seconds that a Crawl-delay can ask for, because a job must end
TEXTS: Final = 32 * 1024**2  # bytes of all that is remembered
PARSED: Final = 1024**2  # bytes of the texts that are kept parsed, too, which takes up to 60 times as much
OVERHEAD: Final = 400  # bytes of an entry without its text
LONG: Final = 32 * 1024  # bytes; parsing more takes so long that a thread does it
HEAVY: Final = 16 * 1024**2  # bytes of a text times those of a URL; comparing more takes longer than 5 ms
WAITS: Final = "robots"
OTHERS: Final = "User-agent: 0"  # which is in no agent's token, because the parser would take it for that agent's
_AGENT: Final = re.compile(  # what the parser takes for one, with or without a colon; `User-agent-x: y` isn't
    r"\s*user[ -]?agent(?:\s*+:|\s++(?![^#]*:(?:\s|$))|(?=#|$))\s*([^#]*)", re.I
)


class Denial(NamedTuple):
    """A URL isn't fetched: a rule says so (skipped), or nobody knows the rules (failed)."""

    kind: Kind
    problem: Problem


class _Known(NamedTuple):
    """
    Attributes:
        text: The rules that hold for us.
        failure: Why there are none; then nothing may be fetched.
    """

    text: str
    delay: float
    failure: str
    expires_at: float


class Robots:
    """
    Asks each origin once a day, and remembers as much as fits some 60 MB.

    Args:
        client: Allows bodies of `READ` bytes at least, because RFC 9309 has the first 500 KiB of a robots.txt hold.
        user_agent: Ours; its `token_of` is what rules are looked up by.
        now: Returns seconds that only grow.
        timeout: Seconds for one robots.txt, beside those for which it waits for its turns.
        interval: Seconds from one request of an origin to the next, which the client's limit keeps, as in `Order`.
    """

    def __init__(
        self,
        client: Client,
        user_agent: str,
        *,
        now: Callable[[], float] = time.monotonic,
        timeout: float = TIMEOUT,
        interval: float = 0.0,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = client
        self._token = token_of(user_agent)
        self._now = now
        self._timeout = timeout
        self._interval = interval
        self._extensions = {**options(deadline=None), **(extensions or {})}  # the client's knows of no turns
        self._known: Cache[str, _Known] = Cache(TEXTS)
        self._parsed: Cache[str, Protego] = Cache(PARSED)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def denial(self, wanted: Target) -> Denial | None:
        """Why *wanted* must not be fetched; None: it may. URLs of one origin wait together for its robots.txt."""
        known = self._fresh(wanted.origin)
        if known is None:
            lock = self._locks.setdefault(wanted.origin, asyncio.Lock())
            with aside(WAITS) if lock.locked() else nullcontext():  # other hosts have its seat meanwhile
                await lock.acquire()
            try:
                known = self._fresh(wanted.origin) or await self._ask(wanted.origin)
            finally:
                lock.release()
        if known.failure:
            return Denial(Kind.FAILED, Problem("RobotsUnreachable", f"{wanted.origin}/robots.txt {known.failure}"))
        if not known.text or await self._allows(known.text, wanted):
            return None
        said = f"{wanted.origin}/robots.txt doesn't let {self._token} fetch it"
        return Denial(Kind.SKIPPED, Problem("RobotsDisallowed", said))

    def delay(self, origin: str) -> float:
        """Seconds from one request to the next that the origin has asked for, as far as it is known; at most 60."""
        known = self._known.get(origin)
        return 0.0 if known is None else known.delay

    def _fresh(self, origin: str) -> _Known | None:
        known = self._known.get(origin)
        return known if known is not None and self._now() < known.expires_at else None

    async def _ask(self, origin: str) -> _Known:
        text, delay, failure = "", 0.0, ""
        turns = TURNS * max(self._interval, self.delay(origin))  # else our own politeness would fail the origin
        try:
            async with asyncio.timeout(self._timeout + turns):
                text = relevant(await self._fetched(origin), self._token)
        except TimeoutError:
            failure = f"wasn't answered within {self._timeout + turns:g} s"
        except _Failed as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001 - each HTTP library has errors of its own
            failure = f"can't be fetched: {error or type(error).__name__}"
        if text:
            asked = (await self._rules(origin, text, is_new=True)).crawl_delay(self._token)
            delay = min(asked or 0.0, MAX_DELAY)
        ttl = UNREACHABLE_TTL if failure else TTL
        known = _Known(text, delay, failure, self._now() + ttl)
        self._known.put(origin, known, weight=len(text) + len(failure) + OVERHEAD)
        return known

    async def _allows(self, text: str, wanted: Target) -> bool:
        rules = await self._rules(wanted.origin, text)
        if len(text) > LONG or len(text) * len(wanted.url) > HEAVY:  # seconds, if both are a stranger's
            return await asyncio.to_thread(rules.can_fetch, wanted.url, self._token)
        return rules.can_fetch(wanted.url, self._token)

    async def _rules(self, origin: str, text: str, *, is_new: bool = False) -> Protego:
        rules = None if is_new else self._parsed.get(origin)
        if rules is None:
            rules = await asyncio.to_thread(Protego.parse, text) if len(text) > LONG else Protego.parse(text)
            self._parsed.put(origin, rules, weight=len(text))
        return rules

    async def _fetched(self, origin: str) -> str:
        """
        The text; empty if there is none, which allows everything.

        Raises:
            _Failed: The server is at fault, so that nothing is allowed (section 2.3.1.4).
        """
        url = f"{origin}/robots.txt"
        for _ in range(MAX_REDIRECTS + 1):
            asked = self._client.stream("GET", url, follow_redirects=False, extensions=dict(self._extensions))
            async with asked as response:
                status = response.status_code
                location = response.headers.get("location")
                if status in (301, 302, 303, 307, 308) and location:
                    there = target(urljoin(url, location))
                    if isinstance(there, Refused):
                        return ""
                    url = there.url
                    continue
                if 200 <= status < 300:
                    return await _begin(response)
                if status >= 500:
                    raise _Failed(f"answered {status}")
                return ""
        return ""


class _Failed(Exception):
    pass


async def _begin(response: Response) -> str:
    """
    The first `MAX_SIZE` bytes of the body, up to the last line's end if there is more.

    A body that is larger than the client allows, or a bomb, has as much as came before that showed.

    Raises:
        ResponseTooLarge: Nothing came before it.
    """
    data, is_cut = b"", False
    try:
        async for piece in response.aiter_bytes():
            data += piece
            if is_cut := len(data) > MAX_SIZE:
                break
    except ResponseTooLarge:
        if not data:
            raise
        is_cut = True
    if is_cut:
        data = data[:MAX_SIZE].rpartition(b"\n")[0]
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


def relevant(text: str, token: str) -> str:
    """
    *text* with every agent but *token* and * under one name, each once a group, because the parser gives each rule to
    each agent: 10,000 agents over 10,000 rules, which fit into 500 KiB, would keep it busy for minutes.
    """
    kept: list[str] = []
    group: set[str] = set()
    has_ours = False
    for line in text.splitlines():
        found = _AGENT.match(line)
        if found is None:
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                kept.append(stripped)
                group = set()
            continue
        name = found[1].strip()
        called = TOKEN.match(name)
        is_ours = name == "*" or (called is not None and called[0].lower() == token.lower())
        agent = f"User-agent: {name if name == '*' else token}" if is_ours else OTHERS
        has_ours |= is_ours
        if agent not in group:
            group.add(agent)
            kept.append(agent)
    return "\n".join(kept) if has_ours else ""
