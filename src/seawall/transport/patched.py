"""
Tools that patch httpx or httpcore: mocks take an entry point's place, instrumentation wraps it.

Rules: wherever either is patched, the attempt passes both, as it would with httpx: it is sent by httpx's stock
transport, whose pool is httpcore's, whose connection is our wire. So a mock answers as it does for httpx, and what a
tool lets through (production traffic that is watched, a pass-through route) goes the way that it goes without the tool.
What is whose is told by ``__module__`` and ``__wrapped__`` at each attempt: a patch may come and go, and seawall may be
imported after it.
"""

from __future__ import annotations

import sys

import httpx

__all__ = ["is_any_patched", "is_patched"]


def is_patched(owner: type) -> bool:
    """Whether *owner*'s entry point is replaced (by one of another module) or wrapped."""
    function = owner.handle_async_request  # type: ignore[attr-defined]
    module = getattr(function, "__module__", None) or ""
    return hasattr(function, "__wrapped__") or module.partition(".")[0] != owner.__module__.partition(".")[0]


def is_any_patched() -> bool:
    """Whether httpx's transport is, or httpcore's pool. The answer for the functions that were seen last is kept."""
    pool = getattr(sys.modules.get("httpcore"), "AsyncConnectionPool", None)  # who patches it has loaded it
    functions = httpx.AsyncHTTPTransport.handle_async_request, pool and pool.handle_async_request
    if functions not in _KNOWN:
        _KNOWN.clear()
        _KNOWN[functions] = is_patched(httpx.AsyncHTTPTransport) or (pool is not None and is_patched(pool))
    return _KNOWN[functions]


_KNOWN: dict[object, bool] = {}
