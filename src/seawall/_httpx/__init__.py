"""
The border to httpx: its request goes in; its response, or an error of its classes, comes out.

Rules: nothing here decides; `call.py` does. httpx is known here and in `client.py` only. Private names of httpx and
httpcore are held against the installed versions by tests/unit/test_contracts.py.
"""

from .body import replayable
from .convert import check_timeouts
from .shared import LIMITS, ResolverTypes, Shared
from .transport import AsyncTransport, Proxied

__all__ = ["LIMITS", "AsyncTransport", "Proxied", "ResolverTypes", "Shared", "check_timeouts", "replayable"]
