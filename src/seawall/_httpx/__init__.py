"""
The border to httpx: its request goes in; its response, or an error of its classes, comes out.

Rules: nothing here decides; the core does. httpx is imported in this folder only. Private names of httpx are listed and
checked in `compat`; those of httpcore are held against the installed version by tests/unit/test_contracts.py.
"""

from .arguments import LIMITS
from .client import AsyncClient
from .engine import Engine
from .transport import AsyncTransport, Proxied

__all__ = ["LIMITS", "AsyncClient", "AsyncTransport", "Engine", "Proxied"]
