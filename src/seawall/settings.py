"""
What can be set, each with its default, unit and reason. Frozen, and validated when made.

Rules: `UNSET` means "from the client"; `None` means "off"; durations are float seconds.
A bad value raises ValueError (TypeError for a wrong type) that names the setting and its range.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, ClassVar, Final, TypeAlias

from .check import count, number

__all__ = ["DNS", "UNSET", "Breaker", "Budget", "Bulkhead", "Policy", "Retry", "Unset", "options"]


class Unset(Enum):
    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
Strategy: TypeAlias = Callable[[Any], Any]  # tenacity's: a function of its RetryCallState


def _set(owner: str, name: str, value: object) -> frozenset[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"{owner}.{name} must be a set, such as {{...}}, not {value!r}")
    return frozenset(value)


def _callable(owner: str, name: str, value: object) -> None:
    if value is not None and (isinstance(value, type) or not callable(value)):
        raise TypeError(f"{owner}.{name} must be a tenacity strategy or None, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """
    When, how often and how soon an attempt is repeated.

    Whatever is set here, an attempt is repeated only where that is safe: nothing of it was sent, or it was rejected
    up front, or its method is in *methods* (or it carries an Idempotency-Key); and its body can be sent again.

    Args:
        max_attempts: Attempts in all, the first included; >= 1. 3: AWS SDKs, gRPC, SRE book.
        backoff: Upper bound of the first delay, s; doubles with each. 0.1: between AWS' 50 ms and a human's notice.
        max_backoff: Upper bound of any delay, s. 20: AWS SDKs.
        throttled_backoff: *backoff* after 429 and 503, s. 1: AWS SDKs.
        statuses: Answers worth a retry.
        rejected_statuses: Of those, the ones that say "not processed": safe for any method. 429; add 503 where your
            server sends it before it works.
        methods: Idempotent ones (RFC 9110 section 9.2.2).
        idempotency_key: Give what isn't idempotent an ``Idempotency-Key``, one a call, which makes it repeatable: for
            servers that heed it (IETF draft-ietf-httpapi-idempotency-key-header-07). False: most don't.
        max_retry_after: Longest Retry-After that is waited for, s; a longer one: the answer is returned now.
        wait: A tenacity strategy in place of full jitter. Retry-After is respected all the same.
        stop: A tenacity strategy beside *max_attempts*: whichever says stop first.
        retry: A tenacity predicate in place of *statuses* and "any transport failure".
    """

    max_attempts: int = 3
    backoff: float = 0.1
    max_backoff: float = 20.0
    throttled_backoff: float = 1.0
    statuses: Collection[int] = frozenset({408, 425, 429, 500, 502, 503, 504})
    rejected_statuses: Collection[int] = frozenset({429})
    methods: Collection[str] = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
    idempotency_key: bool = False
    max_retry_after: float = 30.0
    wait: Strategy | None = None
    stop: Strategy | None = None
    retry: Strategy | None = None

    def __post_init__(self) -> None:
        count("Retry", "max_attempts", self.max_attempts, low=1)
        number("Retry", "backoff", self.backoff, low=0)
        number("Retry", "max_backoff", self.max_backoff, low=self.backoff)
        number("Retry", "throttled_backoff", self.throttled_backoff, low=0)
        number("Retry", "max_retry_after", self.max_retry_after, low=0)
        for name in ("wait", "stop", "retry"):
            _callable("Retry", name, getattr(self, name))
        for name in ("statuses", "rejected_statuses"):
            statuses = _set("Retry", name, getattr(self, name))
            for status in statuses:
                if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
                    raise ValueError(f"Retry.{name} must hold whole numbers from 100 to 599, not {status!r}")
            object.__setattr__(self, name, statuses)
        methods = _set("Retry", "methods", self.methods)
        for method in methods:
            if not isinstance(method, str) or not re.fullmatch(r"[A-Za-z-]+", method):
                raise ValueError(f"Retry.methods must hold names such as 'GET', not {method!r}")
        object.__setattr__(self, "methods", frozenset(method.upper() for method in methods))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulkhead:
    """
    How many attempts one origin may have in flight, and who waits.

    Args:
        max_concurrent: Permits per origin, >= 1; one is held until the response's body is closed. 64: at most a third
            of capacity x attempt timeout of a usual upstream, which recovers from overload in seconds.
        max_waiting: Waiters per origin before a call is refused at once; None: any number (the wait is bounded by
            httpx's pool timeout).
        shed_after: s that a waiter gets where the queue has been standing for the pool timeout while at least 10 % of
            the origin's attempts fail. Controlled delay: bursts drain, overload is shed.
    """

    max_concurrent: int = 64
    max_waiting: int | None = None
    shed_after: float = 0.1

    def __post_init__(self) -> None:
        count("Bulkhead", "max_concurrent", self.max_concurrent, low=1)
        if self.max_waiting is not None:
            count("Bulkhead", "max_waiting", self.max_waiting, low=0)
        number("Bulkhead", "shed_after", self.shed_after, low=0, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """
    When an origin is left alone.

    Failures are transport errors, timeouts and 5xx but 501; 429 is none, nor is anything that we rejected ourselves.

    Args:
        min_calls: Attempts in the window before it can open. 20: Hystrix; Polly's 100 never trips for small hosts.
        failure_rate: Share of failures that opens it, > 0 and <= 1. 0.5: Hystrix, resilience4j.
        window: s looked back. 10: Hystrix.
        open_for: s before probes, jittered by 10 %; after three openings in a row x 2 each.
        max_open_for: Bound of that, s.
        probes: Attempts let through to decide. 3: one is luck, ten (resilience4j) are a burden.
    """

    min_calls: int = 20
    failure_rate: float = 0.5
    window: float = 10.0
    open_for: float = 5.0
    max_open_for: float = 60.0
    probes: int = 3

    def __post_init__(self) -> None:
        count("Breaker", "min_calls", self.min_calls, low=1)
        number("Breaker", "failure_rate", self.failure_rate, low=0, high=1, above=True)
        number("Breaker", "window", self.window, low=0, above=True)
        number("Breaker", "open_for", self.open_for, low=0, above=True)
        number("Breaker", "max_open_for", self.max_open_for, low=self.open_for)
        count("Breaker", "probes", self.probes, low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """
    Allowance of retries: a token bucket per origin and one per client; a retry needs a token of both.

    Args:
        ratio: Tokens that a first attempt deposits, >= 0 and <= 1. 0.1: SRE book.
        rate: Tokens a second per origin. 1: a client with few calls may still retry.
        max_balance: Most tokens per origin; it starts full.
        client_rate: Tokens a second for all origins together.
        max_client_balance: Most tokens for all origins together; it starts full.
    """

    ratio: float = 0.1
    rate: float = 1.0
    max_balance: float = 30.0
    client_rate: float = 10.0
    max_client_balance: float = 100.0

    def __post_init__(self) -> None:
        number("Budget", "ratio", self.ratio, low=0, high=1)
        for name in ("rate", "max_balance", "client_rate", "max_client_balance"):
            number("Budget", name, getattr(self, name), low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DNS:
    """
    How names become addresses.

    Args:
        timeout: s for one lookup, within the connect timeout. 2: c-ares' own timeout is only a hint.
        nameservers: "ip" or "ip:port" of the servers to ask, in place of the system's; then the system resolver is
            not used as a fallback, for it would ask others.
        min_ttl: Shortest time an answer is kept, s. 1: a TTL of 0 makes storms.
        max_ttl: Longest, s. 300: bounds how long a fail-over takes.
        negative_ttl: How long "no such name" is kept, s. c-ares does not show the SOA.
        stale_ttl: How long after its end an answer is used where DNS fails, s, with TLS (RFC 8767).
        stale_ttl_plain: The same without TLS, where nothing proves that the address is still theirs.
        stale_wait: s that a lookup gets before a stale answer is used.
        fallback_after: s before the system resolver is asked too (at once where c-ares fails).
        resolution_delay: s that the other family is waited for once one has answered (RFC 8305 section 3).
        max_entries: Names kept; the least recently used goes first.
    """

    timeout: float = 2.0
    nameservers: tuple[str, ...] | None = None
    min_ttl: float = 1.0
    max_ttl: float = 300.0
    negative_ttl: float = 5.0
    stale_ttl: float = 3600.0
    stale_ttl_plain: float = 60.0
    stale_wait: float = 0.2
    fallback_after: float = 1.0
    resolution_delay: float = 0.05
    max_entries: int = 1024

    def __post_init__(self) -> None:
        number("DNS", "timeout", self.timeout, low=0, above=True)
        for name in (
            "min_ttl",
            "negative_ttl",
            "stale_ttl",
            "stale_ttl_plain",
            "stale_wait",
            "fallback_after",
            "resolution_delay",
        ):
            number("DNS", name, getattr(self, name), low=0)
        number("DNS", "max_ttl", self.max_ttl, low=self.min_ttl)
        count("DNS", "max_entries", self.max_entries, low=1)
        if self.nameservers is not None:
            if isinstance(self.nameservers, str) or not isinstance(self.nameservers, Iterable):
                raise TypeError(f"DNS.nameservers must be a list of strings, not {self.nameservers!r}")
            object.__setattr__(self, "nameservers", tuple(self.nameservers))
            if not self.nameservers:
                raise ValueError("DNS.nameservers must name at least one server; None means the system's")
            for server in self.nameservers:
                _nameserver(server)


def _nameserver(server: object) -> None:
    host, port = str(server), "53"
    if match := re.fullmatch(r"\[(.+)\]:([0-9]+)|([^:]+):([0-9]+)", host):
        host, port = (match[1], match[2]) if match[1] else (match[3], match[4])
    try:
        ipaddress.ip_address(host)
        if not 1 <= int(port) <= 65535:
            raise ValueError(port)
    except ValueError:
        raise ValueError(
            f"DNS.nameservers must hold IP addresses with an optional port, such as 127.0.0.1:5353, not {server!r}"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    The layers for one host, or one call; what is left out comes from the client.

    Args:
        deadline: s of wall clock for a whole call; None: none. Left out everywhere: derived from the request's own
            timeouts, (connect + read) x max_attempts.
        retry, bulkhead, breaker, budget: Settings of the layer; None switches it off.
    """

    deadline: float | Unset | None = UNSET
    retry: Retry | Unset | None = UNSET
    bulkhead: Bulkhead | Unset | None = UNSET
    breaker: Breaker | Unset | None = UNSET
    budget: Budget | Unset | None = UNSET
    _types: ClassVar[dict[str, type]] = {"retry": Retry, "bulkhead": Bulkhead, "breaker": Breaker, "budget": Budget}

    def __post_init__(self) -> None:
        if self.deadline is not UNSET and self.deadline is not None:
            number("Policy", "deadline", self.deadline, low=0, above=True)
        for name, expected in self._types.items():
            value = getattr(self, name)
            if value is not UNSET and value is not None and not isinstance(value, expected):
                raise TypeError(f"{name} must be a seawall.{expected.__name__} or None (off), not {value!r}")

    def over(self, base: Policy) -> Policy:
        """This policy, with what it leaves out taken from *base*."""
        names = [each.name for each in fields(self)]
        mine = {name: getattr(self, name) for name in names}
        return Policy(**{name: getattr(base, name) if value is UNSET else value for name, value in mine.items()})


def options(*, deadline: float | Unset | None = UNSET, retry: Retry | Unset | None = UNSET) -> dict[str, Any]:
    """
    Settings for one call, for httpx's ``extensions``: ``client.get(url, extensions=seawall.options(deadline=1.0))``.

    Only what belongs to a call can be set here; bulkhead, breaker and budget are shared by an origin's calls.
    """
    return {"seawall": Policy(deadline=deadline, retry=retry)}
