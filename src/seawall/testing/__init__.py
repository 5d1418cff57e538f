"""
What seawall is tested with, for your tests too: time that takes none, a server that misbehaves, a DNS server.

`DNSServer` needs dnspython (in the extras ``cli`` and ``dev``), and is imported from `seawall.testing.dns`.
"""

from .clock import VirtualLoop
from .server import Request, Server

__all__ = ["Request", "Server", "VirtualLoop"]
