"""
The breakers of proxies: whether a proxy takes connections.

Rules: until a proxy is asked for a tunnel, a failure is its own, and none of the origin's. From then on nobody can tell
whose it is, so it counts for that origin through that proxy, which is an origin of its own to the layers: it closes
neither the way through another proxy nor the way to another origin. Only a dial asks, so tunnels that are open go on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final

from ..config import Breaker, Policy
from ..config.per_host import policy_for
from ..errors import ProxyError, ProxyOpen, ProxyUnreachable, TLSError
from ..events import BreakerMoved, Listener
from ..origin import Origin
from ..route import Proxy
from .breaker import BreakerState, next_probe
from .memory import make_room

__all__ = ["Passage", "Proxies"]

MAX_PROXIES: Final = 1024  # as many as origins


class Passage:
    """A dial that was let through; it is ended once, by `end` or `withdraw`."""

    __slots__ = ("_began_at", "_breaker", "_generation", "_now")

    def __init__(self, breaker: BreakerState | None, generation: int, now: Callable[[], float]) -> None:
        self._breaker = breaker
        self._generation = generation
        self._now = now
        self._began_at = now()

    def end(self, error: BaseException | None) -> None:
        """Take note that the proxy took the connection, or that it can't be reached; other errors don't say which."""
        if isinstance(error, ProxyUnreachable):
            is_failure = None if error.is_final or error.is_shortage else True
        else:
            is_failure = False if error is None or isinstance(error, ProxyError | TLSError) else None
        if is_failure is None or self._breaker is None:
            self.withdraw()
            return
        now = self._now()
        self._breaker.record(self._generation, now, is_failure=is_failure, duration=now - self._began_at)

    def withdraw(self) -> None:
        """The dial says nothing of the proxy."""
        if self._breaker is not None:
            self._breaker.release(self._generation)


class Proxies(Mapping[str, BreakerState]):
    """
    Those of a client, by their URLs without credentials.

    Args:
        base: The client's policy, which *per_host* overrides for a proxy's host.
    """

    def __init__(
        self,
        base: Policy,
        per_host: Mapping[str, Policy],
        *,
        rng: Random,
        emit: Listener,
        now: Callable[[], float],
    ) -> None:
        self._base = base
        self._per_host = per_host
        self._rng = rng
        self._emit = emit
        self._now = now
        self._states: OrderedDict[str, BreakerState | None] = OrderedDict()

    def __getitem__(self, url: str) -> BreakerState:
        breaker = self._states[url]
        if breaker is None:
            raise KeyError(f"{url}: the breaker is off")
        return breaker

    def __iter__(self) -> Iterator[str]:
        return iter([url for url, breaker in self._states.items() if breaker is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def enter(self, proxy: Proxy, origin: Origin) -> Passage:
        """
        A passage to dial *proxy* for *origin*.

        Raises:
            ProxyOpen: The proxy's breaker lets no dial through.
        """
        breaker, now = self._breaker(proxy), self._now()
        generation = 0 if breaker is None else breaker.try_acquire(now)
        if generation is not None:
            return Passage(breaker, generation, self._now)
        assert breaker is not None
        retry_after, open_for = breaker.shut_for(now), now - breaker.moved_at
        raise ProxyOpen(
            f"{origin}: the proxy's breaker is {breaker.state} for {open_for:.1f} s: {breaker.reason}; "
            f"{next_probe(retry_after)} (Breaker.failure_rate, Breaker.open_for)",
            origin=origin,
            proxy=str(proxy),
            retry_after=retry_after,
            reason=breaker.reason,
            open_for=open_for,
        )

    def _breaker(self, proxy: Proxy) -> BreakerState | None:
        url = str(proxy)
        if url in self._states:
            self._states.move_to_end(url)
            return self._states[url]
        settings = policy_for(proxy.host, self._per_host, self._base).breaker
        made = None
        if isinstance(settings, Breaker):
            origin = proxy.origin

            def moved(previous: str, state: str, reason: str) -> None:
                self._emit(BreakerMoved(origin, previous, state, reason))

            made = BreakerState(settings, rng=self._rng, moved=moved, now=self._now)
        make_room(self._states, MAX_PROXIES, remembers=lambda each: each is not None and each.state != "closed")
        self._states[url] = made
        return made
