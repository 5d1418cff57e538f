"""
From the bytes of HTTP/1.1 to an `Answer`; no I/O here. llhttp is the parser.

Rules: framing is never guessed: what llhttp or RFC 9112 section 6 calls malformed is an error. llhttp knows neither
HEAD nor limits, so an answer to HEAD ends at its headers here, and what a hostile server could send without an end is
counted here. llhttp takes RTSP, and a first header line that begins with a space, so a message's beginning is looked at
before llhttp gets it. Bytes after the answer are noted: they are the answer to nothing.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from ...errors import BadAnswer, ConnectionLost, ResponseTooLarge, WireError
from .answer import MAX_GAP, MAX_HEAD, MAX_HEADERS, MAX_INTERIM, MAX_PARTS, Answer, Head

__all__ = ["Parser"]

PLAIN: Final = re.compile(rb"HTTP/1\.[01] [2-9][^\n]*\n[^ \t]")
"""How nearly all answers begin: a final one, whose first header line doesn't begin with a space."""

PROTOCOL: Final = b"HTTP/"
MAX_HELD: Final = 16 * 1024  # B; each piece that comes is joined with what is held, so a drip costs its square
STATUS_AT: Final = len(b"HTTP/1.1 ")
BLANK_LINE: Final = re.compile(rb"\n\r?\n")
KEEP_ALIVE: Final = re.compile(rb"(timeout|max)\s*=\s*(\d{1,9})")


class Parser:
    """
    `begin` an answer, `feed` what comes, say when the connection `end`s; a connection's exchanges share one.

    Attributes:
        answer: Of the exchange in flight, or of the last one.
    """

    __slots__ = (
        "_asks_upgrade",
        "_gap",
        "_has_framing",
        "_head_size",
        "_held",
        "_interims",
        "_is_connect",
        "_is_head",
        "_is_interim",
        "_is_open",
        "_llhttp",
        "_unparsed",
        "answer",
    )

    def __init__(self) -> None:
        self._llhttp: httptools.HttpResponseParser | None = _llhttp(self)
        self._is_head = False
        self.answer = Answer()

    def begin(self, method: bytes, *, asks_upgrade: bool = False) -> Answer:
        """
        The answer that comes next.

        Args:
            method: Of the request.
            asks_upgrade: The request has an Upgrade header.
        """
        if self._is_head:
            self._llhttp = _llhttp(self)  # it still waits for a body
        self._is_head = method == b"HEAD"
        self._is_connect = method == b"CONNECT"
        self._asks_upgrade = asks_upgrade
        self._has_framing = self._is_interim = self._is_open = False
        self._head_size = self._unparsed = self._interims = self._gap = 0
        self._held = b""
        self.answer = answer = Answer()
        return answer

    def feed(self, data: bytes) -> None:
        """What came next."""
        answer = self.answer
        answer.has_begun = True
        if answer.is_complete:
            answer.is_spoilt = True
        elif answer.failure is not None:
            return
        elif self._is_open:
            self._parse(data)
        elif PLAIN.match(data) and not (self._held or self._is_connect):
            self._is_open = True
            self._parse(data)
        else:
            self._open(self._held + data)

    def rest(self) -> None:
        """Between two exchanges: nothing of the last one is kept."""
        self.answer, self._held = NOTHING, b""

    def end(self, error: Exception | None) -> None:
        """The connection's: *error* where the server did not mean it. Nothing is fed after it."""
        self._llhttp = None  # each holds the other, and a collector may be long in coming
        answer = self.answer
        if answer.is_complete:
            return
        if error is not None:
            answer.fail(ConnectionLost, str(error))
        elif answer.has_head and not self._has_framing:
            answer.is_complete, answer.is_kept = True, False
        elif answer.has_head:
            answer.fail(BadAnswer, "peer closed connection without sending complete message body")
        else:
            answer.fail(BadAnswer, "Server disconnected without sending a response.")

    def _open(self, data: bytes) -> None:
        """
        Hold a message's beginning until it is known to be HTTP's.

        The head of an interim answer, and any to CONNECT, is parsed by itself. llhttp would take what follows an
        interim answer that says ``Connection: close`` for data after the end, and what follows CONNECT's for a body.
        """
        answer = self.answer
        while answer.failure is None:
            size, data = len(data), data.lstrip(b"\r\n")
            self._unparsed += size - len(data)
            if data[: len(PROTOCOL)] != PROTOCOL[: len(data)]:
                answer.fail(BadAnswer, "what came is not HTTP/1.1")
                return
            line_end = data.find(b"\n")
            if line_end < 0 or len(data) == line_end + 1:
                self._hold(data)
                return
            if data[line_end + 1] in b" \t":
                answer.fail(BadAnswer, "the first header line begins with a space")
                return
            if data[STATUS_AT : STATUS_AT + 1] != b"1" and not self._is_connect:
                self._is_open = True
                self._parse(data)
                return
            blank = BLANK_LINE.search(data, line_end)
            if blank is None:
                self._hold(data)
                return
            self._parse(data[: blank.end()])
            data = data[blank.end() :]
            if answer.is_upgraded:
                answer.rest = data
                return
            if answer.has_head:  # of a CONNECT that was refused
                self._is_open = True
                if data:
                    self.feed(data)
                return
            self._llhttp = _llhttp(self)

    def _hold(self, data: bytes) -> None:
        self._held = data
        if len(data) > MAX_HELD or self._unparsed + len(data) > MAX_HEAD:
            self.answer.fail(ResponseTooLarge, f"a status line, or an interim head, of more than {MAX_HELD} bytes")

    def _parse(self, data: bytes) -> None:
        assert self._llhttp is not None
        answer = self.answer
        had_head, size = answer.has_head, answer.size
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not answer.is_upgraded:
                answer.fail(BadAnswer, "an upgrade that nobody asked for")
            elif not self._is_connect:
                answer.rest += data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, _Bad):
                raise (cause or error) from None  # KeyboardInterrupt, MemoryError: they are not the server's
            answer.fail(cause.kind, str(cause))
        except httptools.HttpParserError as error:
            if answer.is_complete:
                answer.is_spoilt = True
            else:
                answer.fail(BadAnswer, str(error))
        else:
            if not answer.has_head:
                self._unparsed += len(data)  # llhttp gives a header when it ends, if it ends
                if self._unparsed > MAX_HEAD:
                    answer.fail(ResponseTooLarge, f"headers of more than {MAX_HEAD} bytes")
            elif had_head and not answer.is_complete:
                self._gap = self._gap + len(data) if answer.size == size else 0
                if self._gap > MAX_GAP:
                    answer.fail(ResponseTooLarge, f"chunk sizes, extensions or trailers of more than {MAX_GAP} bytes")

    # llhttp's side

    def on_status(self, reason: bytes) -> None:
        if not self.answer.has_head:
            self.answer.head.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.answer.has_head:
            return  # a trailer
        self._head_size += len(name) + len(value) + 4
        if self._head_size > MAX_HEAD:
            raise _TooLarge(f"headers of more than {MAX_HEAD} bytes")
        if b"\0" in value:
            raise _Bad("NUL in a header")
        if name.endswith((b" ", b"\t")):
            raise _Bad("a space before a colon")  # llhttp takes it for framing
        self.answer.head.headers.append((name, name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        answer = self.answer
        if answer.has_head:
            return  # of what came after it
        llhttp, head = self._llhttp, answer.head
        assert llhttp is not None
        status = llhttp.get_status_code()
        version = llhttp.get_http_version()
        if version not in ("1.1", "1.0") or status < 100 or b"\0" in head.reason:
            raise _Bad(f"HTTP/{version} {status} is not a status line of HTTP/1.1")
        if status < 200 and status != 101:
            self._is_interim = True
            answer.is_continued = answer.is_continued or status == 100
            self._interims += 1
            if self._interims > MAX_INTERIM:
                raise _Bad(f"more than {MAX_INTERIM} interim answers")
            answer.head = Head()
            return
        self._is_interim = False
        head.status, head.version = status, b"HTTP/1.1" if version == "1.1" else b"HTTP/1.0"
        answer.is_kept = self._framing(head) and llhttp.should_keep_alive()
        if status == 101 or (self._is_connect and status < 300):
            if not (self._is_connect or self._asks_upgrade):
                raise _Bad("101 Switching Protocols, which nobody asked for")
            answer.is_upgraded = answer.is_complete = True
        elif self._is_head:
            answer.is_complete = answer.is_bodiless = True
        elif status in (204, 304):
            answer.is_bodiless = True
            if status == 204 and _says_body(head):
                answer.is_kept = False  # it must not (RFC 9110 section 8.6), so it may well send one
        answer.has_head = True

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
                if head.version == b"HTTP/1.0":
                    is_kept = False  # its framing is faulty: RFC 9112 section 6.1
            elif name == b"keep-alive":
                is_kept = self._heed(value) and is_kept
        return is_kept

    def _heed(self, value: bytes) -> bool:
        """The server's Keep-Alive: ``timeout=5, max=100``."""
        said = dict(KEEP_ALIVE.findall(value.lower()))
        if b"timeout" in said:
            self.answer.keep_for = float(said[b"timeout"])
        return said.get(b"max") != b"0"

    def on_body(self, data: bytes) -> None:
        answer = self.answer
        if self._is_interim:
            raise _Bad("an interim answer with a body")
        if answer.is_upgraded:
            answer.rest += data
        elif answer.is_complete:
            answer.is_spoilt = True  # after the answer to HEAD
        else:
            parts = answer.parts
            parts.append(data)
            answer.size += len(data)
            if len(parts) >= MAX_PARTS:
                answer.parts = [b"".join(parts)]

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
        else:
            self.answer.is_complete = True

    def on_message_begin(self) -> None:
        if self.answer.is_complete and self.answer.has_head:
            self.answer.is_spoilt = True


NOTHING: Final = Answer()
NOTHING.is_complete = True


class _Bad(Exception):
    """Raised through llhttp; its text is what is wrong with the answer."""

    kind: type[WireError] = BadAnswer


class _TooLarge(_Bad):
    kind = ResponseTooLarge


def _says_body(head: Head) -> bool:
    """Whether the headers say that there is one, by a length that isn't 0 or by chunks."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
        for _, name, value in head.headers
    )


def _llhttp(parser: Parser) -> httptools.HttpResponseParser:
    """Lenient where aiohttp's client is."""
    llhttp = httptools.HttpResponseParser(parser)
    llhttp.set_dangerous_leniencies(
        lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
    )
    return llhttp
