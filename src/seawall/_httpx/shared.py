"""What the transports of one client share."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from random import Random, SystemRandom
from typing import Any, Final, Literal

import httpx

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from ..config import DNS, Breaker, Budget, Bulkhead, Policy, Propagation, Retry, Unset
from ..config.check import count, number, shown
from ..config.per_host import check_patterns
from ..core import clock
from ..core.emitter import Emitter
from ..core.pipeline import Pipeline
from ..dns import gai_conf
from ..dns.caching import CachingResolver
from ..dns.chain import Chained
from ..dns.guard import Guard
from ..dns.lookup import MachineResolver
from ..dns.machine import Machine
from ..dns.precedence import Precedence
from ..dns.resolver import Resolver
from ..dns.sources import Sources
from ..dns.static import ChainResolver
from ..dns.system import SystemResolver
from ..events import Listener
from ..policy.ejection import Ejections
from ..stats import OriginStats, Stats
from ..wire.addresses import Addresses
from ..wire.alpn import Versions
from ..wire.connector import Wire
from ..wire.dial import Dialler
from ..wire.pool import Pool
from .foreign import OverTransport
from .over_wire import OverWire
from .tls import TLS

__all__ = ["LIMITS", "ResolverTypes", "Shared"]

MAX_CONNECTIONS: Final = 1000
LIMITS: Final = httpx.Limits(
    max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=15.0
)
"""
httpx's 100 let two slow hosts starve the rest; its 20 idle and 5 s churn at 50 in flight.

A client that is given none has at most half as many as its process may have descriptors: see `fitting`.
"""

ResolverTypes = Resolver | Literal["auto", "cares", "system"] | None


class Shared:
    """
    What the transports of one client share: the layers, and our wire.

    Args:
        tls: httpx's verify, cert and trust_env, as far as they are given.
        others: See `AsyncTransport`.
    """

    def __init__(
        self,
        *,
        tls: Mapping[str, Any],
        http1: bool,
        http2: bool,
        limits: httpx.Limits,
        deadline: float | Unset | None,
        retry: Retry | None,
        bulkhead: Bulkhead | None,
        breaker: Breaker | None,
        budget: Budget | None,
        per_host: Mapping[str, Policy] | None,
        dns: DNS,
        resolver: ResolverTypes,
        guard: Guard | None,
        propagation: Propagation | None,
        max_connection_age: float | None,
        max_response_size: int | None,
        listeners: Iterable[Listener],
        rng: Random | None,
    ) -> None:
        _load()
        listeners = _check_listeners(listeners)
        _check_chance(rng)
        rng = SystemRandom() if rng is None else rng  # without a state: processes that were forked draw differently
        for name, layer in {"retry": retry, "bulkhead": bulkhead, "breaker": breaker, "budget": budget}.items():
            if isinstance(layer, Unset):
                raise TypeError(f'{name}: UNSET means "from the client", and this is the client; None means off')
        if guard is not None and not isinstance(guard, Guard):
            raise TypeError(f"guard must be a seawall.Guard or None (off), not {shown(guard)}")
        if propagation is not None and not isinstance(propagation, Propagation):
            raise TypeError(f"propagation must be a seawall.Propagation or None (off), not {shown(propagation)}")
        self.guard = guard
        if max_connection_age is not None:
            number("AsyncClient", "max_connection_age", max_connection_age, low=0, above=True)
        if max_response_size is not None:
            count("AsyncClient", "max_response_size", max_response_size, low=0)
        self.max_size = max_response_size
        _check_limits(limits)
        self.limits = limits = fitting(limits)
        self.closing: set[asyncio.Task[None]] = set()  # what closes streams of other transports
        if not (http1 or http2):
            raise ValueError("http1 and http2 can't both be off")
        secure = TLS(tls, ["h2"] * bool(http2) + ["http/1.1"] * bool(http1))
        emitter = Emitter(listeners)
        self.layers = Pipeline(
            Policy(deadline=deadline, retry=retry, bulkhead=bulkhead, breaker=breaker, budget=budget),
            check_patterns({} if per_host is None else per_host),
            max_connections=limits.max_connections,
            propagation=propagation,
            emitter=emitter,
            rng=rng,
        )
        pool = Pool(
            self.layers.slots,
            max_idle=limits.max_keepalive_connections,
            expiry=limits.keepalive_expiry,
            now=clock.now,
        )
        names = _names(dns, resolver, clock.now, emitter.emit, pool.spare)
        dialler = Dialler(
            tls=secure.context,
            guard=guard,
            addresses=Addresses(
                now=clock.now,
                rng=rng,
                ejections=Ejections(now=clock.now, rng=rng),
                precedence=Precedence(gai_conf.read(), Sources(now=clock.now)),
            ),
            versions=Versions(http1=http1, http2=http2),
            spare=pool.spare,
        )
        self.wire = Wire(pool, dialler, names, now=clock.now, max_age=max_connection_age)
        self.over_wire = OverWire(self.wire, max_size=max_response_size)

    def over(self, send: Callable[[httpx.Request], Awaitable[httpx.Response]], *, is_trusted: bool) -> OverTransport:
        """An exchange with another transport's *send* in place of our wire."""
        return OverTransport(
            send,
            self.wire.pool,
            is_trusted=is_trusted,
            is_guarded=self.guard is not None,
            max_size=self.max_size,
            closing=self.closing,
        )

    def stats(self) -> Stats:
        """May be asked for outside of the event loop too; budgets are then as of their last use."""
        try:
            now = clock.now()
        except RuntimeError:
            now = float("-inf")
        pool = self.wire.pool
        origins = {}
        for state in self.layers.origins:
            bulkheads = [bulkhead.statistics() for bulkhead in state.bulkheads]
            origins[state.origin] = OriginStats(
                in_flight=sum(bulkhead.in_flight for bulkhead in bulkheads),
                waiting=sum(bulkhead.waiting for bulkhead in bulkheads),
                breaker=state.breaker.state if state.breaker is not None else "off",
                budget=state.budget.balance(now) if state.budget is not None else float("inf"),
                idle=pool.idle(state.origin),
            )
        return Stats(
            len(self.layers.in_flight), pool.open, self.layers.origins.balance(now), origins, self.wire.names.stats()
        )

    async def aclose(self) -> None:
        """Takes at most 1 s, which what is closed by `within` afterwards shares."""
        in_flight = self.layers.in_flight
        try:
            await in_flight.aclose()
        finally:
            await in_flight.finish(self.closing)
            await in_flight.within(self.wire.aclose())

    async def within(self, closing: Coroutine[Any, Any, None]) -> None:
        """Await *closing*, of what a client has beside this, for as long as `aclose` has left."""
        await self.layers.in_flight.within(closing)


def _names(
    dns: DNS, resolver: ResolverTypes, now: Callable[[], float], emit: Listener, spare: Callable[[], bool]
) -> CachingResolver | Chained:
    if isinstance(resolver, ChainResolver):
        return Chained([_one_of(dns, each, now, emit, spare) for each in resolver.resolvers])
    return _one_of(dns, resolver, now, emit, spare)


def _one_of(
    dns: DNS, resolver: Any, now: Callable[[], float], emit: Listener, spare: Callable[[], bool]
) -> CachingResolver:
    if not isinstance(dns, DNS):
        raise TypeError(f"dns must be a seawall.DNS, not {shown(dns)}")
    if resolver in (None, "auto", "cares"):
        machine = Machine(now=now)
        is_alone = resolver == "cares" or dns.nameservers
        if is_alone or machine.is_decided_by_files:
            system = None if is_alone else SystemResolver()
            names = MachineResolver.through_cares(machine, system, dns)
            return CachingResolver(names, dns, now=now, fallback=system, emit=emit, spare=spare)
    if resolver in (None, "auto", "system"):
        if dns.nameservers:
            raise ValueError("DNS.nameservers can't be used with resolver=\"system\", which asks the system's")
        return CachingResolver(SystemResolver(), dns, now=now, emit=emit, spare=spare)
    if isinstance(resolver, type) or not isinstance(resolver, Resolver):
        raise TypeError(
            'resolver must be "auto", "cares", "system" or an object with resolve() and aclose() '
            f"(see seawall.Resolver), not {shown(resolver)}"
        )
    return CachingResolver(resolver, dns, now=now, by_port=True, emit=emit, spare=spare)


def _load() -> None:
    """
    By the first client, what only a call that fails, or one to a name, would load: where no descriptor is left, an
    import fails too. tenacity takes 5 ms, which importing seawall need not.
    """
    import encodings.idna  # noqa: F401  # by ssl and by getaddrinfo

    from ..policy import tenacity  # noqa: F401


def _check_listeners(listeners: object) -> tuple[Listener, ...]:
    if isinstance(listeners, str | bytes) or not isinstance(listeners, Iterable):
        raise TypeError(f"listeners must be a list of callables that take an event, not {shown(listeners)}")
    checked = tuple(listeners)
    for listener in checked:
        if not callable(listener):
            raise TypeError(f"listeners must be callables that take an event, not {shown(listener)}")
    return checked


def _check_chance(rng: object) -> None:
    if rng is not None and not isinstance(rng, Random):
        raise TypeError(f"rng must be a random.Random or None (a new one), not {shown(rng)}")


def _check_limits(limits: httpx.Limits) -> None:
    """httpx takes anything here, and fails later or never."""
    if not isinstance(limits, httpx.Limits):
        raise TypeError(f"limits must be an httpx.Limits, not {shown(limits)}")
    if limits.max_connections is not None:
        count("Limits", "max_connections", limits.max_connections, low=1)
    if limits.max_keepalive_connections is not None:
        count("Limits", "max_keepalive_connections", limits.max_keepalive_connections, low=0)
    if limits.keepalive_expiry not in (None, math.inf):
        number("Limits", "keepalive_expiry", limits.keepalive_expiry, low=0)


def fitting(limits: httpx.Limits) -> httpx.Limits:
    """`LIMITS` as they are here and now: at most half of RLIMIT_NOFILE. Limits of the user's stand as they are."""
    descriptors = _descriptors()
    if limits is not LIMITS or descriptors is None:
        return limits
    half = max(1, min(MAX_CONNECTIONS, descriptors // 2))
    return httpx.Limits(max_connections=half, max_keepalive_connections=half, keepalive_expiry=LIMITS.keepalive_expiry)


def _descriptors() -> int | None:
    """How many this process may have; None: any number, or as many as Windows lets it."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit
