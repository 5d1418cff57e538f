"""
The short way of a plain call: no body to build, no cookies, authentication, hooks, mounts or stream.

Rules: what a user can see is exactly what httpx's long way gives, which makes the first request of each URL, and takes
over wherever an answer is not plain (a redirect, a cookie). A patched method of ``httpx.AsyncClient`` switches the
short way off. httpx's private names that it needs stand here, and tests/unit/test_contracts.py holds on to them.
"""

from __future__ import annotations

import datetime
import inspect
import logging
import time
from collections.abc import Callable
from http.cookiejar import CookieJar
from typing import Any, Final

import httpx

from .compat import SPENT, ask, take_in, triples
from .mocks import is_own

__all__ = ["Prepared", "is_bare", "is_untouched", "is_whole", "settle"]

logger = logging.getLogger("httpx")

METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})  # without a body they have no content-length
MAX_PREPARED: Final = 1024
STEPS: Final = (
    "request",
    "_send_handling_auth",
    "_send_handling_redirects",
    "_send_single_request",
    "_transport_for_url",
)
"""What the short way leaves out, beside `send`."""

REST_NAMES: Final = ("_merge_cookies", "_merge_queryparams", "base_url", "cookies", "params", "timeout")
"""What else a request is built with: of a subclass that has its own, each is built anew."""


class Template:
    """A request that httpx built, and what of the client it was built from."""

    __slots__ = ("_base_url", "_headers", "_of_client", "_url")

    def __init__(self, request: httpx.Request, client: httpx.AsyncClient) -> None:
        self._url = request.url
        self._headers = list(triples(request.headers))
        self._base_url = client.base_url
        self._of_client = list(triples(client.headers))

    def fits(self, client: httpx.AsyncClient) -> bool:
        """Whether httpx would build the same now."""
        return self._base_url is client._base_url and self._of_client == triples(client._headers)

    def request(self, method: str, timeout: httpx.Timeout) -> httpx.Request:
        """One like it."""
        return ask(method, self._url, self._headers.copy(), {"timeout": timeout.as_dict()})


class Prepared:
    """
    Templates by method and URL: bounded, the oldest goes first.

    Args:
        own: Our class, whose `headers` differ from httpx's in a default only.
    """

    def __init__(self, own: type[httpx.AsyncClient]) -> None:
        self._own = own
        self._templates: dict[tuple[str, str], Template] = {}

    def request(
        self, client: httpx.AsyncClient, method: str, url: httpx.URL | str, build: Callable[..., httpx.Request]
    ) -> httpx.Request:
        """As *build* would make it; by it, where there is no template that still fits."""
        if (
            type(url) is not str
            or method not in METHODS
            or client._params
            or has_cookies(client)
            or not is_built_by_httpx(type(client), self._own)
        ):
            return build(method, url)
        key = (method, url)
        template = self._templates.get(key)
        if template is not None and template.fits(client):
            return template.request(method, client._timeout)
        request = build(method, url)
        if request.extensions.keys() == {"timeout"}:
            if len(self._templates) >= MAX_PREPARED:
                del self._templates[next(iter(self._templates))]
            self._templates[key] = Template(request, client)
        return request


def has_cookies(client: httpx.AsyncClient) -> bool:
    jar = client._cookies.jar
    return type(jar) is not CookieJar or bool(jar._cookies)  # type: ignore[attr-defined]


def is_bare(client: httpx.AsyncClient) -> bool:
    """Whether nothing of the client's own is to be done to a request: authentication, hooks, mounts."""
    hooks = client._event_hooks
    return type(hooks) is dict and not (client._auth or client._mounts or hooks["request"] or hooks["response"])


def is_untouched(client: httpx.AsyncClient, own: type[httpx.AsyncClient]) -> bool:
    """
    Whether every method that the short way leaves out is httpx's own: none is patched, none overridden.

    By identity, because a proxy around a method may equal it.

    Args:
        own: Our class, which has a `send` of its own.
    """
    cls = type(client)
    return (
        httpx.AsyncClient.send is SEND
        and (cls is own or cls.send is own.send)
        and cls.request is REQUEST
        and cls._send_handling_auth is HANDLING_AUTH
        and cls._send_handling_redirects is HANDLING_REDIRECTS
        and cls._send_single_request is SINGLE_REQUEST
        and cls._transport_for_url is TRANSPORT_FOR_URL
        and client.__dict__.keys().isdisjoint(NAMES)
    )


def is_built_by_httpx(cls: type[httpx.AsyncClient], own: type[httpx.AsyncClient]) -> bool:
    """Whether *cls* builds requests as httpx does, by methods that are httpx's own, or by the `headers` of *own*."""
    return (
        httpx.AsyncClient.build_request is BUILD
        and cls._merge_url is MERGE_URL
        and cls._merge_headers is MERGE_HEADERS
        and httpx.AsyncClient.headers is HEADERS
        and (cls is own or (cls.headers is own.headers and all(getattr(cls, name) is REST[name] for name in REST)))
    )


def _own(name: str) -> object:
    """httpx's; of one that was patched before seawall came, an object that nothing else is."""
    member = inspect.getattr_static(httpx.AsyncClient, name)
    functions = [member.fget, member.fset] if type(member) is property else [member]
    return member if all(is_own(function, "httpx") for function in functions) else object()


NAMES: Final = ("send", *STEPS)
SEND: Final = _own("send")
REQUEST, HANDLING_AUTH, HANDLING_REDIRECTS, SINGLE_REQUEST, TRANSPORT_FOR_URL = map(_own, STEPS)
BUILD: Final = _own("build_request")
MERGE_URL, MERGE_HEADERS, HEADERS = map(_own, ("_merge_url", "_merge_headers", "headers"))
REST: Final = {name: _own(name) for name in REST_NAMES}


def is_whole(response: httpx.Response) -> bool:
    """Whether nothing is left to do for it but what `settle` does."""
    if type(response.stream) is not httpx.ByteStream:
        return False
    for _, name, _ in triples(response.headers):
        if name == b"set-cookie" or (name == b"location" and response.has_redirect_location):
            return False
    return True


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
    for _, name, _ in triples(response.headers):
        if name == b"content-encoding":
            response.read()
            response.stream = SPENT
            break
    else:
        take_in(response)
    response.elapsed = datetime.timedelta(seconds=time.perf_counter() - started_at)
