"""
/etc/gai.conf: the tables by which addresses are ranked, read as glibc 2.36 reads it.

If the file has lines of a kind (label, precedence, scopev4), they replace glibc's table of that kind. Broken lines are
skipped. glibc reads the file once in a process, and a client reads it once: ``reload`` isn't heeded. A prefix without
"/bits" makes glibc 2.36 crash, or counts as /128 by chance; here it counts as /128.

Source: gai.conf(5); sysdeps/posix/getaddrinfo.c; RFC 6724 section 2.1 where the C library isn't glibc.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from .machine import glibc_version

__all__ = ["GLIBC", "MAPPED", "RFC6724", "Table", "as_number", "parse", "read"]

PATH: Final = "/etc/gai.conf"
MAPPED: Final = 0xFFFF << 32  # ::ffff:0:0/96, as which the tables know IPv4
WHOLE: Final = (1 << 128) - 1
MAX_VALUE: Final = 2**31 - 1

Prefixes: TypeAlias = tuple[tuple[int, int, int], ...]
"""(mask, the masked bits of an address, value); the longest prefix first, then as in the file."""


class Table(NamedTuple):
    """
    The values of addresses by their prefixes. Addresses are 128-bit numbers.

    Attributes:
        scopes: Those of IPv4 addresses; an IPv6 address contains its scope.
    """

    labels: Prefixes
    precedences: Prefixes
    scopes: Prefixes

    def label(self, address: int) -> int:
        return _value(self.labels, address)

    def precedence(self, address: int) -> int:
        return _value(self.precedences, address)

    def scope(self, address: int) -> int:
        """Source: RFC 6724 section 3.1; 2 is link-local, 14 is global."""
        if address >> 32 == 0xFFFF:
            return _value(self.scopes, address)
        if address >> 120 == 0xFF:
            return address >> 112 & 0xF
        if address >> 118 == 0xFE80 >> 6 or address == 1:  # loopback is treated as link-local
            return 2
        return 5 if address >> 118 == 0xFEC0 >> 6 else 14


def as_number(ip: str) -> int | None:
    """An address as a 128-bit number, without its zone, IPv4 mapped; None where it isn't in the usual form."""
    try:
        if ":" in ip:
            return int.from_bytes(socket.inet_pton(socket.AF_INET6, ip.partition("%")[0]))
        return MAPPED | int.from_bytes(socket.inet_pton(socket.AF_INET, ip))
    except OSError:
        return None


def read(path: str = PATH) -> Table:
    """This machine's table; the default where the file can't be read."""
    default = RFC6724 if glibc_version() is None else GLIBC
    try:
        with open(path, "rb") as file:
            return parse(file.read())
    except OSError:
        return default


def parse(data: bytes) -> Table:
    """The table that glibc makes of a gai.conf."""
    found: dict[str, list[tuple[int, int, int]]] = {"label": [], "precedence": [], "scopev4": []}
    for line in data.split(b"\n"):
        words = line.partition(b"#")[0].partition(b"\0")[0].split()
        if len(words) < 2:
            continue
        kind, prefix, value = [*(word.decode("latin-1") for word in words[:3]), ""][:3]
        if kind in found and (entry := _entry(prefix, value, is_scope=kind == "scopev4")) is not None:
            found[kind].append(entry)
    return Table(
        _sorted([*found["label"], (0, 0, 1)]) if found["label"] else GLIBC.labels,
        _sorted([*found["precedence"], (0, 0, 40)]) if found["precedence"] else GLIBC.precedences,
        _sorted([*found["scopev4"], (96, MAPPED, 14)]) if found["scopev4"] else GLIBC.scopes,
    )


def _entry(prefix: str, value: str, *, is_scope: bool) -> tuple[int, int, int] | None:
    """(bits, address, value); None where glibc would skip the line."""
    ip, slash, text = prefix.partition("/")
    is_four = is_scope and ":" not in ip  # an address form that only scopev4 takes
    if not is_four and ":" not in ip:
        return None
    address = as_number(ip) if "%" not in ip else None
    bits = _unsigned(text) if slash else (32 if is_four else 128)
    given = _unsigned(value)
    if address is None or bits is None or given is None or given > MAX_VALUE:
        return None
    if is_four:
        bits += 96
    if bits > 128 or (is_scope and (bits < 96 or address >> 32 != 0xFFFF)):
        return None
    return bits, address, given


def _unsigned(text: str) -> int | None:
    """As strtoul parses: an empty text is 0, and a negative number is above any limit."""
    match = re.fullmatch(r"([+-]?)([0-9]+)", text)
    if match is None:
        return 0 if not text else None
    sign, digits = match.groups()
    if len(digits) > 20:
        return None
    return MAX_VALUE + 1 if sign == "-" and int(digits) else int(digits)


def _sorted(entries: Sequence[tuple[int, int, int]]) -> Prefixes:
    found = []
    for bits, address, value in sorted(entries, key=lambda entry: -entry[0]):
        mask = WHOLE >> (128 - bits) << (128 - bits)
        found.append((mask, address & mask, value))
    return tuple(found)


def _value(prefixes: Prefixes, address: int) -> int:
    for mask, prefix, value in prefixes:
        if address & mask == prefix:
            return value
    raise AssertionError("a table ends with a prefix that all addresses have")


def _table(labels: str, precedences: str) -> Table:
    """A table from texts of "prefix/bits value"."""
    given = []
    for each in (labels, precedences, "::ffff:169.254.0.0/112 2, ::ffff:127.0.0.0/104 2, ::ffff:0.0.0.0/96 14"):
        entries = (_entry(*item.split(), is_scope=False) for item in each.split(","))
        given.append(_sorted([entry for entry in entries if entry is not None]))
    return Table(*given)


GLIBC: Final = _table(
    "::1/128 0, 2002::/16 2, ::/96 3, ::ffff:0:0/96 4, fec0::/10 5, fc00::/7 6, 2001::/32 7, ::/0 1",
    "::1/128 50, 2002::/16 30, ::/96 20, ::ffff:0:0/96 10, ::/0 40",
)
"""That of glibc 2.36, after RFC 3484: unlike RFC 6724, it prefers unique local IPv6 addresses to IPv4."""
RFC6724: Final = _table(
    "::1/128 0, ::ffff:0:0/96 4, ::/96 3, 2001::/32 5, 2002::/16 2, 3ffe::/16 12, fec0::/10 11, fc00::/7 13, ::/0 1",
    "::1/128 50, ::ffff:0:0/96 35, ::/96 1, 2001::/32 5, 2002::/16 30, 3ffe::/16 1, fec0::/10 1, fc00::/7 3, ::/0 40",
)
