"""
Differences from getaddrinfo that are intended or unavoidable; docs/reference/names.md has their reasons.

A difference is excused only if glibc itself has seawall's outcome once its cause is removed from the machine. So a bug
is not mistaken for a named difference, even on a machine that has both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations

from .machine import Behaviour, Machine, Record
from .outcome import Difference

__all__ = ["NAMED", "RESOLVERS", "Named", "excuses"]

RESOLVERS = ("default", "cares", "system")
FAILURES = ("SERVFAIL", "REFUSED", "NOTIMP", "FORMERR")
LOOPBACK = ("127.0.0.1", "::1")
HOSTS_LINE = re.compile(r"(?m)^hosts:(.*)$")
ACTION = r"\[!?(?:NOTFOUND|UNAVAIL|TRYAGAIN|SUCCESS)=(?:return|continue)\]"
PARSED = re.compile(rf"(?i)\s*(?:[^\s\[]+\s*(?:{ACTION})?\s*)+")
OTHER_SERVICE = re.compile(rf"(?i)\s(?!(?:files|dns)(?:\s|$))[^\s\[]+(?:\s*{ACTION})?")


@dataclass(frozen=True, slots=True)
class Named:
    """
    Attributes:
        title: As in the docs.
        without: The machine without the cause; the same machine if it doesn't have it.
        resolvers: The resolvers of seawall that differ.
    """

    title: str
    without: Callable[[Machine], Machine]
    resolvers: tuple[str, ...] = ("default", "cares")


def excuses(found: Difference) -> Iterator[tuple[str, Machine]]:
    """Possible names of a difference, each with the machine on which glibc must then have seawall's outcome."""
    there = [
        each for each in NAMED if found.resolver in each.resolvers and each.without(found.machine) != found.machine
    ]
    for number in range(1, len(there) + 1):
        for several in combinations(there, number):
            machine = reduce(lambda machine, each: each.without(machine), several, found.machine)
            yield " + ".join(each.title for each in several), machine


def _with_localhost(machine: Machine) -> Machine:
    if _last_label(machine) != "localhost":
        return machine
    lines = "".join(f"{address} {machine.name}\n" for address in LOOPBACK)
    return replace(machine, hosts=lines.encode(), host_conf="multi on\n", nsswitch_conf="hosts: files\n")


def _with_no_special_name(machine: Machine) -> Machine:
    if _last_label(machine) not in ("invalid", "onion"):
        return machine
    return _without_services(machine)


def _without_services(machine: Machine) -> Machine:
    """The machine with only the hosts file, if it uses that now."""
    is_asked = "files" in (machine.nsswitch_conf or "hosts: files").split()
    return replace(machine, nsswitch_conf="hosts: files\n", hosts=machine.hosts if is_asked else b"")


def _last_label(machine: Machine) -> str:
    return machine.name.lower().removesuffix(".").split(".")[-1]


def _instead(machine: Machine, old: Behaviour, new: Behaviour) -> Machine:
    return replace(machine, servers=tuple(new if each == old else each for each in machine.servers))


def _without_lame_servers(machine: Machine) -> Machine:
    return _instead(machine, "lame", "empty")


def _without_formerr(machine: Machine) -> Machine:
    def changed(record: Record) -> Record:
        codes = ["SERVFAIL" if code == "FORMERR" else code for code in (record.rcode_a, record.rcode_aaaa)]
        return replace(record, rcode_a=codes[0], rcode_aaaa=codes[1])

    zone = {name: changed(record) for name, record in machine.zone.items()}
    return replace(_instead(machine, "formerr", "servfail"), zone=zone)


def _without_single_request(machine: Machine) -> Machine:
    if machine.resolv_conf is None:
        return machine
    return replace(machine, resolv_conf=re.sub(r" single-request(-reopen)?\b", "", machine.resolv_conf))


def _with_a_name_that_is_known_not_to_be(machine: Machine) -> Machine:
    name = machine.name.removesuffix(".")
    if len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split(".")):
        return machine
    return replace(machine, nsswitch_conf="hosts: files\n")


def _with_files_and_dns(machine: Machine) -> Machine:
    """Without other services, and with these two where there is nothing else, or nothing that glibc understands."""
    conf = machine.nsswitch_conf
    if conf is None or not (lines := HOSTS_LINE.findall(conf)):
        return machine
    line = lines[-1]
    if not PARSED.fullmatch(line):
        return replace(machine, nsswitch_conf="hosts: files dns\n")
    left = OTHER_SERVICE.sub("", line).strip()
    return replace(machine, nsswitch_conf=f"hosts: {left}\n") if left else _without_services(machine)


def _with_both_families_failing(machine: Machine) -> Machine:
    """Where one family fails and the other has nothing, both fail."""

    def changed(record: Record) -> Record:
        a, aaaa = record.rcode_a, record.rcode_aaaa
        if a in FAILURES and aaaa not in FAILURES and not record.aaaa:
            return replace(record, rcode_aaaa=a)
        if aaaa in FAILURES and a not in FAILURES and not record.a:
            return replace(record, rcode_a=aaaa)
        return record

    return replace(machine, zone={name: changed(record) for name, record in machine.zone.items()})


def _with_dns_last(machine: Machine) -> Machine:
    if machine.nsswitch_conf is None:
        return machine
    return replace(machine, nsswitch_conf=re.sub(r"\bdns\b.* files\b", "files dns", machine.nsswitch_conf))


def _without_tcp(machine: Machine) -> Machine:
    if machine.resolv_conf is None:
        return machine
    return replace(machine, resolv_conf=re.sub(r" use-vc\b", "", machine.resolv_conf))


NAMED = (
    Named("localhost is always loopback", _with_localhost),
    Named("invalid and onion are never asked of DNS", _with_no_special_name),
    Named("FORMERR is a failure, as SERVFAIL is", _without_formerr),
    Named("a referral is an answer without addresses", _without_lame_servers),
    Named("both families are asked for at once", _without_single_request),
    Named("a name that can't be one is never looked up", _with_a_name_that_is_known_not_to_be, RESOLVERS),
    Named("the resolver cares knows files and DNS only", _with_files_and_dns, ("cares",)),
    Named("a service that is not installed finds nothing", _with_files_and_dns, ("default",)),
    Named("a family that fails may have addresses", _with_both_families_failing),
    Named("what DNS said is told, though files were asked after it", _with_dns_last),
    Named("the next server is asked over TCP too", _without_tcp),
)
