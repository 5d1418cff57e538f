"""
The short way of a plain call: no authentication, hooks or mounts.

Rules: a user sees exactly what httpx's long way gives. The long way takes over wherever an answer is not plain (a
redirect, a cookie). A patched method of ``httpx.AsyncClient`` switches the short way off.
"""

from __future__ import annotations

import datetime
import inspect
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

import httpx

from .compat import SPENT, take_in
from .mocks import is_own
from .private import BUILDING, SHORT_WAY, STEPS, has

__all__ = ["HAS_SHORT_WAY", "Timed", "is_built_by_httpx", "is_untouched", "send_on", "settle"]

logger = logging.getLogger(httpx.__name__)

TELLING: Final = frozenset((b"set-cookie", b"location"))

HAS_SHORT_WAY: Final = has(SHORT_WAY)
"""Whether the installed httpx has all private names that it takes."""


def is_untouched(client: httpx.AsyncClient, own: type[httpx.AsyncClient]) -> bool:
    """
    Whether every method that the short way leaves out is httpx's own: none is patched, none overridden.

    By identity, because a proxy around a method may equal it.

    Args:
        own: Our class, which has a `send` of its own.
    """
    cls = type(client)
    return (
        (httpx.AsyncClient.send is SEND if cls is own else super(own, cls).send is SEND and cls.send is own.send)  # type: ignore[misc]
        and cls.request is REQUEST
        and cls._send_handling_auth is HANDLING_AUTH
        and cls._send_handling_redirects is HANDLING_REDIRECTS
        and cls._send_single_request is SINGLE_REQUEST
        and cls._transport_for_url is TRANSPORT_FOR_URL
        and cls._build_request_auth is REQUEST_AUTH
        and cls._set_timeout is SET_TIMEOUT
        and client.__dict__.keys().isdisjoint(NAMES)
    )


def is_built_by_httpx(client: httpx.AsyncClient, own: type[httpx.AsyncClient], headers: property) -> bool:
    """
    Whether *client* builds requests as httpx does: by what is httpx's own, and by the *headers* of *own*, which differ
    from httpx's in a default only.
    """
    cls: Any = type(client)
    above: Any = httpx.AsyncClient if cls is own else super(own, cls)
    return (
        above.build_request is BUILD
        and cls.headers is headers
        and above.headers is HEADERS
        and cls._merge_url is MERGE_URL
        and cls._merge_headers is MERGE_HEADERS
        and cls._merge_cookies is MERGE_COOKIES
        and cls._merge_queryparams is MERGE_QUERYPARAMS
        and cls.base_url is BASE_URL
        and cls.cookies is COOKIES
        and cls.params is PARAMS
        and cls.timeout is TIMEOUT
        and client.__dict__.keys().isdisjoint(BUILT_WITH)
    )


def _own(name: str, owner: type = httpx.AsyncClient) -> object:
    """httpx's own; an object that nothing else is, where it was patched before seawall was imported, or isn't there."""
    member = inspect.getattr_static(owner, name, None)
    functions = [member.fget, member.fset] if type(member) is property else [member]
    return member if all(is_own(function, httpx.__name__) for function in functions) else object()


NAMES: Final = ("send", *STEPS)
SEND: Final = _own("send")
(REQUEST, HANDLING_AUTH, HANDLING_REDIRECTS, SINGLE_REQUEST, TRANSPORT_FOR_URL, REQUEST_AUTH, SET_TIMEOUT) = map(
    _own, STEPS
)
BUILD: Final = _own("build_request")
MERGE_URL, MERGE_HEADERS, HEADERS = map(_own, ("_merge_url", "_merge_headers", "headers"))
MERGE_COOKIES, MERGE_QUERYPARAMS, BASE_URL, COOKIES, PARAMS, TIMEOUT = map(_own, BUILDING)
BUILT_WITH: Final = ("_merge_url", "_merge_headers", *BUILDING)


def settle(
    response: httpx.Response, request: httpx.Request, *, is_stream: bool, started_at: float, default_encoding: Any
) -> bool:
    """
    Do what httpx does with a transport's response before it returns that to the caller.

    Args:
        is_stream: The caller reads the body.

    Returns:
        False: Nothing was done, because there is more to do: a redirect, a cookie; or, of a body that we read, a stream
            or a tool's own `aread`.
    """
    stream = response.stream
    if not is_stream and (type(stream) is not httpx.ByteStream or "aread" in response.__dict__):
        return False
    is_coded = False
    for _, name, _ in response.headers._list:
        if name == b"content-encoding":
            is_coded = True
        elif name in TELLING and (name == b"set-cookie" or response.has_redirect_location):
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
    if is_stream:
        assert isinstance(stream, httpx.AsyncByteStream)
        response.stream = Timed(stream, response, started_at)
        if not is_coded and type(response) is httpx.Response:
            response.__class__ = Unread
        return True
    if is_coded:
        response.read()
        response.stream = SPENT
    else:
        take_in(response)
    response.elapsed = datetime.timedelta(0, time.perf_counter() - started_at)
    return True


async def send_on(client: httpx.AsyncClient, request: httpx.Request, *, stream: bool) -> httpx.Response:
    """What httpx's `send` does after it has looked whether the client is closed, if the client is untouched."""
    auth = client._build_request_auth(request)
    response = await client._send_handling_auth(request, auth, client.follow_redirects, history=[])
    try:
        if not stream:
            await response.aread()
    except BaseException:
        await response.aclose()
        raise
    return response


class Timed(httpx.AsyncByteStream):
    """A body that tells its response how long it took, as httpx's own wrapper does; it then lets go of it."""

    def __init__(self, stream: httpx.AsyncByteStream, response: httpx.Response, started_at: float) -> None:
        self._stream = stream
        self._response: httpx.Response | None = response
        self._started_at = started_at

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        response, self._response = self._response, None
        try:
            await self._stream.aclose()
        finally:
            if response is not None:
                response.elapsed = datetime.timedelta(0, time.perf_counter() - self._started_at)


class Unread(httpx.Response):
    """
    A streamed response without a coding, until it is read.

    Its parts come as the wire has them. httpx passes each through two more generators, a decoder and two chunkers, none
    of which changes it: that takes twice as long as all that is left.
    """

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        """As in httpx."""
        self.__class__ = httpx.Response  # type: ignore[assignment]
        is_own = httpx.Response.aiter_bytes is AITER_BYTES and httpx.Response.aiter_raw is AITER_RAW
        if chunk_size is None and is_own and vars(self).keys().isdisjoint(READING):
            return Unread._parts(self)
        return self.aiter_bytes(chunk_size)  # httpx's

    def aiter_raw(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        """As in httpx."""
        self.__class__ = httpx.Response  # type: ignore[assignment]
        return self.aiter_raw(chunk_size)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As in httpx: whoever unpickles it may not have seawall."""
        self.__class__ = httpx.Response  # type: ignore[assignment]
        return self.__reduce_ex__(protocol)

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        if "_content" in vars(self):  # it was read meanwhile
            async for part in httpx.Response.aiter_bytes(self):
                yield part
            return
        if self.is_stream_consumed:
            raise httpx.StreamConsumed
        if self.is_closed:
            raise httpx.StreamClosed
        self.is_stream_consumed = True
        self._num_bytes_downloaded = 0
        try:
            async for part in self.stream:  # type: ignore[union-attr]
                self._num_bytes_downloaded += len(part)
                if part:
                    yield part
        except httpx.RequestError as error:
            error.request = self.request
            raise
        await self.aclose()


AITER_BYTES: Final = _own("aiter_bytes", httpx.Response)
AITER_RAW: Final = _own("aiter_raw", httpx.Response)
READING: Final = ("aiter_raw", "_content", "_decoder")  # of a tool's or a caller's own
