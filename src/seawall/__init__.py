"""seawall: httpx.AsyncClient that keeps working when the network doesn't."""

import sys

from . import _httpx, dns, errors, events
from ._httpx import AsyncClient, AsyncTransport, Engine, llm_client
from .attempts import history
from .config import DNS, UNSET, Breaker, Budget, Bulkhead, Limit, Policy, Propagation, Ready, Retry, options
from .core.body import replayable
from .core.deadline import deadline, detached, remaining
from .dns import Guard
from .errors import (
    BreakerOpen,
    BulkheadFull,
    ClientClosed,
    DeadlineExceeded,
    DialError,
    LimitExceeded,
    Rejected,
    ResolveError,
    SeawallError,
    Unsent,
    WireError,
)
from .events import Attempt, History, Observer
from .origin import Origin
from .policy.gate import Gate, Ticket
from .policy.outcome import Outcome

__version__ = "0.1.0"

if _httpx.LIBRARY == "httpx2":  # an application has called its alias_httpx(), so one front is both
    globals()["httpx2"] = sys.modules[f"{__name__}.httpx2"] = _httpx

__all__ = [
    "DNS",
    "UNSET",
    "AsyncClient",
    "AsyncTransport",
    "Attempt",
    "Breaker",
    "BreakerOpen",
    "Budget",
    "Bulkhead",
    "BulkheadFull",
    "ClientClosed",
    "DeadlineExceeded",
    "DialError",
    "Engine",
    "Gate",
    "Guard",
    "History",
    "Limit",
    "LimitExceeded",
    "Observer",
    "Origin",
    "Outcome",
    "Policy",
    "Propagation",
    "Ready",
    "Rejected",
    "ResolveError",
    "Retry",
    "SeawallError",
    "Ticket",
    "Unsent",
    "WireError",
    "deadline",
    "detached",
    "dns",
    "errors",
    "events",
    "history",
    "llm_client",
    "options",
    "remaining",
    "replayable",
]
