"""JSON for people: indented and coloured, with every number and key as it came."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from rich.text import Text

__all__ = ["indented", "is_json"]

TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s\[\]{},:"]+|[\[\]{},:]')
MARKS: Final = "[]{},:"
STEP: Final = "  "
STYLES: Final = {"key": "cyan", "string": "green", "literal": "magenta", "mark": ""}


def is_json(text: str) -> bool:
    """Whether *text* is JSON that can be indented; one that is nested too deeply to read isn't."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def indented(text: str) -> Text:
    """
    *text* with a member a line, by its tokens, because `json.dumps` would change numbers and drop keys given twice.

    Args:
        text: JSON, by `is_json`.
    """
    shown = Text(no_wrap=True)
    for piece, kind in _laid_out(TOKEN.findall(text)):
        shown.append(piece, STYLES[kind])
    return shown


def _laid_out(tokens: list[str]) -> Iterator[tuple[str, str]]:
    """Each piece, with the white space that goes before it, and its kind."""
    depth, before = 0, ""
    for index, piece in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        if piece in "]}":
            depth -= 1
            if tokens[index - 1] not in "[{":
                before = "\n" + STEP * depth
        kind = "mark" if piece in MARKS else "literal" if piece[0] != '"' else "key" if following == ":" else "string"
        yield before + piece, kind
        before = ""
        if piece in "[{":
            depth += 1
            if following not in "]}":
                before = "\n" + STEP * depth
        elif piece == ",":
            before = "\n" + STEP * depth
        elif piece == ":":
            before = " "
