"""A server's handler that counts how many are inside."""

from __future__ import annotations

import asyncio

from seawall.testing import Request

__all__ = ["House"]


class House:
    """Answers after as many requests as it waits for are in flight, each first with 503; counts how many are."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.inside = self.peak = 0
        self.is_full = asyncio.Event()
        self.seen: set[str] = set()

    async def __call__(self, request: Request) -> None:
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        if self.inside == self.size:
            self.is_full.set()
        await self.is_full.wait()
        is_first = request.target not in self.seen
        self.seen.add(request.target)
        self.inside -= 1
        await request.reply(503 if is_first else 200)
