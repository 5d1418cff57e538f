"""What a client is asked to do: requests of a kind, so many in flight, over one wire, for answers of one size."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple, TypeAlias

from .server import BODY


class Calls(NamedTuple):
    """
    The calls of a client, as its docs write them; each returns the size of the answer's body in bytes.

    Attributes:
        get: Takes a URL, and optionally ``params=`` or ``headers=``.
        post: Takes a URL and ``json=``.
        stream: Takes a URL, and reads the body part by part.
    """

    get: Callable[..., Awaitable[int]]
    post: Callable[..., Awaitable[int]]
    stream: Callable[[str], Awaitable[int]]


Kind: TypeAlias = Callable[[Calls, str, int], Awaitable[int]]
ITEMS = [{"name": "apple", "colour": "red", "price": 1.25, "is_fresh": True}] * 16  # 1 kB of JSON
KINDS: dict[str, Kind] = {  # the URL ends in a slash; no two requests of a run have the same number
    "get": lambda calls, url, number: calls.get(f"{url}orders/{number}"),
    "params": lambda calls, url, number: calls.get(f"{url}orders", params={"page": str(number), "state": "open"}),
    "headers": lambda calls, url, number: calls.get(f"{url}orders", headers={"x-request-id": str(number)}),
    "post": lambda calls, url, number: calls.post(f"{url}orders", json={"id": number, "items": ITEMS}),
    "stream": lambda calls, url, number: calls.stream(f"{url}orders/{number}"),
    "same": lambda calls, url, number: calls.get(f"{url}orders"),
}
WORDS = {  # for tables
    "get": "a new URL per request",
    "params": "`params=`, new ones per request",
    "headers": "`headers=`, a new one per request",
    "post": "POST, `json=` of 1 kB",
    "stream": "`stream()`, a new URL per request",
    "same": "one URL, the same again and again",
}
WIRES = {"http": "", "tls": "TLS", "h2": "HTTP/2", "proxy": "through an HTTP proxy", "tunnel": "TLS, CONNECT"}


@dataclass(frozen=True)
class Work:
    """
    Attributes:
        kind: The kind of request, of `KINDS`.
        in_flight: Concurrent requests, over all origins.
        origins: The number of origins.
        size: Bytes of an answer's body.
        wire: HTTP/1.1 in the clear or over TLS, or HTTP/2, which is over TLS too; the first two also through a proxy,
            which forwards, or gives a tunnel; of `WIRES`.
        proxy: The URL of that proxy, once it runs.
    """

    kind: str
    in_flight: int = 50
    origins: int = 1
    size: int = len(BODY)
    wire: str = "http"
    proxy: str = ""

    @classmethod
    def of(cls, text: str) -> Work:
        """What `text` has written."""
        return cls(**json.loads(text))

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))

    @property
    def is_plain(self) -> bool:
        """Our own server answers it; the others are for nginx."""
        return self.wire in ("http", "proxy") and self.size == len(BODY)

    @property
    def words(self) -> str:
        """What is asked for, for tables."""
        size = "" if self.size == len(BODY) else _size(self.size)
        return ", ".join(filter(None, (WORDS[self.kind], size, WIRES[self.wire])))


WORKS = {
    **{kind: Work(kind) for kind in KINDS},
    "get10k": Work("get", size=10_000),
    "get1m": Work("get", 10, size=1_000_000),
    "stream100m": Work("stream", 1, size=100_000_000),
    "tls": Work("get", wire="tls"),
    "h2": Work("get", 100, wire="h2"),
    "proxy": Work("get", wire="proxy"),
    "tunnel": Work("get", wire="tunnel"),
    "inflight1": Work("get", 1),
    "inflight500": Work("get", 500),
    "inflight2000": Work("get", 2000),
    "origins20": Work("get", origins=20),
    "origins1000": Work("get", origins=1000),
}


def works(names: str, in_flight: str = "", origins: str = "") -> list[Work]:
    """
    Each work of *names*, at each width and number of origins that is given in place of its own, without repeats.

    Raises:
        ValueError: A name that isn't one of `WORKS`, or several origins of nginx, which has one.
    """
    asked = names.split(",")
    if unknown := [name for name in asked if name not in WORKS]:
        raise ValueError(f"no work {', '.join(unknown)}; there are {', '.join(WORKS)}")
    widths, counts = ([int(number) for number in text.split(",") if number] for text in (in_flight, origins))
    found = dict.fromkeys(
        replace(work, in_flight=width, origins=count)
        for work in map(WORKS.__getitem__, asked)
        for count in counts or [work.origins]
        for width in widths or [work.in_flight]
    )
    if unserved := [work.words for work in found if work.origins > 1 and not work.is_plain]:
        raise ValueError(f"nginx is one origin, so not several for: {'; '.join(unserved)}")
    return list(found)


def _size(size: int) -> str:
    return f"{size / 1e6:g} MB" if size >= 10**6 else f"{size / 1e3:g} kB"
