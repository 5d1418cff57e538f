"""seawall: httpx.AsyncClient that keeps working when the network doesn't."""

import sys
from typing import TYPE_CHECKING, Any

from . import dns, errors, events
from .attempts import history
from .config import DNS, UNSET, Breaker, Budget, Bulkhead, Hedge, Limit, Policy, Propagation, Ready, Retry, options
from .core.body import replayable
from .core.criticality import criticality
from .core.deadline import deadline, detached, remaining
from .core.job import job
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
    Shed,
    Unsent,
    WireError,
)
from .events import Attempt, History, Observer
from .fetch.downloaded import Download
from .fetch.result import Result
from .fetch.server_sent import ServerSentEvent
from .origin import Origin
from .policy.gate import Gate, Ticket
from .policy.outcome import Outcome

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ._httpx import AsyncClient, AsyncTransport, Engine, llm_client

FRONT = ("AsyncClient", "AsyncTransport", "Engine", "llm_client")


def __getattr__(name: str) -> Any:
    """Load httpx and the front over it once that is asked for, because `seawall.httpx2` needs neither."""
    if name not in FRONT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _httpx

    globals().update({each: getattr(_httpx, each) for each in FRONT})
    if _httpx.LIBRARY == "httpx2":  # after its alias_httpx() one front is both, unless the other is in use already
        globals()["httpx2"] = sys.modules.setdefault(f"{__name__}.httpx2", _httpx)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *FRONT})


# Loaded already? Then at once, before a test patches its classes. After httpx2's alias_httpx() it is httpx2, and the
# front must be there before somebody imports `seawall.httpx2`.
if sys.modules.get("httpx") is not None:
    __getattr__(FRONT[0])

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
    "Download",
    "Engine",
    "Gate",
    "Guard",
    "Hedge",
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
    "Result",
    "Retry",
    "SeawallError",
    "ServerSentEvent",
    "Shed",
    "Ticket",
    "Unsent",
    "WireError",
    "criticality",
    "deadline",
    "detached",
    "dns",
    "errors",
    "events",
    "history",
    "job",
    "llm_client",
    "options",
    "remaining",
    "replayable",
]
