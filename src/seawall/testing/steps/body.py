"""Complete answers whose body is not what it seems."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Annotated, Literal

from ..http.connection import head
from ..http.step import Between, step
from ..http.turn import Turn

__all__ = ["body_on", "bomb", "cookies", "encoded", "extra", "second_answer", "sse", "trailers"]

PLAIN = b"0123456789" * 10_000
PIECE = 2**20
Size = Annotated[int, Between(0, 1e8)]
CHUNKED = [("content-type", "text/plain"), ("transfer-encoding", "chunked")]

Coding = Literal[
    "gzip",
    "deflate",
    "raw_deflate",
    "gzip_bad",
    "gzip_truncated",
    "gzip_trailing",
    "gzip_twice",
    "mislabelled",
    "unknown",
]


@step()
async def encoded(turn: Turn, coding: Coding = "gzip") -> None:
    """100 kB compressed: well, badly, cut with a matching length, with bytes after it, or only labelled so."""
    whole = gzip.compress(PLAIN, mtime=0)
    bodies = {
        "gzip": whole,
        "deflate": zlib.compress(PLAIN),
        "raw_deflate": zlib.compress(PLAIN)[2:-4],
        "gzip_bad": whole[:10] + b"\xff" * 200,
        "gzip_truncated": whole[: len(whole) // 2],
        "gzip_trailing": whole + b"garbage",
        "gzip_twice": gzip.compress(whole, mtime=0),
        "mislabelled": PLAIN,
        "unknown": PLAIN,
    }
    labels = {"deflate": "deflate", "raw_deflate": "deflate", "gzip_twice": "gzip, gzip", "unknown": "seawall"}
    fields = {"content-type": "text/plain", "content-encoding": labels.get(coding, "gzip")}
    await turn.request.reply(200, bodies[coding], fields)


@step()
async def bomb(turn: Turn, size: int = 100_000_000) -> None:
    """A small gzip body that decompresses to this size."""
    await turn.write(head(200, [*CHUNKED, ("content-encoding", "gzip")]))
    if turn.request.method == "HEAD":
        return
    packer = zlib.compressobj(wbits=31)
    for begin in range(0, size, PIECE):
        await _chunk(turn, packer.compress(bytes(min(PIECE, size - begin))))
        await asyncio.sleep(0)
    await _chunk(turn, packer.flush())
    await turn.write(b"0\r\n\r\n")


@step()
async def extra(turn: Turn, text: str = "garbage") -> None:
    """A good answer, followed at once by more bytes than Content-Length says."""
    await turn.reply()
    await turn.write(text.encode())


@step()
async def second_answer(turn: Turn, delay: float = 0.0) -> None:
    """A good answer, then an unsolicited second one, which the client must not take for the next request's."""
    await turn.reply()
    stray = b'{"stray":true}'
    if not delay or await turn.connection.is_idle(delay):
        await turn.write(head(200, [("content-length", str(len(stray)))]) + stray)


@step()
async def body_on(turn: Turn, code: Annotated[int, Between(200, 999)] = 204) -> None:
    """A body after 204, 304 or the answer to HEAD, which must not have one."""
    await turn.write(head(code, [("content-length", "7")]) + b"garbage")


@step()
async def trailers(turn: Turn) -> None:
    """A chunked body with trailer fields after it."""
    await turn.write(head(200, [*CHUNKED, ("trailer", "x-checksum")]))
    if turn.request.method == "HEAD":
        return
    await _chunk(turn, b"with trailers")
    await turn.write(b"0\r\nx-checksum: 1\r\n\r\n")


@step()
async def sse(turn: Turn, count: int = 3, interval: float = 0.0) -> None:
    """This many server-sent events (0 is endless), this many seconds apart."""
    await turn.write(head(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]))
    number = 0
    if turn.request.method == "HEAD":
        return
    while not count or number < count:
        number += 1
        await _chunk(turn, b"id: %d\ndata: event %d\n\n" % (number, number))
        await asyncio.sleep(interval)
    await turn.write(b"0\r\n\r\n")


@step()
async def cookies(turn: Turn, size: Size = 63 * 1024) -> None:
    """A cookie of this size."""
    await turn.reply(200, {"set-cookie": "big=" + "x" * size})


async def _chunk(turn: Turn, data: bytes) -> None:
    if data:
        await turn.write(b"%x\r\n%s\r\n" % (len(data), data))
