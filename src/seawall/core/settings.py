"""The settings of an engine, and so of a client: each stands here, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal, TypeAlias, TypedDict

from ..config.breaker import Breaker
from ..config.budget import Budget
from ..config.bulkhead import Bulkhead
from ..config.check import count, number, shown
from ..config.dns import DNS
from ..config.hedge import Hedge
from ..config.limit import Limit
from ..config.per_host import check_patterns
from ..config.policy import Policy
from ..config.propagation import Propagation
from ..config.ready import Ready
from ..config.retry import Retry
from ..config.unset import UNSET, Unset
from ..dns.guard import Guard
from ..dns.resolver import Resolver
from ..events import Listener, Observer
from ..origin import Origin
from ..policy.gate import Gate

__all__ = ["ResolverTypes", "Settings", "SettingsArguments", "is_observer"]

MAX_NAME: Final = 100  # characters; it is a label of each metric
ResolverTypes: TypeAlias = Resolver | Literal["auto", "cares", "system"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    The settings that `Engine`, `AsyncClient` and `AsyncTransport` take beside httpx's arguments.

    Args:
        deadline: Seconds of wall clock for a whole call, redirects and authentication included; None disables it. If
            it isn't given, it is derived from the request's timeouts, (connect + read) x max_attempts, and holds up to
            the response's headers.
        retry: When a failed attempt is repeated; None switches it off.
        hedge: When a second attempt is made beside a slow one; None makes none.
        bulkhead: How many attempts one origin may have in flight; None switches it off.
        breaker: When an origin is left alone; None switches it off.
        budget: How many retries calls may cost; None switches it off.
        ready: How long calls wait for an origin that refuses all dials and answered a moment ago, because it is
            restarted; None switches it off.
        limit: How fast one origin is asked: a `Limit`, or several in a tuple. By default, only what an origin rejects
            teaches; None switches that off too.
        waits: True has calls wait as long as their deadline allows, instead of failing early; see `Policy`.
        per_host: A `Policy` by name or ``*.suffix``, over the settings above.
        dns: How names become addresses.
        resolver: Looks names up. "auto" (None): DNS servers, and the system's resolver if they fail; "cares":
            DNS servers only; "system": the system's resolver only; or a `Resolver`.
        guard: Refuses addresses that must not be dialled; None refuses none.
        propagation: Headers that tell upstreams of deadline and attempt; None sends none.
        max_connection_age: Seconds after which a connection is not used again; None disables it. An idle one is
            dropped anyway once its address has left the name's record.
        max_response_size: Bytes of a response's body, decoded, beyond which it is an error; None disables it.
        observers: Functions of an event, or `Observer` objects, which hear every event; see `seawall.events`.
        name: What metrics call the client, such as "orders", where a process has several.
        gates: Functions of an `Origin`, each of which may return one more `Gate` for it, between breaker and bulkhead.
        rng: Chance, for tests; None draws from the system's.
    Raises:
        TypeError, ValueError: A setting is impossible; the message names it and its range.
    """

    deadline: float | Unset | None = UNSET
    retry: Retry | None = Retry()
    hedge: Hedge | None = None
    bulkhead: Bulkhead | None = Bulkhead()
    breaker: Breaker | None = Breaker()
    budget: Budget | None = Budget()
    ready: Ready | None = Ready()
    limit: Limit | tuple[Limit, ...] | None = Limit()
    waits: bool = False
    per_host: Mapping[str, Policy] | None = None
    dns: DNS = DNS()
    resolver: ResolverTypes = None
    guard: Guard | None = None
    propagation: Propagation | None = None
    max_connection_age: float | None = None
    max_response_size: int | None = None
    observers: Iterable[Observer | Listener] = ()
    name: str = ""
    gates: Iterable[Callable[[Origin], Gate | None]] = ()
    rng: Random | None = None

    def __post_init__(self) -> None:
        for name in ("retry", "hedge", "bulkhead", "breaker", "budget", "ready", "limit", "waits"):
            if isinstance(getattr(self, name), Unset):
                raise TypeError(f'{name}: UNSET means "from the client", and this is the client; None means off')
        self.policy()
        object.__setattr__(self, "per_host", check_patterns({} if self.per_host is None else self.per_host))
        if not isinstance(self.dns, DNS):
            raise TypeError(f"dns must be a seawall.DNS, not {shown(self.dns)}")
        if self.guard is not None and not isinstance(self.guard, Guard):
            raise TypeError(f"guard must be a seawall.Guard or None (off), not {shown(self.guard)}")
        if self.propagation is not None and not isinstance(self.propagation, Propagation):
            raise TypeError(f"propagation must be a seawall.Propagation or None (off), not {shown(self.propagation)}")
        if self.max_connection_age is not None:
            number("AsyncClient", "max_connection_age", self.max_connection_age, low=0, above=True)
        if self.max_response_size is not None:
            count("AsyncClient", "max_response_size", self.max_response_size, low=0)
        each_one = "functions of an event or have a method on(event)"
        observers = _checked("observers", self.observers, "observers or functions of an event", each_one, is_observer)
        object.__setattr__(self, "observers", observers)
        if not (isinstance(self.name, str) and len(self.name) <= MAX_NAME and self.name.isprintable()):
            raise TypeError(f"name must be a str of at most {MAX_NAME} printable characters, not {shown(self.name)}")
        gates = _checked("gates", self.gates, "functions of an Origin", "functions of an Origin")
        object.__setattr__(self, "gates", gates)
        if self.rng is not None and not isinstance(self.rng, Random):
            raise TypeError(f"rng must be a random.Random or None (a new one), not {shown(self.rng)}")

    def policy(self) -> Policy:
        """The layers, as `Policy` has them."""
        return Policy(
            deadline=self.deadline,
            retry=self.retry,
            hedge=self.hedge,
            bulkhead=self.bulkhead,
            breaker=self.breaker,
            budget=self.budget,
            ready=self.ready,
            limit=self.limit,
            waits=self.waits,
        )


class SettingsArguments(TypedDict, total=False):
    """`Settings` as keyword arguments, for type checkers and editors; a test holds the two equal."""

    deadline: float | Unset | None
    retry: Retry | None
    hedge: Hedge | None
    bulkhead: Bulkhead | None
    breaker: Breaker | None
    budget: Budget | None
    ready: Ready | None
    limit: Limit | tuple[Limit, ...] | None
    waits: bool
    per_host: Mapping[str, Policy] | None
    dns: DNS
    resolver: ResolverTypes
    guard: Guard | None
    propagation: Propagation | None
    max_connection_age: float | None
    max_response_size: int | None
    observers: Iterable[Observer | Listener]
    name: str
    gates: Iterable[Callable[[Origin], Gate | None]]
    rng: Random | None


def _checked(
    name: str, given: object, listed: str, each_one: str, is_one: Callable[[Any], bool] = callable
) -> tuple[Any, ...]:
    """
    *given*, which must be a list of *listed*.

    Raises:
        TypeError: It isn't one; or one of it, which must be *each_one*, isn't that.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a list of {listed}, not {shown(given)}")
    checked = tuple(given)
    for each in checked:
        if not is_one(each):
            raise TypeError(f"{name} must be {each_one}, not {shown(each)}")
    return checked


def is_observer(thing: Any) -> bool:
    """Whether *thing* can hear events: a function, or an object with a method ``on``."""
    return not isinstance(thing, type) and callable(getattr(thing, "on", thing))
