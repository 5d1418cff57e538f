"""
For Scrapy: `DownloadHandler`, which downloads through seawall, and `Addon`, which puts it in place.

Rules: what is Scrapy's stays Scrapy's: slots and delays, cookies, redirects, compression, limits of size. The handler
repeats what ends before a response's headers; from then on Scrapy's signals have told of the body, so a cut one is for
Scrapy's own retries, and nothing else is, because two layers that retry multiply.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import httpx
from scrapy import Request
from scrapy.core.downloader.handlers._base_streaming import BaseStreamingDownloadHandler
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    ResponseDataLossError,
    UnsupportedURLSchemeError,
)
from scrapy.http import Headers
from scrapy.utils.ssl import _log_sslobj_debug_info, _make_ssl_context

from .. import UNSET, AsyncTransport, Engine, Ready, Retry, errors, events, history, options
from ..careful import Careful
from ..config.check import shown

if TYPE_CHECKING:
    from scrapy.core.downloader.handlers._base_streaming import _BaseResponseArgs
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

__all__ = ["Addon", "DownloadHandler"]

logger = Careful("seawall.call")

CONNECT: Final = 10.0  # s at most for connection and TLS, because the download timeout (180 s) leaves no time to retry
STATUSES: Final = frozenset({*Retry().statuses, 522, 524})  # those of Scrapy's RETRY_HTTP_CODES that are Cloudflare's

MEANINGS: Final[Mapping[type[Exception], type[Exception]]] = {
    errors.ClientClosed: DownloadCancelledError,
    errors.UnsupportedScheme: UnsupportedURLSchemeError,
    errors.ResolveError: CannotResolveHostError,
    errors.DialTimeout: DownloadTimeoutError,
    errors.HandshakeTimeout: DownloadTimeoutError,
    errors.TLSError: DownloadFailedError,
    errors.DialError: DownloadConnectionRefusedError,
    errors.Rejected: DownloadFailedError,
    errors.ProxyTimeout: DownloadTimeoutError,
    errors.TunnelTimeout: DownloadTimeoutError,
    errors.ProxyError: DownloadConnectionRefusedError,
    httpx.ConnectError: DownloadConnectionRefusedError,
    httpx.TimeoutException: DownloadTimeoutError,
}
"""Scrapy's class for each error, by the first line that fits; DownloadFailedError for others."""


class Addon:
    """
    For Scrapy's settings: ``ADDONS = {"seawall.integrations.scrapy.Addon": 500}``.

    It has http and https downloaded by `DownloadHandler`, and leaves to Scrapy's retries only bodies that are cut.
    Settings that the project makes itself win over it.
    """

    def update_settings(self, settings: BaseSettings) -> None:
        """
        Raises:
            TypeError, ValueError: ``SEAWALL`` has a setting that can't be; the message names it and its range.
        """
        _engine(settings)  # it would fail in the handler too, but Scrapy only logs that, and then fails each request
        for scheme in ("http", "https"):
            settings["DOWNLOAD_HANDLERS"].setdefault(scheme, DownloadHandler)  # above what Scrapy sets without reactor
        settings.set("RETRY_HTTP_CODES", [], "addon")
        settings.set("RETRY_EXCEPTIONS", [ResponseDataLossError], "addon")


class DownloadHandler(BaseStreamingDownloadHandler[httpx.Response]):
    """
    Downloads through seawall's layers, whose settings are in ``SEAWALL``: a dict of arguments of `seawall.Engine`.

    Those that it leaves out are for jobs that wait rather than fail, as in `Policy.batch`, with 3 attempts and without
    a bulkhead, because Scrapy's slots are one. A call's deadline is its ``download_timeout``.

    Raises:
        TypeError, ValueError: A setting that can't be; the message names it and its range.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        settings = crawler.settings
        if settings.getbool("RETRY_ENABLED") and settings.getint("RETRY_TIMES") and settings["RETRY_HTTP_CODES"]:
            logger.warning(
                "Scrapy's RetryMiddleware repeats what seawall has repeated: use seawall.integrations.scrapy.Addon, "
                "or set RETRY_HTTP_CODES = [] and RETRY_EXCEPTIONS = ['scrapy.exceptions.ResponseDataLossError']"
            )
        self._engine = _engine(settings)
        self._engine.observe(self._count)
        self._deadline = settings.getdict("SEAWALL").get("deadline")
        self._transport = AsyncTransport(engine=self._engine, local_address=self._get_bind_address_host())

    async def close(self) -> None:
        """End what is in flight, and close all connections."""
        await self._engine.aclose()

    @asynccontextmanager
    async def _make_request(self, request: Request, timeout: float) -> AsyncIterator[httpx.Response]:
        proxy = self._extract_proxy_url_with_creds(request)
        phases = {"connect": min(timeout, CONNECT), "read": timeout, "write": timeout, "pool": timeout}
        retry = None if request.meta.get("dont_retry") else UNSET
        deadline = timeout if self._deadline is None else min(timeout, self._deadline)
        with _scrapys_errors(request):
            response = await self._transport.handle_async_request(
                httpx.Request(
                    request.method,
                    request.url,
                    headers=[
                        (name, each) for name, values in self._request_headers(request).items() for each in values
                    ],
                    content=request.body,
                    extensions={
                        "timeout": phases,
                        "proxy": self._made_proxy(proxy) if proxy else None,
                        **options(deadline=deadline, retry=retry),
                    },
                )
            )
            try:
                yield response
            finally:
                await response.aclose()

    def _made_proxy(self, url: str) -> httpx.Proxy:
        made = httpx.Proxy(url)
        if made.url.scheme == "https":
            made.ssl_context = self._proxys_tls
        return made

    @cached_property
    def _proxys_tls(self) -> ssl.SSLContext:
        """For TLS to proxies; all share one, because the pool keeps connections by their context."""
        made: ssl.SSLContext = _make_ssl_context(self.crawler.settings)
        return made

    def _count(self, event: events.Event) -> None:
        if isinstance(event, events.RetryScheduled) and self.crawler.stats is not None:
            self.crawler.stats.inc_value("seawall/retry/count")

    @staticmethod
    def _extract_headers(response: httpx.Response) -> Headers:
        return Headers(response.headers.raw)

    @staticmethod
    def _build_base_response_args(response: httpx.Response, request: Request, headers: Headers) -> _BaseResponseArgs:
        last = history(response)[-1]
        request.meta["download_latency"] = last.duration  # AutoThrottle's measure of the server, without our backoff
        stream = response.extensions["network_stream"]
        tls = stream.get_extra_info("ssl_object")
        return {
            "status": response.status_code,
            "url": request.url,
            "headers": headers,
            "certificate": tls.getpeercert(binary_form=True) if tls is not None else None,
            "ip_address": ip_address(stream.get_extra_info("server_addr")[0]),
            "protocol": response.http_version,
        }

    @staticmethod
    def _iter_body_chunks(response: httpx.Response) -> AsyncIterator[bytes]:
        return response.aiter_raw()

    @staticmethod
    def _is_dataloss_exception(exc: Exception) -> bool:
        return isinstance(exc, errors.BadAnswer | errors.ConnectionLost)

    def _log_tls_info(self, response: httpx.Response, request: Request) -> None:
        tls = response.extensions["network_stream"].get_extra_info("ssl_object")
        if isinstance(tls, ssl.SSLObject):
            _log_sslobj_debug_info(tls)


def _engine(settings: BaseSettings) -> Engine:
    """
    The engine that Scrapy's settings ask for.

    Raises:
        TypeError, ValueError: ``SEAWALL`` has a setting that can't be.
    """
    try:
        given = settings.getdict("SEAWALL")
    except (TypeError, ValueError):
        raise TypeError(
            f"SEAWALL must be a dict of arguments of seawall.Engine, not {shown(settings['SEAWALL'])}"
        ) from None
    defaults: dict[str, Any] = {
        "retry": _retry(settings.getfloat("DOWNLOAD_DELAY")),
        "budget": None,
        "bulkhead": None,
        "waits": True,
        "ready": Ready(max_wait=None),
        "verify": _make_ssl_context(settings),
        "trust_env": False,
    }
    try:
        return Engine(**defaults | given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"SEAWALL: {error}") from error


def _retry(delay: float) -> Retry:
    """An attempt that follows is a request to the host as well, so it waits for the slot's *delay* at least."""
    if delay <= 0:
        return Retry(statuses=STATUSES)
    backoff = 2 * delay  # of which half is random
    longest = max(Retry().max_backoff, backoff)
    return Retry(
        statuses=STATUSES, backoff=backoff, throttled_backoff=max(1.0, backoff), max_backoff=longest, jitter=0.5
    )


@contextmanager
def _scrapys_errors(request: Request) -> Iterator[None]:
    """Raise the errors of seawall and httpx as Scrapy's."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = error.reason if isinstance(error, errors.PartlySent) else error
        meaning = next((to for kind, to in MEANINGS.items() if isinstance(reason, kind)), DownloadFailedError)
        raise meaning(f"{request.method} {request.url}: {error}") from error
