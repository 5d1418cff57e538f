"""Which addresses, which aliases, and for how long."""

from __future__ import annotations

from dataclasses import replace

from ..fault import fault
from ..plan import Alias, Ask, Plan

__all__ = [
    "badv6",
    "cname",
    "cnamedangling",
    "cnameloop",
    "cnamettl",
    "deadfirst",
    "flip",
    "many",
    "nodata",
    "ok",
    "rotate",
    "ttl",
    "unreachable",
    "v6",
    "v6only",
]

DEAD_A = "127.0.0.3"  # nothing listens there: RST at once
DEAD_AAAA = f"::ffff:{DEAD_A}"  # the same through IPv6, because any other dead address might leave this machine
MAX_TTL = 2**31 - 1  # s; RFC 2181 §8
MAX_SECONDS = 86400


@fault("The address")
def ok(plan: Plan, _: Ask) -> Plan:
    """Nothing is wrong, for comparison."""
    return plan


@fault("127.0.1.1, 127.0.1.2, ...; truncated over UDP where they don't fit", 1, 1000)
def many(plan: Plan, ask: Ask, n: int) -> Plan:
    """A pool of n addresses; more than some 30 (75 with EDNS) don't fit in a datagram."""
    return _addresses(plan, ask, *(f"127.0.{1 + i // 250}.{1 + i % 250}" for i in range(n)))


@fault("127.0.0.1 to 127.0.0.n, beginning with the next one each time", 1, 250)
def rotate(plan: Plan, ask: Ask, n: int) -> Plan:
    """Round robin: the order of n addresses changes with each query."""
    return _addresses(plan, ask, *(f"127.0.0.{1 + (ask.count + i) % n}" for i in range(n)))


@fault("127.0.0.1, then 127.0.0.2", 0, MAX_SECONDS)
def flip(plan: Plan, ask: Ask, s: float) -> Plan:
    """A service that moves s seconds after its name was first asked for."""
    return _addresses(plan, ask, "127.0.0.1" if ask.age < s else "127.0.0.2")


@fault("127.0.0.3, where nothing listens, and then the good ones")
def deadfirst(plan: Plan, ask: Ask) -> Plan:
    """Nothing listens on the first address."""
    return _addresses(plan, ask, DEAD_A, *plan.records)


@fault("255.255.255.255, to which connect() fails with ENETUNREACH without a packet")
def unreachable(plan: Plan, ask: Ask) -> Plan:
    """No route to the host."""
    return _addresses(plan, ask, "255.255.255.255")


@fault("AAAA is ::1")
def v6(plan: Plan, ask: Ask) -> Plan:
    """A host with IPv6."""
    return replace(plan, records=("::1",)) if ask.kind == "AAAA" else plan


@fault("AAAA is ::1, A is NODATA")
def v6only(plan: Plan, ask: Ask) -> Plan:
    """A host with nothing but IPv6."""
    return _addresses(v6.apply(plan, ask), ask)


@fault("AAAA is ::ffff:127.0.0.3, where nothing listens; A is good")
def badv6(plan: Plan, ask: Ask) -> Plan:
    """A host whose IPv6 is broken."""
    return replace(plan, records=(DEAD_AAAA,)) if ask.kind == "AAAA" else plan


@fault("NOERROR, no records, an SOA (RFC 2308 §2.2)")
def nodata(plan: Plan, _: Ask) -> Plan:
    """The name exists without an address."""
    return replace(plan, records=())


@fault("n CNAMEs before the address", 1, 100)
def cname(plan: Plan, _: Ask, n: int) -> Plan:
    """An alias of an alias, n times."""
    hops = tuple(Alias(f"hop{i}.ok.test", plan.ttl) for i in range(1, n + 1))
    return replace(plan, chain=(*hops, *plan.chain))


@fault("Two CNAMEs in a circle, no address")
def cnameloop(plan: Plan, ask: Ask) -> Plan:
    """Two names that are aliases of each other."""
    loop = (Alias("loop.cnameloop.test", plan.ttl), Alias(ask.name, plan.ttl))
    return replace(plan, chain=loop, records=())


@fault("A CNAME and NXDOMAIN (RFC 6604 §3)")
def cnamedangling(plan: Plan, _: Ask) -> Plan:
    """An alias whose target was deleted."""
    return replace(plan, chain=(Alias("gone.nx.test", plan.ttl),), records=(), rcode="NXDOMAIN")


@fault("This TTL in every record", 0, MAX_TTL)
def ttl(plan: Plan, _: Ask, s: int) -> Plan:
    """Records that live briefly, long, or (0) must not be cached."""
    return replace(plan, ttl=s, chain=tuple(Alias(alias.target, s) for alias in plan.chain))


@fault("This TTL in the CNAMEs only", 0, MAX_TTL)
def cnamettl(plan: Plan, _: Ask, s: int) -> Plan:
    """Aliases that live shorter or longer than addresses."""
    return replace(plan, chain=tuple(Alias(alias.target, s) for alias in plan.chain))


def _addresses(plan: Plan, ask: Ask, *addresses: str) -> Plan:
    return replace(plan, records=addresses) if ask.kind == "A" else plan
