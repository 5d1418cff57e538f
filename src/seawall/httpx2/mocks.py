# Written by scripts/twin.py from ../_httpx/mocks.py: change that file, and run the script.
"""
Tools that patch httpx2 or httpcore2: mocks take an entry point's place, instrumentation wraps it.

Rules: where one entry point is patched, the attempt passes all of them, as it would with httpx2: httpx2's stock transport
sends it through httpcore2's pool and connection, and below that connection is our wire. So a mock answers as it does for
httpx2, and what a tool lets through (traffic that it watches, a pass-through route) goes the way that it goes without
the tool. A patch may come and go, and seawall may be imported after it, so each attempt looks. A patch is told by type
and identity, because a proxy of wrapt's equals what it wraps, and has its name, module and hash.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any, Final

import httpx2

__all__ = ["is_any_patched", "is_own", "is_patched"]


def is_own(function: object, package: str) -> bool:
    """Whether *package* defined the *function*: ``functools.wraps`` copies a module's name, but not its globals."""
    return type(function) is FunctionType and function.__globals__["__name__"].partition(".")[0] == package


def is_patched(owner: Any) -> bool:
    """Whether *owner*'s entry point is replaced or wrapped."""
    return not is_own(owner.handle_async_request, owner.__module__.partition(".")[0])


class EntryPoints:
    """httpx2's transport, httpcore2's pool and its connection. An entry point that was seen unpatched is known again."""

    def __init__(self) -> None:
        self._core: Any = None
        self._transport: object = None
        self._pool: object = None
        self._connection: object = None

    def is_any_patched(self) -> bool:
        core = sys.modules.get("httpcore2")  # a tool that patches it has loaded it
        if (
            httpx2.AsyncHTTPTransport.handle_async_request is self._transport
            and core is self._core
            and (
                core is None
                or (
                    core.AsyncConnectionPool.handle_async_request is self._pool
                    and core.AsyncHTTPConnection.handle_async_request is self._connection
                )
            )
        ):
            return False
        return self._look(core)

    def _look(self, core: Any) -> bool:
        if is_patched(httpx2.AsyncHTTPTransport):
            return True
        if core is not None:
            if not hasattr(core, "AsyncHTTPConnection"):  # another thread is importing it
                return False
            if is_patched(core.AsyncConnectionPool) or is_patched(core.AsyncHTTPConnection):
                return True
            self._pool = core.AsyncConnectionPool.handle_async_request
            self._connection = core.AsyncHTTPConnection.handle_async_request
        self._core = core
        self._transport = httpx2.AsyncHTTPTransport.handle_async_request
        return False


is_any_patched: Final = EntryPoints().is_any_patched
