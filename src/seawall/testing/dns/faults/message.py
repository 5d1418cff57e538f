"""Answers that a resolver must not believe, or can't parse."""

from __future__ import annotations

import random
from dataclasses import replace

from ..fault import fault
from ..plan import Ask, Plan

__all__ = ["badid", "badq", "case", "cut", "garbage", "short", "spoof"]

FORGED = "127.0.0.66"  # a resolver that believes a forgery returns this


@fault("Another id than the query's, so it must be ignored (RFC 5452 §9.1)")
def badid(plan: Plan, _: Ask) -> Plan:
    """An answer to another client."""

    def badid(wire: bytes) -> bytes:
        return bytes([wire[0] ^ 0xFF]) + wire[1:]

    return replace(plan, twists=(*plan.twists, badid))


@fault("A name with another first letter than the query's, so it must be ignored (RFC 5452 §9.1)")
def badq(plan: Plan, _: Ask) -> Plan:
    """An answer to another question."""

    def badq(wire: bytes) -> bytes:
        return wire[:13] + (b"y" if wire[13:14] == b"x" else b"x") + wire[14:]

    return replace(plan, twists=(*plan.twists, badq))


@fault("The question comes back with its letters in the other case")
def case(plan: Plan, _: Ask) -> Plan:
    """A server that doesn't keep the case of names, on which 0x20 encoding relies."""

    def case(wire: bytes) -> bytes:
        end = wire.index(0, 12)
        return wire[:12] + wire[12:end].swapcase() + wire[end:]  # lengths are below 64, so they are not letters

    return replace(plan, twists=(*plan.twists, case))


@fault("The query's id, the mark of an answer, and 62 random bytes")
def garbage(plan: Plan, _: Ask) -> Plan:
    """A broken server, or something that isn't DNS."""

    def garbage(wire: bytes) -> bytes:
        noise = random.Random(wire).randbytes(62)
        return wire[:2] + bytes([noise[0] | 0x80]) + noise[1:]

    return replace(plan, twists=(*plan.twists, garbage))


@fault("7 bytes of 12")
def short(plan: Plan, _: Ask) -> Plan:
    """A datagram cut inside its header."""

    def short(wire: bytes) -> bytes:
        return wire[:7]

    return replace(plan, twists=(*plan.twists, short))


@fault("All but the last 3 bytes")
def cut(plan: Plan, _: Ask) -> Plan:
    """A datagram cut inside a record."""

    def cut(wire: bytes) -> bytes:
        return wire[:-3]

    return replace(plan, twists=(*plan.twists, cut))


@fault("Over UDP two answers with 127.0.0.66, one with another id, one to another question; then the true one")
def spoof(plan: Plan, ask: Ask) -> Plan:
    """An attacker who is faster than the resolver."""
    forged = replace(plan, records=(FORGED,)) if ask.kind == "A" else plan
    return replace(plan, first=(badid.apply(forged, ask), badq.apply(forged, ask)))
