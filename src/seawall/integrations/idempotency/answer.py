"""`Answer`: what a request was answered with, as it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

__all__ = ["Answer", "Fields"]

Fields = Iterable[tuple[bytes, bytes]]

NOT_KEPT: Final = frozenset(
    {
        # of one connection (RFC 9110, section 7.6.1)
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"date", b"server"),  # the server writes them anew
        # A session that ended meanwhile would begin again, and the store would hold its secret.
        b"set-cookie",
    }
)
AGAIN: Final = frozenset({408, 409, 425, 429})  # "try again": a kept one would refuse each retry


class Answer(NamedTuple):
    """
    A whole answer.

    Attributes:
        headers: Lower-case names, and values.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def of(cls, status: int, headers: Fields, body: bytes) -> Self:
        """One to keep: without the headers that belong to a connection, a moment or a session."""
        lower = ((bytes(name).lower(), bytes(value)) for name, value in headers)
        return cls(status, tuple((name, value) for name, value in lower if name not in NOT_KEPT), body)

    @property
    def is_final(self) -> bool:
        """Whether a repeat would get the same, so that it may be kept; a 5xx, a 429 and the like say "try again"."""
        return self.status < 500 and self.status not in AGAIN

    def pack(self) -> bytes:
        """As one value of a database: a line of JSON, then the body as it is."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]
        return json.dumps([self.status, headers]).encode() + b"\n" + self.body

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        head, _, body = packed.partition(b"\n")
        status, headers = json.loads(head)
        return cls(status, tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers), body)
