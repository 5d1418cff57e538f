"""Headers as HTTP/2 has them. Source: RFC 9113 sections 8.2 and 8.3."""

from __future__ import annotations

import re
from typing import Final

from .message import Message

__all__ = ["request_fields", "wrong_field"]

CONNECTION_HEADERS: Final = frozenset(
    (b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""HTTP/1.1's own. Source: RFC 9113 section 8.2.2."""


def request_fields(message: Message) -> list[tuple[bytes, bytes]]:
    """A request's headers as HTTP/2 has them. Source: RFC 9113 section 8.3.1."""
    authority = b""
    dropped = set(CONNECTION_HEADERS)
    fields = []
    for _, name, value in message.headers:
        if name == b"connection":
            dropped.update(each.strip() for each in value.lower().split(b","))
        elif name == b"host":
            authority = value
    for _, name, value in message.headers:
        if name not in dropped and (name != b"te" or value.lower() == b"trailers"):
            fields.append((name, value.strip()))
    return [
        (b":method", message.method),
        (b":authority", authority),
        (b":scheme", message.origin.scheme.encode()),
        (b":path", message.target),
        *fields,
    ]


WRONG: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9a-z]|^$")
"""In a name; in lower case, as HTTP/2 has them. Source: RFC 9113 section 8.2.1."""


def wrong_field(fields: list[tuple[bytes, bytes]]) -> bytes | None:
    """The name of a response's field that can't be, if there is one."""
    for index, (name, value) in enumerate(fields):
        is_good = name == b":status" and index == 0 if name[:1] == b":" else not WRONG.search(name)
        if not is_good or name in CONNECTION_HEADERS or any(each in value for each in (b"\0", b"\r", b"\n")):
            return name
    return None
