"""What is answered for the names of a zone, and which values a name can't have."""

from __future__ import annotations

from collections.abc import Iterator

import dns.rcode
import pytest

from seawall.testing.dns import BadFault, DNSServer, Name

from .dns_client import Line, ask, line, query, records


@pytest.fixture
def server() -> Iterator[DNSServer]:
    with DNSServer({"api.test": Name(a=("127.0.0.1", "127.0.0.2"), aaaa=("::1",), ttl=5)}) as server:
        yield server


@pytest.fixture
def udp(server: DNSServer) -> Iterator[Line]:
    with line(server) as peer:
        yield peer


def test_addresses_in_their_order(udp: Line):
    """Every time as in the zone, with its TTL."""
    for _ in range(10):
        reply = udp.ask(query("API.test"))
        assert records(reply) == ["A 127.0.0.1", "A 127.0.0.2"]
        assert {rrset.ttl for rrset in reply.answer} == {5}
    assert records(udp.ask(query("api.test", "AAAA"))) == ["AAAA ::1"]


def test_other_types(server: DNSServer, udp: Line):
    """SRV and TXT as given, of any length and with any byte; what there is none of is NODATA with an SOA."""
    server.zone["_http._tcp.test"] = Name(srv=((1, 2, 8080, "Api.test."), (2, 0, 80, "api.test")))
    server.zone["txt.test"] = Name(txt=("a" * 300, 'say "é;"', ""))
    assert records(udp.ask(query("_http._tcp.test", "SRV"))) == ["SRV 1 2 8080 api.test.", "SRV 2 0 80 api.test."]
    texts = [[string.decode() for string in rrset[0].strings] for rrset in udp.ask(query("txt.test", "TXT")).answer]
    assert texts == [["a" * 255, "a" * 45], ['say "é;"'], [""]]
    for kind in ("MX", "HTTPS", "ANY", "TYPE65280"):
        reply = udp.ask(query("api.test", kind))
        assert (reply.rcode(), reply.answer, len(reply.authority)) == (dns.rcode.NOERROR, [], 1)


def test_zone_changes_while_running(server: DNSServer, udp: Line):
    """Names come, change and go, and each query sees the zone of its time."""
    assert udp.ask(query("new.test")).rcode() == dns.rcode.NXDOMAIN
    server.zone["new.test"] = Name(a=("127.0.0.4",))
    assert records(udp.ask(query("new.test"))) == ["A 127.0.0.4"]
    server.zone["new.test"].a = ("127.0.0.5",)
    assert records(udp.ask(query("new.test"))) == ["A 127.0.0.5"]
    server.zone["new.test"].rcode = "REFUSED"
    assert udp.ask(query("new.test")).rcode() == dns.rcode.REFUSED
    server.zone["new.test"] = Name(a=("127.0.0.5",), drop=1)
    assert udp.is_unanswered(query("new.test"))
    assert records(udp.ask(query("new.test"))) == ["A 127.0.0.5"]
    del server.zone["new.test"]
    assert udp.ask(query("new.test")).rcode() == dns.rcode.NXDOMAIN


def test_the_callers_zone_is_the_servers():
    """A zone that is empty at first may be filled through the dict that was given."""
    zone: dict[str, Name] = {}
    with DNSServer(zone) as server:
        zone["late.test"] = Name(a=("127.0.0.1",))
        assert records(ask(server, "late.test")) == ["A 127.0.0.1"]


def test_zone_wins_over_faults_in_the_name(server: DNSServer, udp: Line):
    """A name of the zone may look like a fault."""
    server.zone["nx.test"] = Name(a=("127.0.0.1",))
    server.zone["ttl-x.test"] = Name(a=("127.0.0.1",))
    for name in ("nx.test", "ttl-x.test"):
        assert records(udp.ask(query(name))) == ["A 127.0.0.1"]
    assert not server.complaints


def test_aliases(server: DNSServer, udp: Line):
    """All links are in the answer with the TTL of each, and the end decides."""
    server.zone["one.test"] = Name(cname="two.test", ttl=1)
    server.zone["two.test"] = Name(cname="api.test", ttl=2)
    reply = udp.ask(query("one.test"))
    assert records(reply) == ["CNAME two.test.", "CNAME api.test.", "A 127.0.0.1", "A 127.0.0.2"]
    assert [rrset.ttl for rrset in reply.answer] == [1, 2, 5, 5]
    assert records(udp.ask(query("one.test", "CNAME"))) == ["CNAME two.test."]
    server.zone["two.test"] = Name(cname="nobody.test")
    reply = udp.ask(query("one.test"))
    assert (reply.rcode(), len(reply.answer), len(reply.authority)) == (dns.rcode.NXDOMAIN, 2, 1)
    server.zone["two.test"] = Name(cname="one.test")
    reply = udp.ask(query("one.test"))
    assert (reply.rcode(), records(reply)) == (dns.rcode.NOERROR, ["CNAME two.test.", "CNAME one.test."])


def test_alias_has_the_faults_of_its_target(server: DNSServer, udp: Line):
    """Of the zone or of the target's labels."""
    server.zone["one.test"] = Name(cname="u.servfail.test")
    server.zone["two.test"] = Name(cname="u.many-2.test")
    assert udp.ask(query("one.test")).rcode() == dns.rcode.SERVFAIL
    assert records(udp.ask(query("two.test"))) == ["CNAME u.many-2.test.", "A 127.0.1.1", "A 127.0.1.2"]


def test_delay_of_one_type(server: DNSServer, udp: Line):
    """delay_a and delay_aaaa are that type's only."""
    server.zone["slow.test"] = Name(a=("127.0.0.1",), aaaa=("::1",), delay_aaaa=0.05)
    assert records(udp.ask(query("slow.test", "A"))) == ["A 127.0.0.1"]
    assert udp.is_unanswered(query("slow.test", "AAAA"))
    udp.receive()
    server.zone["slow.test"].delay_a = 0.05
    assert udp.is_unanswered(query("slow.test", "A"))


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"a": "127.0.0.1"}, TypeError, r"write a=\('127.0.0.1',\)"),
        ({"a": ("::1",)}, ValueError, "a must have IPv4 addresses, not '::1'"),
        ({"aaaa": ("localhost",)}, ValueError, "aaaa must have IPv6 addresses, not 'localhost'"),
        ({"aaaa": ("fe80::1%lo",)}, ValueError, "aaaa must have IPv6"),
        ({"cname": "a..b"}, ValueError, "cname must be a domain name"),
        ({"cname": "a" * 64}, ValueError, "cname must be a domain name"),
        ({"srv": ((1, 2, 70000, "a.test"),)}, ValueError, "srv must have"),
        ({"srv": ((1, 2, "a.test"),)}, ValueError, "srv must have"),
        ({"txt": "text"}, TypeError, "txt must be a tuple"),
        ({"txt": (1,)}, TypeError, "txt must have strings"),
        ({"ttl": -1}, ValueError, "ttl must be a whole number of seconds from 0 to"),
        ({"ttl": 1.5}, ValueError, "ttl must be a whole number"),
        ({"delay": -0.1}, ValueError, "delay must be seconds"),
        ({"delay_a": float("nan")}, ValueError, "delay_a must be seconds"),
        ({"rcode": "SERVFAI"}, ValueError, "rcode must be one of SERVFAIL, not 'SERVFAI'"),
        ({"drop": -2}, ValueError, "drop must be a number of queries"),
        ({"faults": "tc,delay"}, BadFault, "delay-MS takes a whole number from 0 to"),
        ({"faults": "badids"}, BadFault, "unknown fault 'badids'; near: badid"),
        ({"faults": ("tc",)}, TypeError, "faults must be a string"),
    ],
)
def test_values_that_cannot_be(values: dict[str, object], error: type[Exception], match: str):
    """Refused when they are set, by the constructor or later."""
    with pytest.raises(error, match=match):
        Name(**values)  # type: ignore[arg-type]
    name = Name()
    ((setting, value),) = values.items()
    with pytest.raises(error, match=match):
        setattr(name, setting, value)
    assert name == Name()


@pytest.mark.parametrize(
    ("zone", "match"),
    [
        ({"Api.test": Name()}, "'Api.test' must be in lower case, without the final dot: 'api.test'"),
        ({"api.test.": Name()}, "without the final dot"),
        ({"a..b": Name()}, "zone must be a domain name"),
        ({"api.test": "127.0.0.1"}, "'api.test' must be a Name"),
    ],
)
def test_zones_that_cannot_be(zone: dict[str, Name], match: str):
    """Refused by the constructor."""
    with pytest.raises((ValueError, TypeError), match=match):
        DNSServer(zone)
