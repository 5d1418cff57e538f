"""
What the middlewares have in common: an inbound request's timeout is the deadline of all calls made to answer it, they
matter as much as it does, they end when the inbound caller leaves, and their errors become answers.

Rules: the header is relative, because clocks differ; it is in ms, and read from callers who may be wrong: a value that
isn't a number is ignored, and no caller gets longer than `max_timeout`. A request that has less than `min_timeout` left
is answered with 504 unhandled, because an answer would come too late, and a stranger who asks for 1 ms must not cost an
upstream a request. To raise it to the minimum instead would have the service work for a caller that has left. Any
caller may say that its request is a background one, because that only costs itself something; a stranger must not have
others wait, so one that says that its request is critical is believed only if a setting allows it.
Nothing of the handler's own is cancelled; only calls of seawall end. An answer names no upstream, because its reader
may be a stranger; the log does.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple
from urllib.parse import quote

from ..careful import Careful
from ..config.check import number, shown
from ..config.criticality import CRITICAL, DEFAULT, NAMES, Criticality
from ..config.propagation import check_header
from ..errors import DeadlineExceeded, Rejected

__all__ = ["MAX_TIMEOUT", "TOO_LATE", "Inbound", "Verdict", "on_one_line", "parse_timeout", "told", "verdict"]

logger = Careful("seawall.call")

MAX_TIMEOUT: Final = 60.0  # s; nginx's and most load balancers' own
MIN_TIMEOUT: Final = 0.02  # s; as Propagation.margin: an answer needs it for its way back
RETRY_AFTER: Final = 1.0  # s, where a refusal doesn't know better: a bulkhead drains within
MAX_RETRY_AFTER: Final = 3600.0  # s
PLAIN: Final = "/%:@!$&'()*+,;=~"  # what a path may have as it is (RFC 3986, section 3.3)


class Verdict(NamedTuple):
    """
    The answer that stands for an error.

    Attributes:
        text: Its body.
        retry_after: Whole seconds after which it is worth asking again; None: it isn't known.
    """

    status: int
    text: str
    retry_after: int | None = None


TOO_LATE: Final = Verdict(504, "the deadline for this answer has passed\n")


def verdict(error: BaseException) -> Verdict | None:
    """
    The answer for a deadline that has passed, or for an attempt that a gate of ours refused; else None.

    Of several errors at once, as task groups raise them, all must be of these kinds.
    """
    if isinstance(error, BaseExceptionGroup):
        answers = [verdict(each) for each in error.exceptions]
        known = [each for each in answers if each is not None]
        return max(known, key=lambda each: (each.status, each.retry_after or 0)) if len(known) == len(answers) else None
    if isinstance(error, DeadlineExceeded):
        return TOO_LATE
    if not isinstance(error, Rejected):
        return None
    left = getattr(error, "retry_after", RETRY_AFTER)
    seconds = None if math.isinf(left) else math.ceil(min(max(left, RETRY_AFTER), MAX_RETRY_AFTER))
    return Verdict(503, "an upstream takes no more requests at the moment\n", seconds)


def told(method: str, path: str, answer: Verdict, error: BaseException) -> None:
    """Log one line in place of the traceback that a framework writes."""
    where = on_one_line(path)
    logger.warning("%s %s answered with %d: %s: %s", method, where, answer.status, type(error).__name__, error)


def on_one_line(path: str) -> str:
    """A decoded *path* as a URL has it, because a stranger's line break would begin another line of the log."""
    return quote(path, safe=PLAIN, errors="replace")


def parse_timeout(value: str | None, *, max_timeout: float) -> float | None:
    """
    Seconds that an inbound header gives, at most *max_timeout*; None for garbage.

    Args:
        value: Whole milliseconds, >= 0.
    """
    if value is None or not (value.isascii() and value.strip().isdigit()):
        return None
    return min(max_timeout, int(value) / 1000.0) if len(value) < 16 else max_timeout


class Inbound:
    """
    The headers' names, and the bounds.

    Raises:
        TypeError, ValueError: A setting that can't be.
    """

    def __init__(
        self,
        header: str,
        min_timeout: float | None,
        max_timeout: float,
        default_timeout: float | None,
        cancel_on_disconnect: object,
        criticality_header: str | None,
        allow_critical: object,
    ) -> None:
        check_header("header", header)
        if criticality_header is not None:
            check_header("criticality_header", criticality_header)
            if criticality_header.lower() == header.lower():
                raise ValueError(f"middleware: header and criticality_header must differ, but both are {header!r}")
        number("middleware", "max_timeout", max_timeout, low=0, above=True)
        if min_timeout is None:
            min_timeout = min(MIN_TIMEOUT, max_timeout)
        number("middleware", "min_timeout", min_timeout, low=0, high=max_timeout)
        if default_timeout is not None:
            number("middleware", "default_timeout", default_timeout, low=0, high=max_timeout, above=True)
        for name, value in (("cancel_on_disconnect", cancel_on_disconnect), ("allow_critical", allow_critical)):
            if not isinstance(value, bool):
                raise TypeError(f"middleware: {name} must be True or False, not {shown(value)}")
        self.header = header
        self.criticality_header = criticality_header
        self._allow_critical = allow_critical
        self._min_timeout = min_timeout
        self._max_timeout = max_timeout
        self._default_timeout = default_timeout

    def timeout(self, value: str | None) -> float | None:
        """Seconds that a request has; 0: too few to begin with it; None means no deadline."""
        timeout = parse_timeout(value, max_timeout=self._max_timeout)
        if timeout is None:
            return self._default_timeout
        return timeout if timeout >= self._min_timeout else 0.0

    def criticality(self, value: str | None) -> Criticality | None:
        """How much the calls for a request matter; None if it says nothing that counts."""
        found = None if value is None else NAMES.get(value.strip().lower())
        return None if found is DEFAULT or (found is CRITICAL and not self._allow_critical) else found
