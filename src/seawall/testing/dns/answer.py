"""Parse queries, and build the bytes of a planned answer. Pure."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from .plan import Plan, Transport

__all__ = ["messages", "parsed", "without_records"]

HEADER = 12  # bytes; RFC 1035 §4.1.1
MAX_UDP_PLAIN = 512  # bytes; RFC 1035 §4.2.1
MAX_UDP = 1232  # bytes; DNS flag day 2020
MAX_TCP = 65535  # bytes; RFC 1035 §4.2.2


def parsed(data: bytes) -> dns.message.Message | dns.rcode.Rcode:
    """The query in *data*, or the code of its fault."""
    if len(data) >= HEADER and data[2] >> 3 & 15:
        return dns.rcode.NOTIMP
    try:
        query = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        return dns.rcode.FORMERR
    if data[2] & 0x80 or len(query.question) != 1:
        return dns.rcode.FORMERR
    if query.question[0].rdclass != dns.rdataclass.IN:
        return dns.rcode.REFUSED
    return query


def messages(query: dns.message.Message, plan: Plan, transport: Transport) -> tuple[bytes, ...]:
    """All messages that answer *query*, in order."""
    if plan.on(transport) not in ("answer", "truncated"):
        return ()
    first = [_bytes(query, forgery, transport) for forgery in plan.first] if transport == "udp" else []
    return (*first, _bytes(query, plan, transport))


def without_records(data: bytes, rcode: dns.rcode.Rcode) -> bytes | None:
    """An answer to bytes that are not a valid query; None if they have no header or are an answer themselves."""
    if len(data) < HEADER or data[2] & 0x80:
        return None
    return data[:2] + bytes((0x80 | data[2] & 0x79, 0x80 | rcode)) + bytes(8)  # QR; opcode and RD as they were; RA


def _bytes(query: dns.message.Message, plan: Plan, transport: Transport) -> bytes:
    reply = dns.message.make_response(query, recursion_available=True, our_payload=MAX_UDP)
    reply.set_rcode(dns.rcode.from_text(plan.rcode))
    if not plan.is_edns:
        reply.use_edns(False)
    if plan.on(transport) == "truncated":
        reply.flags |= dns.flags.TC
    elif plan.rcode in ("NOERROR", "NXDOMAIN"):
        _fill(reply, plan)
    size = MAX_TCP if transport == "tcp" else MAX_UDP_PLAIN if query.edns < 0 else _payload(query)
    wire = reply.to_wire(max_size=size, prefer_truncation=True)
    for twist in plan.twists:
        wire = twist(wire)
    return wire


def _payload(query: dns.message.Message) -> int:
    return min(max(query.payload, MAX_UDP_PLAIN), MAX_UDP)  # below 512 means 512: RFC 6891 §6.2.5


def _fill(reply: dns.message.Message, plan: Plan) -> None:
    question = reply.question[0]
    owner = question.name
    for alias in plan.chain:
        target = dns.name.from_text(alias.target)
        reply.answer.append(dns.rrset.from_text(owner, alias.ttl, "IN", "CNAME", target.to_text()))
        owner = target
        if question.rdtype == dns.rdatatype.CNAME:
            return
    records = plan.records if plan.rcode == "NOERROR" else ()
    for record in records:  # a set of its own for each, because dnspython shuffles the records of a set
        reply.answer.append(dns.rrset.from_text(owner, plan.ttl, "IN", question.rdtype, record))
    if not records and not _is_circle(plan, question.name):
        zone = dns.name.Name(owner.labels[-2:])
        # its minimum is the negative TTL: RFC 2308 §4
        soa = f"ns.invalid. hostmaster.invalid. 1 3600 600 86400 {plan.ttl}"
        reply.authority.append(dns.rrset.from_text(zone, plan.ttl, "IN", "SOA", soa))


def _is_circle(plan: Plan, name: dns.name.Name) -> bool:
    """Whether the aliases come back to one of themselves, so that they have no end."""
    targets = [name, *(dns.name.from_text(alias.target) for alias in plan.chain)]
    return len(set(targets)) < len(targets)
