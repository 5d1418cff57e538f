"""
The private names of httpx that this folder uses, looked for once, at import.

Rules: each is in `PRIVATE`, by what it is used for. A use that lacks one of its names in the installed httpx is off,
and httpx's public names serve, which is slower: a new release must neither break seawall nor fail later and oddly.
Where the public names have no other way, importing raises ImportError. Features tell releases apart, never a version.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Final

import httpx

__all__ = [
    "BUILDING",
    "CLIENT",
    "FORM",
    "FORMS",
    "HANDED",
    "HEADERS",
    "HOOKS",
    "INITS",
    "ITERATOR",
    "ITERATORS",
    "MADE",
    "MISSING",
    "MOUNTS",
    "OPENED",
    "PRIVATE",
    "READ",
    "SHORT_WAY",
    "STEPS",
    "TIMEOUT",
    "URLS",
    "Part",
    "has",
    "is_asked",
]

logger = logging.getLogger("seawall")

STEPS: Final = (
    "request",
    "_send_handling_auth",
    "_send_handling_redirects",
    "_send_single_request",
    "_transport_for_url",
    "_build_request_auth",
    "_set_timeout",
)
"""What the short way of a call leaves out, beside `send`."""

BUILDING: Final = ("_merge_cookies", "_merge_queryparams", "base_url", "cookies", "params", "timeout")
"""What else a request is built with: of a subclass that has its own, each request is built anew."""

if not isinstance(httpx.AsyncClient, type):  # nothing here must remember it
    raise ImportError(
        f"httpx.AsyncClient is replaced by {httpx.AsyncClient!r}: import httpx before seawall, then it may be"
    )

CLIENT: Final = httpx.AsyncClient
"""httpx's own, also where somebody puts `seawall.AsyncClient` in its place to give it to an SDK."""


def _of(owner: str, *names: str) -> frozenset[str]:
    return frozenset(f"{owner}.{name}" for name in names)


HEADERS: Final = _of("Headers", "_list")
URLS: Final = _of("URL", "_uri_reference") | _of(
    "ParseResult", "host", "path", "port", "query", "scheme", "userinfo"
)  # fmt: skip
MADE: Final = (
    _of("Headers", "_encoding", "_list")
    | _of("Request", "_content")
    | _of("Response", "_num_bytes_downloaded", "_request")
)
READ: Final = _of("Response", "_content")
ITERATORS: Final = _of("AsyncIteratorByteStream", "_stream")
FORMS: Final = _of("MultipartStream", "fields") | _of("FileField", "file")
INITS: Final = _of("AsyncClient", "_init_proxy_transport", "_init_transport")
MOUNTS: Final = _of("AsyncClient", "_mounts")
HOOKS: Final = INITS | MOUNTS
DECODERS: Final = _of("Response", "_decoder")
TIMEOUT: Final = _of("AsyncClient", "_timeout")
SHORT_WAY: Final = (
    HEADERS
    | URLS
    | READ
    | _of("AsyncClient", *(name for name in (*STEPS, *BUILDING) if name.startswith("_")))
    | _of("AsyncClient", "_auth", "_base_url", "_cookies", "_event_hooks", "_headers", "_merge_headers", "_merge_url")
    | TIMEOUT
    | _of("AsyncClient", "_mounts", "_params", "_state", "_transport")
    | _of("ByteStream", "_stream")
    | _of("ClientState", "OPENED")
    | _of("CookieJar", "_cookies")
    | _of("Response", "_num_bytes_downloaded")
)
PRIVATE: Final = SHORT_WAY | MADE | ITERATORS | FORMS | HOOKS | DECODERS
"""By class, of its instances."""

VALUES: Final[Mapping[str, object]] = {
    "ByteStream._stream": b"x",
    "Headers._list": [(b"A", b"a", b"b")],
    "ParseResult.host": "a",
    "ParseResult.path": "/b",
    "ParseResult.port": 81,
    "ParseResult.query": "c",
    "ParseResult.scheme": "http",
    "Response._content": b"x",
}
"""What some of them hold in a sample, because a release may use the same name for something else."""


class Part:
    """
    A decoder that makes one part, whatever it is given.

    Args:
        handed: What httpx wants of a decoder, made of bytes.
    """

    def __init__(self, handed: Callable[[bytes], Any] = bytes) -> None:
        self._handed = handed

    def decode(self, data: bytes) -> Any:
        return self._handed(b"part")

    def flush(self) -> Any:
        return self._handed(b"")


def is_asked(set_decoder: Callable[[httpx.Response], None]) -> bool:
    """Whether httpx, for all that is read of a response, asks the `Part` that *set_decoder* gives it."""
    try:
        for is_async in (False, True):
            response = httpx.Response(200, stream=httpx.ByteStream(b"raw"))
            set_decoder(response)
            if (_now(response.aread()) if is_async else response.read()) != b"part":
                return False
    except Exception:  # noqa: BLE001 - whatever it says, httpx wants something else
        return False
    return True


def _now(awaitable: Coroutine[Any, Any, bytes]) -> bytes:
    """What it returns, of one that waits for nothing."""
    try:
        awaitable.send(None)
    except StopIteration as end:
        made: bytes = end.value
        return made
    awaitable.close()
    raise TypeError(f"{awaitable!r} waits for something")


def _handed() -> Callable[[bytes], Any] | None:
    """What httpx wants of a decoder: bytes, or an iterable of them; None: it asks no decoder of ours."""
    ways: tuple[Callable[[bytes], Any], ...] = (bytes, lambda made: (made,))
    for handed in ways:
        if is_asked(lambda response, handed=handed: setattr(response, "_decoder", Part(handed))):  # type: ignore[misc]
            return handed
    return None


def _heeded() -> frozenset[str]:
    """Which of our hooks httpx calls, and whose transports it then keeps."""
    bottom, of_proxy = httpx.AsyncBaseTransport(), httpx.AsyncBaseTransport()

    class Hooked(CLIENT):  # type: ignore[misc, valid-type]
        def _init_transport(self, *_: Any, **arguments: Any) -> httpx.AsyncBaseTransport:
            return bottom

        def _init_proxy_transport(self, *_: Any, **arguments: Any) -> httpx.AsyncBaseTransport:
            return of_proxy

    kept = list(vars(Hooked(proxy="http://proxy", trust_env=False)).values())
    kept += [inner for each in kept if isinstance(each, dict) for inner in each.values()]
    hooks = {"_init_transport": bottom, "_init_proxy_transport": of_proxy}
    return _of("AsyncClient", *(name for name, made in hooks.items() if any(each is made for each in kept)))


async def _parts() -> AsyncIterator[bytes]:
    yield b""


def _samples() -> dict[str, object]:
    """Of each class, an instance made by public names, because most attributes are set by a constructor."""
    url = httpx.URL("http://a:81/b?c")
    client = CLIENT(transport=httpx.AsyncBaseTransport(), trust_env=False)
    # With a type, because mimetypes reads files.
    form: Any = httpx.Request("POST", url, files={"a": ("a", b"", "text/plain")}).stream
    return {
        "AsyncClient": client,
        "AsyncIteratorByteStream": httpx.Request("POST", url, content=_parts()).stream,
        "ByteStream": httpx.ByteStream(b"x"),
        "ClientState": type(getattr(client, "_state", None)),
        "CookieJar": httpx.Cookies().jar,
        "FileField": next(iter(getattr(form, "fields", ())), None),
        "Headers": httpx.Headers([(b"A", b"b")]),
        "MultipartStream": form,
        "ParseResult": getattr(url, "_uri_reference", None),
        "Request": httpx.Request("GET", url),
        "Response": httpx.Response(200, content=b"x"),
        "URL": url,
    }


def _missing(samples: Mapping[str, object]) -> frozenset[str]:
    """The names of `PRIVATE` that the installed httpx doesn't have, or has for something else."""
    missing = set() if HANDED is not None else {*DECODERS}
    for dotted in PRIVATE - DECODERS:
        owner, name = dotted.split(".")
        sample = samples[owner]
        if not hasattr(sample, name) or (dotted in VALUES and getattr(sample, name) != VALUES[dotted]):
            missing.add(dotted)
    return frozenset(missing | (INITS - _heeded()))


HANDED: Final = _handed()
SAMPLES: Final = _samples()
MISSING: Final = _missing(SAMPLES)
FORM: Final = type(SAMPLES["MultipartStream"])
OPENED: Final = getattr(SAMPLES["ClientState"], "OPENED", None)
ITERATOR: Final = type(SAMPLES["AsyncIteratorByteStream"])


def has(names: frozenset[str]) -> bool:
    """Whether the installed httpx has all of them."""
    return MISSING.isdisjoint(names)


if not all(hasattr(SAMPLES[name], "__dict__") for name in ("Headers", "Response")):
    raise ImportError(
        f"seawall copies requests and responses, which those of {httpx.__name__} {httpx.__version__} don't allow, "
        "because they have no __dict__; install a release that seawall's requirements allow, or a newer seawall"
    )
if MISSING:
    logger.warning(
        "%s %s lacks private names that seawall uses: %s; seawall goes %s's public way there, which is slower",
        httpx.__name__,
        httpx.__version__,
        ", ".join(sorted(MISSING)),
        httpx.__name__,
    )
