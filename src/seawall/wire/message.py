"""A request as bytes, and the head of a response; neither knows httpx."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeAlias

from ..errors import InvalidRequest
from ..origin import Origin

__all__ = ["CONTINUE_TIMEOUT", "SLICE", "Head", "Heads", "Message", "Triples", "slices"]

Triples: TypeAlias = list[tuple[bytes, bytes, bytes]]
"""Headers: each name as it is written and in lower case, and its value; as httpx keeps them."""


SLICE: Final = 64 * 1024  # B; asyncio's own high-water mark
CONTINUE_TIMEOUT: Final = 1.0  # s to wait for 100 Continue; curl's
MAX_HEADS: Final = 1024
MAX_KEPT: Final = 2048  # B of a head that is kept

HEAD: Final = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*\r\n"
)
"""With as many lines as there are headers, it can't be taken for anything else. Source: RFC 9112 sections 3 and 5."""


class Framed(NamedTuple):
    """
    A head as bytes, and what its headers say.

    Attributes:
        length: Content-Length; None where there is none.
        closes: The connection must not be used after it (RFC 9112 section 9.6).
    """

    head: bytes
    length: int | None
    is_chunked: bool
    expects: bool
    asks_upgrade: bool
    closes: bool


class Heads(dict[tuple[bytes, bytes, tuple[tuple[bytes, bytes, bytes], ...]], Framed | None]):
    """
    The heads of a client's last requests by method, target and headers, because the next request's is most often the
    same; see `framed`.
    """

    def __missing__(self, key: tuple[bytes, bytes, tuple[tuple[bytes, bytes, bytes], ...]]) -> Framed | None:
        found = framed(*key)
        if found is not None and len(found.head) <= MAX_KEPT:
            if len(self) >= MAX_HEADS:
                del self[next(iter(self))]
            self[key] = found
        return found


def framed(method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes, bytes]]) -> Framed | None:
    """The head of a request; None where HTTP/1.1 can't carry it."""
    lengths, codings, hosts = [], [], 0
    expects = asks_upgrade = closes = False
    parts = [method, b" ", target, b" HTTP/1.1\r\n"]
    for name, lower, value in headers:
        if b":" in name:
            return None
        parts += (name, b": ", value, b"\r\n")
        match lower:
            case b"host":
                hosts += 1
            case b"content-length":
                lengths.append(value)
            case b"transfer-encoding":
                codings.append(value.lower())
            case b"connection":
                if value != b"keep-alive":  # httpx's own
                    closes = closes or b"close" in map(bytes.strip, value.lower().split(b","))
            case b"expect":
                expects = True
            case b"upgrade":
                asks_upgrade = True
    # A request that two servers could cut at different places, or take for another host's, isn't sent
    # (RFC 9112 sections 6.3 and 3.2).
    if hosts > 1 or len(lengths) > 1 or codings not in ([], [b"chunked"]) or not all(map(bytes.isdigit, lengths)):
        return None
    if codings and lengths:  # httpx adds a length to a body in memory, whatever coding the caller asked for
        return framed(method, target, [each for each in headers if each[1] != b"content-length"])
    parts.append(b"\r\n")
    head = b"".join(parts)
    if head.count(b"\n") != len(headers) + 2 or not HEAD.fullmatch(head):
        return None
    length = int(lengths[0]) if lengths else None
    return Framed(head, length, bool(codings), expects, asks_upgrade, closes)


class Head:
    """
    A response up to its body.

    Attributes:
        headers: Each name as it is written and in lower case, and its value.
    """

    __slots__ = ("headers", "reason", "status", "version")

    def __init__(self) -> None:
        self.status = 0
        self.version = b""
        self.reason = b""
        self.headers: Triples = []

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, _, value in self.headers]


class Message:
    """
    A request. *extensions* are httpx's: timeout, trace, sni_hostname.

    Args:
        heads: Where its head may be kept.
        content: The body, where it is in memory; else it is read from *body*.
    Attributes:
        is_held: The body doesn't go out with the head, because it is read from *body*, awaits 100 Continue, or is
            larger than a slice.
    Raises:
        InvalidRequest: HTTP/1.1 can't carry it.
    """

    __slots__ = (
        "body",
        "content",
        "extensions",
        "framed",
        "headers",
        "is_held",
        "method",
        "origin",
        "target",
        "timeouts",
    )

    def __init__(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Triples,
        content: bytes | None,
        body: AsyncIterable[bytes],
        extensions: Mapping[str, Any],
        heads: Heads | None = None,
    ) -> None:
        self.origin = origin
        self.method = method
        self.target = target
        self.headers = headers
        self.content = content
        self.body = body
        self.extensions = extensions
        self.timeouts: Mapping[str, float | None] = extensions.get("timeout") or {}
        found = framed(method, target, headers) if heads is None else heads[method, target, tuple(headers)]
        if found is None:
            # The text doesn't quote it, because a header may be somebody's credentials.
            raise InvalidRequest(
                f"{origin}: HTTP/1.1 can't carry this request: look for control characters and other illegal bytes in "
                "its headers, method or target, for two Host headers, or for a content-length or transfer-encoding "
                "that isn't the body's",
                origin=origin,
            )
        self.framed = found
        self.is_held = content is None or found.expects or len(content) > SLICE
        if content is not None and not found.is_chunked and (found.length or 0) != len(content):
            raise self.misframed(len(content))

    @staticmethod
    def core() -> ModuleType:
        """
        Import the library's core, such as httpcore, whose classes ``extensions["trace"]`` and users of a tunnel want.

        Only for them, because it takes as long to load as all the rest.
        """
        raise NotImplementedError

    @property
    def whole(self) -> bytes:
        """Head and body; an empty chunked body has an end too, because the next request would be read as the body."""
        content, head = self.content, self.framed.head
        if not content:
            return head + self.end if self.framed.is_chunked else head
        return head + (self.part(content) + self.end if self.framed.is_chunked else content)

    def part(self, data: bytes) -> bytes:
        """Some of the body as it goes over the wire."""
        return b"%x\r\n%b\r\n" % (len(data), data) if self.framed.is_chunked else data

    @property
    def end(self) -> bytes:
        """What ends the body."""
        return b"0\r\n\r\n" if self.framed.is_chunked else b""

    def counted(self, size: int, part: bytes | None) -> int:
        """*size* with another *part*; None ends the body. Raises InvalidRequest where the headers say otherwise."""
        framed = self.framed
        size += len(part or b"")
        if not framed.is_chunked and (size != (framed.length or 0) if part is None else size > (framed.length or 0)):
            raise self.misframed(size)
        return size

    def misframed(self, size: int) -> InvalidRequest:
        """The error where a body's *size* isn't what the headers say."""
        length = self.framed.length
        said = "no content-length or transfer-encoding" if length is None else f"content-length {length}"
        return InvalidRequest(
            f"{self.origin}: the request's body has {size} bytes so far, but its headers have {said}",
            origin=self.origin,
        )


async def slices(content: bytes) -> AsyncIterator[bytes]:
    """A body in memory, in parts."""
    for begin in range(0, len(content), SLICE):
        yield content[begin : begin + SLICE]
