"""
For Crawlee: `SeawallHttpClient`, a client for crawlers over HTTP.

Rules: a request that seawall has repeated isn't repeated by Crawlee, because two layers that retry multiply. Crawlee
repeats what another session or proxy may cure: 429, a status that blocks the session, and all that goes through a
proxy. Cookies are the session's, and the client keeps none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
from crawlee import HttpHeaders
from crawlee.errors import ProxyError
from crawlee.http_clients import HttpClient, HttpCrawlingResult, HttpResponse

from .. import UNSET, AsyncClient, Engine, Ready, Retry, history, options

if TYPE_CHECKING:
    from crawlee import Request
    from crawlee.fingerprint_suite import HeaderGenerator
    from crawlee.proxy_configuration import ProxyInfo
    from crawlee.sessions import Session
    from crawlee.statistics import Statistics

__all__ = ["SeawallHttpClient"]

CONNECT: Final = 10.0  # s at most for connection and TLS, because Crawlee's timeout (60 s) leaves little time to retry
CALLER: Final = "seawall_crawlee"  # the extension of a request with its `Caller`
HEADERS: Final = {"Accept", "Accept-Language", "User-Agent"}  # those that Crawlee's own clients generate
DEFAULTS: Final[dict[str, Any]] = {
    "retry": Retry(statuses=frozenset({*Retry().statuses} - {429})),
    "budget": None,
    "waits": True,
    "ready": Ready(max_wait=None),
    "trust_env": False,
}


class Caller(NamedTuple):
    """Whose request it is: the session, and the Cookie that was given by hand, which holds for the URL's origin."""

    session: Session | None
    cookie: str | None
    url: httpx.URL

    def cookie_for(self, url: httpx.URL) -> str:
        """The Cookie of a hop."""
        if self.cookie is not None and (url.scheme, url.netloc) == (self.url.scheme, self.url.netloc):
            return self.cookie
        return self.session.cookies.get_cookie_string(str(url)) if self.session else ""


class SeawallHttpClient(HttpClient):
    """
    For Crawlee: ``HttpCrawler(http_client=SeawallHttpClient())``.

    Args:
        persist_cookies_per_session: Whether a response's cookies are kept, in the session of its request.
        header_generator: Makes the headers Accept, Accept-Language and User-Agent, as a browser has them, such as
            ``crawlee.fingerprint_suite.HeaderGenerator()``, which needs an extra of Crawlee. None leaves httpx's.
        settings: Arguments of `seawall.Engine`. Those that are left out are for jobs that wait rather than fail, as in
            `Policy.batch`, with 3 attempts. A call's deadline is Crawlee's timeout.
    Raises:
        TypeError, ValueError: A setting that can't be; the message names it and its range.
    """

    def __init__(
        self,
        *,
        persist_cookies_per_session: bool = True,
        header_generator: HeaderGenerator | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(persist_cookies_per_session=persist_cookies_per_session)
        self._header_generator = header_generator
        self._settings = DEFAULTS | settings
        self._engine = Engine(**self._settings)
        self._client = self._made_client()

    async def crawl(
        self,
        request: Request,
        *,
        session: Session | None = None,
        proxy_info: ProxyInfo | None = None,
        statistics: Statistics | None = None,
        timeout: timedelta | None = None,
    ) -> HttpCrawlingResult:
        """As in Crawlee. A request that was repeated, in vain, is marked for Crawlee not to do so again."""
        asked = self._made(request.url, request.method, request.headers, request.payload, session, proxy_info, timeout)
        with _crawlees_errors():
            try:
                response = await self._client.send(asked)
            except Exception as error:
                request.no_retry = request.no_retry or _was_repeated(error)
                raise
        if statistics:
            statistics.register_status_code(response.status_code)
        request.loaded_url = str(response.url)
        retry = self._settings["retry"]
        if retry is not None and response.status_code in retry.statuses:
            request.no_retry = request.no_retry or _was_repeated(response)
        return HttpCrawlingResult(http_response=_Response(response))

    async def send_request(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: HttpHeaders | dict[str, str] | None = None,
        payload: bytes | None = None,
        session: Session | None = None,
        proxy_info: ProxyInfo | None = None,
        timeout: timedelta | None = None,
    ) -> HttpResponse:
        """As in Crawlee."""
        asked = self._made(url, method, headers, payload, session, proxy_info, timeout)
        with _crawlees_errors():
            return _Response(await self._client.send(asked))

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: HttpHeaders | dict[str, str] | None = None,
        payload: bytes | None = None,
        session: Session | None = None,
        proxy_info: ProxyInfo | None = None,
        timeout: timedelta | None = None,
    ) -> AsyncIterator[HttpResponse]:
        """As in Crawlee: the timeout is that of the connection, and nothing bounds the body."""
        asked = self._made(url, method, headers, payload, session, proxy_info, None)
        if timeout is not None:
            asked.extensions["timeout"] = httpx.Timeout(None, connect=timeout.total_seconds()).as_dict()
        with _crawlees_errors():
            response = await self._client.send(asked, stream=True)
        try:
            yield _Response(response)
        finally:
            await response.aclose()

    async def cleanup(self) -> None:
        """Close all connections. The client may be used again, on another loop too."""
        await self._client.aclose()
        await self._engine.aclose()
        self._engine = Engine(**self._settings)
        self._client = self._made_client()

    def _made(
        self,
        url: str,
        method: str,
        headers: HttpHeaders | dict[str, str] | None,
        payload: bytes | None,
        session: Session | None,
        proxy_info: ProxyInfo | None,
        timeout: timedelta | None,
    ) -> httpx.Request:
        """The request, with its way."""
        seconds = None if timeout is None else timeout.total_seconds()
        generated = self._header_generator.get_specific_headers(HEADERS) if self._header_generator else HttpHeaders()
        deadline = self._settings.get("deadline")
        timeouts = self._client.timeout if seconds is None else httpx.Timeout(seconds, connect=min(seconds, CONNECT))
        request = self._client.build_request(
            method,
            url,
            headers=dict(generated | HttpHeaders(dict(headers or {}))),
            content=payload,
            timeout=timeouts,
            extensions=options(
                deadline=UNSET if seconds is None else min(seconds, deadline or seconds),
                retry=None if proxy_info else self._retry(session),
            ),
        )
        request.extensions["proxy"] = proxy_info.url if proxy_info else None
        request.extensions[CALLER] = Caller(session, request.headers.get("Cookie"), request.url)
        return request

    def _retry(self, session: Session | None) -> Retry | Any:
        """Without the statuses that block *session*."""
        retry = self._settings["retry"]
        if retry is None or session is None:
            return UNSET
        blocked = {status for status in retry.statuses if session.is_blocked_status_code(status_code=status)}
        return replace(retry, statuses=retry.statuses - blocked) if blocked else UNSET

    def _made_client(self) -> AsyncClient:
        return AsyncClient(
            engine=self._engine,
            trust_env=False,
            follow_redirects=True,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # keeps none, because sessions share it
            event_hooks={"request": [_send_cookies], "response": [self._keep_cookies]},
        )

    async def _keep_cookies(self, response: httpx.Response) -> None:
        session = response.request.extensions[CALLER].session
        if self._persist_cookies_per_session and session:
            session.cookies.store_cookies(list(response.cookies.jar))


class _Response:
    """As Crawlee has a response."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    @property
    def http_version(self) -> str:
        return self._response.http_version

    @property
    def status_code(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> HttpHeaders:
        return HttpHeaders(dict(self._response.headers))

    async def read(self) -> bytes:
        if not self._response.is_closed:
            raise RuntimeError("the response was streamed: read it with read_stream()")
        return await self._response.aread()

    async def read_stream(self) -> AsyncIterator[bytes]:
        if self._response.is_stream_consumed:
            raise RuntimeError("the response's stream was read already, or it wasn't streamed: use read()")
        async for piece in self._response.aiter_bytes():
            yield piece


async def _send_cookies(request: httpx.Request) -> None:
    """Give each hop the session's cookies, because a redirect has none."""
    cookie = request.extensions[CALLER].cookie_for(request.url)
    request.headers.pop("Cookie", None)
    if cookie:
        request.headers["Cookie"] = cookie


def _was_repeated(outcome: Any) -> bool:
    """Whether seawall has made another attempt at the last request of a call."""
    return int(history(outcome).statistics.get("attempt_number", 1)) > 1


@contextmanager
def _crawlees_errors() -> Iterator[None]:
    """Raise timeouts and a proxy's refusals as Crawlee's clients do; it takes other errors of any class."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise TimeoutError from error
    except httpx.ProxyError as error:
        raise ProxyError(str(error)) from error
