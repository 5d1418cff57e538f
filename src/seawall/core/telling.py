"""The headers that an attempt sends beside the request's own: those for upstreams, and those of observers."""

from __future__ import annotations

from ..config import Propagation
from ..config.hosts import find
from ..events import AttemptStarted, Listener, Observer
from ..policy.propagation import headers
from .attempt import AttemptState
from .call import Hop
from .emitter import Emitter

__all__ = ["Telling"]


class Telling:
    """
    Gives attempts their headers.

    Args:
        propagation: Headers that upstreams are sent; None sends none.
    Attributes:
        has_any: An attempt may get a header.
    """

    def __init__(self, propagation: Propagation | None, emitter: Emitter) -> None:
        self._told = dict.fromkeys(propagation.hosts, propagation) if propagation is not None else {}
        self._emitter = emitter
        self.has_any = bool(self._told)

    def add(self, observer: Observer | Listener) -> None:
        """As `Emitter.add`; its headers go on attempts from now on."""
        self._emitter.add(observer)
        self.has_any = self.has_any or self._emitter.has_starters

    def tell(self, hop: Hop, attempt: AttemptState, now: float) -> None:
        """Give *attempt* its headers."""
        request, call = hop.request, hop.call
        added: dict[str, str] = dict(attempt.headers or {})
        told = find(request.origin.host, self._told)
        if told is not None:
            left = None if call.deadline_at is None else call.deadline_at - now
            if told.timeout_header is not None:
                attempt.is_hurried = call.is_hurried(left, request.timeouts)
            read, criticality = request.timeouts.get("read"), call.criticality
            added |= headers(told, attempt=attempt.number, criticality=criticality, left=left, read=read)
        is_new, attempt.is_told = not attempt.is_told, True  # it is told again once it was turned back
        if self._emitter.has_starters and call.started is not None and is_new:
            started = AttemptStarted(
                call.number,
                request.origin,
                request.method,
                request.path,
                attempt.number,
                attempt.delay,
                attempt.is_hedge,
            )
            added |= self._emitter.attempt_started(call.started, started)
        attempt.headers = added or None
