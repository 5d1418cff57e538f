"""What ``seawall get`` sends: method, headers and body, as its options give them."""

from __future__ import annotations

import errno
import json as json_module
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .. import __version__
from ..config.check import HEADER_NAME

__all__ = ["Sent", "body_of", "checked_method", "sent"]


class Sent(NamedTuple):
    """
    What every URL is sent.

    Attributes:
        content: The body; None if there is none.
        without: Names of headers that are left out.
    """

    method: str
    headers: list[tuple[str, str]]
    content: bytes | None
    without: list[str]


def sent(*, method: str | None, headers: Sequence[str], data: Sequence[str], json: str | None) -> Sent:
    """
    What options ask for, in the words of the command line.

    Raises:
        ValueError: One of them can't be; the message names it.
    """
    if data and json is not None:
        raise ValueError("--data and --json can't both be the body; give one of them")
    content, implied = _body(data, json)
    if method is not None:
        checked_method(method)
    given, without = _headers(headers)
    named = {name.lower() for name, _ in given} | {name.lower() for name in without}
    added = [(name, value) for name, value in implied if name.lower() not in named]
    return Sent(method or ("GET" if content is None else "POST"), added + given, content, without)


def checked_method(name: str) -> str:
    """
    *name*, which can be a method.

    Raises:
        ValueError: It can't.
    """
    if not re.fullmatch(HEADER_NAME, name):  # a token, as a header's name is
        raise ValueError(f"--method takes a name such as GET, not {name!r}")
    return name


def _body(data: Sequence[str], json: str | None) -> tuple[bytes | None, list[tuple[str, str]]]:
    """The body, and the headers that go with it unless others are given."""
    agent = ("User-Agent", f"seawall/{__version__}")
    if json is not None:
        content = body_of("--json", json)
        try:
            json_module.loads(content)
        except ValueError as error:
            raise ValueError(f"--json takes JSON: {error}; to send it as it is, use --data") from None
        except RecursionError:
            raise ValueError("--json takes JSON: it nests too deeply to be read; to send it, use --data") from None
        return content, [agent, ("Content-Type", "application/json"), ("Accept", "application/json")]
    if not data:
        return None, [agent]
    content = b"&".join(body_of("--data", each) for each in data)
    return content, [agent, ("Content-Type", "application/x-www-form-urlencoded")]


def body_of(option: str, text: str) -> bytes:
    """The bytes that were given, UTF-8 or not; those of a file as they are."""
    if not text.startswith("@"):
        return os.fsencode(text)
    try:
        if text == "@-":
            if sys.stdin is None:  # Python's way to say that the shell closed it
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return sys.stdin.buffer.read()
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise ValueError(f"{option} {text}: {error.strerror}") from None


def _headers(given: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Those to send, and the names of those to leave out."""
    headers, without = [], []
    for each in given:
        name, colon, value = each.partition(":")
        name, value = name.strip(), value.strip()
        if not (colon and re.fullmatch(HEADER_NAME, name)):
            raise ValueError(f"--header takes 'Name: value', not {each!r}")
        if not (value.isascii() and (value.isprintable())):
            raise ValueError(f"--header takes printable ASCII only, not {each!r}")
        if value:
            headers.append((name, value))
        else:
            without.append(name)
    return headers, without
