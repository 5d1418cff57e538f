"""
What the middlewares have in common: an inbound request's timeout becomes the deadline of all calls made to answer it.

Rules: the header is relative, because clocks differ; it is in ms, and read from callers who may be wrong: a value that
isn't a number is ignored, and no caller gets longer than `max_timeout`. A request that has less than `min_timeout` left
is answered with 504 unhandled, because an answer would come too late, and a stranger who asks for 1 ms must not cost an
upstream a request. To raise it to the minimum instead would have the service work for a caller that has left.
Nothing of the handler's own is cancelled; only calls of seawall end.
"""

from __future__ import annotations

from typing import Final

from ..config.check import number
from ..config.propagation import check_header
from ..errors import DeadlineExceeded

__all__ = ["MAX_TIMEOUT", "TOO_LATE", "Inbound", "is_late", "parse_timeout"]

MAX_TIMEOUT: Final = 60.0  # s; nginx's and most load balancers' own
MIN_TIMEOUT: Final = 0.02  # s; as Propagation.margin: an answer needs it for its way back
TOO_LATE: Final = "the deadline that the request came with has passed\n"


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
    The header's name, and the bounds.

    Raises:
        TypeError, ValueError: A setting that can't be.
    """

    def __init__(
        self, header: str, min_timeout: float | None, max_timeout: float, default_timeout: float | None
    ) -> None:
        check_header("header", header)
        number("middleware", "max_timeout", max_timeout, low=0, above=True)
        if min_timeout is None:
            min_timeout = min(MIN_TIMEOUT, max_timeout)
        number("middleware", "min_timeout", min_timeout, low=0, high=max_timeout)
        if default_timeout is not None:
            number("middleware", "default_timeout", default_timeout, low=0, high=max_timeout, above=True)
        self.header = header
        self._min_timeout = min_timeout
        self._max_timeout = max_timeout
        self._default_timeout = default_timeout

    def timeout(self, value: str | None) -> float | None:
        """Seconds that a request has; 0: too few to begin with it; None: no deadline."""
        timeout = parse_timeout(value, max_timeout=self._max_timeout)
        if timeout is None:
            return self._default_timeout
        return timeout if timeout >= self._min_timeout else 0.0


def is_late(error: BaseException) -> bool:
    """Whether a deadline has passed, or several at once, as task groups raise them."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_late, error.exceptions))
    return isinstance(error, DeadlineExceeded)
