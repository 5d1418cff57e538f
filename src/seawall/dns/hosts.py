"""
The hosts file, as glibc's `files` module reads it (nss/nss_files/files-hosts.c; hosts(5), host.conf(5)).

A line is an address and then names, separated by blanks; ``#`` begins a comment anywhere. A line whose address
``inet_pton`` doesn't take (``127.1``, ``fe80::1%eth0``) is skipped. Names compare without case and with their trailing
dot, so ``a.example.`` isn't ``a.example``. For AF_UNSPEC (``_nss_files_gethostbyname4_r``), the addresses are those of
the first line that has the name, or of all such lines where host.conf says ``multi on``.
"""

from __future__ import annotations

import io
import re
import socket
from array import array
from collections.abc import Mapping

__all__ = ["Hosts", "is_multi"]

BYTES_A_SLOT = 16  # of the file: about the length of a short line, so that a slot seldom has two names
MULTI = re.compile(r"^[^\S\n]*multi[^\S\n]+(on|off)", re.IGNORECASE | re.MULTILINE)
ON_OR_OFF = re.compile(r"on|off", re.IGNORECASE)
TERMINATED = re.compile(rb"\0[^\n]*")  # the part of a line that C doesn't see, because a NUL ends its strings


class Hosts:
    """
    A parsed hosts file. Immutable.

    It keeps the file's bytes and a hash table of line starts, because ad blockers' files have 350,000 lines: a dict of
    their names would take ten times the file's size. Lines are parsed when a name is looked for.

    Args:
        is_multi: All lines with a name count, not only the first (see the function `is_multi`).
    """

    __slots__ = ("_data", "_heads", "_is_multi", "_lines", "_nexts")

    def __init__(self, data: bytes, *, is_multi: bool) -> None:
        self._data = TERMINATED.sub(b"", data) if b"\0" in data else data
        self._is_multi = is_multi
        self._heads = array("I", bytes(4)) * (1 << (len(data) // BYTES_A_SLOT).bit_length())  # slot → its last entry
        self._nexts, self._lines = array("I", (0,)), array("I", (0,))  # entry → the previous one, its line; 0 ends
        self._index()

    def find(self, name: str) -> tuple[str, ...]:
        """A name's addresses of both families in the file's order, each once; () where the file hasn't the name."""
        wanted, found = name.encode(errors="surrogateescape").lower(), dict[str, None]()
        for line in self._lines_of(wanted):
            address, *names = _fields(line)
            if wanted in names and (text := _normal(address)):
                found[text] = None
                if not self._is_multi:
                    break
        return tuple(found)

    def _index(self) -> None:
        heads, nexts, lines, mask = self._heads, self._nexts, self._lines, len(self._heads) - 1
        start = 0
        for line in io.BytesIO(self._data):
            for name in _fields(line)[1:]:
                slot = hash(name) & mask
                nexts.append(heads[slot])
                heads[slot] = len(lines)
                lines.append(start)
            start += len(line)

    def _lines_of(self, name: bytes) -> list[bytes]:
        """The lines that may have a name, in the file's order."""
        starts, entry = list[int](), self._heads[hash(name) & (len(self._heads) - 1)]
        while entry:
            starts.append(self._lines[entry])
            entry = self._nexts[entry]
        return [self._line(start) for start in reversed(starts)]

    def _line(self, start: int) -> bytes:
        end = self._data.find(b"\n", start)
        return self._data[start:] if end < 0 else self._data[start:end]


def is_multi(host_conf: str, environ: Mapping[str, str]) -> bool:
    """Whether all lines with a name count: ``multi on`` in host.conf, or ``RESOLV_MULTI`` (resolv/res_hconf.c)."""
    found: list[str] = MULTI.findall(host_conf)
    if override := ON_OR_OFF.match(environ.get("RESOLV_MULTI", "")):
        found.append(override[0])
    return bool(found) and found[-1].lower() == "on"


def _fields(line: bytes) -> list[bytes]:
    """The address and the names in lower case. ``bytes.split`` and C's ``isspace`` agree on blanks."""
    return line.partition(b"#")[0].lower().split()


def _normal(address: bytes) -> str | None:
    """An address as getaddrinfo writes it; None where ``inet_pton`` doesn't take it."""
    family = socket.AF_INET6 if b":" in address else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, address.decode("ascii")))
    except (OSError, ValueError):
        return None
