"""
The body of a streamed response that is read while its call goes on: a redirect's, one that asks for authentication.

Rules: the HTTP library reads it between two hops, and no attempt does, so what ends a hop ends the reading here: the
call's deadline, the client's end. Once the call has returned, the caller reads, and may take any time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from .call import Call, Hop
from .deadline import Pace, earliest
from .endings import struck
from .in_flight import InFlight
from .timer import Timer

__all__ = ["Passing"]


class Passing:
    """
    Args:
        hop: The one that the response ends.
        in_flight: The calls and hops of its client.
        whole: The call that goes on, which is another client's if that has this one mounted.
    """

    __slots__ = ("_hop", "_in_flight", "_whole")

    def __init__(self, hop: Hop, in_flight: InFlight, whole: Call) -> None:
        self._hop = hop
        self._in_flight = in_flight
        self._whole = whole

    def __call__(self, parts: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
        """The *parts* of its body, under the deadline of its call, as long as that goes on."""
        return self._timed(parts) if self._goes_on else parts

    @property
    def _goes_on(self) -> bool:
        return self._whole.is_between_hops

    async def _timed(self, parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        hop, in_flight, call, until = self._hop, self._in_flight, self._hop.call, self._hop.call.deadline_at
        pace = None if call.soft_at is None else Pace(call.soft_at)
        async with aclosing(parts):
            while self._goes_on:
                hop.timer = timer = Timer(in_flight.timers, until)
                in_flight.hops.add(hop)
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
                    raise struck(hop, is_closed=in_flight.is_closed) from expiry
                finally:
                    in_flight.hops.discard(hop)
                    if in_flight.is_closed:
                        in_flight.left()
                    if call.caller is not None:
                        call.caller.timers.discard(timer)
                if pace is not None:
                    until = earliest(call.hard_at, pace.received(len(part), hop.now()))
                yield part
            async for part in parts:
                yield part
