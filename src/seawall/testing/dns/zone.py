"""
The answer to a query: a pure function of the zone and the query.

Rules: an alias has what its target has, failures and delays too, and all aliases are in the answer. Where the target
doesn't exist, the answer is NXDOMAIN (RFC 6604 §3). A circle of aliases is cut where it closes.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import dns.exception
import dns.name
import dns.rcode

from .label import parse
from .plan import Alias, Ask, Plan

__all__ = ["Name", "decide", "domain"]

MAX_TTL = 2**31 - 1  # s; RFC 2181 §8
RCODES = tuple(code.name for code in dns.rcode.Rcode if code < 16)  # higher codes need EDNS
MAX_STRING = 255  # bytes in one string of a TXT record; RFC 1035 §3.3


@dataclass(slots=True, kw_only=True)
class Name:
    """
    The answer for one name. It may change while the server runs; every value is checked when it is set.

    Attributes:
        a, aaaa: Addresses. A name with neither is NODATA.
        cname: Another name of this server, whose records follow in the same answer.
        srv: ``(priority, weight, port, target)``, RFC 2782.
        txt: Texts, one for each record.
        ttl, delay: In seconds.
        delay_a, delay_aaaa: Additional delay for queries of that type, in seconds.
        rcode: NXDOMAIN, SERVFAIL, REFUSED, ...
        drop: How many queries get no answer; -1 drops all.
        faults: From `DNS_FAULTS`, separated by commas: ``"tc,delay-300"``.

    Raises:
        ValueError, TypeError: A value is not valid.
    """

    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()
    cname: str = ""
    srv: tuple[tuple[int, int, int, str], ...] = ()
    txt: tuple[str, ...] = ()
    ttl: int = 60
    delay: float = 0.0
    delay_a: float = 0.0
    delay_aaaa: float = 0.0
    rcode: str = "NOERROR"
    drop: int = 0
    faults: str = ""

    def __setattr__(self, setting: str, value: Any) -> None:
        object.__setattr__(self, setting, CHECKS[setting](setting, value) if setting in CHECKS else value)

    def records(self, kind: str) -> tuple[str, ...]:
        """The records of a type, as in a zone file."""
        match kind:
            case "A":
                return self.a
            case "AAAA":
                return self.aaaa
            case "SRV":
                records = ((*numbers, target.rstrip(".")) for *numbers, target in self.srv)  # "." is the root
                return tuple(f"{priority} {weight} {port} {target}." for priority, weight, port, target in records)
            case "TXT":
                return tuple(_quoted(text) for text in self.txt)
            case _:
                return ()


def decide(entry: Name | None, ask: Ask, find: Callable[[str], Name | None], *, ttl: int) -> Plan:
    """
    The plan for *ask*, whose name has *entry*; *find* returns other entries, and *ttl* is for names that don't exist.

    Raises:
        BadFault: From *find*.
    """
    return _decide(entry, ask, find, ttl, frozenset((ask.name,)))


def _decide(entry: Name | None, ask: Ask, find: Callable[[str], Name | None], ttl: int, seen: frozenset[str]) -> Plan:
    if entry is None:
        return Plan(rcode="NXDOMAIN", ttl=ttl)
    if not entry.cname:
        plan = Plan(records=entry.records(ask.kind), ttl=entry.ttl)
    elif entry.cname in seen:
        plan = Plan(ttl=entry.ttl)
    else:
        target = replace(ask, name=entry.cname)
        plan = _decide(find(entry.cname), target, find, ttl, seen | {entry.cname})
    if entry.cname:
        plan = replace(plan, chain=(Alias(entry.cname, entry.ttl), *plan.chain))
    own = {"A": entry.delay_a, "AAAA": entry.delay_aaaa}.get(ask.kind, 0.0)
    plan = replace(
        plan,
        rcode=plan.rcode if entry.rcode == "NOERROR" else entry.rcode,
        delay=plan.delay + entry.delay + own,
    )
    for fault, argument in parse(tuple(entry.faults.split(",")) if entry.faults else ()):
        plan = fault.on(plan, ask, argument)
    return plan


def domain(setting: str, value: Any) -> str:
    """The name in lower case, without the final dot; raises ValueError if it is not valid (RFC 1035 §2.3.4)."""
    try:
        return dns.name.from_text(value).to_text(omit_final_dot=True).lower()
    except (dns.exception.DNSException, AttributeError, TypeError, UnicodeError) as error:
        raise ValueError(f"{setting} must be a domain name, not {value!r}: {error}") from error


def _quoted(text: str) -> str:
    data = text.encode()
    pieces = [data[start : start + MAX_STRING] for start in range(0, len(data), MAX_STRING)] or [b""]
    return " ".join('"' + "".join(f"\\{byte:03d}" for byte in piece) + '"' for piece in pieces)


def _series(setting: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"{setting} must be a tuple, not {value!r}; write {setting}=({value!r},)")
    return tuple(value)


def _addresses(setting: str, value: Any) -> tuple[str, ...]:
    version = 4 if setting == "a" else 6
    series = _series(setting, value)
    for each in series:
        try:
            is_good = isinstance(each, str) and "%" not in each and ipaddress.ip_address(each).version == version
        except ValueError:
            is_good = False
        if not is_good:
            raise ValueError(f"{setting} must have IPv{version} addresses, not {each!r}")
    return series


def _services(setting: str, value: Any) -> tuple[tuple[int, int, int, str], ...]:
    services = []
    for each in _series(setting, value):
        if not isinstance(each, tuple) or len(each) != 4 or not all(_is_whole(n, 0, 65535) for n in each[:3]):
            raise ValueError(
                f"{setting} must have (priority, weight, port, target), the first three 0 to 65535, not {each!r}"
            )
        services.append((*each[:3], domain(setting, each[3])))
    return tuple(services)


def _texts(setting: str, value: Any) -> tuple[str, ...]:
    series = _series(setting, value)
    if not all(isinstance(each, str) for each in series):
        raise TypeError(f"{setting} must have strings, not {series!r}")
    return series


def _alias(setting: str, value: Any) -> str:
    return domain(setting, value) if value else ""


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and low <= value <= high


def _ttl(setting: str, value: Any) -> int:
    if not _is_whole(value, 0, MAX_TTL):
        raise ValueError(f"{setting} must be a whole number of seconds from 0 to {MAX_TTL}, not {value!r}")
    return int(value)


def _drop(setting: str, value: Any) -> int:
    if not isinstance(value, int) or value < -1:
        raise ValueError(f"{setting} must be a number of queries, or -1 for all, not {value!r}")
    return value


def _delay(setting: str, value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{setting} must be seconds, 0 or more, not {value!r}")
    return value


def _rcode(setting: str, value: Any) -> str:
    if value not in RCODES:
        near = difflib.get_close_matches(str(value).upper(), RCODES, n=1)
        raise ValueError(f"{setting} must be one of {', '.join(near or RCODES)}, not {value!r}")
    return str(value)


def _faults(setting: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{setting} must be a string such as 'tc,delay-300', not {value!r}")
    words = [word.strip() for word in value.split(",")] if value else []
    parse(tuple(words))
    return ",".join(words)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "a": _addresses,
    "aaaa": _addresses,
    "cname": _alias,
    "srv": _services,
    "txt": _texts,
    "ttl": _ttl,
    "delay": _delay,
    "delay_a": _delay,
    "delay_aaaa": _delay,
    "rcode": _rcode,
    "drop": _drop,
    "faults": _faults,
}
