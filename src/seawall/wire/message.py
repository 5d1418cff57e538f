"""A request as bytes, and the head of a response; neither knows httpx."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeAlias

from ..errors import InvalidRequest
from ..origin import Origin
from ..route import Route

__all__ = ["CONTINUE_TIMEOUT", "LENGTH", "SLICE", "Blocks", "Head", "Message", "Triples", "slices"]

Triple: TypeAlias = tuple[bytes, bytes, bytes]
Triples: TypeAlias = list[Triple]
"""Headers: each name as it is written and in lower case, and its value; as httpx keeps them."""


SLICE: Final = 64 * 1024  # B; asyncio's own high-water mark
CONTINUE_TIMEOUT: Final = 1.0  # s to wait for 100 Continue; curl's
MAX_BLOCKS: Final = 1024  # and as many lines
MAX_KEPT: Final = 2048  # B of a block or a line that is kept

WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
METHOD: Final = re.compile(WORD.encode())
LENGTH: Final = re.compile(rb"[0-9]{1,19}")
TARGET: Final = re.compile(rb"[\x21-\x7e\x80-\xff]+")
LINE: Final = re.compile(rf"{WORD}: [\t\x20-\x7e\x80-\xff]*\r\n".encode("latin-1"))
"""Where the name has no colon, it can't be taken for anything else. Source: RFC 9112 section 5."""
TELLING: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"))


class Block(NamedTuple):
    """
    The headers of a request as bytes, and what they say.

    Attributes:
        lines: All of them, and the empty line.
        length: Content-Length; None where there is none.
        closes: The connection must not be used after it (RFC 9112 section 9.6).
    """

    lines: bytes
    length: int | None
    is_chunked: bool
    expects: bool
    asks_upgrade: bool
    closes: bool


class Lines(dict[Triple, bytes]):
    """A client's last headers as lines, because most of a new request's were sent before; empty: it can't be sent."""

    def __missing__(self, header: Triple) -> bytes:
        name, _, value = header
        line = b"%b: %b\r\n" % (name, value)
        if b":" in name or not LINE.fullmatch(line):
            return b""
        if len(line) <= MAX_KEPT:
            if len(self) >= MAX_BLOCKS:
                self.clear()  # to find the oldest, a dict passes over all that were deleted before it
            self[header] = line
        return line


class Blocks(dict[tuple[Triple, ...], Block | None]):
    """The blocks of a client's last requests by headers, because the next request's are most often the same."""

    def __init__(self) -> None:
        self.lines = Lines()

    def __missing__(self, headers: tuple[Triple, ...]) -> Block | None:
        found = block_of(headers, self.lines)
        if found is not None and len(found.lines) <= MAX_KEPT:
            if len(self) >= MAX_BLOCKS:
                self.clear()
            self[headers] = found
        return found

    def forget(self) -> None:
        self.clear()
        self.lines.clear()


def block_of(headers: Sequence[Triple], known: Lines) -> Block | None:
    """The headers as bytes; None where HTTP/1.1 can't carry them."""
    lines = list(map(known.__getitem__, headers))
    if not all(lines):
        return None
    lengths, codings, hosts = [], [], 0
    expects = asks_upgrade = closes = False
    for _, lower, value in headers:
        if lower not in TELLING:
            continue
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
    if (
        hosts > 1
        or len(lengths) > 1
        or codings not in ([], [b"chunked"])
        or (lengths and not LENGTH.fullmatch(lengths[0]))
    ):
        return None
    if codings and lengths:  # httpx adds a length to a body in memory, whatever coding the caller asked for
        return block_of([each for each in headers if each[1] != b"content-length"], known)
    length = int(lengths[0]) if lengths else None
    return Block(b"".join([*lines, b"\r\n"]), length, bool(codings), expects, asks_upgrade, closes)


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
        blocks: Where its headers, as bytes, may be kept.
        content: The body, where it is in memory; else it is read from *body*.
        route: The way to the origin; None if that is straight.
    Attributes:
        is_held: The body doesn't go out with the head, because it is read from *body*, awaits 100 Continue, or is
            larger than a slice.
    Raises:
        InvalidRequest: HTTP/1.1 can't carry it.
    """

    __slots__ = (
        "block",
        "body",
        "content",
        "extensions",
        "headers",
        "is_held",
        "method",
        "origin",
        "route",
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
        blocks: Blocks | None = None,
        route: Route | None = None,
    ) -> None:
        self.origin = origin
        self.route = route
        self.method = method
        self.target = target
        self.headers = headers
        self.content = content
        self.body = body
        self.extensions = extensions
        self.timeouts: Mapping[str, float | None] = extensions.get("timeout") or {}
        found = block_of(headers, Lines()) if blocks is None else blocks[tuple(headers)]
        is_bytes = isinstance(target, bytes)  # a caller's may be anything
        if found is None or not is_bytes or not TARGET.fullmatch(target) or not METHOD.fullmatch(method):
            # The text doesn't quote it, because a header may be somebody's credentials.
            raise InvalidRequest(
                f"{origin}: HTTP/1.1 can't carry this request: look for control characters and other illegal bytes in "
                "its headers, method or target, for two Host headers, or for a content-length or transfer-encoding "
                "that isn't the body's",
                origin=origin,
            )
        self.block = found
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
    def head(self) -> bytes:
        return b"%b %b HTTP/1.1\r\n%b" % (self.method, self.target, self.block.lines)

    @property
    def whole(self) -> bytes:
        """Head and body; an empty chunked body has an end too, because the next request would be read as the body."""
        content, head = self.content, self.head
        if not content:
            return head + self.end if self.block.is_chunked else head
        return head + (self.part(content) + self.end if self.block.is_chunked else content)

    def part(self, data: bytes) -> bytes:
        """Some of the body as it goes over the wire."""
        return b"%x\r\n%b\r\n" % (len(data), data) if self.block.is_chunked else data

    @property
    def end(self) -> bytes:
        """What ends the body."""
        return b"0\r\n\r\n" if self.block.is_chunked else b""

    def counted(self, size: int, part: bytes | None) -> int:
        """*size* with another *part*; None ends the body. Raises InvalidRequest where the headers say otherwise."""
        block = self.block
        size += len(part or b"")
        if not block.is_chunked and (size != (block.length or 0) if part is None else size > (block.length or 0)):
            raise self.misframed(size)
        return size

    def misframed(self, size: int) -> InvalidRequest:
        """The error where a body's *size* isn't what the headers say."""
        length = self.block.length
        said = "no content-length or transfer-encoding" if length is None else f"content-length {length}"
        return InvalidRequest(
            f"{self.origin}: the request's body has {size} bytes so far, but its headers have {said}",
            origin=self.origin,
        )


async def slices(content: bytes) -> AsyncIterator[bytes]:
    """A body in memory, in parts."""
    for begin in range(0, len(content), SLICE):
        yield content[begin : begin + SLICE]
