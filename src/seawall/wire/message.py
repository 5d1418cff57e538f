"""A request, without httpx, and as bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import InvalidRequest
from ..origin import Origin

__all__ = ["Message"]

HEAD: Final = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [^\x00\r\n]*\r\n)*\r\n"
)
"""With as many lines as there are headers, it can't be taken for anything else. Source: RFC 9112 sections 3 and 5."""


@dataclass(slots=True)
class Message:
    """
    A request, without httpx. *extensions* are httpx's: timeout, trace, sni_hostname.

    Attributes:
        content: The body, where it is there already; else it is read from *body*.
        length, is_chunked, expects, asks_upgrade: What its headers say; known once it is `written`.
    """

    origin: Origin
    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    content: bytes | None
    body: AsyncIterable[bytes]
    extensions: Mapping[str, Any]
    length: int | None = None
    is_chunked: bool = False
    expects: bool = False
    asks_upgrade: bool = False

    def written(self) -> bytes:
        """
        What goes out first: the head, and the body where it is there and wanted at once.

        Raises:
            InvalidRequest: HTTP/1.1 can't carry it.
        """
        is_good = True
        parts = [self.method, b" ", self.target, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            parts += (name, b": ", value, b"\r\n")
            is_good = is_good and b":" not in name
            if len(name) in NOTED:
                self._note(name.lower(), value)
        parts.append(b"\r\n")
        data = b"".join(parts)
        if not is_good or data.count(b"\n") != len(self.headers) + 2 or not HEAD.fullmatch(data):
            # The text doesn't quote it: a header may be somebody's credentials.
            raise InvalidRequest(
                f"{self.origin}: HTTP/1.1 can't carry this request: look for illegal bytes in its headers, method or "
                "target",
                origin=self.origin,
            )
        content = self.content
        if content is not None:
            if not self.is_chunked and (self.length or 0) != len(content):
                raise self.misframed(len(content))
            if content and not self.expects:
                return data + (self.framed(content) + self.end if self.is_chunked else content)
        return data

    def framed(self, part: bytes) -> bytes:
        """*part* of the body as it goes over the wire."""
        return b"%x\r\n%b\r\n" % (len(part), part) if self.is_chunked else part

    @property
    def end(self) -> bytes:
        """What ends the body."""
        return b"0\r\n\r\n" if self.is_chunked else b""

    def misframed(self, size: int) -> InvalidRequest:
        """The error of a body that has other *size* than the headers say."""
        said = "no content-length or transfer-encoding" if self.length is None else f"content-length {self.length}"
        return InvalidRequest(
            f"{self.origin}: the request's body has {size} bytes so far, but its headers have {said}",
            origin=self.origin,
        )

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self.length = int(value) if value.isdigit() else None
        elif name == b"transfer-encoding":
            self.is_chunked = True
        elif name == b"expect":
            self.expects = True
        elif name == b"upgrade":
            self.asks_upgrade = True


NOTED: Final = frozenset(map(len, (b"content-length", b"transfer-encoding", b"expect", b"upgrade")))
