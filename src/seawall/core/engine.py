"""`Engine`: what clients share."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from random import SystemRandom
from typing import Any, Final, Self, TypeVar

from ..config import DNS, Limits
from ..config.check import number, shown
from ..dns import gai_conf
from ..dns.caching import CachingResolver
from ..dns.chain import Chained
from ..dns.getaddrinfo import MachineResolver
from ..dns.machine import Machine
from ..dns.precedence import Precedence
from ..dns.resolver import Resolver
from ..dns.sources import Sources
from ..dns.static import ChainResolver
from ..dns.system import SystemResolver
from ..events import ConnectionClosed, ConnectionOpened, Listener, Observer
from ..origin import Address, Origin
from ..policy.breakers import Breakers
from ..policy.cap import Slots
from ..policy.ejection import Ejections
from ..policy.origin import OriginState
from ..policy.proxies import Proxies
from ..route import Destination, Endpoint
from ..stats import OriginStats, Stats
from ..wire.addresses import Addresses
from ..wire.alpn import Versions
from ..wire.connector import Wire
from ..wire.dial import Dialler
from ..wire.pool import Pool
from ..wire.tls import TLS, Create
from . import clock
from .emitter import Emitter
from .pipeline import Pipeline
from .settings import ResolverTypes, Settings, is_observer

__all__ = ["Engine", "OfEngine", "check_drain"]

T = TypeVar("T")

MAX_READS: Final = 100  # of a part of the state; each takes less than a thread's turn of 5 ms, so the second succeeds


class OfEngine:
    """What a client or a transport shows of its engine."""

    engine: Engine

    @property
    def breakers(self) -> Breakers:
        """As `Engine.breakers`."""
        return self.engine.breakers

    def stats(self) -> Stats:
        """As `Engine.stats`."""
        return self.engine.stats()


class Engine:
    """
    What clients share: the state of each origin, the pool, our wire, DNS, and listeners. It imports no HTTP library.

    It lives on one event loop. Clients that are given an engine leave it open; its owner closes it.

    Args:
        limits: Taken as they are, because the caller has fitted them to this process.
        tls: verify, cert and trust_env, those that are given.
        create: Makes a TLS context of *tls*; see `seawall.wire.tls`.
        http1, http2: Versions of HTTP that it offers.
    Attributes:
        name: As given.
        named_hosts: The hosts that *per_host* names one by one, which metrics always tell apart.
        tls, http1, http2: As given, for transports of the HTTP library.
        closing: Tasks that close streams of other transports.
        proxies: The breakers of proxies.
    Raises:
        TypeError, ValueError: A setting is impossible; the message names it.
        OSError, ssl.SSLError: *tls* names a file that can't be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        limits: Limits,
        tls: Mapping[str, Any],
        create: Create,
        http1: bool,
        http2: bool,
    ) -> None:
        _load()
        if not (http1 or http2):
            raise ValueError("http1 and http2 can't both be off")
        self.name = settings.name
        self.named_hosts = frozenset(host for host in settings.per_host or {} if not host.startswith("*."))
        self.guard = settings.guard
        self.max_size = settings.max_response_size
        self.limits = limits
        self.tls, self.http1, self.http2 = tls, http1, http2
        self.closing: set[asyncio.Task[None]] = set()
        secure = TLS(tls, ["h2"] * bool(http2) + ["http/1.1"] * bool(http1), create)
        rng = settings.rng or SystemRandom()  # it has no state, so forked processes draw differently
        emitter = Emitter(name=settings.name)
        self.layers = layers = Pipeline(
            settings.policy(),
            settings.per_host or {},
            propagation=settings.propagation,
            emitter=emitter,
            rng=rng,
            gates=settings.gates,
        )
        self.slots = slots = Slots(limits.max_connections)
        pool = Pool(
            slots,
            max_idle=limits.max_keepalive,
            expiry=limits.keepalive_expiry,
            now=clock.now,
            on_opened=lambda *what: emitter.emit(ConnectionOpened(*what)),
            on_closed=lambda *what: emitter.emit(ConnectionClosed(*what)),
        )
        names = _names(settings.dns, settings.resolver, clock.now, emitter.emit, pool.spare)
        self.ejections = ejections = Ejections(now=clock.now, rng=rng, emit=emitter.emit)
        dialler = Dialler(
            tls=secure.context,
            guard=settings.guard,
            addresses=Addresses(
                now=clock.now,
                rng=rng,
                ejections=ejections,
                precedence=Precedence(gai_conf.read(), Sources(now=clock.now)),
            ),
            versions=Versions(http1=http1, http2=http2),
            spare=pool.spare,
        )
        self.proxies = Proxies(settings.policy(), settings.per_host or {}, rng=rng, emit=emitter.emit, now=clock.now)
        self.wire = Wire(
            pool,
            dialler,
            names,
            now=clock.now,
            max_age=settings.max_connection_age,
            passages=self.proxies,
        )
        layers.readiness.prober = self.wire.probers
        for observer in settings.observers:
            self.observe(observer)

    @property
    def breakers(self) -> Breakers:
        """By origin: ``engine.breakers["https://api.example.com"].force_open()``, ``force_closed()``, ``reset()``."""
        return Breakers(self.layers.origins, self.proxies)

    def observe(self, observer: Observer | Listener) -> None:
        """
        Add an observer to those that the engine was made with: it hears of calls that begin from now on.

        Raises:
            TypeError: *observer* is neither a function nor an `Observer`.
        """
        if not is_observer(observer):
            raise TypeError(f"observe() takes an observer or a function of an event, not {shown(observer)}")
        self.layers.observe(observer)
        if hasattr(observer, "watch"):
            observer.watch(self)

    def stats(self) -> Stats:
        """
        A frozen snapshot of permits, queues, breakers, budgets, connections and names.

        It can be taken in another thread too, and after the loop has ended; budgets are then as of their last use.
        """
        layers, slots, pool = self.layers, self.slots, self.wire.pool
        loop = asyncio._get_running_loop()  # asyncio documents it for extensions
        if loop is not None and layers.in_flight.loop in (None, loop):
            now = filled_at = clock.now()
        else:  # asyncio's loops use this clock; a budget that is asked for its balance of now writes that down
            now, filled_at = time.monotonic(), -math.inf
        ejected = _steady(lambda: self.ejections.ejected(now))
        routed: dict[Origin, list[Endpoint]] = {}
        for holder in slots.holders:
            if isinstance(holder, Endpoint):
                routed.setdefault(holder.origin, []).append(holder)

        def by_ways(count: Callable[[Destination], int], origin: Origin) -> int:
            return sum(map(count, (origin, *routed.get(origin, ()))))

        def of(state: OriginState) -> OriginStats:
            idle, held = by_ways(pool.idle, state.origin), by_ways(slots.held, state.origin)
            return _of_origin(state, now, filled_at, idle, held, ejected.get(state.origin, ()))

        return Stats(
            calls=len(layers.in_flight),
            connections=_steady(lambda: pool.open),
            max_connections=math.inf if slots.max_connections is None else slots.max_connections,
            waiting=slots.waiting,
            budget=layers.origins.balance(filled_at),
            totals=_steady(layers.ledger.totals),
            origins={state.origin: _steady(partial(of, state)) for state in _steady(lambda: list(layers.origins))},
            names=_steady(self.wire.names.stats),
            proxies=_steady(lambda: {url: breaker.state for url, breaker in self.proxies.items()}),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self, *, drain: float = 0.0) -> None:
        """
        Close everything; takes at most 1 s after *drain*, which `within` shares afterwards.

        Calls of all its clients end with ClientClosed, and so do later ones.

        **Cancellation:** it stops draining, and closes at once.

        Args:
            drain: Seconds, finite and >= 0, for which what is in flight may still end by itself, retries and streamed
                bodies included; 0 gives it none. New calls are refused with ClientClosed meanwhile.
        Raises:
            TypeError, ValueError: *drain* is not such a number; nothing is closed then.
        """
        check_drain(drain)
        in_flight = self.layers.in_flight
        if in_flight.ends_unused():
            return
        try:
            try:
                await self.drain(drain)
            finally:
                await in_flight.aclose()
        finally:
            self.layers.origins.forget_ghosts()
            self.wire.close()  # before all awaits, which may be cancelled
            try:
                await in_flight.finish(self.closing)
            finally:
                try:
                    await in_flight.within(self.layers.origins.aclose())
                finally:
                    await in_flight.within(self.wire.aclose())

    async def drain(self, timeout: float) -> None:
        """
        Refuse new calls, and wait at most *timeout* seconds until those in flight have ended; `aclose` must follow.

        A call that one in flight makes, such as the fetch of its token, is not a new one. 0 does nothing.
        """
        if timeout:
            await self.layers.in_flight.drain(timeout)

    async def within(self, closing: Coroutine[Any, Any, None]) -> None:
        """Await the *closing* of a client's other parts, for the rest of the second that `aclose` has, or 1 s."""
        await self.layers.in_flight.within(closing)


def check_drain(drain: object) -> None:
    """
    Raises:
        TypeError, ValueError: It isn't a finite number of seconds >= 0.
    """
    number("aclose", "drain", drain, low=0)


def _steady(read: Callable[[], T]) -> T:
    """What *read* returns, once the loop's thread hasn't changed what it goes through meanwhile."""
    for _ in range(MAX_READS):
        try:
            return read()
        except (RuntimeError, KeyError):  # it changed its size; or an entry has gone
            continue
    return read()


def _of_origin(
    state: OriginState, now: float, filled_at: float, idle: int, connections: int, ejected: tuple[Address, ...]
) -> OriginStats:
    bulkheads = [bulkhead.statistics(now) for bulkhead in state.bulkheads]
    breaker, budget = state.breaker, state.budget
    rate, limited = (math.inf, 0) if state.limit is None else state.limit.statistics()
    return OriginStats(
        in_flight=sum(each.in_flight for each in bulkheads),
        max_concurrent=math.inf if state.bulkhead is None else sum(each.max_concurrent for each in bulkheads),
        waiting=sum(each.waiting for each in bulkheads),
        breaker="off" if breaker is None else breaker.state,
        next_probe=state.shut_for(now),
        rate=rate,
        limited=limited,
        paused_for=max(0.0, state.paused_until - now),
        budget=math.inf if budget is None else budget.balance(filled_at),
        max_budget=math.inf if budget is None else budget.max_balance,
        idle=idle,
        connections=connections,
        ejected=ejected,
        ghosts=sum(each.ghosts for each in bulkheads),
        limit=math.inf if state.bulkhead is None else sum(each.limit for each in bulkheads),
        away_for=0.0 if state.away is None else max(0.0, now - state.away.away_since),
        awaited_by=0 if state.away is None else state.away.standing,
    )


def _names(
    dns: DNS, resolver: ResolverTypes, now: Callable[[], float], emit: Listener, spare: Callable[[], bool]
) -> CachingResolver | Chained:
    if isinstance(resolver, ChainResolver):
        return Chained([_one_of(dns, each, now, emit, spare) for each in resolver.resolvers])
    return _one_of(dns, resolver, now, emit, spare)


def _one_of(
    dns: DNS, resolver: Any, now: Callable[[], float], emit: Listener, spare: Callable[[], bool]
) -> CachingResolver:
    if resolver in (None, "auto", "cares"):
        machine = Machine(now=now)
        is_alone = resolver == "cares" or dns.nameservers
        if is_alone or machine.is_decided_by_files:
            system = None if is_alone else SystemResolver()
            names = MachineResolver.through_cares(machine, system, dns)
            return CachingResolver(names, dns, now=now, fallback=system, emit=emit, spare=spare)
    if resolver in (None, "auto", "system"):
        if dns.nameservers:
            raise ValueError("DNS.nameservers can't be used with resolver=\"system\", which asks the system's own")
        return CachingResolver(SystemResolver(), dns, now=now, emit=emit, spare=spare)
    if isinstance(resolver, type) or not isinstance(resolver, Resolver):
        raise TypeError(
            'resolver must be "auto", "cares", "system" or an object with resolve() and aclose() '
            f"(see seawall.dns.Resolver), not {shown(resolver)}"
        )
    return CachingResolver(resolver, dns, now=now, by_port=True, emit=emit, spare=spare)


def _load() -> None:
    """
    Load now the modules that otherwise a failing call, or one to a name, would load first, because an import needs a
    free descriptor. ``import seawall`` doesn't load them, because tenacity takes 5 ms.
    """
    import encodings.idna  # noqa: F401  # ssl and getaddrinfo use it

    from ..policy import tenacity  # noqa: F401
