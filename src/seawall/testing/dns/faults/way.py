"""Whether an answer comes, when, and over which transport."""

from __future__ import annotations

from dataclasses import replace

from ..fault import fault
from ..plan import Ask, Plan

__all__ = [
    "dead",
    "delay",
    "delaya",
    "delayaaaa",
    "drop",
    "dropfirst",
    "droppct",
    "tc",
    "tcdrop",
    "tcponly",
    "tcrefuse",
]

MAX_SECONDS = 86400


@fault("The answer after ms milliseconds; several delays add up", 0, MAX_SECONDS * 1000)
def delay(plan: Plan, _: Ask, ms: int) -> Plan:
    """A slow resolver."""
    return replace(plan, delay=plan.delay + ms / 1000)


@fault("The answer for A after ms milliseconds", 0, MAX_SECONDS * 1000)
def delaya(plan: Plan, ask: Ask, ms: int) -> Plan:
    """A resolver that is slow for IPv4."""
    return delay.apply(plan, ask, ms) if ask.kind == "A" else plan


@fault("The answer for AAAA after ms milliseconds", 0, MAX_SECONDS * 1000)
def delayaaaa(plan: Plan, ask: Ask, ms: int) -> Plan:
    """A resolver that is slow for IPv6, typically because of a middlebox that mishandles AAAA."""
    return delay.apply(plan, ask, ms) if ask.kind == "AAAA" else plan


@fault("Truncated over UDP, whole over TCP")
def tc(plan: Plan, _: Ask) -> Plan:
    """An answer too large for a datagram."""
    return replace(plan, udp="truncated")


@fault("Truncated over UDP; TCP accepts and never answers")
def tcdrop(plan: Plan, _: Ask) -> Plan:
    """A firewall that passes DNS over UDP only."""
    return replace(plan, udp="truncated", tcp="silence")


@fault("Truncated over UDP; RST over TCP after the query")
def tcrefuse(plan: Plan, _: Ask) -> Plan:
    """A server that doesn't speak TCP."""
    return replace(plan, udp="truncated", tcp="reset")


@fault("Silence over UDP, the address over TCP")
def tcponly(plan: Plan, _: Ask) -> Plan:
    """A network that loses UDP."""
    return replace(plan, udp="silence")


@fault("Silence")
def drop(plan: Plan, _: Ask) -> Plan:
    """A dead resolver, or a firewall."""
    return replace(plan, udp="silence", tcp="silence")


@fault("Silence to the first n queries of each type, then the address", 1, 10**6)
def dropfirst(plan: Plan, ask: Ask, n: int) -> Plan:
    """Lost datagrams."""
    return drop.apply(plan, ask) if ask.count < n else plan


@fault("Silence to n % of the queries, drawn from `DNSServer.rng`", 0, 100)
def droppct(plan: Plan, ask: Ask, n: int) -> Plan:
    """A lossy network."""
    return drop.apply(plan, ask) if ask.luck * 100 < n else plan


@fault("Silence for s seconds after the first query, then the address", 0, MAX_SECONDS)
def dead(plan: Plan, ask: Ask, s: float) -> Plan:
    """An outage that ends."""
    return drop.apply(plan, ask) if ask.age < s else plan
