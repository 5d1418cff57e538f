"""
What can be set, each with its default, unit and reason. Frozen, and validated when made.

Rules: `UNSET` means "from the client"; `None` means "off"; durations are float seconds.
A bad value raises ValueError (TypeError for a wrong type) that names the setting and its range.
"""

from .breaker import Breaker
from .budget import Budget
from .bulkhead import Bulkhead
from .dns import DNS
from .hedge import Hedge
from .limit import Limit
from .limits import Limits
from .options import Options, options
from .policy import Policy
from .propagation import Propagation
from .ready import Ready
from .retry import Retry
from .store import Booking, BulkheadStore, Claim, Grant, LimitStore, OpenBulkheadStore, OpenStore, Share
from .unset import UNSET, Unset

__all__ = [
    "DNS",
    "UNSET",
    "Booking",
    "Breaker",
    "Budget",
    "Bulkhead",
    "BulkheadStore",
    "Claim",
    "Grant",
    "Hedge",
    "Limit",
    "LimitStore",
    "Limits",
    "OpenBulkheadStore",
    "OpenStore",
    "Options",
    "Policy",
    "Propagation",
    "Ready",
    "Retry",
    "Share",
    "Unset",
    "options",
]
