"""
The TLS context of a client: made at its first need, shared in the process, and with sessions to resume.

Rules: a context that the user gave stays as it is, but for ALPN. One of ours depends on nothing but settings and the
environment, so all clients of the same settings have the same: it costs 25 ms and 0.5 MB. A session is resumed only
under the context and the name that it was made for, so what was not verified then is not trusted now.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

__all__ = ["TLS"]

MAX_SESSIONS: Final = 1024
FROM_ENVIRONMENT: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class TLS:
    """
    Args:
        arguments: httpx's verify, cert and trust_env, as far as they are given.
        alpn: Protocols to offer, the best first. Source: RFC 7301.
    Raises:
        OSError, ssl.SSLError, TypeError: A file that can't be, at once as in httpx.
    """

    def __init__(self, arguments: Mapping[str, Any], alpn: Sequence[str]) -> None:
        self._alpn = tuple(alpn)
        self._arguments = arguments
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}  # by what they offer
        verify, trusts_env = arguments.get("verify", True), arguments.get("trust_env", True)
        self._is_shared = isinstance(verify, bool) and not arguments.get("cert")
        self._environment = tuple(map(os.environ.get, FROM_ENVIRONMENT)) if trusts_env else ()
        if not self._is_shared or any(self._environment):
            self._context(self._alpn)

    def context(self, *, http2: bool = True) -> ssl.SSLContext:
        """
        For the next handshake, which begins at once.

        Args:
            http2: False: is not offered, for the server said that it wants HTTP/1.1.
        """
        alpn = self._alpn if http2 else tuple(each for each in self._alpn if each != "h2")
        context = self._context(alpn)
        if not self._is_shared:  # who shares it with us may have set others; and uvloop takes them one callback later
            context.set_alpn_protocols(list(alpn))
            asyncio.get_running_loop().call_soon(context.set_alpn_protocols, list(alpn))
        return context

    def _context(self, alpn: tuple[str, ...]) -> ssl.SSLContext:
        context = self._contexts.get(alpn)
        if context is None:
            context = self._contexts[alpn] = self._made(alpn)
        return context

    def _made(self, alpn: tuple[str, ...]) -> ssl.SSLContext:
        given = self._arguments
        if self._is_shared:
            return _shared(given.get("verify", True), self._environment, alpn)
        context = httpx.create_ssl_context(**given)
        if context is not given.get("verify"):
            context.sslobject_class = _resuming()
        return context


@functools.cache
def _shared(verify: bool, environment: tuple[str | None, ...], alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = httpx.create_ssl_context(verify=verify, trust_env=bool(environment))
    context.set_alpn_protocols(list(alpn))
    context.sslobject_class = _resuming()
    return context


def _resuming() -> type[ssl.SSLObject]:
    """
    What asyncio's connections of one context are: they begin with the last session of their name, and keep theirs.

    asyncio has no argument for a session. With TLS 1.3 its tickets come with the first data after the handshake.
    """
    sessions: OrderedDict[str | None, ssl.SSLSession] = OrderedDict()

    class Resuming(ssl.SSLObject):
        _has_begun = _is_kept = False

        def do_handshake(self) -> None:
            if not self._has_begun:
                self._has_begun = True
                if (session := sessions.get(self.server_hostname)) is not None:
                    self.session = session
            super().do_handshake()

        def read(self, *arguments: Any) -> Any:
            data = super().read(*arguments)
            if not self._is_kept and (session := self.session) is not None and session.has_ticket:
                self._is_kept = True
                sessions[self.server_hostname] = session
                sessions.move_to_end(self.server_hostname)
                if len(sessions) > MAX_SESSIONS:
                    sessions.popitem(last=False)
            return data

    return Resuming
