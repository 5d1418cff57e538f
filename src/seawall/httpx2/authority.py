# Written by scripts/twin.py from ../_httpx/authority.py: change that file, and run the script.
"""
CONNECT to an IPv6 address: httpcore2 leaves its brackets out.

Only a client with a proxy imports it, because httpcore2 takes as long to load as all the rest.
"""

from __future__ import annotations

from typing import Any

import httpcore2
import httpx2

from ..origin import Origin

__all__ = ["mend_connect"]


def mend_connect(transport: httpx2.AsyncHTTPTransport) -> None:
    """Have *transport*, if it goes through an HTTP proxy, write brackets (RFC 9112 section 3.2.3)."""
    pool = getattr(transport, "_pool", None)
    if not isinstance(pool, httpcore2.AsyncHTTPProxy):
        return

    def create_connection(origin: httpcore2.Origin) -> httpcore2.AsyncConnectionInterface:
        connection = type(pool).create_connection(pool, origin)  # looked up now, because tools patch the class
        is_tunnel = hasattr(connection, "_connected") and hasattr(connection, "_connection")  # as a release names them
        if b":" in origin.host and is_tunnel:
            asked = Origin(origin.scheme.decode(), origin.host.decode(), origin.port).authority.encode()
            connection._connection = _Asking(connection._connection, asked)  # type: ignore[attr-defined]
        return connection

    pool.create_connection = create_connection  # type: ignore[method-assign]


class _Asking:
    """The connection to a proxy, until it is a tunnel."""

    def __init__(self, connection: httpcore2.AsyncConnectionInterface, asked: bytes) -> None:
        self._connection = connection
        self._asked = asked

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        url = request.url
        headers = [(name, self._asked if name.lower() == b"host" else value) for name, value in request.headers]
        mended = httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=url.scheme, host=url.host, port=url.port, target=self._asked),
            headers=headers,
            extensions=request.extensions,
        )
        return await self._connection.handle_async_request(mended)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
