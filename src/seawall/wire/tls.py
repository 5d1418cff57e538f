"""
The TLS context of a client: made at its first need, shared in the process, and with sessions to resume.

Rules: a context that the user gave stays as it is, but for ALPN. It is for origins, and so are `verify` and `cert`: a
proxy that has no context of its own is verified with the default one. A context of ours depends on nothing but
settings, the environment and the files that the environment names, so all clients of the same settings share one,
because it costs 25 ms and 0.5 MB. Before each handshake we look whether the context was made from what is there now, so
a file of authorities that was replaced or removed counts from the next connection on. Open connections stay. A session
is resumed only under the context and the name that it was made for, so what was not verified then is not trusted now.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

__all__ = ["TLS", "TO_PROXY", "Contexts", "offer"]

MAX_SESSIONS: Final = 1024
TO_PROXY: Final = ("http/1.1",)  # what is offered to proxies, because they are spoken to in it
MAX_CONTEXTS: Final = 16  # of a process; one that is evicted is made anew where a client still needs it

Identity: TypeAlias = tuple[int, int, int, int]
"""A file's device, inode, size, and the time of its last change in ns."""

Create: TypeAlias = Callable[..., ssl.SSLContext]
"""Takes verify, cert and trust_env; each HTTP library has its own, because it trusts other authorities."""


class Authorities(NamedTuple):
    """
    The authorities that a context trusts, as the environment has it now.

    Attributes:
        file, folder: SSL_CERT_FILE and SSL_CERT_DIR.
        identity: The one that counts; None: that file doesn't exist.
    """

    file: str | None = None
    folder: str | None = None
    identity: Identity | None = None

    @classmethod
    def now(cls) -> Authorities:
        file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        path = file or folder
        return cls(file, folder, _identity(path)) if path else DEFAULT


DEFAULT: Final = Authorities()


class Contexts(Protocol):
    """The TLS context of a connection; see `TLS.context`."""

    def __call__(self, *, http2: bool = True, for_proxy: bool = False) -> ssl.SSLContext: ...


class TLS:
    """
    The contexts of one client, one for each set of protocols that it offers.

    Args:
        arguments: verify, cert and trust_env, as far as they are given.
        alpn: Protocols to offer, the best first. Source: RFC 7301.
        create: Makes a context of *arguments*.
    Raises:
        OSError, ssl.SSLError, TypeError: A file that can't be used; at once, as in httpx.
    """

    def __init__(self, arguments: Mapping[str, Any], alpn: Sequence[str], create: Create) -> None:
        self._create = create
        self._alpn = tuple(alpn)
        self._arguments = arguments
        # The client's own, by the protocols that they offer; each with the authorities that it was made from.
        self._contexts: dict[tuple[str, ...], tuple[Authorities, ssl.SSLContext]] = {}
        self._lasting: dict[tuple[tuple[str, ...], bool], ssl.SSLContext] = {}  # shared: by that, and what they verify
        self._verify, self._trusts_env = arguments.get("verify", True), arguments.get("trust_env", True)
        self._is_shared = isinstance(self._verify, bool) and not arguments.get("cert")
        if (
            not self._is_shared
            or self._authorities(verify=self._verify) is not DEFAULT
            or (self._verify and _key_log())
        ):
            self._context(self._alpn)

    def context(self, *, http2: bool = True, for_proxy: bool = False) -> ssl.SSLContext:
        """
        For the next handshake, which begins at once.

        Args:
            http2: False leaves it out of the offer, because the server said that it wants HTTP/1.1.
            for_proxy: The handshake is with a proxy, which *verify* and *cert* aren't about, as in httpx: it is always
                verified, and never shown a certificate.
        """
        if for_proxy:
            return self._shared(TO_PROXY, verify=True)
        alpn = self._alpn if http2 else tuple(each for each in self._alpn if each != "h2")
        context = self._context(alpn)
        if not self._is_shared:
            offer(context, alpn)
        return context

    def _context(self, alpn: tuple[str, ...]) -> ssl.SSLContext:
        if self._is_shared:
            return self._shared(alpn, verify=self._verify)
        authorities, last = self._authorities(verify=self._verify is True), self._contexts.get(alpn)
        if last is None:
            last = self._contexts[alpn] = authorities, self._own(authorities)
        elif last[0] != authorities:
            with contextlib.suppress(OSError, ssl.SSLError), warnings.catch_warnings():  # as in `_shared`
                warnings.simplefilter("ignore", DeprecationWarning)  # httpx's of `cert`, which it has given already
                last = self._contexts[alpn] = authorities, self._own(authorities)
        return last[1]

    def _shared(self, alpn: tuple[str, ...], *, verify: bool) -> ssl.SSLContext:
        last = self._lasting.get((alpn, verify))
        try:
            context = _shared(self._create, verify, self._trusts_env, self._authorities(verify=verify), alpn)
        except (OSError, ssl.SSLError):
            if last is None:
                raise
            context = last  # a file that is just being replaced: the next handshake looks again
        if verify:
            _log_keys(context)
        self._lasting[alpn, verify] = context
        return context

    def _authorities(self, *, verify: bool) -> Authorities:
        return Authorities.now() if verify and self._trusts_env else DEFAULT

    def _own(self, authorities: Authorities) -> ssl.SSLContext:
        if isinstance(self._verify, ssl.SSLContext) and not self._arguments.get("cert"):
            return self._verify  # *create* would too, but httpx2's imports httpcore2 first, which takes 120 ms
        context = _made(self._create, self._arguments, authorities)
        if context is not self._arguments.get("verify"):
            context.sslobject_class = _resuming()
        return context


def offer(context: ssl.SSLContext, alpn: Sequence[str]) -> None:
    """Have the handshake that begins at once offer *alpn* only, whatever the owner of *context* has set meanwhile."""
    context.set_alpn_protocols(list(alpn))
    asyncio.get_running_loop().call_soon(context.set_alpn_protocols, list(alpn))  # uvloop reads them one callback later


@functools.lru_cache(maxsize=MAX_CONTEXTS)
def _shared(
    create: Create,
    verify: bool,
    trusts_env: bool,
    authorities: Authorities,  # *create* reads the same environment; here it is the cache's key
    alpn: tuple[str, ...],
) -> ssl.SSLContext:
    context = _made(create, {"verify": verify, "trust_env": trusts_env}, authorities)
    context.set_alpn_protocols(list(alpn))
    context.sslobject_class = _resuming()
    return context


def _made(create: Create, arguments: Mapping[str, Any], authorities: Authorities) -> ssl.SSLContext:
    """A context of *arguments*; an error names the file that it is about, which Python's own leaves out."""
    try:
        return create(**arguments)
    except OSError as error:
        certificate = arguments.get("cert")
        given = [arguments.get("verify"), *(certificate if isinstance(certificate, tuple) else (certificate,))]
        files = [each for each in (*given, authorities.file, authorities.folder) if isinstance(each, str)]
        if error.filename is None and files:
            named = next((each for each in files if not os.path.exists(each)), " or ".join(files))
            if isinstance(error, ssl.SSLError):
                error.strerror = f"{error.strerror}: {named}"
            else:
                error.filename = named
        raise


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

    ssl reads the variable only when it makes a context, and would then log for the life of the process, even into a
    file that was deleted.
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
    The class of asyncio's connections of one context: each begins with the last session of its name, and keeps its own.

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
