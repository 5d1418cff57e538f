# Written by scripts/twin.py from ../_httpx/__init__.py: change that file, and run the script.
"""
The border to httpx2: its request goes in; its response, or an error of its classes, comes out.

Rules: nothing here decides; the core does. httpx2 is imported in this folder only. Private names of httpx2 are listed and
checked in `compat`; those of httpcore2 are held against the installed version by tests/unit/test_contracts.py.
"""

from .arguments import LIMITS
from .client import AsyncClient
from .engine import Engine
from .transport import AsyncTransport, Proxied

__all__ = ["LIMITS", "AsyncClient", "AsyncTransport", "Engine", "Proxied"]
