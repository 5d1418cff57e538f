"""The table of faults is complete, and each of its rows can be caused."""

from __future__ import annotations

import seawall.testing
from seawall.testing.dns import DNS_FAULTS
from seawall.testing.http.vocabulary import FAULTS, HAMMS, names, row
from seawall.testing.network import Link, toxic
from seawall.testing.steps import STEPS

ANSWERS = {"json", "text"}  # a test's own, which aren't faults
ALL = set().union(*(names(fault.how) for fault in FAULTS))


def test_each_step_stands_in_a_row():
    """Of requests and of ports; a test's own answers don't, because nothing fails."""
    prefixes = {"reply": "", "connection": "port"}
    assert {kind.name for kind in STEPS if (prefixes[kind.level], kind.name) not in ALL} == ANSWERS


def test_each_label_and_toxic_stands_in_a_row():
    """Of names, and of the network."""
    assert [fault.name for fault in DNS_FAULTS if ("dns", fault.name) not in ALL] == []
    assert [name for name in toxic.__all__ if name[0].isupper() and ("net", name) not in ALL] == []


def test_each_row_can_be_had():
    """Its steps parse, its labels and toxics exist, and so do its Python names."""
    for fault in FAULTS:
        assert fault.how, fault
        for how in fault.how.split():
            ((prefix, name), *_) = names(how)
            if prefix in ("", "port"):
                level = "connection" if prefix else "reply"
                assert STEPS.parse(how.removeprefix("port:"), level=level)
            elif prefix == "dns":
                (known,) = [each for each in DNS_FAULTS if each.name == name]
                known.read(how.removeprefix(f"dns:{name}").removeprefix("-"))
            elif prefix == "net":
                assert name in toxic.__all__ or hasattr(Link, name.removeprefix("Link."))
            else:
                owner, _, attribute = name.partition(".")
                found = getattr(seawall.testing, owner)
                assert not attribute or attribute in dir(found) or attribute in (found.__doc__ or "")


def test_row():
    """The one that a step is for."""
    assert row("", "reset").phase == "reply"
    assert row("", "bomb").phase == "body"
    assert row("port", "tls_half").fault == "handshake stalls, half, drips"
    assert row("", "nope") is None


def test_all_of_hamms():
    """Each of its ports, 5500 to 5516."""
    assert [port for port, _, _ in HAMMS if port.isdigit()] == [str(port) for port in range(5500, 5517)]
