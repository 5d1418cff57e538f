"""
Names on random machines: what seawall finds there, compared with what glibc's getaddrinfo finds.

A machine is its files (hosts, host.conf, resolv.conf, nsswitch.conf), its DNS servers with a zone, and a name to look
up. Each is set up in namespaces of its own, where nothing of the real machine is touched.
"""

from .run import main

__all__ = ["main"]
