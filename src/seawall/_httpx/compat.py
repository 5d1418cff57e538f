"""
httpx's requests and responses, made and read without its constructors where its private names allow that.

Rules: each function has two ways with one result, and which one is used is settled at import, see `private`. What is
made here has every attribute that httpx's own has, and no other.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from operator import attrgetter
from typing import Any, Final

import httpx

from ..origin import Origin
from ..wire.message import Triples
from .private import CLIENT, FORM, FORMS, HEADERS, ITERATOR, ITERATORS, MADE, READ, URLS, has

__all__ = [
    "EMPTY",
    "JAR",
    "SPENT",
    "answer",
    "ask",
    "files_of",
    "given",
    "is_read",
    "merged",
    "origin_and_path",
    "origin_of",
    "request_of",
    "set_headers",
    "take_in",
    "target_of",
    "triples",
    "unbind",
]

WEBSOCKET: Final = {"ws": "http", "wss": "https"}  # httpcore takes them too, because a handshake is a request
JAR: Final = type(httpx.Cookies().jar)


class _Spent(httpx.AsyncByteStream):
    """A body that was read."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        return
        yield b""


SPENT: Final = _Spent()


# Headers and URLs


def _triples(headers: httpx.Headers) -> Triples:
    return [(name, name.lower(), value) for name, value in headers.raw]


triples: Final[Callable[[httpx.Headers], Triples]] = attrgetter("_list") if has(HEADERS) else _triples
"""A header's own list; not to be changed."""


def _merged_directly(headers: httpx.Headers, added: Mapping[str, str]) -> httpx.Headers:
    pairs = [(name.encode("ascii"), value.encode("ascii")) for name, value in added.items()]
    items = [(name, name.lower(), value) for name, value in pairs]
    given = {lower for _, lower, _ in items}
    merged = httpx.Headers.__new__(httpx.Headers)
    merged._list = [each for each in headers._list if each[1] not in given] + items
    merged._encoding = headers._encoding
    return merged


def _merged(headers: httpx.Headers, added: Mapping[str, str]) -> httpx.Headers:
    merged = headers.copy()
    merged.update(added)
    return merged


def _origin_of_parts(url: httpx.URL) -> tuple[str, str, int | None, str]:
    parts = url._uri_reference
    return parts.scheme, parts.host, parts.port, parts.path or "/"


def _origin_of(url: httpx.URL) -> tuple[str, str, int | None, str]:
    return url.scheme, url.raw_host.decode("ascii"), url.port, _target_of(url).partition("?")[0]


def _target_of_parts(url: httpx.URL) -> str:
    parts = url._uri_reference
    path = parts.path or "/"
    return path if parts.query is None else f"{path}?{parts.query}"


def _target_of(url: httpx.URL) -> str:
    return url.raw_path.decode("ascii")


origin_of: Final = _origin_of_parts if has(URLS) else _origin_of
"""Scheme, host in ASCII, port; and the path, without the query."""
target_of: Final = _target_of_parts if has(URLS) else _target_of
"""``URL.raw_path``, as a str."""


def origin_and_path(url: httpx.URL) -> tuple[Origin, str]:
    """Where a request goes, and its path without the query."""
    scheme, host, port, path = origin_of(url)
    scheme = WEBSOCKET.get(scheme, scheme)
    if port is None:
        port = 443 if scheme == "https" else 80
    return _origin(scheme, host, port), path


@functools.lru_cache(1024)
def _origin(scheme: str, host: str, port: int) -> Origin:
    return Origin(scheme, host, port)


def set_headers(client: httpx.AsyncClient, headers: httpx.Headers) -> None:
    """``client.headers = headers``, as httpx does it: its defaults, and these over them."""
    CLIENT.headers.fset(client, headers)  # type: ignore[attr-defined]


# Made without a constructor, if all attributes that it sets are known


def ask(method: str, url: httpx.URL, items: Triples, extensions: dict[str, Any], body: bytes = b"") -> httpx.Request:
    """A request, if `IS_KNOWN`. *method* is in upper case, the headers *items* are complete; both become its own."""
    request = httpx.Request.__new__(httpx.Request)
    request.method = method
    request.url = url
    request.headers = headers = httpx.Headers.__new__(httpx.Headers)
    headers._list = items
    headers._encoding = None
    request.extensions = extensions
    request.stream = httpx.ByteStream(body) if body else EMPTY
    request._content = body
    return request


def _answer_directly(
    status: int, items: Triples, stream: httpx.AsyncByteStream, extensions: dict[str, Any]
) -> httpx.Response:
    response = httpx.Response.__new__(httpx.Response)
    response.status_code = status
    response.headers = headers = httpx.Headers.__new__(httpx.Headers)
    headers._list = items
    headers._encoding = None
    response._request = None
    response.next_request = None
    response.extensions = extensions
    response.history = []
    response.is_closed = False
    response.is_stream_consumed = False
    response.default_encoding = "utf-8"
    response.stream = stream
    response._num_bytes_downloaded = 0
    return response


def _answer(status: int, items: Triples, stream: httpx.AsyncByteStream, extensions: dict[str, Any]) -> httpx.Response:
    return httpx.Response(status, headers=_pairs(items), stream=stream, extensions=extensions)


def _pairs(items: Triples) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, _, value in items]


def _is_same(one: object, other: object) -> bool:
    """Whether two objects have the same attributes, with the same values or values of the same class."""
    ours, theirs = vars(one), vars(other)
    return ours.keys() == theirs.keys() and all(
        ours[name] == theirs[name] or type(ours[name]) is type(theirs[name]) is httpx.ByteStream for name in ours
    )


def _is_known() -> bool:
    """Whether what we make is what a constructor makes: a release that adds an attribute makes its own."""
    url, items = httpx.URL("http://a/"), [(b"Host", b"host", b"a"), (b"Content-Length", b"content-length", b"1")]
    asked, ours = ask("PUT", url, items, {}, b"x"), _answer_directly(200, items, EMPTY, {})
    made, theirs = httpx.Request("PUT", url, headers=_pairs(items), content=b"x"), _answer(200, items, EMPTY, {})
    pairs = ((asked, made), (asked.headers, made.headers), (ours, theirs), (ours.headers, theirs.headers))
    return all(_is_same(*pair) for pair in pairs)


EMPTY: Final = httpx.ByteStream(b"")
IS_KNOWN: Final = has(MADE) and _is_known()
merged: Final = _merged_directly if IS_KNOWN else _merged
"""A copy of *headers* with what is *added*, in ASCII, in place of those of the same names."""
answer: Final = _answer_directly if IS_KNOWN else _answer
"""A response whose body was not read yet. The headers *items* and *extensions* become its own."""


# Bodies of requests


def _given(stream: httpx.AsyncByteStream) -> Any:
    return stream._stream if type(stream) is ITERATOR else stream  # type: ignore[attr-defined]


def _files_of(stream: httpx.AsyncByteStream) -> list[Any] | None:
    return [getattr(field, "file", b"") for field in stream.fields] if type(stream) is FORM else None  # type: ignore[attr-defined]


given: Final[Callable[[httpx.AsyncByteStream], Any]] = _given if has(ITERATORS) else lambda stream: stream
"""What the caller gave as a body that is not in memory; httpx wraps it."""
files_of: Final[Callable[[httpx.AsyncByteStream], list[Any] | None]] = _files_of if has(FORMS) else lambda stream: None
"""The files and bytes of httpx's multipart form; None: *stream* isn't one, or it can't be told."""


# Responses, and the requests of errors


def _is_read_by_attribute(response: httpx.Response) -> bool:
    return hasattr(response, "_content")


def _is_read(response: httpx.Response) -> bool:
    try:
        return response.content is not None
    except httpx.ResponseNotRead:
        return False


is_read: Final = _is_read_by_attribute if has(READ) else _is_read
"""Whether its content is there."""


def take_in(response: httpx.Response) -> None:
    """Read its body, which is there and has no encoding; on the short way only."""
    content = response.stream._stream  # type: ignore[union-attr]
    response._content = content
    response.stream = SPENT
    response._num_bytes_downloaded = len(content)
    response.is_stream_consumed = True
    response.is_closed = True


def unbind(response: httpx.Response) -> None:
    """
    Take httpx's streams from it and its history, as far as they were read: stream and response hold each other.

    Those of a release that don't stay, because they know how long the answer took.
    """
    for each in (*response.history, response):
        if each.is_closed and getattr(each.stream, "_response", None) is each:
            each.stream = SPENT


def request_of(thing: httpx.Response | BaseException) -> httpx.Request | None:
    """The request of a response, or of an error; None: it was told none, or is an error of others."""
    try:
        request: httpx.Request = thing.request  # type: ignore[union-attr]
    except (AttributeError, RuntimeError):
        return None
    return request
