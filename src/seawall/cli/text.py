"""Text from a server, made harmless for a terminal."""

from __future__ import annotations

from rich.markup import escape

__all__ = ["plain", "printable"]


def plain(text: str) -> str:
    """*text* for `rich.console.Console.print`, without control characters and markup."""
    return escape(printable(text))


def printable(text: str) -> str:
    """*text* without control characters, for `rich.text.Text`."""
    return "".join(character if character.isprintable() else "?" for character in text)
