"""
The TLS context of a client: made at its first need, shared in the process, and with sessions to resume.

Rules: a context that the user gave stays as it is, but for ALPN. One of ours depends on nothing but settings, the
environment and the files that the environment names, so all clients of the same settings have the same: it costs 25 ms
and 0.5 MB. It is looked at before each handshake whether these still are what the context was made from, so what
replaces a file of authorities, or takes one away, holds from the next connection on. Connections that are open stay. A
session is resumed only under the context and the name that it was made for, so what was not verified then is not
trusted now.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import httpx

__all__ = ["TLS"]

MAX_SESSIONS: Final = 1024
MAX_CONTEXTS: Final = 16  # of a process; what is pushed out is made anew where a client still needs it

Identity: TypeAlias = tuple[int, int, int, int]
"""Of a file: device, inode, size, and the time of its last change in ns."""


class Authorities(NamedTuple):
    """
    Whom a context trusts, as the environment has it now.

    Attributes:
        file, folder: SSL_CERT_FILE and SSL_CERT_DIR.
        identity: Of the one that counts; None: it isn't there.
    """

    file: str | None = None
    folder: str | None = None
    identity: Identity | None = None

    @classmethod
    def now(cls) -> Authorities:
        file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        path = file or folder
        return cls(file, folder, _identity(path)) if path else CERTIFI


CERTIFI: Final = Authorities()


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
        self._verify, self._trusts_env = arguments.get("verify", True), arguments.get("trust_env", True)
        self._is_shared = isinstance(self._verify, bool) and not arguments.get("cert")
        if not self._is_shared or self._authorities() is not CERTIFI or (self._verify and _key_log()):
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
        last = self._contexts.get(alpn)
        if not self._is_shared:
            if last is None:
                last = self._contexts[alpn] = self._own()
            return last
        try:
            context = _shared(self._verify, self._trusts_env, self._authorities(), alpn)
        except (OSError, ssl.SSLError):
            if last is None:
                raise
            context = last  # a file that is just being replaced: the next handshake looks again
        if self._verify:
            _log_keys(context)
        self._contexts[alpn] = context
        return context

    def _authorities(self) -> Authorities:
        return Authorities.now() if self._verify and self._trusts_env else CERTIFI

    def _own(self) -> ssl.SSLContext:
        context = httpx.create_ssl_context(**self._arguments)
        if context is not self._arguments.get("verify"):
            context.sslobject_class = _resuming()
        return context


@functools.lru_cache(maxsize=MAX_CONTEXTS)
def _shared(
    verify: bool,
    trusts_env: bool,
    authorities: Authorities,  # noqa: ARG001  httpx reads the same environment; here it is the cache's key
    alpn: tuple[str, ...],
) -> ssl.SSLContext:
    context = httpx.create_ssl_context(verify=verify, trust_env=trusts_env)
    context.set_alpn_protocols(list(alpn))
    context.sslobject_class = _resuming()
    return context


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _key_log() -> str | None:
    return None if sys.flags.ignore_environment else os.environ.get("SSLKEYLOGFILE") or None


def _log_keys(context: ssl.SSLContext) -> None:
    """
    Have *context* log its keys where SSLKEYLOGFILE says so now, and nowhere else.

    ssl reads the variable when it makes a context, which would go on for the life of the process, into a file that was
    deleted too.
    """
    path = _key_log()
    if path == getattr(context, "keylog_filename", path) and (path is None or os.path.exists(path)):
        return  # truststore's contexts have no such attribute
    context.keylog_filename = None  # type: ignore[assignment]
    if path is not None:
        with contextlib.suppress(OSError):  # its folder isn't there: an aid for debugging fails no request
            context.keylog_filename = path


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
