"""Hosts that are addresses, names that can't be, and resolvers that ask nobody."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys

import pytest

from seawall.dns import Address, ChainResolver, SRVResolver, StaticResolver
from seawall.dns.cares import CaresResolver
from seawall.dns.getaddrinfo import MachineResolver
from seawall.dns.resolver import ADVICE, Answer, SRVRecord, check_name, failed, literal
from seawall.errors import NameNotFound, NoAddress, ResolverFailure
from seawall.testing import FakeResolver
from seawall.testing.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("", "it is empty"),
        (".", "it is empty"),
        ("bücher.test", "it isn.t in ASCII"),
        ("a b.test", "white space"),
        ("a\0.test", "control characters"),
        ("a\x7f.test", "control characters"),
        ("a" * 64 + ".test", "more than 63"),
        ("a..test", "a label is empty"),
        (".a.test", "a label is empty"),
        ("a.test..", "a label is empty"),
        (".".join(["a" * 49] * 5) + ".test", "254 octets, more than 253"),
    ],
)
def test_names_that_cannot_be(host, why):
    """They are not asked for; the error says what is wrong with them."""
    with pytest.raises(NameNotFound, match=why):
        check_name(host)


@pytest.mark.parametrize(
    "host", ["a", "a.test.", "a" * 63 + ".test", ".".join(["a" * 49] * 5) + ".tes", "xn--bcher-kva.test", "_a!~.test"]
)
def test_names_that_can_be(host):
    """Up to the limits, with a final dot or without."""
    check_name(host)


@pytest.mark.parametrize(
    ("host", "ip"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("fe80::1%lo", "fe80::1%lo"),
        ("fe80::1%25lo", "fe80::1%lo"),
        ("fe80::1%25", "fe80::1%25"),
        ("127.1", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("fe80::1%", None),
        ("a.test", None),
        ("1.2.3.4.5", None),
        ("256.1.1.1", None),
        ("", None),
    ],
)
def test_hosts_that_are_addresses(host, ip):
    """For ever; also as the system's resolver writes them."""
    found = literal(host)
    assert (None if found is None else found.addresses) == (None if ip is None else (Address(ip),))
    assert found is None or (found.ttl, found.source) == (float("inf"), "literal")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", Address("192.0.2.1")),
        ("192.0.2.1:1", Address("192.0.2.1", 1)),
        ("192.0.2.1:65535", Address("192.0.2.1", 65535)),
        ("::1", Address("::1")),
        ("[::1]", Address("::1")),
        ("[::1]:8080", Address("::1", 8080)),
        ("fe80::1%lo", Address("fe80::1%lo")),
    ],
)
async def test_static_addresses(text, address):
    """With a port or without."""
    answer = await StaticResolver({"a.test": text}).resolve("a.test", 80)
    assert (answer.addresses, answer.source) == ((address,), "static")


@pytest.mark.parametrize("text", ["192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:x", "[::1]:0", "a.test", "", ":80"])
def test_what_is_no_static_address(text):
    """Refused at once, or it would fail a call later."""
    with pytest.raises(ValueError, match="an address must look like"):
        StaticResolver({"a.test": text})


async def test_chain_ends_with_the_first_that_knows():
    """Of several that don't, the last one's word is what counts; a failure asks nobody else."""
    first, last = FakeResolver({"both.test": "192.0.2.1", "bad.test": ResolverFailure}), FakeResolver()
    last.add("both.test", "192.0.2.2")
    last.add("bad.test", "192.0.2.2")
    last.add("last.test", "192.0.2.2")
    chain = ChainResolver(first, last)
    for name, ip in (("both.test", "192.0.2.1"), ("last.test", "192.0.2.2")):
        assert (await chain.resolve(name, 80)).addresses == (Address(ip),)
    with pytest.raises(ResolverFailure):
        await chain.resolve("bad.test", 80)
    last.add("none.test", NameNotFound("the last said so"))
    with pytest.raises(NameNotFound, match="the last said so"):
        await chain.resolve("none.test", 80)
    await chain.aclose()
    assert (first.is_closed, last.is_closed) == (True, True)


async def test_chain_alone_has_no_other_resolver():
    """ "auto" is a client's to understand."""
    with pytest.raises(TypeError, match="needs a client"):
        await ChainResolver("auto").resolve("a.test", 80)
    with pytest.raises(ValueError, match="at least one"):
        ChainResolver()


async def test_map_may_lead_to_another_resolver():
    """Which is asked as the map was, and closed with it."""
    other = FakeResolver({"a.test": "192.0.2.1"})
    names = StaticResolver({"*.test": other, "b.test": "192.0.2.2"})
    assert (await names.resolve("a.test", 80)).addresses == (Address("192.0.2.1"),)
    assert (await names.resolve("b.test", 80)).addresses == (Address("192.0.2.2"),)
    await names.aclose()
    assert other.is_closed


@pytest.mark.parametrize("records", [[], [SRVRecord(0, 0, 0, "a.test", 60.0)], [SRVRecord(0, 0, 80, "", 60.0)]])
async def test_service_that_is_not_to_be_had(monkeypatch, records):
    """No record, or one with the target "." (RFC 2782): there is no address, and no host is asked for."""

    async def services(self: CaresResolver, service: str, **more: object) -> list[SRVRecord]:
        assert service == "_http._tcp.a.test"
        return records

    monkeypatch.setattr(CaresResolver, "services", services)
    names = SRVResolver(nameservers=["127.0.0.1:1"])
    with pytest.raises(NoAddress, match="isn't available, its SRV records say"):
        await names.resolve("a.test.", 80)
    await names.aclose()


@pytest.mark.parametrize(("ttl", "kept"), [(90.0, 60.0), (30.0, 30.0), (None, 0.0)])
async def test_first_targets_of_many(monkeypatch, ttl, kept):
    """
    32 are asked for, those of the lowest priorities, however many records there are and in whatever order. The answer
    is kept no longer than any record or any target's addresses.
    """
    asked = []

    async def services(self: CaresResolver, service: str, **more: object) -> list[SRVRecord]:
        return [SRVRecord(number, 0, 80, f"t{number}.test", 60.0) for number in reversed(range(40))]

    async def resolve(self: MachineResolver, host: str, port: int, **more: object) -> Answer:
        asked.append(host)
        return Answer((Address("192.0.2.1"),), 90.0 if host != "t7.test" else ttl, "dns")

    monkeypatch.setattr(CaresResolver, "services", services)
    monkeypatch.setattr(MachineResolver, "resolve", resolve)
    names = SRVResolver(nameservers=["127.0.0.1:1"])
    answer = await names.resolve("a.test", 80)
    assert asked == [f"t{number}.test" for number in range(32)]
    assert [rank.priority for rank in answer.ranks] == list(range(32))
    assert answer.ttl == kept
    await names.aclose()


def services_are(monkeypatch, records: list[SRVRecord], found: dict[str, object]) -> None:
    """Have DNS say so of a service, and of its targets; None is silence."""

    async def services(self: CaresResolver, service: str, **more: object) -> list[SRVRecord]:
        return records

    async def resolve(self: MachineResolver, host: str, port: int, **more: object) -> Answer:
        said = found[host]
        if said is None:
            await asyncio.sleep(60.0)
        if isinstance(said, Exception):
            raise said
        return Answer((Address(said),), 60.0, "dns")

    monkeypatch.setattr(CaresResolver, "services", services)
    monkeypatch.setattr(MachineResolver, "resolve", resolve)


async def test_heaviest_targets_of_many(monkeypatch):
    """They are among the 32 of one priority, because they should have most of the calls."""
    records = [SRVRecord(1, weight, 80, f"t{weight}.test", 60.0) for weight in range(40)]
    services_are(monkeypatch, records, {f"t{weight}.test": f"192.0.2.{weight}" for weight in range(40)})
    names = SRVResolver(nameservers=["127.0.0.1:1"])
    answer = await names.resolve("a.test", 80)
    assert {rank.weight for rank in answer.ranks} == set(range(8, 40))
    await names.aclose()


@pytest.mark.parametrize("failure", [None, ResolverFailure("SERVFAIL")])
async def test_service_with_a_target_that_fails(monkeypatch, failure):
    """It isn't denied because another target is. Without that one it is asked for again soon: it may be the best."""
    records = [SRVRecord(1, 0, 80, "gone.test", 60.0), SRVRecord(2, 0, 80, "bad.test", 60.0)]
    services_are(monkeypatch, records, found := {"gone.test": NameNotFound("no such name"), "bad.test": failure})
    names = SRVResolver(nameservers=["127.0.0.1:1"])
    with pytest.raises(TimeoutError if failure is None else ResolverFailure):
        await names.resolve("a.test", 80)
    found["gone.test"] = "192.0.2.1"
    assert (await names.resolve("a.test", 80)).ttl == 5.0
    found["bad.test"] = NameNotFound("no such name")
    assert (await names.resolve("a.test", 80)).ttl == 60.0
    await names.aclose()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EACCES])
def test_failure_for_lack_of_descriptors(monkeypatch, code):
    """Whatever the resolver said it is its failure, which says what to change; nothing else is mistaken for that."""

    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket, "socket", refused)
    error = failed(NameNotFound, "a.test: system resolver: unknown")
    if code == errno.EACCES:
        assert (type(error), str(error)) == (NameNotFound, "a.test: system resolver: unknown")
    else:
        assert (type(error), error.is_shortage) == (ResolverFailure, True)
        assert str(error) == f"a.test: system resolver: unknown: {os.strerror(code).lower()}: {ADVICE}"


def test_importing_seawall_loads_no_c_ares():
    """The first client does, because c-ares takes 15 ms to load."""
    code = "import sys, seawall, seawall.dns; print({'aiodns', 'pycares'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
