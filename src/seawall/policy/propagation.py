"""The headers that tell an upstream about an attempt."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..config import Propagation
from ..config.criticality import DEFAULT, Criticality

__all__ = ["headers"]

MARGIN_SHARE = 0.1  # of the time left, at most, because a short deadline must not be all margin


def headers(
    propagation: Propagation, *, attempt: int, criticality: Criticality, left: float | None, read: float | None
) -> Iterator[tuple[str, str]]:
    """
    Headers, each with its value.

    Args:
        attempt: The attempt's number, from 1.
        criticality: The call's.
        left: Seconds until the call's deadline; None if it has none.
        read: The attempt's read timeout, in seconds; None if it has none.
    """
    if propagation.attempt_header is not None:
        yield propagation.attempt_header, str(attempt)
    if propagation.criticality_header is not None and criticality is not DEFAULT:
        yield propagation.criticality_header, criticality.public
    patience = min(math.inf if left is None else left, math.inf if read is None else read)
    if propagation.timeout_header is not None and patience != math.inf:
        margin = min(propagation.margin, patience * MARGIN_SHARE)
        yield propagation.timeout_header, str(max(0, int((patience - margin) * 1000)))
