"""When, how often and how soon an attempt is repeated."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any, Final, Self, TypeAlias

from .check import collection, count, number, shown
from .urllib3 import COUNTS, Urllib3Backoff, translated

__all__ = ["IN_PROGRESS", "THROTTLED", "Retry"]

THROTTLED: Final = frozenset({429, 503})
"""Too much at once, which time cures."""

IN_PROGRESS: Final = 409
"""To a request with an Idempotency-Key: the first one is still being worked on."""

Strategy: TypeAlias = Callable[[Any], Any]  # tenacity's: a function of its RetryCallState


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """
    When, how often and how soon an attempt is repeated.

    Whatever is set here, an attempt is repeated only where that is safe: nothing of it was sent, or it was rejected
    up front, or its method is in *methods* (or it carries an Idempotency-Key); and its body can be sent again.

    Args:
        max_attempts: Attempts in all, the first included; >= 1. 3: AWS SDKs, gRPC, SRE book.
        max_connect_retries: Retries after failures before anything was sent; None sets no limit of its own.
        max_read_retries: Retries after failures once something was sent; None sets no limit of its own.
        max_status_retries: Retries after a status; None sets no limit of its own.
        max_other_retries: Retries that only *retry* asked for; None sets no limit of its own.
        backoff: Upper bound of the first delay, in seconds; it doubles with each retry. 0.1: between AWS' 50 ms and
            what a human notices.
        max_backoff: Upper bound of any delay, in seconds. 20: AWS SDKs.
        throttled_backoff: *backoff* after 429 and 503, in seconds. 1: AWS SDKs.
        jitter: Share of each delay that is random, 0 to 1. 1: full jitter, which spreads a herd best (AWS).
        statuses: Statuses worth a retry. 409 is another, if the request carries an Idempotency-Key, because the server
            still works on the first attempt (IETF draft-ietf-httpapi-idempotency-key-header-07 section 2.6).
        retry_after_statuses: Statuses worth a retry only if they come with Retry-After. 413: RFC 9110 section 15.5.14.
        rejected_statuses: Those of *statuses* that say "not processed", so that any method is safe. 429; add 503 if
            your server sends it before it starts to work.
        methods: Idempotent methods (RFC 9110 section 9.2.2; QUERY: RFC 10008). None: all methods are.
        idempotency_key: Give a request that isn't idempotent an ``Idempotency-Key``, one for each call, which makes it
            repeatable: for servers that heed it (the same draft). False: most servers don't.
        respect_retry_after: Wait at least as long as Retry-After says.
        max_retry_after: Longest Retry-After that the call waits for, in seconds; if it is longer, the response is
            returned now.
        pause_origin: Let the Retry-After of a 429 or 503 hold back all calls to that origin. False: other tenants of
            the host may be fine.
        raise_on_status: Raise StatusError for a response with one of *statuses* that no further attempt follows, before
            httpx's hooks and cookies see it. False: return it, as httpx does.
        wait: A tenacity strategy in place of backoff and jitter. Retry-After is respected all the same.
        stop: A tenacity strategy beside *max_attempts*: the first of the two that says stop wins.
        retry: What is worth a retry, in place of *statuses* and "any transport failure": a tenacity predicate, or a
            function of the `Outcome`, which may return None to leave the decision to these. Either may be async.
        before_sleep: Called with tenacity's RetryCallState before each delay, such as
            ``tenacity.before_sleep_log(logger, logging.INFO)``.
        after: The same, after each attempt that is worth a retry and may safely be repeated.
    """

    max_attempts: int = 3
    max_connect_retries: int | None = None
    max_read_retries: int | None = None
    max_status_retries: int | None = None
    max_other_retries: int | None = None
    backoff: float = 0.1
    max_backoff: float = 20.0
    throttled_backoff: float = 1.0
    jitter: float = 1.0
    statuses: Collection[int] = frozenset({408, 425, 429, 500, 502, 503, 504})
    retry_after_statuses: Collection[int] = frozenset({413})
    rejected_statuses: Collection[int] = frozenset({429})
    methods: Collection[str] | None = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PUT", "DELETE"})
    idempotency_key: bool = False
    respect_retry_after: bool = True
    max_retry_after: float = 30.0
    pause_origin: bool = False
    raise_on_status: bool = False
    wait: Strategy | None = None
    stop: Strategy | None = None
    retry: Strategy | None = None
    before_sleep: Strategy | None = None
    after: Strategy | None = None
    suspects: frozenset[int] = field(
        init=False, repr=False, compare=False
    )  # may be worth a retry: cheap to know of all

    def __post_init__(self) -> None:
        count("Retry", "max_attempts", self.max_attempts, low=1)
        for kind in COUNTS:
            name = f"max_{kind}_retries"
            if getattr(self, name) is not None:
                count("Retry", name, getattr(self, name), low=0)
        number("Retry", "backoff", self.backoff, low=0)
        number("Retry", "max_backoff", self.max_backoff, low=self.backoff)
        number("Retry", "throttled_backoff", self.throttled_backoff, low=0)
        number("Retry", "jitter", self.jitter, low=0, high=1)
        number("Retry", "max_retry_after", self.max_retry_after, low=0)
        for name in ("idempotency_key", "respect_retry_after", "pause_origin", "raise_on_status"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"Retry.{name} must be True or False, not {shown(getattr(self, name))}")
        for name in ("wait", "stop", "retry", "before_sleep", "after"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, type) or not callable(value)):
                raise TypeError(f"Retry.{name} must be a tenacity strategy, a function, or None, not {shown(value)}")
        for name in ("statuses", "retry_after_statuses", "rejected_statuses"):
            statuses = collection(f"Retry.{name}", getattr(self, name), "a set, such as {...}")
            for status in statuses:
                if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
                    raise ValueError(f"Retry.{name} must hold whole numbers from 100 to 599, not {shown(status)}")
            object.__setattr__(self, name, statuses)
        if self.methods is not None:
            methods = collection("Retry.methods", self.methods, "a set, such as {...}")
            for method in methods:
                if not isinstance(method, str) or not re.fullmatch(r"[A-Za-z-]+", method):
                    raise ValueError(f"Retry.methods must hold names such as 'GET', not {shown(method)}")
            object.__setattr__(self, "methods", frozenset(method.upper() for method in methods))
        throttled = THROTTLED if self.pause_origin else frozenset()
        suspects = frozenset({*self.statuses, *self.retry_after_statuses, IN_PROGRESS, *throttled})
        object.__setattr__(self, "suspects", suspects)

    @classmethod
    def from_urllib3(cls, retry: Any, *, rng: Random | None = None) -> Self:
        """
        The same as a ``urllib3.util.Retry``, apart from redirects, which are httpx's own.

        It stays as safe as all else here, and under the budget and the deadline of its client.

        Args:
            rng: Chance of its backoff_jitter, for tests.
        Raises:
            TypeError: *retry* isn't a ``urllib3.util.Retry``.
            ValueError: It would retry for ever: total=None, and no other count.
        """
        return cls(**translated(retry, rng or SystemRandom()))

    @property
    def is_limited(self) -> bool:
        """Whether more than `max_attempts` and the outcome decides whether another attempt follows."""
        theirs = (self.stop, self.retry, self.max_connect_retries, self.max_read_retries, self.max_status_retries)
        return any(each is not None for each in theirs)

    @property
    def is_watched(self) -> bool:
        """Whether functions of the user's look at responses."""
        is_theirs = isinstance(self.wait, Urllib3Backoff)
        return any((self.wait and not is_theirs, self.stop, self.retry, self.before_sleep, self.after))

    def is_idempotent(self, method: str) -> bool:
        """Whether *method* may be repeated."""
        return self.methods is None or method in self.methods
