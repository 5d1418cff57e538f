"""The breaker of a proxy that is open, as a gate."""

from __future__ import annotations

import math

import seawall

__all__ = ["Shut"]


class Shut(seawall.Gate):
    """Refuses each attempt with `ProxyOpen`."""

    name = "shut"

    def try_enter(self, attempt, now):
        return None

    async def enter(self, attempt, timeout):
        raise seawall.errors.ProxyOpen(
            "the breaker of the proxy is open", proxy="http://proxy.test:1", retry_after=math.inf
        )
