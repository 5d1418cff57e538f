"""`Claim`: a request that wants to run under a key."""

from __future__ import annotations

import hashlib
import uuid
from typing import NamedTuple, Self

__all__ = ["Claim", "fingerprint"]


class Claim(NamedTuple):
    """
    A request that wants to run under a key.

    Attributes:
        key: Hash of the key and of its caller's scope: 64 hexadecimal digits, so that no store holds a credential, and
            no caller reaches another's answer.
        fingerprint: Hash of the request: 64 hexadecimal digits.
        token: Of this run alone. It fences the key: a run whose lock has expired can't overwrite the next one's answer.
    """

    key: str
    fingerprint: str
    token: str

    @classmethod
    def of(cls, scope: str, key: str, fingerprint: str) -> Self:
        owned = hashlib.sha256(f"{len(scope)}:{scope}{key}".encode("utf-8", "surrogatepass")).hexdigest()
        return cls(owned, fingerprint, uuid.uuid4().hex)


def fingerprint(method: str, path: str, query: bytes, body: bytes) -> str:
    """A hash of the request's question: a caller must not use its key for anything else, even with the same body."""
    head = f"{method} {path}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(b"%d:%b%d:%b%b" % (len(head), head, len(query), query, body)).hexdigest()
