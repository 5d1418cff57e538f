"""Good answers that say what a test wants."""

from __future__ import annotations

from ..http.step import Fields, Text, step
from ..http.turn import Turn
from .status import Code

__all__ = ["json", "text"]

BOTH = ("http/1.1", "h2")


@step(protocols=BOTH)
async def json(turn: Turn, value: object, status: Code = 200, headers: Fields = None) -> None:
    """An answer with this JSON, which the kit checks at once, and with these headers."""
    assert isinstance(value, str)  # a step keeps its JSON as text
    await _answer(turn, value, status, headers, "application/json")


@step(protocols=BOTH)
async def text(turn: Turn, body: Text, status: Code = 200, headers: Fields = None) -> None:
    """An answer with this text in UTF-8, and with these headers."""
    await _answer(turn, body, status, headers, "text/plain; charset=utf-8")


async def _answer(turn: Turn, body: str, status: int, headers: Fields, content_type: str) -> None:
    given = dict(headers or {})
    if "content-type" not in map(str.lower, given):
        given = {"content-type": content_type, **given}
    await turn.request.reply(status, body.encode(), given)
