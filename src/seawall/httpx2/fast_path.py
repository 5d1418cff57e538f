# Written by scripts/twin.py from ../_httpx/fast_path.py: change that file, and run the script.
"""
The short way of a plain call: no authentication, hooks, mounts or stream.

Rules: a user sees exactly what httpx2's long way gives. The long way takes over wherever an answer is not plain (a
redirect, a cookie). A patched method of ``httpx2.AsyncClient`` switches the short way
off.
"""

from __future__ import annotations

import datetime
import inspect
import logging
import time
from typing import Any, Final

import httpx2

from .compat import SPENT, take_in
from .mocks import is_own
from .private import BUILDING, SHORT_WAY, STEPS, has

__all__ = ["HAS_SHORT_WAY", "is_built_by_httpx", "is_untouched", "settle"]

logger = logging.getLogger(httpx2.__name__)

HAS_SHORT_WAY: Final = has(SHORT_WAY)
"""Whether the installed httpx2 has all private names that it takes."""


def is_untouched(client: httpx2.AsyncClient, own: type[httpx2.AsyncClient]) -> bool:
    """
    Whether every method that the short way leaves out is httpx2's own: none is patched, none overridden.

    By identity, because a proxy around a method may equal it.

    Args:
        own: Our class, which has a `send` of its own.
    """
    cls = type(client)
    return (
        httpx2.AsyncClient.send is SEND
        and (cls is own or cls.send is own.send)
        and cls.request is REQUEST
        and cls._send_handling_auth is HANDLING_AUTH
        and cls._send_handling_redirects is HANDLING_REDIRECTS
        and cls._send_single_request is SINGLE_REQUEST
        and cls._transport_for_url is TRANSPORT_FOR_URL
        and client.__dict__.keys().isdisjoint(NAMES)
    )


def is_built_by_httpx(cls: type[httpx2.AsyncClient], own: type[httpx2.AsyncClient]) -> bool:
    """Whether *cls* builds requests as httpx2 does, by methods that are httpx2's own, or by the `headers` of *own*."""
    return (
        httpx2.AsyncClient.build_request is BUILD
        and cls._merge_url is MERGE_URL
        and cls._merge_headers is MERGE_HEADERS
        and httpx2.AsyncClient.headers is HEADERS
        and (cls is own or (cls.headers is own.headers and all(getattr(cls, name) is REST[name] for name in REST)))
    )


def _own(name: str) -> object:
    """httpx2's own; an object that nothing else is, where it was patched before seawall was imported, or isn't there."""
    member = inspect.getattr_static(httpx2.AsyncClient, name, None)
    functions = [member.fget, member.fset] if type(member) is property else [member]
    return member if all(is_own(function, httpx2.__name__) for function in functions) else object()


NAMES: Final = ("send", *STEPS)
SEND: Final = _own("send")
REQUEST, HANDLING_AUTH, HANDLING_REDIRECTS, SINGLE_REQUEST, TRANSPORT_FOR_URL = map(_own, STEPS)
BUILD: Final = _own("build_request")
MERGE_URL, MERGE_HEADERS, HEADERS = map(_own, ("_merge_url", "_merge_headers", "headers"))
REST: Final = {name: _own(name) for name in BUILDING}


def settle(response: httpx2.Response, request: httpx2.Request, *, started_at: float, default_encoding: Any) -> bool:
    """
    Do what httpx2 does between a transport's answer and the caller.

    Returns:
        False: Nothing was done, because there is more to do: a stream, a redirect, a cookie, a tool's own `aread`.
    """
    if type(response.stream) is not httpx2.ByteStream or "aread" in response.__dict__:
        return False
    is_coded = False
    for _, name, _ in response.headers._list:
        if name == b"content-encoding":
            is_coded = True
        elif name == b"set-cookie" or (name == b"location" and response.has_redirect_location):
            return False
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
    if is_coded:
        response.read()
        response.stream = SPENT
    else:
        take_in(response)
    response.elapsed = datetime.timedelta(0, time.perf_counter() - started_at)
    return True
