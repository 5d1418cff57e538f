"""
The clients that are compared on a bad network, configured alike: each has its defaults, except for what a `Setup` says.

Peers are imported by importlib, because not all of them need be installed.
"""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pkgutil import resolve_name
from typing import Any, Protocol

__all__ = ["CLIENTS", "Ask", "Client", "Setup"]

WIDE = 1000  # connections: an expert raises the 100 of httpx and aiohttp, because two slow hosts use them up
PATIENCE = 30.0  # s for a whole call, which an expert sets where a `Setup` has no deadline


@dataclass(frozen=True, kw_only=True)
class Setup:
    """
    Attributes:
        timeout: Seconds for each kind that a client has: connect, read, write, pool; None keeps its defaults.
        deadline: Seconds for a whole call, if the client has a deadline; None keeps its default.
        connections: The maximum, if the client has one; None keeps its default.
        authority: The file of the trusted authority.
        proxy: Its URL, which may have credentials.
        nameserver: "ip:port"; ignored by clients that can't be pointed at a DNS server.
        dns_ttl: Seconds for which aiohttp caches addresses, because it doesn't see a record's TTL.
        own: Further arguments of `seawall.AsyncClient`, which have no counterpart in other clients.
    """

    timeout: float | None = 1.0
    deadline: float | None = None
    connections: int | None = None
    is_kept: bool = True
    authority: str | None = None
    http2: bool = False
    proxy: str | None = None
    nameserver: str | None = None
    dns_ttl: int = 10
    own: Mapping[str, Any] = field(default_factory=dict)

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)

    def way(self, httpx: Any) -> Any:
        """The proxy as httpx takes it; one over TLS has a certificate of the trusted authority, too."""
        if self.proxy is None:
            return None
        context = self.tls() if self.proxy.startswith("https:") else None
        return httpx.Proxy(self.proxy, ssl_context=context)

    def limits(self, httpx: Any, default: int = 100) -> Any:
        """httpx's limits; *default* is its own maximum, which it has no name for."""
        if self.connections is None and self.is_kept:
            return None
        most = self.connections or default
        return httpx.Limits(max_connections=most, max_keepalive_connections=most if self.is_kept else 0)


class Ask(Protocol):
    """Sends a request; returns its status and body."""

    def __call__(
        self, method: str, url: str, *, body: Any = None, headers: dict[str, str] | None = None, follow: bool = False
    ) -> Awaitable[tuple[int, bytes]]: ...


def _httpx_like(client: Any) -> Ask:
    async def ask(
        method: str, url: str, *, body: Any = None, headers: dict[str, str] | None = None, follow: bool = False
    ) -> tuple[int, bytes]:
        response = await client.request(method, url, content=body, headers=headers, follow_redirects=follow)
        return response.status_code, response.content

    return ask


def _httpx_arguments(setup: Setup, httpx: Any) -> dict[str, Any]:
    limits = setup.limits(httpx)
    arguments = {"verify": setup.tls(), "http2": setup.http2, "proxy": setup.way(httpx), "trust_env": False}
    return arguments if limits is None else arguments | {"limits": limits}


def _timeout(setup: Setup) -> dict[str, Any]:
    """As an argument, left out where the client's default is kept."""
    return {} if setup.timeout is None else {"timeout": setup.timeout}


@asynccontextmanager
async def httpx_client(setup: Setup, module: str = "httpx") -> AsyncIterator[Ask]:
    httpx: Any = importlib.import_module(module)
    async with httpx.AsyncClient(**_timeout(setup), **_httpx_arguments(setup, httpx)) as client:
        yield _httpx_like(client)


@asynccontextmanager
async def tuned_httpx_client(setup: Setup) -> AsyncIterator[Ask]:
    """httpx as an expert configures it: enough connections, and a deadline around each call."""
    deadline = PATIENCE if setup.deadline is None else setup.deadline
    async with httpx_client(replace(setup, connections=setup.connections or WIDE)) as client:

        async def ask(method: str, url: str, **more: Any) -> tuple[int, bytes]:
            async with asyncio.timeout(deadline):
                return await client(method, url, **more)

        yield ask


def httpx2_client(setup: Setup) -> AbstractAsyncContextManager[Ask]:
    return httpx_client(setup, "httpx2")


@asynccontextmanager
async def httpx_retries_client(setup: Setup) -> AsyncIterator[Ask]:
    import httpx

    retries: Any = importlib.import_module("httpx_retries")
    arguments = _httpx_arguments(setup, httpx)
    transport = retries.RetryTransport(transport=httpx.AsyncHTTPTransport(**arguments))
    async with httpx.AsyncClient(transport=transport, **_timeout(setup)) as client:
        yield _httpx_like(client)


@asynccontextmanager
async def seawall_client(setup: Setup) -> AsyncIterator[Ask]:
    import httpx

    import seawall

    arguments = _httpx_arguments(setup, httpx)
    if setup.nameserver is not None:
        arguments["dns"] = seawall.DNS(nameservers=(setup.nameserver,))
    if setup.deadline is not None:
        arguments["deadline"] = setup.deadline
    async with seawall.AsyncClient(**_timeout(setup), **arguments, **setup.own) as client:
        yield _httpx_like(client)


@asynccontextmanager
async def seawall_batch_client(setup: Setup) -> AsyncIterator[Ask]:
    from dataclasses import replace

    import seawall

    batch = seawall.Policy.batch()
    patient = {"waits": batch.waits, "retry": batch.retry, "ready": batch.ready, "budget": batch.budget}
    async with seawall_client(replace(setup, own={**patient, **setup.own})) as ask:
        yield ask


@asynccontextmanager
async def aiohttp_session(setup: Setup) -> AsyncIterator[Any]:
    import aiohttp

    resolver = aiohttp.AsyncResolver(nameservers=[setup.nameserver]) if setup.nameserver else None
    connector = aiohttp.TCPConnector(
        ssl=setup.tls(),
        limit=setup.connections or 100,
        resolver=resolver,
        ttl_dns_cache=setup.dns_ttl,
        force_close=not setup.is_kept,
    )
    seconds = setup.timeout
    timeouts: dict[str, Any] = {}
    if seconds is not None:
        timeout = aiohttp.ClientTimeout(total=setup.deadline, connect=seconds, sock_connect=seconds, sock_read=seconds)
        timeouts["timeout"] = timeout
    async with aiohttp.ClientSession(connector=connector, proxy=setup.proxy, **timeouts) as session:
        yield session
    if resolver is not None:
        await resolver.close()


def _aiohttp_like(session: Any) -> Ask:
    async def ask(
        method: str, url: str, *, body: Any = None, headers: dict[str, str] | None = None, follow: bool = False
    ) -> tuple[int, bytes]:
        async with session.request(method, url, data=body, headers=headers, allow_redirects=follow) as response:
            return response.status, await response.read()

    return ask


@asynccontextmanager
async def aiohttp_client(setup: Setup) -> AsyncIterator[Ask]:
    async with aiohttp_session(setup) as session:
        yield _aiohttp_like(session)


@asynccontextmanager
async def retrying_aiohttp_client(setup: Setup) -> AsyncIterator[Ask]:
    """aiohttp as an expert uses it: enough connections, and thirty lines of retries within a deadline."""
    from seawall.cli.retried import IDEMPOTENT, Answer, retried

    deadline = PATIENCE if setup.deadline is None else setup.deadline
    alike = replace(setup, connections=setup.connections or WIDE, deadline=None)  # one timer for all attempts
    async with aiohttp_session(alike) as session:

        async def ask(
            method: str, url: str, *, body: Any = None, headers: dict[str, str] | None = None, follow: bool = False
        ) -> tuple[int, bytes]:
            async def attempt() -> Answer:
                async with session.request(method, url, data=body, headers=headers, allow_redirects=follow) as response:
                    return Answer(response.status, await response.read(), response.headers.get("retry-after"))

            has_key = "idempotency-key" in map(str.lower, headers or ())
            is_whole = body is None or isinstance(body, bytes)
            may_repeat = is_whole and (method in IDEMPOTENT or has_key)
            answer = await retried(attempt, may_repeat=may_repeat, deadline=deadline)
            return answer.status, answer.body

        yield ask


@asynccontextmanager
async def aiohttp_retry_client(setup: Setup) -> AsyncIterator[Ask]:
    theirs: Any = importlib.import_module("aiohttp_retry")
    async with aiohttp_session(setup) as session, theirs.RetryClient(client_session=session) as client:
        yield _aiohttp_like(client)


@asynccontextmanager
async def niquests_client(setup: Setup) -> AsyncIterator[Ask]:
    niquests: Any = importlib.import_module("niquests")
    arguments: dict[str, Any] = _timeout(setup)
    if setup.connections is not None:
        arguments |= {"pool_connections": setup.connections, "pool_maxsize": setup.connections}
    if setup.nameserver is not None:
        arguments |= {"resolver": f"dou://{setup.nameserver}", "happy_eyeballs": True}
    if not setup.is_kept:
        arguments["headers"] = {"connection": "close"}
    async with niquests.AsyncSession(**arguments) as session:
        session.trust_env = False
        if setup.proxy:
            session.proxies = {"http": setup.proxy, "https": setup.proxy}

        async def ask(
            method: str, url: str, *, body: Any = None, headers: dict[str, str] | None = None, follow: bool = False
        ) -> tuple[int, bytes]:
            verify = setup.authority if url.startswith("https") and setup.authority else True
            response: Any = await session.request(
                method, url, data=body, headers=headers, allow_redirects=follow, verify=verify
            )
            return response.status_code, response.content

        yield ask


HTTPX = ("httpx:HTTPError", "httpx:InvalidURL")
HTTPX2 = ("httpx2:HTTPError", "httpx2:InvalidURL")
AIOHTTP = ("aiohttp:ClientError", "builtins:TimeoutError")


@dataclass(frozen=True, kw_only=True)
class Client:
    """
    A client that is compared, and its properties.

    Attributes:
        package: The package whose version is shown beside it.
        title: Its name in tables.
        errors: The errors that its docs tell callers to catch, as "module:name".
        bare: The same client without its layers, as a name in `CLIENTS`, if it can't switch them off.
        has_deadline: Whether it has a deadline for a whole call.
        is_told: Whether it can be pointed at a DNS server.
        proxies: The kinds of proxies that it can use.
    """

    open: Callable[[Setup], AbstractAsyncContextManager[Ask]]
    package: str
    title: str
    errors: tuple[str, ...] = HTTPX
    bare: str = ""
    has_deadline: bool = False
    has_http2: bool = True
    is_told: bool = False
    proxies: tuple[str, ...] = ("http", "https", "socks5")

    @property
    def head(self) -> str:
        """Its title, with its version."""
        own, _, more = self.title.partition(" ")
        return " ".join(filter(None, (own, version(self.package), more)))

    def is_own(self, error: Exception) -> bool:
        """Whether callers catch *error* if they catch the errors that the docs name."""
        return isinstance(error, tuple(map(resolve_name, self.errors)))


_AIOHTTP: dict[str, Any] = {
    "errors": AIOHTTP,
    "has_deadline": True,
    "has_http2": False,
    "is_told": True,
    "proxies": ("http", "https"),
}
CLIENTS = {
    "httpx": Client(open=httpx_client, package="httpx", title="httpx"),
    "httpx-tuned": Client(
        open=tuned_httpx_client,
        package="httpx",
        title="httpx tuned",
        errors=(*HTTPX, "builtins:TimeoutError"),
        bare="httpx",
        has_deadline=True,
    ),
    "httpx2": Client(open=httpx2_client, package="httpx2", title="httpx2", errors=HTTPX2),
    "httpx-retries": Client(open=httpx_retries_client, package="httpx-retries", title="httpx-retries", bare="httpx"),
    "aiohttp": Client(open=aiohttp_client, package="aiohttp", title="aiohttp", **_AIOHTTP),
    "aiohttp-own-retries": Client(
        open=retrying_aiohttp_client, package="aiohttp", title="aiohttp + own retries", bare="aiohttp", **_AIOHTTP
    ),
    "aiohttp-retry": Client(
        open=aiohttp_retry_client, package="aiohttp-retry", title="aiohttp-retry", bare="aiohttp", **_AIOHTTP
    ),
    "niquests": Client(
        open=niquests_client,
        package="niquests",
        title="niquests",
        errors=("niquests:RequestException",),
        is_told=True,
    ),
    "seawall": Client(open=seawall_client, package="seawall", title="seawall", has_deadline=True, is_told=True),
    "seawall-batch": Client(
        open=seawall_batch_client, package="seawall", title="seawall batch", has_deadline=True, is_told=True
    ),
}
