"""Names on random machines: what getaddrinfo says there is what seawall says, whatever files and servers they have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from benchmarks.names.machine import Answer, Machine, Record, answer
from benchmarks.names.named import NAMED, excuses
from benchmarks.names.outcome import Difference, Outcome, difference
from benchmarks.names.outside import Namespace, Namespaces, why_not
from benchmarks.names.run import examples
from benchmarks.names.server import reply
from benchmarks.names.strategies import generated

MACHINES = 60
SEED = 60
ROOT = Path(__file__).parents[2]
REASON = why_not()
needs_namespace = pytest.mark.skipif(REASON is not None, reason=f"needs namespaces of its own: {REASON}")

ZONE = {
    "api.example": Record(a=("10.2.0.1",), aaaa=("fd02::1",), rcode_aaaa="SERVFAIL"),
    "www.example": Record(cname="Api.Example"),
    "*.wild.example": Record(aaaa=("fd02::2",)),
    "circle.example": Record(cname="circle.example"),
    "lost.example": Record(cname="nowhere.example"),
}


@needs_namespace
def test_names_are_what_getaddrinfo_says():
    """On each machine, with each resolver: the same set of addresses, or an error of the same kind."""
    machines = generated(MACHINES, SEED)
    with Namespaces() as namespaces:
        found = [each for each in namespaces.differences(machines) if not each.title]
    shown = "\n\n".join(map(str, examples(found, 1)[:3]))
    assert not found, f"{shown}\n\npython -m benchmarks names --machines {MACHINES} --seed {SEED} makes them smaller"


@needs_namespace
def test_what_a_namespace_says():
    """glibc is asked on the machine that is given, with its files, servers and environment, and never on the last."""
    plain = Machine(name="api", zone={"api.b.example": Record(a=("10.2.0.1",), aaaa=("fd02::1",))})
    searched = Outcome.found(["10.2.0.1", "fd02::1"])
    with Namespace(()) as namespace:
        for change, expected in (
            ({}, Outcome("NameNotFound")),
            ({"hosts": b"10.1.0.1 api\n"}, Outcome.found(["10.1.0.1"])),
            ({"resolv_conf": "search b.example\n"}, searched),
            ({"hostname": "box.b.example"}, searched),
            ({"environ": (("LOCALDOMAIN", "b.example"),)}, searched),
            ({"servers": ("servfail", "good", "good")}, Outcome("failure")),
            ({"servers": ("closed", "good", "good")}, Outcome("failure")),
            ({"nsswitch_conf": "hosts: files\n", "resolv_conf": "search b.example\n"}, Outcome("NameNotFound")),
        ):
            machine = replace(plain, **change)
            assert namespace.look_up(machine)["glibc"][:2] == expected[:2], str(machine)


def test_machines_are_the_same_for_the_same_seed():
    """So that a figure can be had again; another seed gives others."""
    first = [str(each) for each in generated(5, 1)]
    assert first == [str(each) for each in generated(5, 1)]
    assert not set(first) & {str(each) for each in generated(5, 2)}


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("API.example", "A", Answer("NOERROR", (), ("10.2.0.1",))),
        ("api.example", "AAAA", Answer("SERVFAIL")),
        ("www.example", "A", Answer("NOERROR", (("www.example", "Api.Example"),), ("10.2.0.1",))),
        ("a.b.wild.example", "AAAA", Answer("NOERROR", (), ("fd02::2",))),
        ("a.wild.example", "A", Answer("NOERROR")),
        ("wild.example", "A", Answer("NXDOMAIN")),
        ("lost.example", "A", Answer("NXDOMAIN", (("lost.example", "nowhere.example"),))),
    ],
)
def test_what_a_zone_says(name, kind, expected):
    """Of addresses of each family, aliases, wildcards and names that there aren't."""
    assert answer(ZONE, name, kind) == expected


def test_a_circle_of_aliases_has_no_address():
    """And the answer ends."""
    assert answer(ZONE, "circle.example", "A")[::2] == ("NOERROR", ())


def test_what_a_server_sends():
    """dnspython reads what is meant; what doesn't fit a datagram is truncated; a silent server sends nothing."""
    query = dns.message.make_query("www.example", "A")
    read = dns.message.from_wire(reply(query.to_wire(), ZONE, "good", 512))
    assert query.is_response(read)
    assert read.answer[-1].to_text() == "Api.Example. 60 IN A 10.2.0.1"
    many = {"www.example": Record(a=tuple(f"10.2.1.{number}" for number in range(60)))}
    assert dns.message.from_wire(reply(query.to_wire(), many, "good", 512)).flags & dns.flags.TC
    assert len(dns.message.from_wire(reply(query.to_wire(), many, "good", 65535)).answer[0]) == 60
    assert dns.message.from_wire(reply(query.to_wire(), ZONE, "refused", 512)).rcode() == dns.rcode.REFUSED
    assert reply(query.to_wire(), ZONE, "silent", 512) is None


@pytest.mark.parametrize(
    ("expected", "got", "kind"),
    [
        (Outcome.found(["::1", "10.0.0.1"]), Outcome.found(["10.0.0.1", "::1"]), None),
        (Outcome.found(["10.0.0.1"]), Outcome.found(["10.0.0.1", "::1"]), "more addresses"),
        (Outcome.found(["10.0.0.1", "::1"]), Outcome.found(["10.0.0.1"]), "fewer addresses"),
        (Outcome.found(["10.0.0.1"]), Outcome.found(["::1"]), "other addresses"),
        (Outcome("NameNotFound", text="one"), Outcome("NameNotFound", text="other"), None),
        (Outcome("NameNotFound"), Outcome("NoAddress"), "NameNotFound became NoAddress"),
        (Outcome("failure"), Outcome("broken"), "failure became broken"),
        (Outcome("broken"), Outcome.found(["::1"]), None),
        (Outcome("broken"), Outcome("broken"), "broken became broken"),
    ],
)
def test_what_a_difference_is(expected, got, kind):
    """Other addresses, or an error of another kind; not their order or text, nor where glibc crashes."""
    found = difference(Machine(name="api"), "default", expected, got)
    assert (found and found.kind) == kind


def test_each_named_difference_is_in_the_docs():
    """With its reason, under the same title."""
    text = (ROOT / "docs/reference/names.md").read_text()
    for each in NAMED:
        assert f"**{each.title}**" in text


@needs_namespace
@pytest.mark.parametrize(
    ("name", "got", "title"),
    [
        ("x.localhost.", Outcome.found(["127.0.0.1", "::1"]), "localhost is always loopback"),
        ("x.localhost.", Outcome.found(["10.2.0.1"]), ""),
        ("localhost.example", Outcome.found(["127.0.0.1", "::1"]), ""),
        ("x.invalid", Outcome("NameNotFound"), "invalid and onion are never asked of DNS"),
        ("x.invalid", Outcome("failure"), ""),
    ],
)
def test_only_what_is_named_is_excused(name, got, title):
    """A special name that goes elsewhere is a difference like any other."""
    found = Difference(Machine(name=name), "default", Outcome("NoAddress"), got)
    with Namespace(()) as namespace:
        titles = [excuse for excuse, machine in excuses(found) if namespace.look_up(machine)["glibc"].is_same(got)]
    assert titles == [title] * bool(title)


def test_what_is_named_of_one_resolver_is_not_excused_in_another():
    """The system's resolver is glibc's."""
    got = Outcome.found(["127.0.0.1", "::1"])
    assert not list(excuses(Difference(Machine(name="localhost"), "system", Outcome("NameNotFound"), got)))
