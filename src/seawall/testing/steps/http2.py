"""Faults of HTTP/2: steps of a port that speaks it, and of requests that come over it. Source: RFC 9113."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from ..http.connection import Connection
from ..http.port import Incoming
from ..http.step import BadStep, Between, step
from ..http.turn import Turn

if TYPE_CHECKING:  # it needs the extra "http2", but the names of the steps don't
    from ..http.http2 import H2Connection

__all__ = [
    "h2",
    "h2_bad_frame",
    "h2_goaway",
    "h2_hang",
    "h2_lower",
    "h2_no_settings",
    "h2_no_window",
    "h2_refused",
    "h2_rst",
    "h2_silent",
    "h2_streams",
]

H2 = ("h2",)
PACKAGES = ("h2", "trustme", "cryptography")
MAX_STREAMS: Final = 0x3  # SETTINGS_MAX_CONCURRENT_STREAMS; section 6.5.2
INITIAL_WINDOW: Final = 0x4
REFUSED_STREAM: Final = 0x7  # section 7
RST_STREAM: Final = 0x3  # frame types; section 6
GOAWAY: Final = 0x7
DATA: Final = 0x0

Security = Literal["tls", "clear"]
Code = Annotated[int, Between(0, 0xFFFFFFFF)]


@step(level="connection", needs=PACKAGES)
async def h2(incoming: Incoming, over: Literal[Security, "either"] = "tls") -> None:
    """HTTP/2; "clear": without TLS, with prior knowledge; "either": HTTP/1.1 for clients that don't offer HTTP/2."""
    await _serve(incoming, over, settings={MAX_STREAMS: 100})


@step(level="connection", needs=PACKAGES)
async def h2_streams(incoming: Incoming, max_streams: Code = 1, over: Security = "tls") -> None:
    """Allows this many streams at a time."""
    await _serve(incoming, over, settings={MAX_STREAMS: max_streams})


@step(level="connection", needs=PACKAGES)
async def h2_lower(incoming: Incoming, max_streams: Code = 1, over: Security = "tls") -> None:
    """Allows 100 streams at first, and this many once a request has come."""
    await _serve(incoming, over, settings={MAX_STREAMS: 100}, later=max_streams)


@step(level="connection", needs=PACKAGES)
async def h2_no_settings(incoming: Incoming, over: Security = "tls") -> None:
    """Answers requests, but never sends the SETTINGS frame that must come first."""
    await _serve(incoming, over, settings=None)


@step(level="connection", needs=PACKAGES)
async def h2_no_window(incoming: Incoming, over: Security = "tls") -> None:
    """Windows of 0 that never open, so that the client can't send a body."""
    await _serve(incoming, over, settings={INITIAL_WINDOW: 0}, opens_windows=False)


@step(level="connection", needs=PACKAGES)
async def h2_hang(incoming: Incoming, over: Security = "tls") -> None:
    """Accepts the connection, TLS included, and never sends an HTTP/2 frame."""
    await _serve(incoming, over, settings=None, is_silent=True)


@step(protocols=H2, reads_body=False, needs=("h2",))
async def h2_refused(turn: Turn) -> None:
    """RST_STREAM with REFUSED_STREAM, which says that the request was not processed."""
    await _reset_stream(turn, REFUSED_STREAM)


@step(protocols=H2, needs=("h2",))
async def h2_rst(turn: Turn, code: Code = 2, where: Literal["start", "body"] = "start") -> None:
    """RST_STREAM with this error code: 2 INTERNAL_ERROR, 8 CANCEL, 11 ENHANCE_YOUR_CALM, 13 HTTP_1_1_REQUIRED."""
    if where == "body":
        await turn.request.begin(200, {"content-length": "1000"})
        await turn.request.send(b"x" * 500)
    await _reset_stream(turn, code)


@step(protocols=H2, needs=("h2",))
async def h2_goaway(
    turn: Turn, when: Literal["before", "after", "idle"] = "before", code: Code = 0, after: float = 0.0
) -> None:
    """GOAWAY: "before": instead of processing this stream; "after": after its answer; "idle": this long after that."""
    connection = _connection(turn)
    stream = turn.request.stream
    if when != "before":
        await turn.reply()
        await asyncio.sleep(after if when == "idle" else 0.0)
    last = max(0, stream - 2) if when == "before" else stream
    connection.frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))
    if when != "after":
        connection.close()


@step(protocols=H2, needs=("h2",))
async def h2_silent(turn: Turn) -> None:
    """From now on the whole connection is silent, PINGs included."""
    _connection(turn).is_silent = True
    await turn.request.hang()


@step(protocols=H2, needs=("h2",))
async def h2_bad_frame(turn: Turn, what: Literal["size", "stream", "type", "hpack"] = "size") -> None:
    """A frame that is too large, on stream 0, of an unknown type (which must be ignored), or that can't be decoded."""
    connection = _connection(turn)
    if what == "size":
        connection.frame(DATA, 0, turn.request.stream, bytes(20_000))
    elif what == "stream":
        connection.frame(DATA, 0, 0, b"x")
    elif what == "type":
        connection.frame(0xFA, 0, 0, b"x")
        await turn.reply()
        return
    else:
        connection.frame(0x1, 0x4, turn.request.stream, b"\xff\xff\xff\xff\xff\xff")
    await turn.request.hang()


async def _serve(incoming: Incoming, over: str, *, is_silent: bool = False, **arguments: Any) -> None:
    from ..http.http2 import Chosen, H2Connection

    def protocol(number: int, serve: Any) -> H2Connection:
        connection = H2Connection(number, serve, **arguments)
        connection.is_silent = is_silent
        return connection

    if over == "either":
        context = incoming.port.certificates.kept("either")
        await incoming.serve(context, lambda *each: Chosen(lambda: protocol(*each), lambda: Connection(*each)))
        return
    await incoming.serve(incoming.port.certificates.kept("http2") if over == "tls" else None, protocol)


def _connection(turn: Turn) -> H2Connection:
    from ..http.http2 import H2Connection

    wire = turn.request.wire
    if not isinstance(wire, H2Connection):
        raise BadStep(f"{turn.step} needs HTTP/2, and this request came over {wire.protocol}")
    return wire


async def _reset_stream(turn: Turn, code: int) -> None:
    connection = _connection(turn)
    connection.http2.reset_stream(turn.request.stream, code)
    connection.flush()
