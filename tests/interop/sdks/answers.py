"""What a server in the place of an API answers: each is a function of a `Request`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from seawall.testing import Request

__all__ = ["BUSY", "Answer", "cut", "events", "lines", "says", "wait"]

Answer = Callable[[Request], Awaitable[None]]


def says(value: Any, *, status: int = 200, **fields: str) -> Answer:
    """*value* as JSON; ``x_should_retry="false"`` in *fields* is a header."""

    async def answer(request: Request) -> None:
        await request.reply(status, json.dumps(value).encode(), {"content-type": "application/json"}, **fields)

    return answer


BUSY = says({"message": "busy", "error": {"message": "busy", "code": 503}}, status=503)


def wait(ms: int) -> Answer:
    """A rate limit that says when to come back, in milliseconds."""
    return says({"error": {"message": "slow down", "code": 429}}, status=429, retry_after_ms=str(ms))


def events(*texts: str, mime: str = "text/event-stream") -> Answer:
    """A stream of these texts, each in a write and a chunk of its own."""

    async def answer(request: Request) -> None:
        await _begin(request, texts, mime)
        await request.send(b"0\r\n\r\n")

    return answer


def cut(*texts: str, mime: str = "text/event-stream") -> Answer:
    """The same, without its end: the server closes the connection once the client has them."""

    async def answer(request: Request) -> None:
        await _begin(request, texts, mime)
        request.close()

    return answer


def lines(values: Iterable[Any]) -> list[str]:
    """Newline-delimited JSON."""
    return [json.dumps(value) + "\n" for value in values]


async def _begin(request: Request, texts: Iterable[str], mime: str) -> None:
    await request.begin(200, {"content-type": mime, "transfer-encoding": "chunked"})
    for text in texts:
        await request.send(f"{len(text.encode()):x}\r\n{text}\r\n".encode())
