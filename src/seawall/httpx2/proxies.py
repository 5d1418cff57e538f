# Written by scripts/twin.py from ../_httpx/proxies.py: change that file, and run the script.
"""httpx2's own transport, which reaches proxies and Unix sockets, and what a proxy's refusal means."""

from __future__ import annotations

from typing import Any, Final

import httpx2

from ..core.engine import Engine
from ..errors import ProxyRefused
from ..origin import Origin

__all__ = ["StockTransport", "check_refusal", "stock_arguments"]

PASSING: Final = frozenset({408, 425, 429})
"""Answers of 3xx and 4xx that a proxy may not repeat a moment later."""

SOCKS: Final = ("Requested ", "Invalid username/password", "Connection not allowed", "not supported")
"""httpcore2's words where a SOCKS proxy wants other credentials, or never does what it is asked to (RFC 1928)."""


def check_refusal(error: httpx2.ProxyError, origin: Origin) -> None:
    """
    A proxy's 5xx may be its origin's fault, or may pass: it is worth a retry, and *error* stays as it is.

    Raises:
        ProxyRefused: The next attempt would end the same, because a setting is wrong.
    """
    text = str(error)
    status = int(text[:3]) if text[:3].isdigit() else None
    if _is_final(status) if status is not None else any(each in text for each in SOCKS):
        raise ProxyRefused(
            f"{origin}: the proxy refused to connect: {text}; check its credentials and what it allows",
            origin=origin,
            status=status,
        ) from error


def _is_final(status: int) -> bool:
    return 300 <= status < 500 and status not in PASSING


def stock_arguments(engine: Engine) -> dict[str, Any]:
    """Those of *engine* that httpx2's own transports take; without a cap, see `StockTransport`."""
    limits = engine.limits
    uncapped = httpx2.Limits(max_keepalive_connections=limits.max_keepalive, keepalive_expiry=limits.keepalive_expiry)
    return {"limits": uncapped, "http1": engine.http1, "http2": engine.http2, **engine.tls}


class StockTransport(httpx2.AsyncHTTPTransport):
    """
    httpx2's transport, with three differences in its pool, which is httpcore2's.

    An IPv6 address that it asks a proxy for has brackets. It has no cap, because ours binds, and httpcore2's wedges when
    calls are cancelled. A connection that fails or is cancelled on its way through a proxy isn't kept for ever.

    Args:
        engine: Its settings of TLS, versions and limits hold here too.
        arguments: proxy, uds, local_address, socket_options.
    """

    def __init__(self, engine: Engine, **arguments: Any) -> None:
        super().__init__(**stock_arguments(engine), **arguments)
        if arguments.get("proxy") is not None:
            from .authority import mend_connect

            mend_connect(self)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As httpx2's."""
        try:
            return await super().handle_async_request(request)
        except BaseException:
            await self._drop_dead()
            raise

    async def _drop_dead(self) -> None:
        """Close each connection that is neither idle nor a request's, because nobody else ever would."""
        pool: Any = getattr(self, "_pool", None)
        if not (hasattr(pool, "_requests") and hasattr(pool, "_connections")):
            return  # another release keeps them elsewhere
        used = {id(request.connection) for request in pool._requests}
        dead = [each for each in pool._connections if id(each) not in used and not each.is_idle()]
        for connection in dead:
            pool._connections.remove(connection)
        import anyio  # httpcore2 has loaded it

        with anyio.CancelScope(shield=True):
            for connection in dead:
                await connection.aclose()
