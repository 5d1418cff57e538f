"""Where a response goes: to a terminal in a form for people, to a pipe or a file as it is."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import httpx
from rich.console import Console
from rich.text import Text

from ..fetch.charset import charset_of
from .json_text import indented, is_json
from .stdout import NAME

__all__ = ["Output", "head_of"]

MAX_COLOURED: Final = 128 * 1024  # characters, which take 0.3 s; more takes longer than it is worth
MAX_INDENTED: Final = 16 * 1024**2  # characters, which take some 5 s
CONTROLS: Final = dict.fromkeys([*(set(range(32)) - {9, 10}), *range(127, 160)], "?")
"""What could move the cursor or rename the window; a new line and a tab can't."""


class Output:
    """
    Standard output, or a file.

    Args:
        path: The file; None or "-" is standard output.
    Attributes:
        is_standard: It is standard output.
        is_for_people: It is a terminal.
        name: What messages call it.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = None if path is None or str(path) == "-" else path
        self._file: BinaryIO | None = None
        self.name = NAME if self._path is None else str(self._path)
        self.is_standard = self._path is None
        self.is_for_people = self.is_standard and sys.stdout is not None and sys.stdout.isatty()
        if self.is_for_people and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal that can't show a character must not end the command

    def check(self) -> None:
        """
        Raises:
            OSError: It can't be written; before anything is sent, because a POST would be lost else.
        """
        if self._path is None:
            if sys.stdout is None:  # Python's way to say that the shell closed it
                raise self._error(errno.EBADF)
            return
        if self._path.is_dir():
            raise self._error(errno.EISDIR)
        if self._path.exists():  # a device or a file may be written where its folder may not, and the other way round
            if not os.access(self._path, os.W_OK):
                raise self._error(errno.EACCES)
            return
        folder = self._path.absolute().parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise self._error(errno.EACCES if folder.is_dir() else errno.ENOENT)

    def head(self, response: httpx.Response) -> None:
        """Print the status line and the headers."""
        lines = head_of(response)
        if not self.is_for_people:
            self.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1", "replace"))
            return
        shown = Text(no_wrap=True)
        shown.append(lines[0].translate(CONTROLS) + "\n", "bold")
        for line in lines[1:]:
            name, _, value = line.translate(CONTROLS).partition(":")
            shown.append(name, "cyan").append(f":{value}\n")
        _print(shown)

    def body(self, response: httpx.Response) -> str:
        """
        Print the body, which has been read.

        Returns:
            Why it wasn't printed; empty if it was.
        """
        content = response.content
        if not self.is_for_people:
            self.write(content)
            return ""
        if not content:
            return ""
        if (text := _text(content, response)) is None:
            kind = response.headers.get("content-type", "no content type").translate(CONTROLS)
            return f"{len(content)} bytes of a binary body ({kind}) aren't shown; -o FILE saves them, a pipe gets them"
        if len(text) <= MAX_INDENTED and text.lstrip()[:1] in ("[", "{") and is_json(text):
            shown = indented(text.replace("\r", " ").translate(CONTROLS)).append("\n")
            if len(text) <= MAX_COLOURED:
                _print(shown)
            else:
                self._show(shown.plain)
        else:
            self._show(text if text.endswith("\n") else f"{text}\n")
        return ""

    async def stream(self, response: httpx.Response) -> str:
        """Print each part of the body as it comes; as `body`."""
        decoder = codecs.getincrementaldecoder(_charset(response))("replace")
        size = 0
        if not self.is_for_people:
            self.write(b"")  # a body without a part makes an empty file too
        async for part in response.aiter_bytes():
            if not self.is_for_people:
                self.write(part)
                continue
            if not size and _text(part, response, is_part=True) is None:
                return "a binary body isn't shown; -o FILE saves it, a pipe gets it"
            size += len(part)
            self._show(decoder.decode(part))
        return ""

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        if self._path is None:
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        if self._file is None:
            self._file = self._path.open("wb")
        self._file.write(data)

    def close(self) -> None:
        """
        Raises:
            OSError: What was still to be written can't be, because the disk is full, say.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _error(self, code: int) -> OSError:
        return OSError(code, os.strerror(code), self.name)

    def _show(self, text: str) -> None:
        sys.stdout.write(text.replace("\r\n", "\n").translate(CONTROLS))
        sys.stdout.flush()


def head_of(message: httpx.Response | httpx.Request, version: str = "") -> list[str]:
    """
    The lines of a head, without line ends.

    Args:
        version: That of HTTP, of a request, which doesn't know it.
    """
    if isinstance(message, httpx.Response):
        first = f"{message.http_version} {message.status_code} {message.reason_phrase}".rstrip()
    else:
        first = f"{message.method} {message.url.raw_path.decode('ascii')} {version}".rstrip()
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in message.headers.raw)
    return [first, *(f"{name}: {value}" for name, value in pairs)]


def _print(text: Text) -> None:
    Console(highlight=False, soft_wrap=True).print(text, end="")


def _text(content: bytes, response: httpx.Response, *, is_part: bool = False) -> str | None:
    """*content* as text, if it is one: None if it has a NUL, or bytes that its charset has not."""
    kind = response.headers.get("content-type", "")
    with suppress(UnicodeError):
        decoder = codecs.getincrementaldecoder(_charset(response))("strict")
        text = decoder.decode(content, final=not is_part)
        return None if "\0" in text else text
    if b"\0" in content[:8192] or not kind.startswith("text/"):
        return None
    return content.decode("utf-8", "replace")


def _charset(response: httpx.Response) -> str:
    return charset_of(response.headers.get("content-type", ""))
