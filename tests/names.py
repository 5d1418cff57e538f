"""Names on a machine without files, over a resolver that answers for one family at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from seawall.config import DNS
from seawall.dns.caching import CachingResolver
from seawall.dns.getaddrinfo import MachineResolver
from seawall.dns.machine import Machine
from seawall.dns.resolver import Answer, Resolver
from seawall.events import Event

__all__ = ["Asked", "both_families"]


class Asked:
    """In place of `CaresResolver`: questions go to a resolver."""

    def __init__(self, upstream: Resolver) -> None:
        self._upstream = upstream

    async def ask(
        self, name: str, kind: int, *, servers: Sequence[str], use_tcp: bool = False, rotate: bool = False
    ) -> Answer:
        return await self._upstream.resolve(name, 0, family=kind)

    async def aclose(self) -> None:
        await self._upstream.aclose()


def both_families(
    upstream: Resolver, *, fallback: object = None, emit: Callable[[Event], None] = print, **settings: object
):
    """A `CachingResolver` that asks *upstream* for each family."""
    now, dns = asyncio.get_running_loop().time, DNS(**settings)
    machine = Machine(now=now, root="/nowhere", environ={}, hostname=lambda: "host")
    names = MachineResolver(machine, Asked(upstream), None, dns)
    return CachingResolver(names, dns, now=now, fallback=fallback, emit=emit)
