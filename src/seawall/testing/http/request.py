"""A request as a server received it, and the means to answer it well or badly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar, overload
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Gone", "Headers", "Request", "Wire"]

T = TypeVar("T")

WITHOUT_BODY = frozenset({204, 304, *range(100, 200)})  # RFC 9110 section 6.4.1


class Gone(Exception):
    """The client closed the connection."""


class Wire(Protocol):
    """What a request needs from its connection."""

    protocol: str

    async def read(self, request: Request, limit: int | None) -> bool: ...
    async def answer(self, request: Request, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    async def begin(self, request: Request, status: int, headers: list[tuple[str, str]]) -> None: ...
    async def send(self, request: Request, data: bytes) -> None: ...
    async def flushed(self) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...
    def abort(self) -> None: ...


class Headers(dict[str, str]):
    """Headers by lower-case name, the last of each; found by their names in any case."""

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        super().__init__((name.lower(), value) for name, value in fields)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str, /) -> str: ...
    @overload
    def get(self, name: str, default: T, /) -> str | T: ...
    def get(self, name: str, default: Any = None, /) -> Any:
        return super().get(name.lower(), default)


class Request:
    """
    One request as the server received it, and the means to answer it well or badly.

    Attributes:
        target: Path and query, as they came.
        params: What stands for each ``{parameter}`` of the route's path, decoded; empty without a route.
        headers: The last of each name, whose case doesn't matter; `fields` has all of them as they came, in order.
        body: The part that was read.
        connection: The number of its connection at this server, from 1.
        number: The number of this request on that connection, from 1.
        is_complete: Whether the whole body was read.
        is_answered: Whether the head of an answer was sent; interim answers don't count.
        on_read: Called when more of the body was read.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        method: str,
        target: str,
        version: str,
        fields: list[tuple[str, str]],
        connection: int,
        number: int,
        stream: int = 0,
    ) -> None:
        self._wire = wire
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields
        self.headers = Headers(fields)
        self.params: dict[str, str] = {}
        self.body = b""
        self.connection = connection
        self.number = number
        self.stream = stream
        self.is_complete = False
        self.is_answered = False
        self.on_read: Callable[[Request], None] | None = None

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} number {self.number} of connection {self.connection}>"

    @property
    def wire(self) -> Wire:
        """Its connection."""
        return self._wire

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        target = self.target if self.target.startswith("/") else urlsplit(self.target).path or "/"
        return target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded; the last of each name."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def text(self) -> str:
        """The part of the body that was read, as UTF-8; other bytes become U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """
        The body as JSON.

        Raises:
            ValueError: It isn't JSON, or wasn't read whole.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            part = "" if self.is_complete else f"; the server has read only {len(self.body)} B of its body"
            raise ValueError(f"{self.method} {self.target} has no JSON: {self.body[:200]!r}{part}") from error

    async def read(self, limit: int | None = None) -> bytes:
        """
        Read the body, or at least its first *limit* bytes; sends "100 Continue" if the client expects it.

        Raises:
            Gone: The client closed the connection before the end of the body.
        """
        if not self.is_complete:
            try:
                self.is_complete = await self._wire.read(self, limit)
            finally:
                if self.on_read is not None:
                    self.on_read(self)
        return self.body

    async def reply(
        self, status: int = 200, body: bytes = b"ok", fields: Mapping[str, str] | None = None, **headers: str
    ) -> None:
        """Send a good answer; ``retry_after="1"`` and *fields* ``{"retry-after": "1"}`` both set ``retry-after: 1``."""
        given = list((fields or {}).items()) + [(name.replace("_", "-"), value) for name, value in headers.items()]
        if status in WITHOUT_BODY:
            body = b""
        elif not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in given):
            given.insert(0, ("content-length", str(len(body))))
        self.is_answered = True
        await self._wire.answer(self, status, given, b"" if self.method == "HEAD" else body)

    async def send(self, data: bytes) -> None:
        """Send just these bytes; over HTTP/2, as data of the stream."""
        await self._wire.send(self, data)

    async def begin(self, status: int = 200, fields: Mapping[str, str] | None = None) -> None:
        """Send only the status line and headers; over HTTP/2, HEADERS."""
        self.is_answered = True
        await self._wire.begin(self, status, list((fields or {}).items()))

    async def hang(self) -> None:
        """Send nothing more, until the client closes the connection."""
        await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """Send FIN, over TLS after a close_notify; read what the client still sends, so that no RST follows."""
        self._wire.close()

    def abort(self) -> None:
        """Send FIN, over TLS without a close_notify."""
        self._wire.abort()

    def reset(self) -> None:
        """Send RST."""
        self._wire.reset()
