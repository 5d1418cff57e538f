"""
The body of a streamed response that is read while its call goes on: a redirect's, one that asks for authentication.

Rules: the HTTP library reads it between two hops, and no attempt does, so the call's deadline holds for it here. Once
the call has returned, the caller reads, and may take any time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NoReturn

from .call import Hop
from .deadline import Pace, earliest
from .endings import exceeded
from .in_flight import InFlight
from .timer import Timer

__all__ = ["Passing"]


class Passing:
    """
    Args:
        hop: The one that the response ends.
        in_flight: The calls of its client.
    """

    __slots__ = ("_hop", "_in_flight")

    def __init__(self, hop: Hop, in_flight: InFlight) -> None:
        self._hop = hop
        self._in_flight = in_flight

    def __call__(self, parts: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
        """The *parts* of its body, under the deadline of its call, as long as that goes on."""
        return self._timed(parts) if self._goes_on else parts

    @property
    def _goes_on(self) -> bool:
        return self._hop.call in self._in_flight.calls

    async def _timed(self, parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        call, until = self._hop.call, self._hop.call.deadline_at
        pace = None if call.soft_at is None else Pace(call.soft_at)
        async with aclosing(parts):
            while True:
                timer = Timer(self._in_flight.timers, until if self._goes_on else None)
                if call.caller is not None:
                    call.caller.timers.add(timer)
                try:
                    with timer:
                        part = await anext(parts)
                except StopAsyncIteration:
                    return
                except TimeoutError as expiry:
                    if not timer.is_expired:
                        raise
                    self._raise(expiry)
                finally:
                    if call.caller is not None:
                        call.caller.timers.discard(timer)
                if pace is not None:
                    until = earliest(call.hard_at, pace.received(len(part), self._hop.now()))
                yield part

    def _raise(self, expiry: TimeoutError) -> NoReturn:
        """Raises DeadlineExceeded."""
        hop = self._hop
        raise hop.request.adopt(hop.ended(exceeded(hop, hop.now()))) from expiry
