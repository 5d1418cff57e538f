"""What is asked through c-ares: from which port, and whose records are taken."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import Any

import pytest

from seawall import Address, NameNotFound, ResolverFailure
from seawall.dns import cares
from seawall.dns.cares import KEPT, MAX_CHANNELS, CaresResolver
from seawall.testing.dns import DNSServer, Name
from seawall.testing.dns.plan import Plan

pytestmark = pytest.mark.anyio

GOOD = Name(a=("127.0.0.1",), aaaa=("::1",), srv=((1, 1, 80, "good.test"),))


class Another(DNSServer):
    """Gives the records of a name as those of its parent domain."""

    def _answer(self, *arguments: Any) -> Plan:
        return replace(super()._answer(*arguments), twists=(twist,))


def twist(wire: bytes) -> bytes:
    """With each pointer to the question's name led past its first label (RFC 1035 section 4.1.4)."""
    return wire.replace(b"\xc0\x0c", bytes((0xC0, 13 + wire[12])))


@pytest.fixture
async def names(dns):
    resolver = CaresResolver([dns.address])
    yield resolver
    await resolver.aclose()


async def held(names: CaresResolver, dns: DNSServer, host: str) -> asyncio.Task:
    """A query that the server has, and doesn't answer."""
    dns.zone[host] = Name(drop=-1)
    task = asyncio.create_task(names.resolve(host, 80, family=socket.AF_INET))
    while not any(query.name == host for query in dns.log):
        await asyncio.sleep(0)
    return task


async def cancelled(*tasks: asyncio.Task) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_held_query_pins_nobody_to_its_port(names, dns):
    """While a server holds one back, those that come after it have ports of their own (RFC 5452 section 9.2)."""
    task = await held(names, dns, "held.test")
    for number in range(40):
        dns.zone[f"h{number}.test"] = GOOD
        await names.resolve(f"h{number}.test", 80, family=socket.AF_INET)
    ports = {query.name: query.port for query in dns.log}
    assert len(set(ports.values())) >= 35  # a kernel may give a port twice
    assert list(ports.values()).count(ports["held.test"]) <= 2
    await cancelled(task)


async def test_channels_are_bounded(names, dns):
    """However many queries are pending; once they have ended, as many are kept as there are families."""
    tasks = [await held(names, dns, f"held{number}.test") for number in range(3 * MAX_CHANNELS)]
    assert len(names._channels) == MAX_CHANNELS
    assert {channel.pending for channel in names._channels} == {3}
    await cancelled(*tasks)
    assert not names._channels
    for number in range(20):
        dns.zone[f"h{number}.test"] = GOOD
    await asyncio.gather(*(names.resolve(f"h{number}.test", 80) for number in range(20)))
    assert len(names._channels) == KEPT
    assert {channel.pending for channel in names._channels} == {0}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, 0])
async def test_records_of_another_owner_are_not_taken(family):
    """An answer about another name says nothing of this one, and is no denial either."""
    async with Another({"bad.test": GOOD}) as dns:
        names = CaresResolver([dns.address])
        with pytest.raises(ResolverFailure, match=r"bad\.test: DNS: the answer is about test"):
            await names.resolve("bad.test", 80, family=family)
        with pytest.raises(ResolverFailure, match="the answer is about test"):
            await names.services("bad.test")
        await names.aclose()


async def test_records_of_an_alias_are_taken(names, dns):
    """Over as many as there are; the TTL is the least of all."""
    dns.zone |= {"one.test": Name(cname="two.test", ttl=30), "two.test": Name(cname="good.test", ttl=20)}
    answer = await names.resolve("ONE.test.", 80)
    assert {address.ip for address in answer.addresses} == {"127.0.0.1"}
    assert answer.ttl == 20


async def test_names_of_the_hosts_file(names, dns, monkeypatch, tmp_path):
    """They are known without DNS, and known anew when the file changes; localhost always is."""
    hosts = tmp_path / "hosts"
    monkeypatch.setattr(cares, "HOSTS", str(hosts))
    assert not names._is_local("mine.test")
    hosts.write_text("# 127.0.0.1 none.test\n127.0.0.1 localhost Mine.test # yours.test\n")
    assert names._is_local("mine.test")
    assert names._is_local("MINE.test.")
    assert not names._is_local("yours.test")
    assert not names._is_local("none.test")
    hosts.unlink()
    assert not names._is_local("mine.test")
    assert {address.ip for address in (await names.resolve("localhost", 80)).addresses} == {"127.0.0.1", "::1"}
    assert not dns.log


async def test_search_list_is_used(dns, monkeypatch):
    """A short name is asked for with the suffixes of resolv.conf, and what is found so is its own."""
    dns.zone["db.corp.test"] = GOOD
    monkeypatch.setenv("LOCALDOMAIN", "corp.test")
    names = CaresResolver([dns.address])
    assert (await names.resolve("db", 80, family=socket.AF_INET)).addresses == (Address("127.0.0.1"),)
    with pytest.raises(NameNotFound):
        await names.resolve("db.", 80, family=socket.AF_INET)
    await names.aclose()
