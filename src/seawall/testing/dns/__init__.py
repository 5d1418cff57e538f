"""
A DNS server on loopback, over UDP and TCP, that answers as a zone in Python says, or the labels of the name itself.

`DNS_FAULTS` lists the faults: each can be a label of a name, ``u1.delay-300.ttl-2.test``, or a word of `Name.faults`.
"""

from .fault import BadFault, Fault
from .faults import DNS_FAULTS
from .query import Query
from .server import DNSServer
from .zone import Name

__all__ = ["DNS_FAULTS", "BadFault", "DNSServer", "Fault", "Name", "Query"]
