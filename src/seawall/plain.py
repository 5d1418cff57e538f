"""
The short way of a plain call: no body to build, no cookies, authentication, hooks, mounts or stream.

Rules: what a user can see is exactly what httpx's long way gives, which makes the first request of each URL, and takes
over wherever an answer is not plain (a redirect, a cookie). A patched method of ``httpx.AsyncClient`` switches the
short way off. httpx's private names that it needs stand here, and tests/unit/test_contracts.py holds on to them.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any, Final, cast

import httpx

__all__ = ["Prepared", "Template", "is_untouched", "is_whole", "settle"]

logger = logging.getLogger("httpx")

METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})  # without a body they have no content-length
EMPTY: Final = httpx.ByteStream(b"")
MAX_PREPARED: Final = 1024
NAMES: Final = (
    "send",
    "request",
    "_send_handling_auth",
    "_send_handling_redirects",
    "_send_single_request",
    "_transport_for_url",
)


class Template:
    """A request that httpx built, and what of the client it was built from."""

    __slots__ = ("headers", "raw", "url")

    def __init__(self, request: httpx.Request, client: httpx.AsyncClient) -> None:
        self.url = request.url
        self.headers = request.headers.copy()
        self.raw = client.headers.raw

    def request(self, method: str, timeout: httpx.Timeout) -> httpx.Request:
        """One like it."""
        extensions = {"timeout": timeout.as_dict()}
        request = httpx.Request(method, self.url, headers=self.headers, stream=EMPTY, extensions=extensions)
        request.read()
        return request


class Prepared:
    """Templates by method and URL: bounded, the oldest goes first."""

    def __init__(self) -> None:
        self._templates: dict[tuple[str, str], Template] = {}

    def request(
        self, client: httpx.AsyncClient, method: str, url: httpx.URL | str, build: Callable[..., httpx.Request]
    ) -> httpx.Request:
        """As *build* would make it; by it, where there is no template that still fits."""
        if (
            type(url) is not str
            or not url.startswith(("http://", "https://"))  # others depend on the base URL
            or method not in METHODS
            or client.params
            or client.cookies
            or httpx.AsyncClient.build_request is not BUILD
        ):
            return build(method, url)
        key = (method, url)
        template = self._templates.get(key)
        if template is not None and template.raw == client.headers.raw:
            return template.request(method, client.timeout)
        request = build(method, url)
        if request.extensions.keys() == {"timeout"}:
            if len(self._templates) >= MAX_PREPARED:
                del self._templates[next(iter(self._templates))]
            self._templates[key] = Template(request, client)
        return request


def is_untouched(client: httpx.AsyncClient, own: type[httpx.AsyncClient]) -> bool:
    """
    Whether every method that the short way leaves out is httpx's own: none is patched, none overridden.

    Args:
        own: Our class, whose own methods are known.
    """
    cls = type(client)
    return (
        (cls is own or tuple(map(partial(getattr, cls), NAMES)) == tuple(map(partial(getattr, own), NAMES)))
        and tuple(map(vars(httpx.AsyncClient).get, NAMES)) == METHODS_OF_HTTPX
        and client.__dict__.keys().isdisjoint(NAMES)
    )


def _own(name: str) -> object:
    """httpx's method; of a name that was patched before seawall came, what is never equal to anything."""
    method = vars(httpx.AsyncClient).get(name)
    is_own = isinstance(method, FunctionType) and method.__module__ == "httpx._client"
    return method if is_own and not hasattr(method, "__wrapped__") else object()


METHODS_OF_HTTPX: Final = tuple(map(_own, NAMES))
BUILD: Final = httpx.AsyncClient.build_request


def is_whole(response: httpx.Response) -> bool:
    """Whether nothing is left to do for it but what `settle` does."""
    headers = response.headers
    return (
        isinstance(response.stream, httpx.ByteStream)
        and "set-cookie" not in headers
        and not response.has_redirect_location
    )


def settle(response: httpx.Response, request: httpx.Request, *, started_at: float, default_encoding: Any) -> None:
    """What httpx does between a transport's answer and the caller, for one that `is_whole`."""
    response.request = request
    response.history = []
    response.default_encoding = default_encoding
    if logger.isEnabledFor(logging.INFO):
        logger.info(
            'HTTP Request: %s %s "%s %d %s"',
            request.method,
            request.url,
            response.http_version,
            response.status_code,
            response.reason_phrase,
        )
    if "content-encoding" in response.headers:
        response.read()
    else:
        content = b"".join(cast("httpx.ByteStream", response.stream))
        response._content = content
        response._num_bytes_downloaded = len(content)
        response.is_stream_consumed = response.is_closed = True
    response.elapsed = datetime.timedelta(seconds=time.perf_counter() - started_at)
