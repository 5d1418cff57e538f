"""A name that lost its addresses, on the virtual clock: in whatever order its families say so."""

from __future__ import annotations

import asyncio
import socket

import pytest

from seawall.dns.resolver import Answer
from seawall.errors import NoAddress
from seawall.origin import Address, Origin

from ..names import both_families

pytestmark = pytest.mark.anyio

ORIGIN = Origin("http", "moving.test", 80)


class Moving:
    """An address at first; then none, each family some turns of the loop late."""

    def __init__(self, turns: dict[int, int]) -> None:
        self._turns = turns
        self.is_gone = False

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        if self.is_gone:
            for _ in range(self._turns[family]):
                await asyncio.sleep(0)
        elif family == socket.AF_INET:
            return Answer((Address("127.0.0.2"),), 1.0, "dns")
        raise NoAddress(f"{host}: none of that family")

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("second", range(5))
@pytest.mark.parametrize("first", range(5))
async def test_no_stale_answer_beside_a_denial(first, second):
    """Both deny it, one a turn of the loop after the other: the old address is not served, not even once."""
    upstream = Moving({socket.AF_INET: first, socket.AF_INET6: second})
    resolver = both_families(upstream)
    await resolver.resolve(ORIGIN)
    await asyncio.sleep(5.5)
    upstream.is_gone = True
    with pytest.raises(NoAddress):
        await resolver.resolve(ORIGIN)
    await resolver.aclose()
