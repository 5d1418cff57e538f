"""
The breakers on the way through proxies: one for each proxy, and one for each origin that a proxy has trouble with.

Rules: no failure here counts against the origin, and what a proxy says of one origin doesn't close the way to others.
Until it is asked for a tunnel, a failure is the proxy's own. From then on it may be the fault of either, so it counts
for that origin behind that proxy. Only a new connection asks: the tunnels that a proxy has given go on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import Final

from ..config import Breaker
from ..errors import BreakerOpen, ProxyRefused, ProxyUnreachable, TLSError, TunnelFailed
from ..origin import Origin
from ..route import Proxy
from .breaker import BreakerState, next_probe
from .origins import Origins

__all__ = ["PROXY", "Passage", "Proxies"]

PROXY: Final = "proxy"  # the name of these breakers, where others ask which gate has refused
MAX_TUNNELS: Final = 1024  # of those with trouble, as many as there are origins; the least recently used goes first


class Passage:
    """A dial that was let through; it is ended exactly once."""

    __slots__ = ("_began_at", "_entered", "_failed", "_now")

    def __init__(
        self, now: Callable[[], float], entered: tuple[tuple[BreakerState, int] | None, ...], failed: Callable[[], None]
    ) -> None:
        self._now = now
        self._began_at = now()
        self._entered = entered
        self._failed = failed

    def end(self, error: BaseException | None) -> None:
        """Take note of how it failed, or that it led to the origin: *error* is None then, or of the origin."""
        proxy, tunnel = self._entered
        if isinstance(error, ProxyUnreachable):
            self._record(proxy, None if error.is_final or error.is_shortage else True)
            self._record(tunnel, None)
        elif isinstance(error, TunnelFailed):
            self._record(proxy, False)
            if tunnel is None:
                self._failed()
            self._record(tunnel, True)
        elif isinstance(error, ProxyRefused):
            self._record(proxy, False)
            self._record(tunnel, None)
        elif error is None or isinstance(error, TLSError):  # which is the origin's
            self._record(proxy, False)
            self._record(tunnel, False)
        else:  # cancelled, or refused a slot
            self.withdraw()

    def withdraw(self) -> None:
        """The proxy wasn't dialled after all."""
        for entered in self._entered:
            self._record(entered, None)

    def _record(self, entered: tuple[BreakerState, int] | None, is_failure: bool | None) -> None:
        if entered is None:
            return
        breaker, generation = entered
        if is_failure is None:
            breaker.release(generation)
        else:
            now = self._now()
            breaker.record(generation, now, is_failure=is_failure, duration=now - self._began_at)


class Proxies:
    """
    Those of a client. A proxy is an origin of its own there, by ``client.breakers["http://proxy:3128"]``.

    Args:
        origins: Where the proxies' states are kept, and the policies of all hosts.
    """

    def __init__(self, origins: Origins, *, rng: Random, now: Callable[[], float]) -> None:
        self._origins = origins
        self._rng = rng
        self._now = now
        self._tunnels: OrderedDict[tuple[Proxy, Origin], BreakerState] = OrderedDict()

    def enter(self, proxy: Proxy, origin: Origin) -> Passage:
        """
        A passage to dial *proxy* for *origin*.

        Raises:
            BreakerOpen: The proxy's breaker lets no dial through, or the one of this origin behind it.
        """
        state, key = self._origins[proxy.origin], (proxy, origin)
        tunnel = self._tunnels.get(key)
        if tunnel is not None:
            self._tunnels.move_to_end(key)
        through_proxy = self._through(state.breaker, origin, f"the proxy {proxy}")
        try:
            through_tunnel = self._through(tunnel, origin, f"this origin behind the proxy {proxy}")
        except BreakerOpen:
            if through_proxy is not None:
                through_proxy[0].release(through_proxy[1])
            raise
        return Passage(self._now, (through_proxy, through_tunnel), lambda: self._began_to_fail(key))

    def _through(self, breaker: BreakerState | None, origin: Origin, of: str) -> tuple[BreakerState, int] | None:
        if breaker is None:
            return None
        now = self._now()
        generation = breaker.try_acquire(now)
        if generation is not None:
            return breaker, generation
        retry_after, open_for = breaker.shut_for(now), now - breaker.moved_at
        raise BreakerOpen(
            f"{origin}: the breaker of {of} is {breaker.state} for {open_for:.1f} s: {breaker.reason}; "
            f"{next_probe(retry_after)} (Breaker.failure_rate, Breaker.open_for)",
            origin=origin,
            by=PROXY,
            retry_after=retry_after,
            reason=breaker.reason,
            open_for=open_for,
        )

    def _began_to_fail(self, key: tuple[Proxy, Origin]) -> None:
        """The first failure of an origin behind a proxy; most never have one, so a breaker is made only now."""
        settings = self._origins[key[0].origin].policy.breaker
        if not isinstance(settings, Breaker):
            return
        tunnel = self._tunnels.get(key)
        if tunnel is None:
            tunnel = BreakerState(settings, rng=self._rng, moved=lambda *_: None, now=self._now)
            self._tunnels[key] = tunnel
            if len(self._tunnels) > MAX_TUNNELS:
                self._tunnels.popitem(last=False)
        tunnel.record(tunnel.generation, self._now(), is_failure=True, duration=0.0)
