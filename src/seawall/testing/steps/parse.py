"""Answers that a parser may trip over: odd ones that are legal or widely accepted, and malformed ones."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final, Literal, get_args

from ..http.step import Between, step
from ..http.turn import Turn

__all__ = ["MALFORMED", "ODD", "endless_headers", "huge_header", "malformed", "many_headers", "odd"]

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"content-length: 2\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
END = b"\r\nok"
LAST = b"0\r\n\r\n"

OddName = Literal[
    "no_reason", "long_reason", "leading_crlf", "bare_lf", "obs_fold", "http10", "http10_kept", "no_length",
    "no_content_type", "empty_value", "tabs", "latin1", "utf8", "lengths_equal", "length_zeros", "chunk_extension",
    "chunk_zeros", "chunk_uppercase", "chunk_spaces", "status_299", "coding_case", "length_on_304",
]  # fmt: skip
MalformedName = Literal[
    "not_http", "http09", "icy", "version_05", "version_2", "version_junk", "status_junk", "status_2_digits",
    "status_4_digits", "status_000", "status_negative", "status_missing", "status_nul", "name_missing", "name_space",
    "colon_missing", "colon_space", "value_nul", "value_cr", "first_line_folded", "length_negative", "length_plus",
    "length_junk", "length_hex", "length_huge", "length_empty", "lengths_differ", "lengths_listed",
    "length_and_chunked", "coding_unknown", "coding_twice", "coding_not_last", "coding_obfuscated", "chunk_junk",
    "chunk_negative", "chunk_0x", "chunk_huge", "chunk_empty_size", "chunk_no_crlf", "chunk_long", "chunk_short",
    "trailer_junk",
]  # fmt: skip

ODD: Final[dict[str, tuple[str, bytes]]] = {
    "no_reason": ("no reason phrase", b"HTTP/1.1 200\r\n" + LENGTH + END),
    "long_reason": ("a reason phrase of 4 kB", b"HTTP/1.1 200 " + b"x" * 4000 + b"\r\n" + LENGTH + END),
    "leading_crlf": ("an empty line first", b"\r\n" + OK + LENGTH + END),
    "bare_lf": ("lines that end with LF alone", b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok"),
    "obs_fold": ("a value folded into the next line", OK + b"x-folded: a\r\n b\r\n" + LENGTH + END),
    "http10": ("HTTP/1.0, ended by the connection", b"HTTP/1.0 200 OK\r\n" + END),
    "http10_kept": ("HTTP/1.0 with keep-alive", b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n" + LENGTH + END),
    "no_length": ("a body that the end of the connection ends", OK + END),
    "no_content_type": ("a body without a type", OK + LENGTH + END),
    "empty_value": ("a header without a value", OK + b"x-empty:\r\n" + LENGTH + END),
    "tabs": ("tabs and spaces round a value", OK + b"x-tabs: \t a \t\r\n" + LENGTH + END),
    "latin1": ("a value in ISO 8859-1", OK + b"x-name: caf\xe9\r\n" + LENGTH + END),
    "utf8": ("a value in UTF-8", OK + "x-name: café\r\n".encode() + LENGTH + END),
    "lengths_equal": ("the same length twice", OK + LENGTH + LENGTH + END),
    "length_zeros": ("a length with leading zeros", OK + b"content-length: 0002\r\n" + END),
    "chunk_extension": ("a chunk extension", OK + CHUNKED + b"\r\n2;name=value\r\nok\r\n" + LAST),
    "chunk_zeros": ("a chunk size with leading zeros", OK + CHUNKED + b"\r\n0002\r\nok\r\n" + LAST),
    "chunk_uppercase": ("a chunk size in capitals", OK + CHUNKED + b"\r\nA\r\n0123456789\r\n" + LAST),
    "chunk_spaces": ("spaces after a chunk size", OK + CHUNKED + b"\r\n2  \r\nok\r\n" + LAST),
    "status_299": ("an unknown status", b"HTTP/1.1 299 Odd\r\n" + LENGTH + END),
    "coding_case": ("Transfer-Encoding: Chunked", OK + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n" + LAST),
    "length_on_304": (
        "304 with the length of the body that it doesn't send",
        b"HTTP/1.1 304 X\r\ncontent-length: 9\r\n\r\n",
    ),
}
MALFORMED: Final[dict[str, tuple[str, bytes]]] = {
    "not_http": ("not HTTP at all", b"foo bar\r\n\r\n"),
    "http09": ("HTTP/0.9: only a body", b"<html>no status line</html>"),
    "icy": ("another protocol's name", b"ICY 200 OK\r\n" + LENGTH + END),
    "version_05": ("HTTP/0.5", b"HTTP/0.5 200 OK\r\n" + LENGTH + END),
    "version_2": ("HTTP/2.0 in text", b"HTTP/2.0 200 OK\r\n" + LENGTH + END),
    "version_junk": ("HTTP/x.y", b"HTTP/x.y 200 OK\r\n" + LENGTH + END),
    "status_junk": ("a status of letters", b"HTTP/1.1 abc OK\r\n" + LENGTH + END),
    "status_2_digits": ("a status of 2 digits", b"HTTP/1.1 20 OK\r\n" + LENGTH + END),
    "status_4_digits": ("a status of 4 digits", b"HTTP/1.1 2000 OK\r\n" + LENGTH + END),
    "status_000": ("status 000", b"HTTP/1.1 000 OK\r\n" + LENGTH + END),
    "status_negative": ("a negative status", b"HTTP/1.1 -200 OK\r\n" + LENGTH + END),
    "status_missing": ("a status line without a status", b"HTTP/1.1\r\n" + LENGTH + END),
    "status_nul": ("NUL in the reason phrase", b"HTTP/1.1 200 O\0K\r\n" + LENGTH + END),
    "name_missing": ("a header without a name", OK + b": value\r\n" + LENGTH + END),
    "name_space": ("a space in a header's name", OK + b"x y: value\r\n" + LENGTH + END),
    "colon_missing": ("a header without a colon", OK + b"garbage\r\n" + LENGTH + END),
    "colon_space": ("a space before a colon", OK + b"x-a : value\r\n" + LENGTH + END),
    "value_nul": ("NUL in a value", OK + b"x-a: val\0ue\r\n" + LENGTH + END),
    "value_cr": ("CR in a value", OK + b"x-a: val\rue\r\n" + LENGTH + END),
    "first_line_folded": ("a folded line before any header", OK + b" folded\r\n" + LENGTH + END),
    "length_negative": ("a negative length", OK + b"content-length: -2\r\n" + END),
    "length_plus": ("a length with a sign", OK + b"content-length: +2\r\n" + END),
    "length_junk": ("a length of letters", OK + b"content-length: two\r\n" + END),
    "length_hex": ("a length in hexadecimal", OK + b"content-length: 0x2\r\n" + END),
    "length_huge": ("a length beyond 64 bits", OK + b"content-length: 99999999999999999999\r\n" + END),
    "length_empty": ("a length without digits", OK + b"content-length: \r\n" + END),
    "lengths_differ": ("two lengths that differ", OK + LENGTH + b"content-length: 5\r\n" + END),
    "lengths_listed": ("two lengths that differ in one header", OK + b"content-length: 2, 5\r\n" + END),
    "length_and_chunked": ("a length and chunks", OK + LENGTH + CHUNKED + b"\r\n2\r\nok\r\n" + LAST),
    "coding_unknown": ("an unknown transfer coding", OK + b"transfer-encoding: seawall\r\n" + END),
    "coding_twice": ("chunked twice", OK + CHUNKED + CHUNKED + b"\r\n2\r\nok\r\n" + LAST),
    "coding_not_last": ("chunked before another coding", OK + b"transfer-encoding: chunked, identity\r\n" + END),
    "coding_obfuscated": ("xchunked", OK + b"transfer-encoding: xchunked\r\n\r\n2\r\nok\r\n" + LAST),
    "chunk_junk": ("a chunk size of letters", OK + CHUNKED + b"\r\nzz\r\nok\r\n" + LAST),
    "chunk_negative": ("a negative chunk size", OK + CHUNKED + b"\r\n-2\r\nok\r\n" + LAST),
    "chunk_0x": ("a chunk size with 0x", OK + CHUNKED + b"\r\n0x2\r\nok\r\n" + LAST),
    "chunk_huge": ("a chunk size beyond 64 bits", OK + CHUNKED + b"\r\n1ffffffffffffffff\r\nok\r\n" + LAST),
    "chunk_empty_size": ("a chunk without a size", OK + CHUNKED + b"\r\n\r\nok\r\n" + LAST),
    "chunk_no_crlf": ("no CRLF after a chunk", OK + CHUNKED + b"\r\n2\r\nok" + LAST),
    "chunk_long": ("a chunk longer than its size", OK + CHUNKED + b"\r\n2\r\nokay\r\n" + LAST),
    "chunk_short": ("a chunk shorter than its size", OK + CHUNKED + b"\r\n8\r\nok\r\n" + LAST),
    "trailer_junk": ("a trailer without a colon", OK + CHUNKED + b"\r\n2\r\nok\r\n0\r\ngarbage\r\n\r\n"),
}
assert set(ODD) == set(get_args(OddName))
assert set(MALFORMED) == set(get_args(MalformedName))


@step()
async def odd(turn: Turn, what: OddName) -> None:
    """An odd answer that is legal or widely accepted; then FIN."""
    await _then_close(turn, ODD[what][1])


@step()
async def malformed(turn: Turn, what: MalformedName) -> None:
    """A response that breaks the grammar; then FIN."""
    await _then_close(turn, MALFORMED[what][1])


@step()
async def huge_header(turn: Turn, size: Annotated[int, Between(0, 1e8)] = 1_000_000) -> None:
    """A header of this size."""
    await turn.reply(200, {"x-huge": "x" * size})


@step()
async def many_headers(turn: Turn, count: Annotated[int, Between(0, 1e6)] = 10_000) -> None:
    """This many headers."""
    await turn.reply(200, {f"x-{number}": "x" for number in range(count)})


@step()
async def endless_headers(turn: Turn) -> None:
    """Headers without an end."""
    await turn.write(OK)
    number = 0
    while True:
        await turn.write(b"".join(b"x-%d: %s\r\n" % (number + i, b"x" * 100) for i in range(100)))
        number += 100
        await asyncio.sleep(0)


async def _then_close(turn: Turn, data: bytes) -> None:
    await turn.write(data)
    turn.request.close()
