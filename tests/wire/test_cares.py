"""What is asked through c-ares: how often, when, from which port, and whose records are taken."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pycares
import pytest

from seawall import ResolveError
from seawall.config import DNS
from seawall.dns import Address, channels, questions
from seawall.dns.cares import CaresResolver
from seawall.dns.channels import MAX_CHANNELS
from seawall.dns.questions import ETIMEOUT
from seawall.dns.resolver import ServerFailure
from seawall.errors import NameNotFound, NoAddress, ResolverFailure, ResolveTimeout
from seawall.testing import cancel_everywhere
from seawall.testing.dns import DNSServer, Name
from seawall.testing.dns.plan import Plan

pytestmark = pytest.mark.anyio

GOOD = Name(a=("127.0.0.1",), aaaa=("::1",), srv=((1, 1, 80, "good.test"),))
FOUND = (Address("127.0.0.1"),)
NEVER = 3600.0


class Another(DNSServer):
    """Gives the records of a name as those of its parent domain."""

    def _answer(self, *arguments: Any) -> Plan:
        return replace(super()._answer(*arguments), twists=(twist,))


def twist(wire: bytes) -> bytes:
    """With each pointer to the question's name led past its first label (RFC 1035 section 4.1.4)."""
    return wire.replace(b"\xc0\x0c", bytes((0xC0, 13 + wire[12])))


class Late(DNSServer):
    """Answers *name* when it was asked for it *often* times: the first query alone."""

    def __init__(self, name: str, often: int) -> None:
        super().__init__()
        self.name = name
        self.often = often
        self.held: list[Callable[[], None]] = []

    def _act(self, query: Any, plan: Plan, peer: Any) -> None:
        if not query.question[0].name.to_text().startswith(self.name):
            super()._act(query, plan, peer)
            return
        self.held.append(partial(super()._act, query, plan, peer))
        if len(self.held) == self.often:
            self.held[0]()


class Answered(DNSServer):
    """Says when it has answered."""

    def __init__(self) -> None:
        super().__init__()
        self.has_answered = threading.Event()

    def _act(self, query: Any, plan: Plan, peer: Any) -> None:
        super()._act(query, plan, peer)
        self.has_answered.set()


@pytest.fixture
async def names():
    resolver = CaresResolver()
    yield resolver
    await resolver.aclose()
    assert not resolver._channels._busy


@pytest.fixture
async def other(stack):
    return await stack.enter_async_context(DNSServer({"good.test": GOOD}))


@pytest.fixture
def quick(monkeypatch):
    """Tries follow each other at once, and the end follows them."""
    pauses(monkeypatch, 0.01, 0.01)
    monkeypatch.setattr(questions, "QUESTION_TIMEOUT", 0.1)
    monkeypatch.setattr(channels, "QUESTION_TIMEOUT", 0.1)


def pauses(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    monkeypatch.setattr(questions, "PAUSES", seconds)


def asked(*servers: DNSServer) -> list[int]:
    return [sum(server.queries.values()) for server in servers]


async def ask(names: CaresResolver, host: str, *servers: DNSServer, **more: Any) -> tuple[Address, ...]:
    answer = await names.ask(host, socket.AF_INET, servers=[server.address for server in servers], **more)
    return answer.addresses


async def held(names: CaresResolver, dns: DNSServer, host: str) -> asyncio.Task:
    """A question that the server has, and doesn't answer."""
    dns.zone[host] = Name(drop=-1)
    task = asyncio.create_task(ask(names, host, dns))
    while not dns.queries[host, "A"]:
        await asyncio.sleep(0)
    return task


async def cancelled(*tasks: asyncio.Task) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# how often, and what comes of it


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        ("servfail", ServerFailure, "SERVFAIL"),
        ("refused", ResolverFailure, "REFUSED"),
        ("notimp", ResolverFailure, "NOTIMP"),
        ("formerr", ResolverFailure, "FORMERR"),
        ("garbage", ResolverFailure, "its answer is garbage"),
        ("short", ResolverFailure, "its answer is garbage"),
        ("cut", ResolverFailure, "its answer is garbage"),
    ],
)
async def test_failing_server_is_asked_once(names, stack, monkeypatch, fault, error, text, count):
    """The next one is at once, three in all; then the failure is that of the last."""
    pauses(monkeypatch, NEVER, NEVER)
    servers = [await stack.enter_async_context(DNSServer()) for _ in range(count)]
    with pytest.raises(ResolverFailure, match=rf"^a\.{fault}\.test: DNS: 127\.0\.0\.1:\d+: {text}") as caught:
        await ask(names, f"a.{fault}.test", *servers)
    assert type(caught.value) is error
    assert servers[min(count, 3) - 1].address in str(caught.value)
    assert asked(*servers) == [1, 1, 1, 0][:count]


@pytest.mark.parametrize("fault", ["servfail", "refused", "notimp", "formerr", "garbage", "short", "cut", "tcrefuse"])
async def test_another_server_makes_up_for_it(names, dns, other, monkeypatch, fault):
    """At once, without waiting for the time of the next try."""
    pauses(monkeypatch, NEVER, NEVER)
    dns.base.faults = fault
    dns.suffix = "test"
    other.zone["a.ok.test"] = GOOD
    assert await ask(names, "a.ok.test", dns, other) == FOUND
    assert asked(other) == [1]


async def test_code_that_c_ares_does_not_know(names, dns, other):
    """It is a failure, too."""
    dns.zone["a.odd.test"], other.zone["a.odd.test"] = Name(rcode="NOTAUTH"), GOOD
    assert await ask(names, "a.odd.test", dns, other) == FOUND
    with pytest.raises(ResolverFailure, match="none of the usual ones"):
        await ask(names, "a.odd.test", dns)


@pytest.mark.parametrize(("fault", "error"), [("nx", NameNotFound), ("nodata", NoAddress), ("cnameloop", NameNotFound)])
async def test_denial_is_an_answer(names, dns, other, monkeypatch, fault, error):
    """No other server is asked."""
    pauses(monkeypatch, NEVER, NEVER)
    with pytest.raises(error):
        await ask(names, f"a.{fault}.test", dns, other)
    assert asked(dns, other) == [1, 0]


@pytest.mark.parametrize(("count", "queries"), [(1, [3]), (2, [2, 1]), (3, [1, 1, 1])])
@pytest.mark.parametrize("fault", ["drop", "badid", "badq"])
async def test_silent_servers_are_asked_three_times_in_all(names, stack, quick, fault, count, queries):
    """In turn; what doesn't belong to the query is as silence."""
    servers = [await stack.enter_async_context(DNSServer()) for _ in range(count)]
    with pytest.raises(ResolveTimeout, match=rf"{servers[-1].address}: no answer within"):
        await ask(names, f"a.{fault}.test", *servers)
    assert asked(*servers) == queries


async def test_truncated_answer_is_asked_for_over_tcp(names, dns):
    """Once each."""
    assert len(await ask(names, "a.many-200.test", dns)) == 200
    assert (asked(dns), dns.over_tcp.total()) == ([2], 1)


@pytest.mark.parametrize(("count", "queries"), [(1, [2]), (2, [2, 1]), (3, [2, 1, 0])])
async def test_truncation_holds_for_the_other_servers(names, stack, quick, count, queries):
    """What one couldn't say in a datagram is asked over TCP of the next, and silence over TCP isn't asked again."""
    servers = [await stack.enter_async_context(DNSServer()) for _ in range(count)]
    with pytest.raises(ResolveTimeout):
        await ask(names, "a.tcdrop.test", *servers)
    assert asked(*servers) == queries
    assert [server.over_tcp.total() for server in servers] == [1, 1, 0][:count]


async def test_tcp_only(names, dns, quick):
    """As resolv.conf's use-vc: no datagram at all, and silence isn't asked again."""
    with pytest.raises(ResolveTimeout):
        await ask(names, "a.tcdrop.test", dns, use_tcp=True)
    assert await ask(names, "a.tcponly.test", dns, use_tcp=True) == FOUND
    assert dns.over_tcp == dns.queries
    assert asked(dns) == [2]


async def test_closed_port_is_a_failure(names, other, monkeypatch):
    """ICMP says so at once, and another server is asked at once."""
    pauses(monkeypatch, NEVER, NEVER)
    async with DNSServer() as closed:
        pass
    with pytest.raises(ResolverFailure, match="can't be reached"):
        await ask(names, "good.test", closed)
    assert await ask(names, "good.test", closed, other) == FOUND


@pytest.mark.parametrize("server", ["nonsense", "127.0.0.1:99999", "[::1", ""])
async def test_text_that_is_no_address(names, other, server):
    """It is a server that fails; those after it are asked."""
    with pytest.raises(ResolverFailure, match=r"good\.test: DNS: "):
        await names.ask("good.test", socket.AF_INET, servers=[server])
    answer = await names.ask("good.test", socket.AF_INET, servers=[server, other.address])
    assert answer.addresses == FOUND


async def test_servers_that_c_ares_finds(names):
    """They can be asked as those that a caller gives: by their addresses."""
    found = names.servers()
    assert found
    assert DNS(nameservers=found).nameservers == tuple(found)


async def test_no_server(names):
    """There is nobody to ask."""
    with pytest.raises(ResolverFailure, match="there is no name server to ask"):
        await names.ask("good.test", socket.AF_INET, servers=[])
    with pytest.raises(ResolverFailure, match="there is no name server to ask"):
        await names.ask("good.test", socket.AF_INET, servers=[], rotate=True)


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.test", "a b.test"])
async def test_name_that_can_not_be(names, dns, host):
    """It isn't asked for."""
    with pytest.raises(NameNotFound, match="it can't be the name of a host"):
        await ask(names, host, dns)
    assert not dns.log


async def test_rotation(names, dns, other):
    """Each question begins at the next server; without it, at the first."""
    dns.zone["good.test"] = GOOD
    seen = []
    for rotate in (True, True, True, False, False):
        await ask(names, "good.test", dns, other, rotate=rotate)
        seen.append(asked(dns, other))
    assert seen == [[1, 0], [1, 1], [2, 1], [3, 1], [4, 1]]


# slow and silent servers


@pytest.mark.parametrize("is_known", [False, True])
async def test_first_try_is_listened_to_until_the_end(names, stack, monkeypatch, is_known):
    """A slow answer to it counts when all three are out, though c-ares expects the quick server after 250 ms."""
    pauses(monkeypatch, 0.2, 0.2)
    server = await stack.enter_async_context(Late("slow", 3))
    for number in range(9 * is_known):
        await ask(names, f"a{number}.ok.test", server)
    assert await ask(names, "slow.ok.test", server) == FOUND
    assert server.queries["slow.ok.test", "A"] == 3


async def test_lost_datagram_is_sent_again(names, dns, monkeypatch):
    """After the first pause, and after the second."""
    pauses(monkeypatch, 0.01, 0.01)
    for lost in (1, 2):
        assert await ask(names, f"a.dropfirst-{lost}.test", dns) == FOUND
        assert dns.queries[f"a.dropfirst-{lost}.test", "A"] == lost + 1


async def test_silent_server_comes_last_for_a_while(names, dns, other, monkeypatch):
    """Where another answers: the next name doesn't wait for it; and it comes first again when it has answered."""
    pauses(monkeypatch, 0.01, NEVER)
    monkeypatch.setattr("seawall.dns.tries.PAUSES", (0.01, NEVER))
    dns.kill()
    assert await ask(names, "good.test", dns, other) == FOUND
    pauses(monkeypatch, NEVER, NEVER)
    assert await ask(names, "good.test", dns, other) == FOUND
    assert asked(dns, other) == [1, 2]
    dns.revive()
    await ask(names, "a.ok.test", dns)
    dns.zone["good.test"] = GOOD
    await ask(names, "good.test", dns, other)
    assert asked(dns, other) == [3, 2]


async def test_queue_is_not_made_longer(names, dns, monkeypatch):
    """A server that answers one question after another isn't asked again for those that it hasn't come to."""
    pauses(monkeypatch, 0.02, 0.02)
    hosts = [f"a{number}.delay-{5 * number}.test" for number in range(1, 21)]
    assert await asyncio.gather(*(ask(names, host, dns) for host in hosts)) == [FOUND] * 20
    assert asked(dns) == [20]


async def test_busy_loop_reads_before_it_asks_again(names, monkeypatch):
    """An answer that came while the loop was busy is taken, although the next try is due too."""
    pauses(monkeypatch, 0.005, 0.005)
    with Answered() as server:
        task = asyncio.create_task(ask(names, "a.ok.test", server))
        await asyncio.sleep(0)
        due_at = time.monotonic() + 0.02  # not by the loop's clock, which stands still as well
        while not server.has_answered.is_set() or time.monotonic() < due_at:
            pass
        assert await task == FOUND
        assert asked(server) == [1]


# channels


async def test_repeated_question_is_asked_again(names, dns):
    """c-ares' own cache answers nothing."""
    for address in ("127.0.0.1", "127.0.0.2"):
        dns.zone["a.test"] = Name(a=(address,), ttl=3600)
        assert await ask(names, "a.test", dns) == (Address(address),)
    del dns.zone["a.test"]
    for _ in range(2):
        with pytest.raises(NameNotFound):
            await ask(names, "a.test", dns)
    assert asked(dns) == [4]


async def test_shared_channel_is_not_asked_the_same_again(names, dns, monkeypatch):
    """It still has the first answer in c-ares' cache."""
    monkeypatch.setattr(channels, "MAX_CHANNELS", 1)
    task = await held(names, dns, "held.test")
    for address in ("127.0.0.1", "127.0.0.2"):
        dns.zone["a.test"] = Name(a=(address,), ttl=3600)
        assert await ask(names, "a.test", dns) == (Address(address),)
    await cancelled(task)


async def test_channel_is_not_shared_without_end(names, dns, monkeypatch):
    """c-ares keeps the answers until it is emptied, so from some number of questions on there is a new one."""
    monkeypatch.setattr(channels, "MAX_CHANNELS", 1)
    monkeypatch.setattr(channels, "MAX_ASKED", 2)
    tasks = [await held(names, dns, f"held{number}.test") for number in range(5)]
    assert sorted(channel.owed for channel in names._channels._busy[dns.address, False]) == [1, 2, 2]
    await cancelled(*tasks)


async def test_held_question_pins_nobody_to_its_port(names, dns):
    """While a server holds one back, those that come after it have ports of their own (RFC 5452 section 9.2)."""
    tasks = [await held(names, dns, f"held{number}.test") for number in range(MAX_CHANNELS - 1)]
    for number in range(40):
        await ask(names, f"a{number}.ok.test", dns)
    ports = {query.name: query.port for query in dns.log}
    assert len(set(ports.values())) >= len(ports) - 5  # a kernel may give a port twice
    await cancelled(*tasks)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="threads and descriptors are counted in /proc")
async def test_channels_are_bounded(names, dns, other):
    """However many questions are in flight: one socket a channel, no thread; and another server has its own."""
    await ask(names, "a.ok.test", dns)
    before = held_by_process()
    tasks = [await held(names, dns, f"held{number}.test") for number in range(3 * MAX_CHANNELS)]
    assert held_by_process() == (before[0], before[1] + MAX_CHANNELS)
    assert {channel.owed for channel in names._channels._busy[dns.address, False]} == {3}
    assert await ask(names, "b.ok.test", dns) == FOUND
    assert await ask(names, "good.test", other) == FOUND
    await cancelled(*tasks)
    assert held_by_process() == before
    assert not names._channels._busy
    assert len(names._channels._idle[False]) == MAX_CHANNELS
    assert await ask(names, "c.ok.test", dns) == FOUND


def held_by_process() -> tuple[int, int]:
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


async def test_garbage_ends_no_other_question(names, dns, monkeypatch):
    """Where two share a channel c-ares ends both, and both are asked again."""
    monkeypatch.setattr(channels, "MAX_CHANNELS", 1)
    pauses(monkeypatch, 0.05, NEVER)
    dns.zone |= {"held.test": replace(GOOD, drop=1), "bad.test": replace(GOOD, faults="garbage")}
    tasks = []
    for host in ("held.test", "bad.test"):
        tasks.append(asyncio.create_task(ask(names, host, dns)))
        while not dns.queries[host, "A"]:
            await asyncio.sleep(0)
    dns.zone["bad.test"] = GOOD  # its garbage is sent
    assert await asyncio.gather(*tasks) == [FOUND, FOUND]
    assert dns.queries == {("held.test", "A"): 2, ("bad.test", "A"): 2}


async def test_early_timeout_of_a_shared_channel_is_a_lost_datagram(names, dns, monkeypatch):
    """c-ares has its own idea of how long a server takes; there is another try."""
    pauses(monkeypatch, 0.01, 0.01)
    query, calls = pycares.Channel.query, 0

    def early(self: pycares.Channel, *arguments: Any, callback: Callable[..., None]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            callback(None, ETIMEOUT)
        else:
            query(self, *arguments, callback=callback)

    monkeypatch.setattr(pycares.Channel, "query", early)
    assert await ask(names, "a.ok.test", dns) == FOUND
    assert (calls, asked(dns)) == (2, [1])


async def test_cancelled_question_leaves_nothing(names, dns):
    """Wherever it is cancelled: no channel that owes an answer, and none of c-ares' own queries."""

    def nothing() -> None:
        assert not names._channels._busy
        assert not names._questions

    before = len(pycares._handle_to_channel)
    assert await cancel_everywhere(lambda: ask(names, "a.ok.test", dns), after=nothing) >= 1
    await cancelled(await held(names, dns, "held.test"))
    nothing()
    assert len(pycares._handle_to_channel) == before


async def test_close_ends_questions(dns):
    """They fail, and nothing is left."""
    names = CaresResolver()
    tasks = [await held(names, dns, f"held{number}.test") for number in range(2)]
    await names.aclose()
    for task in tasks:
        with pytest.raises(ResolverFailure, match="the resolver was closed"):
            await task
    assert not names._channels._busy
    assert not names._channels._idle[False]
    await names.aclose()


@pytest.mark.parametrize("fault", ["nx", "servfail"])
def test_error_dies_with_its_last_reference(fault):
    """No cycle holds it, and with it the frames of its callers."""

    async def main(server: DNSServer) -> None:
        names = CaresResolver()
        try:
            await ask(names, f"a.{fault}.test", server)
        except ResolveError as error:
            last = weakref.ref(error)
        await asyncio.sleep(0)  # the loop still has the handle that woke this task
        assert last() is None
        await names.aclose()

    with DNSServer() as server:
        gc.disable()
        try:
            asyncio.run(main(server))
        finally:
            gc.enable()


class Unwatched(asyncio.SelectorEventLoop):
    """As Windows' default loop: it can't watch sockets."""

    add_reader = asyncio.AbstractEventLoop.add_reader
    add_writer = asyncio.AbstractEventLoop.add_writer


def loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    found: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.SelectorEventLoop, Unwatched]
    try:
        import uvloop
    except ImportError:
        return found
    return [*found, uvloop.new_event_loop]


@pytest.mark.parametrize("factory", loops())
def test_loops(factory):
    """Whatever loop, and one after another with the same resolver: UDP, TCP, failures, a cancelled question."""
    names = CaresResolver()

    async def main(server: DNSServer) -> None:
        assert await ask(names, "a.ok.test", server) == FOUND
        assert await ask(names, "a.tc.test", server) == FOUND
        for _ in range(2):
            with pytest.raises(ServerFailure):
                await ask(names, "a.servfail.test", server)
        tasks = [asyncio.create_task(ask(names, f"a{number}.drop.test", server)) for number in range(3)]
        while not all(server.queries[f"a{number}.drop.test", "A"] for number in range(3)):
            await asyncio.sleep(0.001)
        await cancelled(*tasks)
        assert not names._channels._busy

    with DNSServer() as server:
        for _ in range(2):
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(main(server))


def test_thread_of_c_ares_waits_as_long(monkeypatch):
    """Where it watches the sockets itself, its own time limit doesn't strike before ours."""
    pauses(monkeypatch, 0.2, 0.2)

    async def main(server: DNSServer) -> None:
        names = CaresResolver()
        for number in range(9):
            await ask(names, f"a{number}.ok.test", server)
        assert await ask(names, "slow.ok.test", server) == FOUND
        await names.aclose()

    with Late("slow", 3) as server, asyncio.Runner(loop_factory=Unwatched) as runner:
        runner.run(main(server))


@pytest.mark.parametrize("factory", loops())
def test_loop_that_was_closed(factory, capfd):
    """A question in flight ends without a word when its loop is closed, and the resolver works in another."""
    names, loop = CaresResolver(), factory()
    with DNSServer() as server:
        question = ask(names, "a.drop.test", server)

        async def begin() -> None:
            question.send(None)

        loop.run_until_complete(begin())
        loop.close()
        question.close()
        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(ask(names, "a.ok.test", server)) == FOUND
    assert not names._questions
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_fork():
    """The child has channels of its own, because its parent's have their random numbers."""
    code = """
import asyncio, os, socket, sys
from seawall.dns.cares import CaresResolver
names, server = CaresResolver(), sys.argv[1]

async def main():
    assert (await names.ask("a.ok.test", socket.AF_INET, servers=[server])).ttl == 60
    [channel] = names._channels._idle[False]
    return channel

theirs = asyncio.run(main())
child = os.fork()
assert asyncio.run(main()) is not theirs
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    with DNSServer() as server:
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, server.address],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert asked(server) == [3]


# whose records


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_records_of_another_owner_are_not_taken(names, other, family):
    """An answer about another name says nothing of this one, and is no denial either: another server is asked."""
    async with Another({"good.test": GOOD}) as dns:
        with pytest.raises(ResolverFailure, match=rf"good\.test: DNS: {dns.address}: the answer is about test"):
            await names.ask("good.test", family, servers=[dns.address])
        with pytest.raises(ResolverFailure, match="the answer is about test"):
            await names.services("good.test", servers=[dns.address])
        answer = await names.ask("good.test", family, servers=[dns.address, other.address])
        assert answer.addresses == tuple(map(Address, GOOD.a if family == socket.AF_INET else GOOD.aaaa))


async def test_records_of_an_alias_are_taken(names, dns):
    """Over as many as there are; the TTL is the least of all."""
    dns.zone |= {"one.test": Name(cname="two.test", ttl=30), "two.test": Name(cname="good.test", ttl=20)}
    dns.zone["good.test"] = GOOD
    for host in ("one.test", "ONE.test", "one.test."):
        answer = await names.ask(host, socket.AF_INET, servers=[dns.address])
        assert (answer.addresses, answer.ttl, answer.source) == (FOUND, 20, "dns")


async def test_name_is_asked_for_as_it_is(names, dns, monkeypatch):
    """Whatever the search list: no suffix, no hosts file."""
    monkeypatch.setenv("LOCALDOMAIN", "corp.test")
    dns.zone["db.corp.test"] = dns.zone["localhost.corp.test"] = GOOD
    for host in ("db", "localhost"):
        with pytest.raises(NameNotFound):
            await ask(names, host, dns)
    assert [query.name for query in dns.log] == ["db", "localhost"]


async def test_services(names, other):
    """An SRV record has all that is needed to choose; a name without one says so."""
    [service] = await names.services("good.test", servers=[other.address])
    assert service == (1, 1, 80, "good.test", 60.0)
    other.zone["none.test"] = Name(a=("127.0.0.1",))
    with pytest.raises(NoAddress):
        await names.services("none.test", servers=[other.address])
