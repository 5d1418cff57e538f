"""
httpx's requests and responses, read and made without its constructors: what of httpx's private names the hot path uses.

Rules: what is made here has every attribute that httpx's own has, and no other. tests/unit/test_contracts.py holds the
installed httpx to each name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
from httpx._client import BoundAsyncStream
from httpx._content import AsyncIteratorByteStream
from httpx._decoders import SUPPORTED_DECODERS
from httpx._multipart import FileField, MultipartStream

from ..wire.message import Triples

__all__ = [
    "EMPTY",
    "SPENT",
    "answer",
    "ask",
    "decoder_of",
    "files_of",
    "given",
    "is_decoded_by_httpx",
    "is_read",
    "origin_of",
    "set_decoder",
    "set_headers",
    "take_in",
    "target_of",
    "triples",
    "unbind",
]

EMPTY: Final = httpx.ByteStream(b"")
CLIENT: Final = httpx.AsyncClient
"""httpx's own, also where somebody puts `seawall.AsyncClient` in its place to give it to an SDK."""


class _Spent(httpx.AsyncByteStream):
    """What was read."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        return
        yield b""


SPENT: Final = _Spent()


def triples(headers: httpx.Headers) -> Triples:
    """Its own list; not to be changed."""
    return headers._list


def origin_of(url: httpx.URL) -> tuple[str, str, int | None, str]:
    """Scheme, host in ASCII, port; and the path, without the query."""
    parts = url._uri_reference
    return parts.scheme, parts.host, parts.port, parts.path


def target_of(url: httpx.URL) -> str:
    """``URL.raw_path``, as a str."""
    parts = url._uri_reference
    path = parts.path or "/"
    return path if parts.query is None else f"{path}?{parts.query}"


def _headers(items: Triples) -> httpx.Headers:
    headers = httpx.Headers.__new__(httpx.Headers)
    headers._list = items
    headers._encoding = None
    return headers


def given(stream: httpx.AsyncByteStream) -> Any:
    """What the caller gave as a body that is not in memory; httpx wraps it."""
    return stream._stream if type(stream) is AsyncIteratorByteStream else stream


def files_of(stream: httpx.AsyncByteStream) -> list[Any] | None:
    """Of httpx's multipart form, what its fields are read from; None: it is none."""
    if type(stream) is not MultipartStream:
        return None
    return [field.file if isinstance(field, FileField) else b"" for field in stream.fields]


def ask(method: str, url: httpx.URL, headers: Triples, extensions: dict[str, Any]) -> httpx.Request:
    """A request without a body. *method* is in upper case, *headers* are complete; both are the request's own."""
    request = httpx.Request.__new__(httpx.Request)
    request.method = method
    request.url = url
    request.headers = _headers(headers)
    request.extensions = extensions
    request.stream = EMPTY
    request._content = b""
    return request


def answer(status: int, headers: Triples, stream: httpx.AsyncByteStream, extensions: dict[str, Any]) -> httpx.Response:
    """A response whose body was not read yet. *headers* and *extensions* are its own."""
    response = httpx.Response.__new__(httpx.Response)
    response.status_code = status
    response.headers = _headers(headers)
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


def set_decoder(response: httpx.Response, decoder: Any) -> None:
    """Have its body decoded by *decoder*, which has ``decode(data)`` and ``flush()``."""
    response._decoder = decoder


def decoder_of(response: httpx.Response) -> Any:
    """What `set_decoder` set; None: httpx will look for one."""
    return vars(response).get("_decoder")


def is_decoded_by_httpx(coding: str) -> bool:
    """Whether httpx has a decoder for it; for br and zstd, where their packages are installed."""
    return coding in SUPPORTED_DECODERS


def is_read(response: httpx.Response) -> bool:
    """Whether its content is there."""
    return hasattr(response, "_content")


def set_headers(client: httpx.AsyncClient, headers: httpx.Headers) -> None:
    """``client.headers = headers``, as httpx does it: its defaults, and these over them."""
    CLIENT.headers.fset(client, headers)  # type: ignore[attr-defined]


def take_in(response: httpx.Response) -> None:
    """Read its body, which is there and has no encoding."""
    content = response.stream._stream  # type: ignore[union-attr]
    response._content = content
    response.stream = SPENT
    response._num_bytes_downloaded = len(content)
    response.is_stream_consumed = True
    response.is_closed = True


def unbind(response: httpx.Response) -> None:
    """Take httpx's streams from it and its history, as far as they were read: stream and response hold each other."""
    for each in (*response.history, response):
        if each.is_closed and type(each.stream) is BoundAsyncStream:
            each.stream = SPENT
