"""
A DNS server on loopback, over UDP and TCP, that answers as a zone in Python or the asked name itself says.

`DNS_FAULTS` lists what can go wrong: each is a label of the name, ``u1.delay-300.ttl-2.test``, and `Name.faults`.
"""

from .fault import BadFault, Fault
from .faults import DNS_FAULTS
from .query import Query
from .server import DNSServer
from .zone import Name

__all__ = ["DNS_FAULTS", "BadFault", "DNSServer", "Fault", "Name", "Query"]
