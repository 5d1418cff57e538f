"""Answers that report a failure, or that the name doesn't exist."""

from __future__ import annotations

from dataclasses import replace

from ..fault import fault
from ..plan import Ask, Plan

__all__ = ["failfirst", "formerr", "noedns", "notimp", "nx", "refused", "servfail"]


@fault("NXDOMAIN and an SOA (RFC 2308 §2.1)")
def nx(plan: Plan, _: Ask) -> Plan:
    """The name doesn't exist."""
    return replace(plan, rcode="NXDOMAIN")


@fault("SERVFAIL")
def servfail(plan: Plan, _: Ask) -> Plan:
    """A failure of the resolver: a broken zone, bad DNSSEC, no reachable authority."""
    return replace(plan, rcode="SERVFAIL")


@fault("REFUSED")
def refused(plan: Plan, _: Ask) -> Plan:
    """A server that doesn't serve us."""
    return replace(plan, rcode="REFUSED")


@fault("FORMERR")
def formerr(plan: Plan, _: Ask) -> Plan:
    """A server that doesn't understand the query."""
    return replace(plan, rcode="FORMERR")


@fault("NOTIMP")
def notimp(plan: Plan, _: Ask) -> Plan:
    """A server that doesn't support the query."""
    return replace(plan, rcode="NOTIMP")


@fault("FORMERR to a query with an OPT record, else the address (RFC 6891 §7)")
def noedns(plan: Plan, ask: Ask) -> Plan:
    """A server older than EDNS."""
    return replace(plan, rcode="FORMERR", is_edns=False) if ask.is_edns else plan


@fault("SERVFAIL to the first n queries of each type, then the address", 1, 10**6)
def failfirst(plan: Plan, ask: Ask, n: int) -> Plan:
    """A temporary failure."""
    return replace(plan, rcode="SERVFAIL") if ask.count < n else plan
