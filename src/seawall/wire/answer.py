"""
One answer of HTTP/1.1, as its bytes come; no I/O here. llhttp is the parser.

Rules: framing is never guessed: what llhttp or RFC 9112 section 6 calls malformed is an error. llhttp knows neither
HEAD nor limits, so an answer to HEAD ends at its headers here, and what a hostile server could send without an end is
counted here. Bytes after the answer are noted: they are the answer to nothing.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from ..errors import BadAnswer, ConnectionLost, ResponseTooLarge, WireError

__all__ = ["Answer", "Head"]

MAX_HEAD: Final = 100 * 1024  # B; h11's. aiohttp has 8 KiB a line, and cookies of 63 KB are seen
MAX_HEADERS: Final = 1000  # Apache and Tomcat have 100, nginx and h11 no number
MAX_INTERIM: Final = 100  # 1xx answers to one request; Go: as much as fits its limit on headers
MAX_GAP: Final = 16 * 1024  # B of chunk sizes, extensions and trailers without a byte of body; Go's, for extensions

KEEP_ALIVE: Final = re.compile(rb"(timeout|max)\s*=\s*(\d{1,9})")


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
        self.headers: list[tuple[bytes, bytes, bytes]] = []

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, _, value in self.headers]


class Answer:
    """
    `feed` it what comes, tell it of the `end`, and look.

    Args:
        method: Of the request.
        asks_upgrade: The request has an Upgrade header.
    Attributes:
        has_head: `head` is there, and the final one.
        is_complete: So is all of the body; `parts` and `size` are what was not taken yet.
        is_kept: By what it says, the connection may be used again.
        is_spoilt: More came than this answer.
        is_continued: 100 Continue came.
        is_upgraded: What follows is of another protocol; `rest` came with the head already.
        keep_for: s that the server keeps the idle connection; None: it didn't say.
        failure: Class and words of what is wrong with it; nothing of it is to be believed then but what was taken.
    """

    __slots__ = (
        "_asks_upgrade",
        "_gap",
        "_has_framing",
        "_head_size",
        "_interims",
        "_is_connect",
        "_is_head",
        "_is_interim",
        "_parser",
        "_unparsed",
        "failure",
        "has_head",
        "head",
        "is_complete",
        "is_continued",
        "is_kept",
        "is_spoilt",
        "is_upgraded",
        "keep_for",
        "parts",
        "rest",
        "size",
    )

    def __init__(self, method: bytes, *, asks_upgrade: bool = False) -> None:
        self._parser: httptools.HttpResponseParser | None = _parser(self)
        self.clear()
        self._begin(method, asks_upgrade=asks_upgrade)

    def _begin(self, method: bytes, *, asks_upgrade: bool) -> None:
        self.has_head = self.is_complete = self.is_spoilt = self.is_continued = self.is_upgraded = False
        self.is_kept = True
        self.keep_for: float | None = None
        self.failure: tuple[type[WireError], str] | None = None
        self._is_head = method == b"HEAD"
        self._is_connect = method == b"CONNECT"
        self._asks_upgrade = asks_upgrade
        self._has_framing = self._is_interim = False
        self._head_size = self._unparsed = self._interims = self._gap = 0

    def clear(self) -> None:
        """Forget what came: an idle connection keeps none of it."""
        self.head = Head()
        self.parts: list[bytes] = []
        self.size = 0
        self.rest = b""

    def again(self, method: bytes, *, asks_upgrade: bool) -> None:
        """For a kept connection's next exchange, after `clear`; a parser that saw its message's end is kept too."""
        if self._is_head:
            self._parser = _parser(self)  # it still waits for a body
        self._begin(method, asks_upgrade=asks_upgrade)

    @property
    def has_begun(self) -> bool:
        """Some byte of it came."""
        return self.has_head or self._unparsed > 0 or self._interims > 0

    def feed(self, data: bytes) -> None:
        """What came next."""
        if self.is_complete:
            self.is_spoilt = True
        elif self._is_connect and not self.has_head:
            self._feed_connect(data)
        else:
            self._feed(data)

    def _feed_connect(self, data: bytes) -> None:
        """Head by head: what follows is a tunnel's, whatever lengths the head says (RFC 9110 section 9.3.6)."""
        data = self.rest + data
        while not self.has_head and self.failure is None and (end := data.find(b"\r\n\r\n")) >= 0:
            self._feed(data[: end + 4])
            data = data[end + 4 :]
        self.rest = data
        if not self.has_head and len(data) > MAX_HEAD:
            self._fail(ResponseTooLarge, f"headers of more than {MAX_HEAD} bytes")

    def _feed(self, data: bytes) -> None:
        assert self._parser is not None
        had_head, size = self.has_head, self.size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.is_upgraded:
                self.rest += b"" if self._is_connect else data[upgrade.args[0] :]
            else:
                self._fail(BadAnswer, "an upgrade that nobody asked for")
        except httptools.HttpParserError as error:
            if self.is_complete:
                self.is_spoilt = True
            else:
                cause = error.__context__
                if isinstance(cause, _Bad):
                    self._fail(cause.kind, str(cause))
                else:
                    self._fail(BadAnswer, str(error))
        else:
            if not self.has_head:
                self._unparsed += len(data)  # llhttp gives a header when it ends, if it ends
                if self._unparsed > MAX_HEAD:
                    self._fail(ResponseTooLarge, f"headers of more than {MAX_HEAD} bytes")
            elif had_head and not self.is_complete:
                self._gap = self._gap + len(data) if self.size == size else 0
                if self._gap > MAX_GAP:
                    self._fail(ResponseTooLarge, f"chunk sizes, extensions or trailers of more than {MAX_GAP} bytes")

    def end(self, error: Exception | None) -> None:
        """The connection's: *error* where it was none that the server meant. Nothing is fed after it."""
        self._parser = None  # each holds the other, and a collector may be long in coming
        if self.is_complete:
            return
        if error is not None:
            self._fail(ConnectionLost, str(error))
        elif self.has_head and not self._has_framing:
            self.is_complete, self.is_kept = True, False
        elif self.has_head:
            self._fail(BadAnswer, "peer closed connection without sending complete message body")
        else:
            self._fail(BadAnswer, "Server disconnected without sending a response.")

    def take(self) -> bytes:
        """What is there of the body, once."""
        data = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts.clear()
        self.size = 0
        return data

    # llhttp's side

    def on_status(self, reason: bytes) -> None:
        if not self.has_head:
            self.head.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:
            return  # a trailer
        head = self.head
        self._head_size += len(name) + len(value) + 4
        if self._head_size > MAX_HEAD:
            raise _TooLarge(f"headers of more than {MAX_HEAD} bytes")
        if b"\0" in value:
            raise _Bad("NUL in a header")
        lower = name.lower()
        if name.endswith((b" ", b"\t")):
            raise _Bad("a space before a colon")  # llhttp takes it for framing
        head.headers.append((name, lower, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self.has_head:
            return  # of what came after it
        parser, head = self._parser, self.head
        assert parser is not None
        status = parser.get_status_code()
        version = parser.get_http_version()
        if version not in ("1.1", "1.0") or status < 100 or b"\0" in head.reason:
            raise _Bad(f"HTTP/{version} {status} is no status line of HTTP/1.1")
        if status < 200 and status != 101:
            self._is_interim = True
            self.is_continued = self.is_continued or status == 100
            self._interims += 1
            if self._interims > MAX_INTERIM:
                raise _Bad(f"more than {MAX_INTERIM} interim answers")
            self.head = Head()
            return
        self._is_interim = False
        head.status, head.version = status, b"HTTP/1.1" if version == "1.1" else b"HTTP/1.0"
        self.is_kept = self._framing(head) and parser.should_keep_alive()
        if status == 101 or (self._is_connect and status < 300):
            if not (self._is_connect or self._asks_upgrade):
                raise _Bad("101 Switching Protocols, which nobody asked for")
            self.is_upgraded = self.is_complete = True
        elif self._is_head:
            self.is_complete = True
        self.has_head = True

    def _framing(self, head: Head) -> bool:
        """What the headers say of the body's end; returns whether the connection may be kept."""
        self._has_framing = False
        is_kept = True
        codings = 0
        if len(head.headers) > MAX_HEADERS:
            raise _TooLarge(f"more than {MAX_HEADERS} headers")
        for _, name, value in head.headers:
            if name == b"content-length":
                self._has_framing = True
            elif name == b"transfer-encoding":
                codings += 1
                if value.lower() != b"chunked" or codings > 1:
                    raise _Bad("a transfer-encoding that is not chunked alone")
                self._has_framing = True
            elif name == b"keep-alive":
                is_kept = self._heed(value)
        return is_kept

    def _heed(self, value: bytes) -> bool:
        """The server's Keep-Alive: ``timeout=5, max=100``."""
        said = dict(KEEP_ALIVE.findall(value.lower()))
        if b"timeout" in said:
            self.keep_for = float(said[b"timeout"])
        return said.get(b"max") != b"0"

    def on_body(self, data: bytes) -> None:
        if self._is_interim:
            raise _Bad("an interim answer with a body")
        if self.is_upgraded:
            self.rest += data
        elif self.is_complete:
            self.is_spoilt = True  # after the answer to HEAD
        else:
            self.parts.append(data)
            self.size += len(data)

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
        else:
            self.is_complete = True

    def on_message_begin(self) -> None:
        if self.is_complete and self.has_head:
            self.is_spoilt = True

    def _fail(self, kind: type[WireError], text: str) -> None:
        if self.failure is None:
            self.failure = (kind, text)


class _Bad(Exception):
    """Raised through the parser; its text is what is wrong with the answer."""

    kind: type[WireError] = BadAnswer


class _TooLarge(_Bad):
    kind = ResponseTooLarge


def _parser(answer: Answer) -> httptools.HttpResponseParser:
    """Lenient where aiohttp's client is."""
    parser = httptools.HttpResponseParser(answer)
    parser.set_dangerous_leniencies(
        lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
    )
    return parser
