"""
Builds the requests of plain kinds as httpx would, in a tenth of its time.

Plain is: a URL in ASCII, absolute or under ``base_url``, without credentials, fragment and dot segments; params,
headers and a form in dicts; a body in memory, or JSON; no cookies. Rules: a request is what httpx makes of the same
arguments, down to the order and case of its headers. Whatever isn't plain, is patched or overridden is left to httpx.
What repeats is kept (an origin, the client's headers), never a whole request, because hardly a service asks for one URL
again.
"""

from __future__ import annotations

import json as codec
import re
import sys
from operator import is_
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus

import httpx

from ..wire.message import Triples
from .compat import IS_KNOWN, JAR, ask
from .fast_path import HAS_SHORT_WAY, is_built_by_httpx
from .mocks import is_own

__all__ = ["Builder"]

MAX_PLACES: Final = 1024
MAX_URL: Final = 65536  # httpx's

PATH: Final = r"!$-;=@-_a-z|~"
QUERY: Final = r"!$-;=?-~"
HOST: Final = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
URL: Final = re.compile(rf"(?:(https?://{HOST})(?=[/?]|$))?([{PATH}]*)(?:\?([{QUERY}]*))?")
"""What httpx takes as it is. Source: the percent-encode sets of the WHATWG's URL Standard."""
UNQUOTED: Final = re.compile(r"[A-Za-z0-9_.~-]*")

LENGTH: Final = b"content-length"
TYPE: Final = b"content-type"
FRAMING: Final = frozenset((b"host", LENGTH, b"transfer-encoding"))
JSON: Final = (b"Content-Type", TYPE, b"application/json")
FORM: Final = (b"Content-Type", TYPE, b"application/x-www-form-urlencoded")
NOTHING: Final = (b"Content-Length", LENGTH, b"0")
METHODS: Final = ("GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "QUERY")
LENGTHS: Final = {method: "content-length" in httpx.Request(method, "http://a/").headers for method in METHODS}
"""Whether httpx gives a request of this method a length where it has no body."""
WORDS: Final = {True: "true", False: "false", None: ""}
PARTS: Final[Any] = type(getattr(httpx.URL(), "_uri_reference", ()))

encoded: Final = codec.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Place(NamedTuple):
    """
    Where requests go, and what they all begin with.

    Attributes:
        path: Before that of a relative URL.
        items: Host, and the client's own headers.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    items: Triples


class Builder:
    """
    Of one client.

    Args:
        own: Our class, whose *headers* differ from httpx's in a default only.
    """

    def __init__(self, own: type[httpx.AsyncClient], headers: property) -> None:
        self._own = own
        self._headers_of_own = headers
        self._base_url: httpx.URL | None = None
        self._seen: Triples = []  # the client's headers, of which the rest was made
        self._names: frozenset[bytes] = frozenset()
        self._places: dict[str | None, Place] = {}

    def request(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: Any,
        *,
        content: Any = None,
        data: Any = None,
        json: Any = None,
        params: Any = None,
        headers: Any = None,
        timeout: httpx.Timeout | None = None,
        extensions: Any = None,
    ) -> httpx.Request | None:
        """As httpx would build it; None: it isn't plain."""
        if not (
            IS_ON
            and type(url) is type(method) is str
            and method in LENGTHS
            and not is_patched()
            and (extensions is None or type(extensions) is dict)
            and self._is_plain(client)
        ):
            return None
        target = self._target(url, params)
        if target is None:
            return None
        place, path, query = target
        body, kind = b"", None
        if content is not None or data is not None or json is not None:
            described = _body(content, data, json)
            if described is None:
                return None
            body, kind = described
        items = self._headers(place, headers, body, kind)
        if items is None:
            return None
        if not body and LENGTHS[method]:
            items.insert(1, NOTHING)
        if extensions is None or "timeout" not in extensions:
            waits = {"timeout": (client._timeout if timeout is None else timeout).as_dict()}
            extensions = waits if extensions is None else dict(**extensions, **waits)
        else:
            extensions = extensions.copy()
        return ask(method, _url(place, path, query), items, extensions, body)

    def _is_plain(self, client: httpx.AsyncClient) -> bool:
        """Whether *client* adds no more to a request than what is known of it, which is brought up to date."""
        jar = client._cookies.jar
        if (
            client._params
            or type(jar) is not JAR
            or jar._cookies  # type: ignore[attr-defined]
            or not is_built_by_httpx(client, self._own, self._headers_of_own)
        ):
            return False
        if self._base_url is not client._base_url or self._seen != client._headers._list:
            self._begin(client)
        return True

    def _target(self, url: str, params: Any) -> tuple[Place, str, str | None] | None:
        """Where a request goes, its path and its query."""
        match = URL.fullmatch(url)
        if match is None or len(url) > MAX_URL:
            return None
        prefix, path, query = match.groups()
        place = self._places.get(prefix) or self._place(prefix)
        if place is None:
            return None
        if prefix is None:
            if path[:2] == "//" or (path[:1] != "/" and (not path or ":" in path)):
                return None
            path = place.path + path.removeprefix("/")
        if "/." in path:
            return None
        if params is not None and (type(params) is not dict or not (query := form(params))):
            return None
        if len(path) > MAX_URL or (query is not None and len(query) > MAX_URL):
            return None
        return place, path, query

    def _headers(
        self, place: Place, headers: Any, body: bytes, kind: tuple[bytes, bytes, bytes] | None
    ) -> Triples | None:
        """The headers of a request that has *headers* of its own, and a *body* of a *kind*."""
        items, names = place.items.copy(), self._names
        if headers is not None:
            if type(headers) is not dict:
                return None
            added = []
            for name, value in headers.items():
                if type(name) is not str or type(value) is not str:
                    return None
                raw = name.encode("ascii")
                added.append((raw, raw.lower(), value.encode("ascii")))
            given = {lower for _, lower, _ in added}
            if not given.isdisjoint(FRAMING):
                return None
            if not given.isdisjoint(names):
                items = [each for each in items if each[1] not in given]
            items += added
            names = names | given
        if body:
            items.append((b"Content-Length", LENGTH, b"%d" % len(body)))
            if kind is not None and TYPE not in names:
                items.append(kind)
        return items

    def _begin(self, client: httpx.AsyncClient) -> None:
        """Its headers or its base URL are others now."""
        self._base_url, self._seen = client._base_url, client._headers._list.copy()
        self._names = frozenset(lower for _, lower, _ in self._seen)
        self._places.clear()

    def _place(self, prefix: str | None) -> Place | None:
        """Make the place for a URL's beginning, or for the base URL; None: httpx must take it, or refuse it."""
        assert self._base_url is not None
        try:
            base = self._base_url
            url = base.copy_with(raw_path=base.raw_path) if prefix is None else httpx.URL(prefix)
            if not url.host:
                return None
        except (httpx.InvalidURL, UnicodeError):
            return None
        scheme, userinfo, host, port, path, query, fragment = url._uri_reference
        path = path or "/"
        if userinfo or query is not None or fragment is not None or not scheme or self._names & FRAMING:
            return None
        if not path.endswith("/"):
            return None
        items = [(b"Host", b"host", url.netloc), *self._seen]
        if len(self._places) >= MAX_PLACES:
            self._places.clear()  # to find the oldest, a dict passes over all that were deleted before it
        place = self._places[prefix] = Place(scheme, host, port, path, items)
        return place


def form(fields: dict[Any, Any]) -> str | None:
    """*fields* as urlencode writes them; None: httpx must."""
    parts = []
    for name, values in fields.items():
        if type(name) is not str:
            return None
        name = name if UNQUOTED.fullmatch(name) else quote_plus(name)
        for value in values if type(values) in (list, tuple) else (values,):
            if type(value) is not str:
                if type(value) not in (int, float, bool, type(None)):
                    return None
                value = WORDS[value] if type(value) is bool or value is None else str(value)
            parts.append(f"{name}={value if UNQUOTED.fullmatch(value) else quote_plus(value)}")
    return "&".join(parts)


def _body(content: Any, data: Any, json: Any) -> tuple[bytes, tuple[bytes, bytes, bytes] | None] | None:
    """The body, and the header that says what it is; None: httpx must build it."""
    if content is not None:
        if data is not None or json is not None:
            return None
        if type(content) is str:
            content = content.encode()
        return (content, None) if type(content) is bytes and content else None
    if data is not None:
        written = form(data) if type(data) is dict and json is None else None
        return (written.encode(), FORM) if written else None
    return encoded(json).encode(), JSON


def _url(place: Place, path: str, query: str | None) -> httpx.URL:
    url = httpx.URL.__new__(httpx.URL)
    url._uri_reference = tuple.__new__(PARTS, (place.scheme, "", place.host, place.port, path, query, None))
    return url


def _is_known() -> bool:
    """Whether httpx makes of all plain characters what we do."""
    path, query = ("".join(filter(re.compile(f"[{kind}]").match, map(chr, range(128)))) for kind in (PATH, QUERY))
    plain = f"http://a.test:81/{path}?{query}"
    theirs = httpx.URL(plain)
    ours = _url(Place("http", "a.test", 81, "/", []), f"/{path}", query)
    return vars(ours) == vars(theirs) and type(ours._uri_reference) is type(theirs._uri_reference)


PARTIES: Final = {
    "_client": ("Request", "URL", "Headers", "QueryParams"),
    "_content": ("json_dumps", "encode_json", "encode_urlencoded_data", "encode_content", "primitive_value_to_str"),
    "_models": ("encode_request", "Headers", "URL"),
}
"""What httpx builds a request with, by its modules: tools replace some of it, such as a faster JSON."""


def _parties() -> list[tuple[dict[str, Any], str, Any]]:
    modules = {name: sys.modules.get(f"{httpx.__name__}.{name}") for name in PARTIES}
    found = [
        (vars(module), name, vars(module).get(name))
        for key, module in modules.items()
        if module
        for name in PARTIES[key]
    ]
    return [*found, (vars(codec), "JSONEncoder", codec.JSONEncoder)]


def is_patched() -> bool:
    """Whether any of it is another one than when seawall was imported."""
    if httpx.Request.__init__ is not INIT:
        return True
    return not all(map(is_, map(dict.get, WHERE, NAMES), VALUES))  # in C, because each request pays for it


INIT: Final = httpx.Request.__init__
WHERE, NAMES, VALUES = zip(*_parties(), strict=True)
IS_ON: Final = HAS_SHORT_WAY and IS_KNOWN and is_own(codec.dumps, "json") and _is_known()
