"""
The tools that test seawall, for your tests of any client: servers that fail on request, and a virtual clock.

Some parts need the extra ``testing``, and say so when they are used: certificates (trustme, cryptography), `DNSServer`
(dnspython), HTTP/2 (h2).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._httpx import Body, Chaos, ChaosTransport, ScriptedWire
    from .cancel import cancel_everywhere
    from .chance import FixedRandom
    from .clock import VIRTUAL, Deadlock, VirtualLoop, VirtualTimeError, run
    from .dns import DNSServer, Name
    from .http.fault_server import FaultServer, UnusedScript
    from .http.process import FaultProcess
    from .http.request import Request
    from .http.routes import Route
    from .http.scripts import Received
    from .http.server import Server
    from .leaks import Leaked, no_leaks
    from .network import Network
    from .resolver import FakeResolver
    from .shortage import blocked_loop, no_file_descriptors

_HOMES = {
    "Body": "_httpx",
    "Chaos": "_httpx",
    "ChaosTransport": "_httpx",
    "DNSServer": "dns",
    "Deadlock": "clock",
    "FakeResolver": "resolver",
    "FaultProcess": "http.process",
    "FaultServer": "http.fault_server",
    "FixedRandom": "chance",
    "Leaked": "leaks",
    "Name": "dns",
    "Network": "network",
    "Received": "http.scripts",
    "Request": "http.request",
    "Route": "http.routes",
    "ScriptedWire": "_httpx",
    "Server": "http.server",
    "UnusedScript": "http.fault_server",
    "VIRTUAL": "clock",
    "VirtualLoop": "clock",
    "VirtualTimeError": "clock",
    "blocked_loop": "shortage",
    "cancel_everywhere": "cancel",
    "no_file_descriptors": "shortage",
    "no_leaks": "leaks",
    "run": "clock",
}

__all__ = [
    "VIRTUAL",
    "Body",
    "Chaos",
    "ChaosTransport",
    "DNSServer",
    "Deadlock",
    "FakeResolver",
    "FaultProcess",
    "FaultServer",
    "FixedRandom",
    "Leaked",
    "Name",
    "Network",
    "Received",
    "Request",
    "Route",
    "ScriptedWire",
    "Server",
    "UnusedScript",
    "VirtualLoop",
    "VirtualTimeError",
    "blocked_loop",
    "cancel_everywhere",
    "no_file_descriptors",
    "no_leaks",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import each part when it is first used, because a test of one part need not have the packages of another."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "seawall":
            raise
        package = {"dns": "dnspython"}.get(error.name or "", error.name)
        raise ImportError(f"seawall.testing.{name} needs {package}: pip install 'seawall[testing]'") from error
