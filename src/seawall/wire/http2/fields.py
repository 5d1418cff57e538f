"""Headers as HTTP/2 has them. Source: RFC 9113 sections 8.2 and 8.3."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..message import Message

__all__ = ["request_fields", "wrong_field"]

Fields = Sequence[tuple[bytes, bytes]]

CONNECTION_HEADERS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""HTTP/1.1's own. Source: RFC 9113 section 8.2.2."""

NOT_IN_VALUES: Final = (b"\0", b"\r", b"\n")  # RFC 9113 section 8.2.1

MOVED: Final = CONNECTION_HEADERS | {b"host", b"te"}
"""Those that are not just handed on."""

WRONG: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9a-z]|^$")
"""In a name; in lower case, as HTTP/2 has them. Source: RFC 9113 section 8.2.1."""

LINES: Final = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]+\0[^\0\r\n]*\n)*")
"""With as many lines as there are fields, they can't be taken for anything else."""


def request_fields(message: Message) -> list[tuple[bytes, bytes]]:
    """A request's headers as HTTP/2 has them. Source: RFC 9113 section 8.3.1."""
    scheme = message.origin.scheme.encode()
    fields = [(b":method", message.method), (b":scheme", scheme), (b":path", message.target)]
    dropped: set[bytes] = set()
    for _, name, value in message.headers:
        if name not in MOVED:
            fields.append((name, value.strip()))
        elif name == b"host":
            fields.insert(1, (b":authority", value.strip()))
        elif name == b"te" and value.lower() == b"trailers":
            fields.append((name, b"trailers"))
        elif name == b"connection" and value != b"keep-alive":
            dropped.update(each.strip() for each in value.lower().split(b","))  # not for the server behind this one
    if message.block.is_chunked:  # which overrides a length, so nobody has held the body to it (RFC 9112 section 6.3)
        dropped.add(b"content-length")
    if dropped:
        return [field for field in fields if field[0] not in dropped or field[0].startswith(b":")]
    return fields


def wrong_field(fields: Fields) -> bytes | None:
    """The name of a field of a response or of trailers, pseudo-headers aside, that can't be, if there is one."""
    lines = b"".join([b"%b\0%b\n" % field for field in fields])
    if lines.count(b"\n") == len(fields) and LINES.fullmatch(lines):
        return next((name for name, _ in fields if name in CONNECTION_HEADERS), None)
    return next(name for name, value in fields if WRONG.search(name) or any(each in value for each in NOT_IN_VALUES))
