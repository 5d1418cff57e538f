"""Every fault of the DNS server, as a client on a raw socket sees it."""

from __future__ import annotations

import errno
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import pytest

from seawall.testing.dns import DNS_FAULTS, DNSServer, Name

from .dns_client import BOUND, Line, ask, line, query, records


@pytest.fixture
def server() -> Iterator[DNSServer]:
    with DNSServer() as server:
        yield server


@pytest.fixture
def udp(server: DNSServer) -> Iterator[Line]:
    with line(server) as peer:
        yield peer


@pytest.fixture
def tcp(server: DNSServer) -> Iterator[Line]:
    with line(server, "tcp") as peer:
        yield peer


def test_every_fault_is_tested_here():
    """Each name of the table stands in this file as a label."""
    source = Path(__file__).read_text()
    assert [fault.name for fault in DNS_FAULTS if not re.search(rf'[".]{fault.name}(-\w+)?\.', source)] == []


def test_table_says_what_each_fault_is():
    """One line on what is simulated and one on what is seen, a name without a hyphen, and its unit in the form."""
    for fault in DNS_FAULTS:
        assert fault.does.endswith(".")
        assert fault.sees
        assert "\n" not in fault.does + fault.sees
        assert fault.name.isalnum()
        assert fault.form in (fault.name, f"{fault.name}-N", f"{fault.name}-MS", f"{fault.name}-S")
        assert (fault.form != fault.name) == fault.has_argument
    assert len({fault.name for fault in DNS_FAULTS}) == len(DNS_FAULTS)


@pytest.mark.parametrize(
    ("name", "a", "aaaa"),
    [
        ("u.ok.test", ["A 127.0.0.1"], []),
        ("u.many-3.test", ["A 127.0.1.1", "A 127.0.1.2", "A 127.0.1.3"], []),
        ("u.deadfirst.test", ["A 127.0.0.3", "A 127.0.0.1"], []),
        ("u.unreachable.test", ["A 255.255.255.255"], []),
        ("u.v6.test", ["A 127.0.0.1"], ["AAAA ::1"]),
        ("u.v6only.test", [], ["AAAA ::1"]),
        ("u.badv6.test", ["A 127.0.0.1"], ["AAAA ::ffff:127.0.0.3"]),
        ("u.nodata.test", [], []),
        ("u.nodata.v6.test", [], []),
        (
            "u.cname-2.test",
            ["CNAME hop1.ok.test.", "CNAME hop2.ok.test.", "A 127.0.0.1"],
            ["CNAME hop1.ok.test.", "CNAME hop2.ok.test."],
        ),
        ("hop2.ok.test", ["A 127.0.0.1"], []),
        (
            "u.cnameloop.test",
            ["CNAME loop.cnameloop.test.", "CNAME u.cnameloop.test."],
            ["CNAME loop.cnameloop.test.", "CNAME u.cnameloop.test."],
        ),
    ],
)
def test_data(udp: Line, name: str, a: list[str], aaaa: list[str]):
    """NOERROR, with these records for A and AAAA."""
    for kind, expected in (("A", a), ("AAAA", aaaa)):
        reply = udp.ask(query(name, kind))
        assert (reply.rcode(), records(reply)) == (dns.rcode.NOERROR, expected)


@pytest.mark.parametrize(
    "name", ["unknown.test", "u.nx.test", "u.nodata.test", "u.cnamedangling.test", "u.v6only.test"]
)
def test_denial_says_for_how_long(udp: Line, name: str):
    """NXDOMAIN and NODATA have an SOA, whose TTL and minimum are the negative TTL (RFC 2308)."""
    ttl = 60 if name == "unknown.test" else 7
    reply = udp.ask(query(name if ttl == 60 else name.replace("u.", "u.ttl-7.")))
    is_there = "nodata" in name or "v6only" in name
    assert reply.rcode() == (dns.rcode.NOERROR if is_there else dns.rcode.NXDOMAIN)
    (soa,) = reply.authority
    assert soa.ttl == soa[0].minimum == ttl
    assert records(reply) == (["CNAME gone.nx.test."] if "dangling" in name else [])


@pytest.mark.parametrize("label", ["servfail", "refused", "formerr", "notimp"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_rcode(server: DNSServer, label: str, transport: str):
    """The rcode and nothing else; "u.servfail.test", "u.refused.test", "u.formerr.test", "u.notimp.test"."""
    reply = ask(server, f"u.{label}.test", transport=transport)
    assert dns.rcode.to_text(reply.rcode()) == label.upper()
    assert not reply.answer
    assert not reply.authority


def test_ttl(udp: Line):
    """ttl is for aliases and addresses; cnamettl for aliases only; the order of labels is all the same."""

    def ttls(name: str) -> list[int]:
        return [rrset.ttl for rrset in udp.ask(query(name)).answer]

    assert ttls("u.cname-1.test") == [60, 60]
    assert ttls("u.cname-1.ttl-2.test") == ttls("u.ttl-2.cname-1.test") == [2, 2]
    assert ttls("u.cname-1.cnamettl-5.ttl-300.test") == [5, 300]
    assert ttls("u.ttl-0.test") == [0]


def test_rotate(udp: Line):
    """Each query finds the next address first; all are in each answer, and AAAA doesn't count."""
    firsts = []
    for _ in range(4):
        answer = records(udp.ask(query("u.rotate-3.test")))
        udp.ask(query("u.rotate-3.test", "AAAA"))
        assert sorted(answer) == ["A 127.0.0.1", "A 127.0.0.2", "A 127.0.0.3"]
        firsts.append(answer[0][-1])
    assert firsts == ["1", "2", "3", "1"]


def test_flip(udp: Line):
    """The address changes so long after the first query for the name, and not again."""
    started_at = time.monotonic()
    assert records(udp.ask(query("u.flip-150ms.test"))) == ["A 127.0.0.1"]
    while records(udp.ask(query("u.flip-150ms.test"))) != ["A 127.0.0.2"]:
        assert time.monotonic() - started_at < BOUND
        time.sleep(0.005)
    assert time.monotonic() - started_at > 0.14
    assert records(udp.ask(query("u.flip-60.test"))) == ["A 127.0.0.1"]


def test_dead(udp: Line):
    """Silence for so long after the first query, then answers."""
    started_at = time.monotonic()
    while udp.is_unanswered(query("u.dead-150ms.test")):
        assert time.monotonic() - started_at < BOUND
        time.sleep(0.005)
    assert time.monotonic() - started_at > 0.14


def test_first_ones_fail(udp: Line):
    """dropfirst and failfirst count per type, and end."""
    for kind in ("A", "AAAA"):
        assert udp.is_unanswered(query("u.dropfirst-2.test", kind))
        assert udp.is_unanswered(query("u.dropfirst-2.test", kind))
        assert udp.ask(query("u.dropfirst-2.test", kind)).rcode() == dns.rcode.NOERROR
        codes = [udp.ask(query("u.failfirst-2.test", kind)).rcode() for _ in range(3)]
        assert codes == [dns.rcode.SERVFAIL, dns.rcode.SERVFAIL, dns.rcode.NOERROR]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_drop(server: DNSServer, transport: str):
    """Silence, over TCP too, where the connection goes on; "u.drop.test"."""
    with line(server, transport) as peer:
        assert peer.is_unanswered(query("u.drop.test"))
        assert peer.is_unanswered(query("u.drop.test", "AAAA"))


def test_droppct():
    """A share of the queries, the same ones each time; none at 0, all at 100."""
    patterns = []
    for _ in range(2):
        with DNSServer() as server, line(server, "tcp") as peer:  # TCP, for datagrams may overtake each other
            patterns.append([peer.is_unanswered(query("u.droppct-100.test")) for _ in range(20)])
            assert all(patterns[-1])
            assert peer.ask(query("u.droppct-0.test"))
            for _ in range(100):
                patterns[-1].append(peer.is_unanswered(query("u.droppct-30.test")))
                if not patterns[-1][-1]:
                    peer.receive()
    assert patterns[0] == patterns[1]
    assert 15 < sum(patterns[0][20:]) < 45


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("u.delay-80.test", ("A", "AAAA")),
        ("u.delaya-80.test", ("A",)),
        ("u.delayaaaa-80.test", ("AAAA",)),
        ("u.delay-50.delaya-30.test", ("A",)),
    ],
)
def test_delay(udp: Line, name: str, kinds: tuple[str, ...]):
    """The answer comes so much later."""
    for kind in kinds:
        started_at = time.monotonic()
        assert udp.ask(query(name, kind))
        assert time.monotonic() - started_at > 0.075


@pytest.mark.parametrize(("slow", "fast"), [("A", "AAAA"), ("AAAA", "A")])
def test_delay_of_one_type(udp: Line, slow: str, fast: str):
    """It holds up no answer of the other."""
    name = f"u.delay{slow.lower()}-60000.test"
    assert udp.is_unanswered(query(name, slow))
    assert udp.ask(query(name, fast))


@pytest.mark.parametrize("name", ["u.tc.test", "u.tcdrop.test", "u.tcrefuse.test"])
def test_truncated(udp: Line, name: str):
    """TC and no record over UDP."""
    reply = udp.ask(query(name))
    assert reply.flags & dns.flags.TC
    assert not reply.answer


def test_truncated_is_whole_over_tcp(tcp: Line):
    """Without TC, with the address."""
    reply = tcp.ask(query("u.tc.test"))
    assert not reply.flags & dns.flags.TC
    assert records(reply) == ["A 127.0.0.1"]


def test_truncated_and_tcp_dead(server: DNSServer, tcp: Line):
    """tcdrop: the connection stays without an answer; tcrefuse: RST after the query."""
    assert tcp.is_unanswered(query("u.tcdrop.test"))
    with line(server, "tcp") as other, pytest.raises(ConnectionResetError):
        other.ask(query("u.tcrefuse.test"))


def test_tcponly(udp: Line, tcp: Line):
    """UDP is silent, TCP answers."""
    assert udp.is_unanswered(query("u.tcponly.test"))
    assert records(tcp.ask(query("u.tcponly.test"))) == ["A 127.0.0.1"]


@pytest.mark.parametrize(("edns", "fits", "over"), [(-1, 30, 31), (0, 74, 75)])
def test_too_many_addresses_for_a_datagram(server: DNSServer, edns: int, fits: int, over: int):
    """Truncated where the answer exceeds 512 bytes, or 1232 with EDNS; whole over TCP."""
    for count in (fits, over):
        reply = ask(server, f"u.many-{count}.test", edns=edns)
        assert bool(reply.flags & dns.flags.TC) == (count == over)
    assert len(records(ask(server, "u.many-1000.test", transport="tcp"))) == 1000


def raw(udp: Line, name: str) -> tuple[dns.message.Message, bytes]:
    asked = query(name)
    udp.send(asked.to_wire())
    return asked, udp.receive()


def test_wrong_id(udp: Line):
    """All is right but the id."""
    asked, data = raw(udp, "u.badid.test")
    assert data[:2] != asked.to_wire()[:2]
    reply = dns.message.from_wire(data)
    reply.id = asked.id
    assert asked.is_response(reply)
    assert records(reply) == ["A 127.0.0.1"]


def test_wrong_question(udp: Line):
    """All is right but the name, in question and answer."""
    asked, data = raw(udp, "u.badq.test")
    reply = dns.message.from_wire(data)
    assert reply.id == asked.id
    assert not asked.is_response(reply)
    assert reply.question[0].name.to_text() == reply.answer[0].name.to_text() == "x.badq.test."


def test_wrong_case(udp: Line):
    """The letters of the question come back in the other case; without the fault, as they were."""
    for label, expected in (("case", b"\x02aB\x04CASE\x04TEST\0"), ("ok", b"\x02Ab\x02ok\x04test\0")):
        _, data = raw(udp, f"Ab.{label}.test")
        assert data[12 : 12 + len(expected)] == expected
    assert records(udp.ask(query("Ab.case.test"))) == ["A 127.0.0.1"]


def test_garbage(udp: Line):
    """The right id and QR, then noise that no parser takes."""
    asked, data = raw(udp, "u.garbage.test")
    assert data[:2] == asked.to_wire()[:2]
    assert data[2] & 0x80
    assert len(data) == 64
    with pytest.raises((dns.exception.DNSException, ValueError)):
        dns.message.from_wire(data)


def test_short_and_cut(udp: Line):
    """7 bytes of a header; all but 3 of an answer."""
    asked, data = raw(udp, "u.short.test")
    assert len(data) == 7
    assert data[:2] == asked.to_wire()[:2]
    _, whole = raw(udp, "u.okk.ok.test")
    asked, data = raw(udp, "uuuu.cut.test")
    assert len(data) == len(whole) - 3
    with pytest.raises(dns.exception.DNSException):
        dns.message.from_wire(data)


def test_spoof(udp: Line, tcp: Line):
    """Over UDP two forgeries, then the truth; over TCP, where nobody can forge from aside, only the truth."""
    asked = query("u.spoof.test")
    udp.send(asked.to_wire())
    wrong_id, wrong_question, true = (dns.message.from_wire(udp.receive()) for _ in range(3))
    assert wrong_id.id != asked.id
    assert wrong_question.id == asked.id
    assert wrong_question.question[0].name != asked.question[0].name
    assert records(wrong_id) == records(wrong_question) == ["A 127.0.0.66"]
    assert asked.is_response(true)
    assert records(true) == records(tcp.ask(asked)) == ["A 127.0.0.1"]


def test_noedns(server: DNSServer):
    """FORMERR without OPT to a query with it, and the address to one without; other names do have EDNS."""
    reply = ask(server, "u.noedns.test", edns=0)
    assert (reply.rcode(), reply.edns) == (dns.rcode.FORMERR, -1)
    assert records(ask(server, "u.noedns.test")) == ["A 127.0.0.1"]
    assert ask(server, "u.ok.test", edns=0).edns == 0


@pytest.mark.parametrize("labels", ["delay-60.tc.ttl-3", "ttl-3.delay-60.tc", "tc.ttl-3.delay-60"])
def test_combined_in_any_order(udp: Line, tcp: Line, labels: str):
    """Late, truncated, and with this TTL over TCP."""
    started_at = time.monotonic()
    assert udp.ask(query(f"a.b.{labels}.test")).flags & dns.flags.TC
    assert time.monotonic() - started_at > 0.055
    reply = tcp.ask(query(f"a.b.{labels}.test"))
    assert [(rrset.ttl, rrset[0].to_text()) for rrset in reply.answer] == [(3, "127.0.0.1")]


def test_of_a_zone_as_in_a_name(server: DNSServer):
    """`Name.faults` are the same faults, on that name's own data."""
    server.zone["api.example"] = Name(a=("127.0.0.9",), faults="deadfirst, ttl-4 ,cname-1")
    reply = ask(server, "api.example")
    assert records(reply) == ["CNAME hop1.ok.test.", "A 127.0.0.3", "A 127.0.0.9"]
    assert {rrset.ttl for rrset in reply.answer} == {4}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("u.ttl-x.test", "ttl-S takes a whole number from 0 to 2147483647, not 'x'"),
        ("u.ttl.test", "ttl-S takes a whole number"),
        ("u.ttl--1.test", "ttl-S takes a whole number"),
        ("u.droppct-101.test", "droppct-N takes a whole number from 0 to 100, not '101'"),
        ("u.dead-2s.test", "dead-S takes a whole number (or milliseconds: 300ms)"),
        ("u.nx-3.test", "nx takes no argument, not '3'"),
        ("deley-300.test", "unknown fault 'deley'; near: delay-MS"),
        ("u.ttl-1.serfail.test", "unknown fault 'serfail'; near: servfail"),
    ],
)
def test_mistakes(server: DNSServer, udp: Line, name: str, complaint: str):
    """SERVFAIL, and one line that says what is wrong, however often it is asked."""
    for _ in range(2):
        reply = udp.ask(query(name))
        assert (reply.rcode(), reply.answer) == (dns.rcode.SERVFAIL, [])
    (line,) = server.complaints
    assert line.startswith(f"{name}: ")
    assert complaint in line


@pytest.mark.parametrize("name", ["two-addresses.test", "delays.test", "n1.test", "test", "u.ttl-x.example", "."])
def test_what_is_no_fault(server: DNSServer, udp: Line, name: str):
    """Names without faults, or elsewhere, don't exist, and that is no mistake."""
    assert udp.ask(query(name)).rcode() == dns.rcode.NXDOMAIN
    assert not server.complaints


def test_suffix_and_base():
    """Where faults are looked for, and what a name has without them, are settings."""
    with DNSServer(suffix="Faults.Example.", base=Name(a=("127.0.0.5",), aaaa=("::1",), ttl=9)) as server:
        assert records(ask(server, "u.ttl-1.faults.example")) == ["A 127.0.0.5"]
        assert records(ask(server, "u.ok.faults.example", "AAAA")) == ["AAAA ::1"]
        assert ask(server, "u.ok.test").rcode() == dns.rcode.NXDOMAIN
    with DNSServer(suffix=None) as server:
        assert ask(server, "u.ok.test").rcode() == dns.rcode.NXDOMAIN
        assert ask(server, "stats.ctl.test", "TXT").rcode() == dns.rcode.NXDOMAIN


def test_dead_addresses_are_dead():
    """What the faults say of connect(): refused, or unreachable, at once."""
    with socket.create_server(("127.0.0.1", 0)) as good:
        port = good.getsockname()[1]
        for address, code in (("127.0.0.3", errno.ECONNREFUSED), ("255.255.255.255", errno.ENETUNREACH)):
            with socket.socket() as sock:
                assert sock.connect_ex((address, port)) == code
        if socket.has_ipv6:
            with socket.socket(socket.AF_INET6) as sock:
                assert sock.connect_ex(("::ffff:127.0.0.3", port)) == errno.ECONNREFUSED
