"""Transports for tests of an httpx client."""

from .chaos import Chaos, ChaosTransport
from .wire import Body, ScriptedWire

__all__ = ["Body", "Chaos", "ChaosTransport", "ScriptedWire"]
