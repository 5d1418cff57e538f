"""What a job needs of an HTTP client: the part of httpx's interface that both libraries have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

__all__ = ["Client", "Headers", "Response"]


class Headers(Protocol):
    """Names in any case; a name may come more than once."""

    def get(self, key: str, default: Any = None, /) -> Any: ...
    def multi_items(self) -> list[tuple[str, str]]: ...


class Response(Protocol):
    """A response, whose body is read already, or is being streamed."""

    status_code: int

    @property
    def headers(self) -> Headers: ...
    @property
    def url(self) -> object: ...
    @property
    def content(self) -> bytes: ...
    @property
    def extensions(self) -> Mapping[str, Any]: ...
    def aiter_bytes(self) -> AsyncIterator[bytes]: ...


class Client(Protocol):
    """`seawall.AsyncClient`, of either library, or a fake of it."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: list[tuple[str, str]] | None = None,
        follow_redirects: bool = True,
        extensions: dict[str, Any] | None = None,
    ) -> Response: ...

    def stream(
        self, method: str, url: str, *, follow_redirects: bool = True, extensions: dict[str, Any] | None = None
    ) -> AbstractAsyncContextManager[Response]: ...
