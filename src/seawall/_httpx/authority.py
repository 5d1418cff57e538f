"""
CONNECT to an IPv6 address: httpcore leaves its brackets out.

Only a client with a proxy imports it, because httpcore takes as long to load as all the rest.
"""

from __future__ import annotations

from typing import Any

import httpcore
import httpx

from ..origin import Origin

__all__ = ["mend_connect"]


def mend_connect(transport: httpx.AsyncHTTPTransport) -> None:
    """Have *transport*, if it goes through an HTTP proxy, write brackets (RFC 9112 section 3.2.3)."""
    pool = getattr(transport, "_pool", None)
    if not isinstance(pool, httpcore.AsyncHTTPProxy):
        return

    def create_connection(origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        connection = type(pool).create_connection(pool, origin)  # looked up now, because tools patch the class
        is_tunnel = hasattr(connection, "_connected") and hasattr(connection, "_connection")  # as a release names them
        if b":" in origin.host and is_tunnel:
            asked = Origin(origin.scheme.decode(), origin.host.decode(), origin.port).authority.encode()
            connection._connection = _Asking(connection._connection, asked)  # type: ignore[attr-defined]
        return connection

    pool.create_connection = create_connection  # type: ignore[method-assign]


class _Asking:
    """The connection to a proxy, until it is a tunnel."""

    def __init__(self, connection: httpcore.AsyncConnectionInterface, asked: bytes) -> None:
        self._connection = connection
        self._asked = asked

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        url = request.url
        headers = [(name, self._asked if name.lower() == b"host" else value) for name, value in request.headers]
        mended = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=self._asked),
            headers=headers,
            extensions=request.extensions,
        )
        return await self._connection.handle_async_request(mended)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
