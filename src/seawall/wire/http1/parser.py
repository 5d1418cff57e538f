"""
From the bytes of HTTP/1.1 to a `Response`; no I/O here. llhttp is the parser.

Rules: framing is never guessed: what llhttp or RFC 9112 section 6 calls malformed is an error. llhttp knows neither
HEAD nor limits, so a response to HEAD ends at its headers here, and what a hostile server could send without an end is
counted here. llhttp takes RTSP, and a first header line that begins with a space, so a message's beginning is looked at
before llhttp gets it. A plain head passes llhttp by, and its body with it. Bytes after the response
are noted, because they answer nothing.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from ...errors import BadAnswer, ConnectionLost, ResponseTooLarge
from ..limits import MAX_GAP, MAX_HEAD, MAX_HEADERS, MAX_INTERIM
from ..message import Triples
from .framing import Bad, TooLarge, keep_alive, llhttp, says_body
from .plain import plain_head
from .response import Response

__all__ = ["Parser"]

PLAIN: Final = re.compile(rb"HTTP/1\.[01] [2-9][^\n]*\n[^ \t]")
"""How nearly all responses begin: a final status, and a first header line that doesn't begin with a space."""

PROTOCOL: Final = b"HTTP/"
VERSIONS: Final = (b"HTTP/1.1", b"HTTP/1.0")
MAX_HELD: Final = 16 * 1024  # B; each piece that comes is joined with what is held, so a drip costs its square
STATUS_AT: Final = len(b"HTTP/1.1 ")
BLANK_LINE: Final = re.compile(rb"\n\r?\n")


class Parser:
    """
    `begin` a response, `feed` what comes, say when the connection `end`s; a connection's exchanges share one parser.

    Attributes:
        body_left: Bytes of a body that are still to come, if its length is known and no parser is needed; else 0.
        response: Of the exchange in flight; between two, `NOTHING`, so that nothing of the last one is kept.
    """

    __slots__ = (
        "_asks_upgrade",
        "_gap",
        "_has_framing",
        "_head_size",
        "_held",
        "_interims",
        "_is_behind",
        "_is_connect",
        "_is_head",
        "_is_interim",
        "_is_open",
        "_llhttp",
        "_plain",
        "_unparsed",
        "body_left",
        "response",
    )

    def __init__(self) -> None:
        self._llhttp: httptools.HttpResponseParser | None = llhttp(self)
        self._is_behind = False  # llhttp still waits for a body
        self.response = Response()

    def begin(self, method: bytes, *, asks_upgrade: bool = False) -> Response:
        """
        The response to a request with this *method*.

        Args:
            asks_upgrade: The request has an Upgrade header.
        """
        if self._is_behind:
            self._llhttp = llhttp(self)
        self._is_head = self._is_behind = method == b"HEAD"
        self._is_connect = method == b"CONNECT"
        self._asks_upgrade = asks_upgrade
        self._has_framing = self._is_interim = self._is_open = False
        self._head_size = self._unparsed = self._interims = self._gap = self.body_left = 0
        self._held = self._plain = b""
        self.response = response = Response()
        return response

    def feed(self, data: bytes) -> None:
        """What came next."""
        response = self.response
        response.has_begun = True
        if response.is_complete:
            response.is_spoilt = True
        elif response.failure is not None:
            return
        elif self.body_left:
            self._take(data)
        elif self._is_open:
            self._parse(data)
        elif self._held or self._is_connect:
            self._open(self._held + data)
        elif self._is_head or not self._took_plain(data):
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        if PLAIN.match(data):
            self._is_open = True
            self._plain = _plain(data)
            self._parse(data)
        else:
            self._open(data)

    def end(self, error: Exception | None) -> None:
        """The connection has ended, with an *error* where the server did not mean it. Nothing is fed after it."""
        self._llhttp = None  # each holds the other, and the garbage collector may take long
        response = self.response
        if response.is_complete:
            return
        if error is not None:
            response.fail(ConnectionLost, str(error))
        elif response.has_head and not self._has_framing:
            response.is_complete, response.is_kept = True, False
        elif response.has_head:
            response.fail(BadAnswer, "peer closed connection without sending complete message body")
        else:
            response.fail(BadAnswer, "Server disconnected without sending a response.")

    def _open(self, data: bytes) -> None:
        """
        Hold a message's beginning until it is known to be HTTP's.

        The head of an interim response, and any to CONNECT, is parsed by itself. llhttp would take what follows an
        interim response that says ``Connection: close`` for data after the end, and what follows CONNECT's for a body.
        """
        response, self._held = self.response, b""
        while response.failure is None:
            size, data = len(data), data.lstrip(b"\r\n")
            self._unparsed += size - len(data)
            if data[: len(PROTOCOL)] != PROTOCOL[: len(data)]:
                response.fail(BadAnswer, "what came isn't HTTP; does another kind of server listen there?")
                return
            line_end = data.find(b"\n")
            if line_end < 0 or len(data) == line_end + 1:
                self._hold(data)
                return
            if data[line_end + 1] in b" \t":
                response.fail(BadAnswer, "the first header line begins with a space")
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
            if response.is_upgraded:
                response.rest = data
                return
            if response.has_head:  # of a CONNECT that was refused
                self._is_open = True
                if data:
                    self.feed(data)
                return
            self._llhttp = llhttp(self)

    def _hold(self, data: bytes) -> None:
        self._held = data
        if len(data) > MAX_HELD or self._unparsed + len(data) > MAX_HEAD:
            self.response.fail(ResponseTooLarge, f"a status line, or an interim head, of more than {MAX_HELD} bytes")

    def _parse(self, data: bytes) -> None:
        assert self._llhttp is not None
        response = self.response
        had_head, size = response.has_head, response.size
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not response.is_upgraded:
                response.fail(BadAnswer, "an upgrade that the request didn't ask for")
            elif not self._is_connect:
                response.rest += data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, Bad):
                raise (cause or error) from None  # KeyboardInterrupt, MemoryError: not the server's fault
            response.fail(cause.kind, str(cause))
        except httptools.HttpParserError as error:
            if response.is_complete:
                response.is_spoilt = True
            else:
                response.fail(BadAnswer, str(error))
        else:
            if not response.has_head:
                self._unparsed += len(data)  # llhttp gives a header when it ends, if it ends
                if self._unparsed > MAX_HEAD:
                    response.fail(ResponseTooLarge, f"headers of more than {MAX_HEAD} bytes")
            elif had_head and not response.is_complete:
                self._gap = self._gap + len(data) if response.size == size else 0
                if self._gap > MAX_GAP:
                    response.fail(ResponseTooLarge, f"chunk sizes, extensions or trailers of more than {MAX_GAP} bytes")

    def _took_plain(self, data: bytes) -> bool:
        """Whether *data* begins with a head that needs no parser; then it was taken, and so is the body as it comes."""
        head = plain_head(data)
        if head is None:
            return False
        status, reason, headers, length, end = head
        left = length + end - len(data)
        if left < 0:
            return False  # llhttp says what is wrong with it
        response = self.response
        response.version, response.status, response.reason, response.headers = VERSIONS[0], status, reason, headers
        response.has_head = self._has_framing = True
        if len(data) > end:
            response.add(data[end:])
        self.body_left = left
        response.is_complete = not left
        return True

    def _take(self, data: bytes) -> None:
        """Some of a body whose length is known: as it came, because llhttp would copy it."""
        response, left = self.response, self.body_left
        response.add(data if len(data) <= left else data[:left])
        self.body_left = max(0, left - len(data))
        response.is_complete = not self.body_left
        response.is_spoilt = len(data) > left

    # llhttp's side

    def on_status(self, reason: bytes) -> None:
        if not self.response.has_head:
            self.response.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        response = self.response
        if not response.has_head:  # else it is a trailer
            response.headers.append((name, name.lower(), value))

    def on_headers_complete(self) -> None:
        response = self.response
        if response.has_head:
            return  # it is a head that came after the response
        parsed = self._llhttp
        assert parsed is not None
        status = parsed.get_status_code()
        version = self._plain or PROTOCOL + parsed.get_http_version().encode()
        if version not in VERSIONS or status < 100 or b"\0" in response.reason:
            raise Bad(f"{version.decode()} {status} is not a status line of HTTP/1.1")
        if response.headers and not self._plain:
            response.headers, size = _tidied(response.headers)
            self._head_size += size
            if self._head_size > MAX_HEAD:
                raise TooLarge(f"headers of more than {MAX_HEAD} bytes")
        if status < 200 and status != 101:
            self._is_interim = True
            response.is_continued = response.is_continued or status == 100
            self._interims += 1
            if self._interims > MAX_INTERIM:
                raise Bad(f"more than {MAX_INTERIM} interim responses")
            response.reason, response.headers = b"", []
            return
        self._is_interim = False
        response.status, response.version = status, version
        response.is_kept = self._framing(response) and parsed.should_keep_alive()
        if status == 101 or (self._is_connect and status < 300):
            if not (self._is_connect or self._asks_upgrade):
                raise Bad("101 Switching Protocols, which the request didn't ask for")
            response.is_upgraded = response.is_complete = True
        elif self._is_head:
            response.is_complete = response.is_bodiless = True
        elif status in (204, 304):
            response.is_bodiless = True
            if status == 204 and says_body(response):
                response.is_kept = False  # it must not (RFC 9110 section 8.6), so it may well send one
        response.has_head = True

    def _framing(self, response: Response) -> bool:
        """What the headers say of the body's end; returns whether the connection may be kept."""
        self._has_framing = False
        is_kept = True
        codings = 0
        if len(response.headers) > MAX_HEADERS:
            raise TooLarge(f"more than {MAX_HEADERS} headers")
        for _, name, value in response.headers:
            if name == b"content-length":
                self._has_framing = True
            elif name == b"transfer-encoding":
                codings += 1
                if value.lower() != b"chunked" or codings > 1:
                    raise Bad("a transfer-encoding that is not chunked alone")
                self._has_framing = True
                if response.version == b"HTTP/1.0":
                    is_kept = False  # its framing is faulty: RFC 9112 section 6.1
            elif name == b"keep-alive":
                keep_for, is_allowed = keep_alive(value)
                response.keep_for = response.keep_for if keep_for is None else keep_for
                is_kept = is_kept and is_allowed
        return is_kept

    def on_body(self, data: bytes) -> None:
        response = self.response
        if self._is_interim:
            raise Bad("an interim response with a body")
        if response.is_upgraded:
            response.rest += data
        elif response.is_complete:
            response.is_spoilt = True  # after the response to HEAD
        else:
            response.add(data)

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
        else:
            self.response.is_complete = True

    def on_message_begin(self) -> None:
        if self.response.is_complete and self.response.has_head:
            self.response.is_spoilt = True


def _plain(data: bytes) -> bytes:
    """The version of a response that begins as `PLAIN` has it, if its head has nothing for `_tidied`; else nothing."""
    head = data[: data.find(b"\r\n\r\n") + 1]  # empty if there is no end
    if len(head) > MAX_HEAD or b"\0" in head or b"\t" in head or b" :" in head or b" \r" in head or b" \n" in head:
        return b""
    return head[: len(VERSIONS[0])]


def _tidied(headers: Triples) -> tuple[Triples, int]:
    """
    The *headers* that llhttp found, without the spaces after a value, and their size in bytes.

    All are looked at together, because a look at each of eight takes 4 % of a request; and most not even so.

    Raises:
        Bad: llhttp lets through what another server could take for other headers.
    """
    names, _, values = zip(*headers, strict=True)
    written, held = b":".join((*names, b"")), b"\n".join((*values, b""))  # no name has a colon, no value a new line
    if b"\0" in held:
        raise Bad("NUL in a header")
    if b" :" in written or b"\t:" in written:
        raise Bad("a space before a colon")  # llhttp takes it for framing
    if b" \n" in held or b"\t\n" in held:
        headers = [(name, lower, value.rstrip(b" \t")) for name, lower, value in headers]
    return headers, len(written) + len(held) + 2 * len(names)
