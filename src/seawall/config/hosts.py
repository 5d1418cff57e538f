"""Hosts by pattern: a name, or ``*.suffix`` for all names below it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import TypeVar

import idna

from .check import shown

__all__ = ["canonical", "find"]

T = TypeVar("T")

_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_PATTERN = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


def canonical(setting: str, pattern: object) -> str:
    """
    *pattern* as hosts of requests are spelt: in lower case, in IDNA, an address in its shortest form.

    Raises:
        ValueError: No host can match it: a URL, a port, a wildcard that isn't the first label.
    """
    text = pattern if isinstance(pattern, str) else ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        name = star + (name if name.isascii() else idna.encode(name.lower()).decode()).lower().rstrip(".")
    except (idna.IDNAError, UnicodeError):
        name = ""
    if not _PATTERN.fullmatch(name):
        raise ValueError(
            f"{setting}: no host can match {shown(pattern)}; use a name such as api.example.com, "
            "or *.example.com for all names below it, without scheme, port or path"
        )
    return name


def find(host: str, table: Mapping[str, T]) -> T | None:
    """The entry of *table* for *host*: by its own name, else by the longest ``*.suffix``; None: there is none."""
    name = host.rstrip(".")
    found = table.get(name)
    while found is None and "." in name:
        name = name.partition(".")[2]
        found = table.get(f"*.{name}")
    return found
