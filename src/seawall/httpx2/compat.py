# Written by scripts/twin.py from ../_httpx/compat.py: change that file, and run the script.
"""
What of httpx2 isn't public, and requests and responses that are made and read without its constructors.

Rules: each private name of httpx2 that this folder stands on is in `PRIVATE` or imported here, and all are looked for
once, at import, because a release that lacks one must not fail later and oddly. Features tell releases apart, never a
version. What is made here has every attribute that httpx2's own has, and no other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from operator import attrgetter
from typing import Any, Final

import httpx2

from ..wire.coding import CodingError
from ..wire.message import Triples

try:
    from httpx2._client import BoundAsyncStream, ClientState
    from httpx2._content import AsyncIteratorByteStream
    from httpx2._decoders import SUPPORTED_DECODERS, IdentityDecoder
    from httpx2._multipart import FileField, MultipartStream
except ImportError as error:
    raise ImportError(
        f"seawall stands on a private name that httpx2 {httpx2.__version__} doesn't have: {error}; "
        "install an httpx2 that seawall's requirements allow, or a newer seawall"
    ) from error

__all__ = [
    "BUILDING",
    "DECODED",
    "EMPTY",
    "JAR",
    "OPENED",
    "PRIVATE",
    "SPENT",
    "STEPS",
    "answer",
    "ask",
    "decoder_of",
    "files_of",
    "given",
    "is_read",
    "missing",
    "origin_of",
    "set_decoder",
    "set_headers",
    "take_in",
    "target_of",
    "triples",
    "unbind",
]

STEPS: Final = (
    "request",
    "_send_handling_auth",
    "_send_handling_redirects",
    "_send_single_request",
    "_transport_for_url",
)
"""What the short way of a call leaves out, beside `send`."""

BUILDING: Final = ("_merge_cookies", "_merge_queryparams", "base_url", "cookies", "params", "timeout")
"""What else a request is built with: of a subclass that has its own, each request is built anew."""

PRIVATE: Final[Mapping[str, tuple[str, ...]]] = {
    "AsyncClient": (
        *STEPS, *BUILDING, "_auth", "_base_url", "_build_redirect_request", "_cookies", "_event_hooks", "_headers",
        "_init_proxy_transport", "_init_transport", "_merge_headers", "_merge_url", "_mounts", "_params", "_state",
        "_timeout", "_transport",
    ),
    "ByteStream": ("_stream",),
    "CookieJar": ("_cookies",),
    "Headers": ("_encoding", "_list"),
    "Request": ("_content",),
    "RequestError": ("_request",),
    "Response": ("_num_bytes_downloaded", "_request"),
    "URL": ("_uri_reference",),
    "ParseResult": ("host", "path", "port", "query", "scheme", "userinfo"),
}  # fmt: skip
"""By class, of its instances."""

EMPTY: Final = httpx2.ByteStream(b"")
CLIENT: Final = httpx2.AsyncClient
"""httpx2's own, also where somebody puts `seawall.httpx2.AsyncClient` in its place to give it to an SDK."""
DECODED: Final = frozenset(SUPPORTED_DECODERS)
"""Codings that httpx2 decodes by itself: br and zstd, where their packages are installed."""
JAR: Final = type(httpx2.Cookies().jar)
OPENED: Final = ClientState.OPENED
IS_PIECEWISE: Final = not isinstance(IdentityDecoder().decode(b""), bytes)
"""Whether httpx2 takes an iterable of pieces from a decoder, as httpx2 does, or bytes."""


def missing() -> list[str]:
    """The names of `PRIVATE` that the installed httpx2 doesn't have."""
    url = httpx2.URL("http://a/")
    things = {
        "AsyncClient": CLIENT(transport=httpx2.AsyncBaseTransport(), trust_env=False),
        "ByteStream": EMPTY,
        "CookieJar": httpx2.Cookies().jar,
        "Headers": httpx2.Headers(),
        "Request": httpx2.Request("GET", url),
        "RequestError": httpx2.RequestError(""),
        "Response": httpx2.Response(200, stream=EMPTY),
        "URL": url,
        "ParseResult": getattr(url, "_uri_reference", None),
    }
    return [f"{kind}.{name}" for kind, names in PRIVATE.items() for name in names if not hasattr(things[kind], name)]


if lacking := missing():
    raise ImportError(
        f"seawall stands on private names that httpx2 {httpx2.__version__} doesn't have: {', '.join(lacking)}; "
        "install an httpx2 that seawall's requirements allow, or a newer seawall"
    )


class _Spent(httpx2.AsyncByteStream):
    """A body that was read."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        return
        yield b""


SPENT: Final = _Spent()


# Headers and URLs

triples: Final[Callable[[httpx2.Headers], Triples]] = attrgetter("_list")
"""A header's own list; not to be changed."""


def origin_of(url: httpx2.URL) -> tuple[str, str, int | None, str]:
    """Scheme, host in ASCII, port; and the path, without the query."""
    parts = url._uri_reference
    return parts.scheme, parts.host, parts.port, parts.path


def target_of(url: httpx2.URL) -> str:
    """``URL.raw_path``, as a str."""
    parts = url._uri_reference
    path = parts.path or "/"
    return path if parts.query is None else f"{path}?{parts.query}"


def set_headers(client: httpx2.AsyncClient, headers: httpx2.Headers) -> None:
    """``client.headers = headers``, as httpx2 does it: its defaults, and these over them."""
    CLIENT.headers.fset(client, headers)  # type: ignore[attr-defined]


# Requests


def ask(method: str, url: httpx2.URL, items: Triples, extensions: dict[str, Any]) -> httpx2.Request:
    """A request without a body. *method* is in upper case, the headers *items* are complete; both become its own."""
    request = httpx2.Request.__new__(httpx2.Request)
    request.method = method
    request.url = url
    request.headers = headers = httpx2.Headers.__new__(httpx2.Headers)
    headers._list = items
    headers._encoding = None
    request.extensions = extensions
    request.stream = EMPTY
    request._content = b""
    return request


def given(stream: httpx2.AsyncByteStream) -> Any:
    """What the caller gave as a body that is not in memory; httpx2 wraps it."""
    return stream._stream if type(stream) is AsyncIteratorByteStream else stream


def files_of(stream: httpx2.AsyncByteStream) -> list[Any] | None:
    """The files and bytes of httpx2's multipart form; None: *stream* isn't one."""
    if type(stream) is not MultipartStream:
        return None
    return [field.file if isinstance(field, FileField) else b"" for field in stream.fields]


# Responses


def answer(status: int, items: Triples, stream: httpx2.AsyncByteStream, extensions: dict[str, Any]) -> httpx2.Response:
    """A response whose body was not read yet. The headers *items* and *extensions* become its own."""
    response = httpx2.Response.__new__(httpx2.Response)
    response.status_code = status
    response.headers = headers = httpx2.Headers.__new__(httpx2.Headers)
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


def is_read(response: httpx2.Response) -> bool:
    """Whether its content is there."""
    return hasattr(response, "_content")


def take_in(response: httpx2.Response) -> None:
    """Read its body, which is there and has no encoding."""
    content = response.stream._stream  # type: ignore[union-attr]
    response._content = content
    response.stream = SPENT
    response._num_bytes_downloaded = len(content)
    response.is_stream_consumed = True
    response.is_closed = True


def unbind(response: httpx2.Response) -> None:
    """
    Take httpx2's streams from it and its history, as far as they were read: stream and response hold each other.

    httpx2's don't, and know how long the answer took.
    """
    for each in (*response.history, response):
        if each.is_closed and type(each.stream) is BoundAsyncStream and hasattr(each.stream, "_response"):
            each.stream = SPENT


# Decoders


class Theirs:
    """
    A decoder as httpx2 wants one: its errors are httpx2's.

    Args:
        ours: It has ``decode(data)`` and ``flush()``.
    """

    __slots__ = ("ours",)

    def __init__(self, ours: Any) -> None:
        self.ours = ours

    def decode(self, data: bytes) -> Any:
        return self._made(self.ours.decode, data)

    def flush(self) -> Any:
        return self._made(self.ours.flush)

    def _made(self, make: Callable[..., bytes], *data: bytes) -> Any:
        try:
            made = make(*data)
        except CodingError as error:
            raise httpx2.DecodingError(str(error)) from error
        return (made,) if IS_PIECEWISE else made


def set_decoder(response: httpx2.Response, decoder: Any) -> None:
    """Have its body decoded by *decoder*, which has ``decode(data)`` and ``flush()``."""
    response._decoder = Theirs(decoder)  # type: ignore[assignment]


def decoder_of(response: httpx2.Response) -> Any:
    """The decoder that `set_decoder` set; None: httpx2 will look for one."""
    return getattr(vars(response).get("_decoder"), "ours", None)
