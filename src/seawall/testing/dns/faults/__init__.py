"""
All faults, in the order in which those of one name act: data, result, delivery of the answer, its bytes.

Rules: each is pure. It counts per name and type, and measures time from the name's first query.
"""

from __future__ import annotations

from ..fault import Fault
from . import data, message, rcode, way

__all__ = ["DNS_FAULTS"]

DNS_FAULTS: tuple[Fault, ...] = tuple(
    value for module in (data, rcode, way, message) for value in vars(module).values() if isinstance(value, Fault)
)
