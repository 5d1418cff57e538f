"""
What can be set, each with its default, unit and reason. Frozen, and validated when made.

Rules: `UNSET` means "from the client"; `None` means "off"; durations are float seconds.
A bad value raises ValueError (TypeError for a wrong type) that names the setting and its range.
"""

from .dns import DNS
from .layers import Breaker, Budget, Bulkhead
from .policy import UNSET, Options, Policy, Unset, options
from .propagation import Propagation
from .retry import Retry

__all__ = [
    "DNS",
    "UNSET",
    "Breaker",
    "Budget",
    "Bulkhead",
    "Options",
    "Policy",
    "Propagation",
    "Retry",
    "Unset",
    "options",
]
