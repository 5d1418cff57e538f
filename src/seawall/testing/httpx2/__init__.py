# Written by scripts/twin.py from ../_httpx/__init__.py: change that file, and run the script.
"""Transports for tests of an httpx2 client."""

from .chaos import Chaos, ChaosTransport
from .wire import Body, ScriptedWire

__all__ = ["Body", "Chaos", "ChaosTransport", "ScriptedWire"]
