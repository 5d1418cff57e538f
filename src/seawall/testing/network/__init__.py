"""A network that tests can make worse: a TCP proxy with toxics."""

from .link import Dose, Link
from .network import Network
from .toxic import Bandwidth, Latency, Limit, Reset, Slicer, SlowClose, Timeout

__all__ = [
    "Bandwidth",
    "Dose",
    "Latency",
    "Limit",
    "Link",
    "Network",
    "Reset",
    "Slicer",
    "SlowClose",
    "Timeout",
]
