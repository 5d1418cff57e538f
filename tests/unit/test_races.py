"""Races between addresses, on the virtual clock: the network here is a table of what becomes of a connect."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
from collections import Counter

import pytest

from seawall.dns.gai_conf import GLIBC, as_number
from seawall.dns.guard import Guard
from seawall.dns.precedence import Precedence, Source
from seawall.dns.resolver import Answer
from seawall.errors import AddressNotAllowed, DialError, DialTimeout, HandshakeTimeout
from seawall.origin import Address, Origin
from seawall.policy.cap import Slots
from seawall.policy.ejection import Ejections
from seawall.testing import FixedRandom, VirtualLoop
from seawall.wire.addresses import BAD_FOR, Addresses
from seawall.wire.alpn import Versions
from seawall.wire.connector import Wire
from seawall.wire.dial import CHECKED_AT_ONCE, Dialler
from seawall.wire.http1.connection import Connection
from seawall.wire.message import Message
from seawall.wire.pool import Pool
from seawall.wire.progress import Progress
from seawall.wire.race import ATTEMPT_DELAY, MAX_ADDRESSES, dial_error

pytestmark = pytest.mark.anyio

ORIGIN = Origin("http", "many.test", 80)
A, B, C, SIX, SEVEN = (Address(ip) for ip in ("8.8.8.1", "8.8.8.2", "8.8.8.3", "2600::1", "2600::2"))
BAD = Address("10.0.0.1")
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
UNREACHABLE = OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
NEVER = math.inf  # a black hole
OWN = {True: Source(as_number("2001:db8::9") or 0), False: Source(as_number("198.51.100.9") or 0)}


class Network(VirtualLoop):
    """By IP: s that a connect takes, what it fails with, or both. All others refuse at once."""

    def __init__(self) -> None:
        super().__init__()
        self.hosts: dict[str, float | OSError | tuple[float, OSError]] = {}
        self.connects: list[tuple[float, str]] = []
        self.sockets: list[socket.socket] = []

    async def sock_connect(self, sock: socket.socket, address: tuple) -> None:
        self.sockets.append(sock)
        self.connects.append((self.time(), address[0]))
        found = self.hosts.get(address[0], REFUSED)
        delay, error = found if isinstance(found, tuple) else (0.0, found)
        if isinstance(error, float | int):
            delay, error = error, None
        if delay:
            await (asyncio.sleep(delay) if delay < NEVER else self.create_future())
        if error is not None:
            raise type(error)(*error.args)

    @property
    def dialled(self) -> list[str]:
        return [ip for _, ip in self.connects]

    @property
    def open(self) -> int:
        return sum(sock.fileno() != -1 for sock in self.sockets)


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": Network}


class Quiet(Connection):
    """Keeps the socket, and doesn't read from it."""

    async def connect(self, sock: socket.socket) -> None:
        self.sock = sock

    def hold(self) -> None:
        pass

    async def handshake(self, context: object, name: str) -> None:
        await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        self.sock.close()


class Streams(Versions):
    def connection(self, origin: Origin) -> Connection:
        return Quiet(origin, memoryview(bytearray(1)))


def network() -> Network:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Network)
    return loop


class Client:
    """A dialler of one name."""

    def __init__(self, *addresses: Address, guard: Guard | None = None, has_ipv6: bool = True) -> None:
        loop, rng = network(), FixedRandom(0.0)
        self.answer = Answer(addresses, None, "dns")
        self.known = Addresses(
            now=loop.time,
            rng=rng,
            ejections=Ejections(now=loop.time, rng=rng),
            precedence=Precedence(GLIBC, lambda to: OWN[to.is_ipv6] if has_ipv6 or not to.is_ipv6 else None),
        )
        self.dialler = Dialler(
            tls=lambda **_: None,  # type: ignore[arg-type,return-value]
            guard=guard,
            addresses=self.known,
            versions=Streams(http1=True, http2=False),
            spare=lambda: False,
        )

    async def dial(self, late=None, answer: Answer | None = None) -> tuple[str, float]:
        """Whom it connected to, and after how long; the connection is closed."""
        began_at = network().time()
        progress = Progress(network().time, began_at)
        connection = await self.dialler.dial(ORIGIN, answer or self.answer, progress, late=late)
        connection.close()
        assert progress.address is not None
        return progress.address.ip, network().time() - began_at

    def bad(self) -> list[Address]:
        return [address for address in self.answer.addresses if self.known.is_bad(ORIGIN, address)]


def coming(after: float, *addresses: Address):
    """A family that comes late."""

    async def late() -> list[Address]:
        await asyncio.sleep(after)
        return list(addresses)

    return late


@pytest.mark.parametrize("round_trip", [0.26, 0.3, 0.49, 0.6, 1.0, 2.0])
async def test_losing_a_race_is_no_fault(round_trip):
    """Three healthy addresses on a far continent all have their turns, and none is marked, however many are dialled."""
    network().hosts = dict.fromkeys((A.ip, B.ip, C.ip), round_trip)
    client = Client(A, B, C)
    firsts = Counter()
    for _ in range(30):
        winner, took = await client.dial()
        firsts[winner] += 1
        assert took == pytest.approx(round_trip)
        assert client.bad() == []
    assert firsts == {A.ip: 10, B.ip: 10, C.ip: 10}
    assert network().open == 0


async def test_jitter_is_no_fault():
    """An address that is outrun now and then, and else is the first to connect, keeps its turns."""
    client = Client(A, B)
    for number in range(20):
        network().hosts = {A.ip: 0.7 if number % 4 == 0 else 0.3, B.ip: 0.3}
        await client.dial()
        assert client.bad() == []


@pytest.mark.parametrize(("round_trip", "costly"), [(0.0, 1), (0.01, 1), (0.12, 1), (0.2, 2), (0.3, 2), (1.0, 2)])
async def test_black_hole_costs_its_delay_once_or_twice(round_trip, costly):
    """Then it is tried last: once it ran for three times what the winner needed, or was outrun twice in a row."""
    network().hosts = {A.ip: NEVER, B.ip: round_trip}
    client = Client(A, B)
    times = [(await client.dial())[1] for _ in range(10)]
    assert sum(time > round_trip + 0.2 for time in times) == costly
    assert client.bad() == [A]
    assert network().open == 0


async def test_two_black_holes():
    """Both are found out by one race, which both had had their time in."""
    network().hosts = {A.ip: NEVER, B.ip: NEVER, C.ip: 0.01}
    client = Client(A, B, C)
    assert await client.dial() == (C.ip, pytest.approx(2 * ATTEMPT_DELAY + 0.01))
    assert client.bad() == [A, B]
    assert await client.dial() == (C.ip, pytest.approx(0.01))


async def test_failures_between():
    """Who refuses is bad; who was outrun after that only if it ran three times as long, or for the second time."""
    network().hosts = {A.ip: NEVER, B.ip: (0.1, REFUSED), C.ip: 0.2}
    client = Client(A, B, C)
    assert await client.dial() == (C.ip, pytest.approx(0.55))
    assert client.bad() == [B]
    network().hosts[C.ip] = 0.1
    client = Client(A, B, C)
    assert await client.dial() == (C.ip, pytest.approx(0.45))
    assert client.bad() == [A, B]


async def test_outrun_twice_but_connected_in_between():
    """A connection that it took says that it lives."""
    known = Client(A, B).known
    known.order(ORIGIN, Answer((A, B), None, "dns"), ())
    known.outrun(ORIGIN, A, ran=0.6, needed=0.3)
    known.connected(ORIGIN, A)
    known.outrun(ORIGIN, A, ran=0.6, needed=0.3)
    assert not known.is_bad(ORIGIN, A)
    known.outrun(ORIGIN, A, ran=0.6, needed=0.3)
    assert known.is_bad(ORIGIN, A)


async def test_sixty_addresses_with_one_good_one():
    """Fifty-nine refuse at once: the good one is reached in the same dial, in no time."""
    many = [Address(f"8.8.{number}.8") for number in range(60)]
    network().hosts = {many[-1].ip: 0.01}
    client = Client(*many)
    assert await client.dial() == (many[-1].ip, pytest.approx(0.01))
    assert len(network().dialled) == 60
    assert client.bad() == many[:-1]
    assert await client.dial() == (many[-1].ip, pytest.approx(0.01))
    assert len(network().dialled) == 61


async def test_name_with_a_thousand_dead_addresses_is_no_port_scan():
    """A dial ends with the sixty-fourth; what it says names some of them."""
    client = Client(*[Address(f"8.8.{number // 250}.{number % 250}") for number in range(1000)])
    with pytest.raises(DialError, match=rf"connection refused \(tried .* and {MAX_ADDRESSES - 8} others\)") as caught:
        await client.dial()
    assert len(network().dialled) == len(set(network().dialled)) == MAX_ADDRESSES
    assert str(caught.value).count("8.8.") == 8
    with pytest.raises(DialError):
        await client.dial()
    assert len(set(network().dialled)) == 2 * MAX_ADDRESSES  # others, for these are bad


async def test_late_addresses_count_too():
    """Of more than a dial may try, the family that came late has its share."""
    late = [Address(f"2600::{number:x}") for number in range(100)]
    with pytest.raises(DialError):
        await Client(*[Address(f"8.8.0.{number}") for number in range(60)]).dial(coming(0.0, *late))
    dialled = network().dialled
    assert len(dialled) == MAX_ADDRESSES
    assert sum(":" in ip for ip in dialled) >= MAX_ADDRESSES // 2 - 1


async def test_machine_without_ipv6():
    """IPv4 first, at once, and the addresses to which there is no route last of all."""
    network().hosts = {A.ip: 0.01, SIX.ip: UNREACHABLE}
    client = Client(SIX, SEVEN, A, B, has_ipv6=False)
    assert await client.dial() == (A.ip, pytest.approx(0.01))
    network().hosts = {}
    network().connects.clear()
    with pytest.raises(DialError):
        await client.dial()
    assert network().dialled == [B.ip, A.ip, SEVEN.ip, SIX.ip]


async def test_unreachable_is_last_even_where_the_others_are_bad():
    """No route is worse than a failure a moment ago."""
    client = Client(SIX, A, has_ipv6=False)
    client.known.order(ORIGIN, client.answer, ())
    client.known.mark_bad(ORIGIN, A)
    assert client.known.order(ORIGIN, client.answer, ()) == [A, SIX]


async def test_late_family_is_next():
    """One of it follows the first attempt, then they go in turn; what of it is bad or unreachable comes last."""
    network().hosts = dict.fromkeys((A.ip, B.ip, C.ip, SIX.ip, SEVEN.ip), NEVER)
    client = Client(A, B, C)
    dial = asyncio.create_task(client.dial(coming(0.1, SIX, SEVEN)))
    await asyncio.sleep(1.5)
    assert network().dialled == [A.ip, SIX.ip, B.ip, SEVEN.ip, C.ip]
    dial.cancel()
    await asyncio.wait([dial])
    assert network().open == 0
    network().connects.clear()
    client = Client(A, B, has_ipv6=False)
    client.known.order(ORIGIN, client.answer, ())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.9):
            await client.dial(coming(0.1, SIX))
    assert network().dialled == [B.ip, A.ip, SIX.ip]


@pytest.mark.parametrize("first", [A, SIX])
async def test_guard_refuses_late_addresses(first):
    """The name is refused whole while the race goes on, whichever family came first; nothing is dialled any more."""
    network().hosts = {first.ip: NEVER}
    client = Client(first, guard=Guard())
    with pytest.raises(AddressNotAllowed, match=r"10\.0\.0\.1"):
        await client.dial(coming(0.1, B, BAD))
    assert network().time() == pytest.approx(0.1)
    assert network().dialled == [first.ip]
    assert network().open == 0


async def test_guard_refuses_what_comes_with_the_winner():
    """In the same turn of the loop: the connection is closed."""
    network().hosts = {A.ip: 0.1}
    with pytest.raises(AddressNotAllowed):
        await Client(A, guard=Guard()).dial(coming(0.1, BAD))
    assert network().open == 0


async def test_guard_looks_at_all_addresses_once():
    """Of thousands too, of which a dial looks at some: the verdict is kept with the answer, and others have a turn."""

    class Counting(Guard):
        looked_at = 0

        def refusal(self, ip: str) -> str | None:
            Counting.looked_at += 1
            return super().refusal(ip)

    network().hosts = dict.fromkeys((f"8.8.{number // 250}.{number % 250}" for number in range(4000)), 0.01)
    many = [Address(ip) for ip in network().hosts]
    client = Client(*many, guard=Counting())
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while Counting.looked_at < len(many):
            before = Counting.looked_at
            await asyncio.sleep(0)
            turns += 1
            assert Counting.looked_at - before <= CHECKED_AT_ONCE

    other = asyncio.create_task(turn())
    await client.dial()
    await other
    assert Counting.looked_at == len(many)
    assert turns >= len(many) // CHECKED_AT_ONCE
    await client.dial()
    assert Counting.looked_at == len(many)
    bad = Answer((*many[:-1], BAD), None, "dns")
    for _ in range(2):
        with pytest.raises(AddressNotAllowed, match=r"10\.0\.0\.1"):
            await client.dial(answer=bad)
        Counting.looked_at = 0
    with pytest.raises(AddressNotAllowed):
        await client.dial(answer=bad)
    assert 0 < Counting.looked_at <= 3  # the one that it refused
    await client.dial(answer=Answer(tuple(many), None, "dns"))
    assert Counting.looked_at >= len(many)  # another answer


class Names:
    """Notes what it is told; gives always the same answer."""

    def __init__(self, *addresses: Address) -> None:
        self.answer = Answer(addresses, None, "dns")
        self.disproved: list[Origin] = []
        self.error: DialError | None = None

    async def resolve(self, origin: Origin) -> Answer:
        return self.answer

    def late(self, origin: Origin) -> None:
        return None

    def disprove(self, origin: Origin) -> None:
        self.disproved.append(origin)


async def send(names: Names, origin: Origin = ORIGIN, *, connect: float = 2.0) -> list[Address]:
    """Which addresses are bad after a request that ends before a connection is there."""
    loop, client = network(), Client()
    pool = Pool(Slots(None), max_idle=None, expiry=None, now=loop.time)
    wire = Wire(pool, client.dialler, names, now=loop.time, passages=None)  # type: ignore[arg-type]
    message = Message(origin, b"GET", b"/", [], None, None, {"timeout": {"connect": connect}})
    with pytest.raises(DialError) as caught:
        await wire.send(message, Progress(loop.time, loop.time()))
    names.error = caught.value
    assert (pool.open, loop.open) == (0, 0)
    return [each for each in names.answer.addresses if client.known.is_bad(origin, each)]


@pytest.mark.parametrize("addresses", [(A,), (A, B), (A, B, SIX)])
async def test_refused_by_all(addresses):
    """The resolver hears that what it knows has been disproved; of several, each address is bad for a while."""
    names = Names(*addresses)
    assert await send(names) == ([] if len(addresses) == 1 else list(addresses))
    assert names.disproved == [ORIGIN]


@pytest.mark.parametrize("addresses", [(A,), (A, B)])
async def test_hung_all(addresses):
    """The same where the connect timeout ended it."""
    network().hosts = dict.fromkeys((A.ip, B.ip), NEVER)
    names = Names(*addresses)
    assert await send(names) == ([] if len(addresses) == 1 else [A, B])
    assert isinstance(names.error, DialTimeout)
    assert names.disproved == [ORIGIN]


async def test_just_begun_when_the_time_was_up():
    """An attempt that had not had its time is not to blame; with a short connect timeout, half of that is enough."""
    network().hosts = dict.fromkeys((A.ip, B.ip, C.ip), NEVER)
    assert await send(Names(A, B, C), connect=0.6) == [A, B]
    assert await send(Names(A, B, C), connect=0.1) == [A]


async def test_loser_of_the_race_is_not_to_blame_for_the_handshake():
    """It hangs with the winner: that one is bad, and the name is asked for again."""
    secure = ORIGIN._replace(scheme="https")
    network().hosts = dict.fromkeys((A.ip, B.ip, C.ip), 0.7)
    names = Names(A, B, C)
    assert await send(names, secure) == [A]
    assert isinstance(names.error, HandshakeTimeout)
    assert names.disproved == [secure]


async def test_no_descriptor_disproves_nothing(monkeypatch):
    """It is this process that has none."""

    def none(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    names = Names(A, B)
    loop, client = network(), Client()
    pool = Pool(Slots(None), max_idle=None, expiry=None, now=loop.time)
    wire = Wire(pool, client.dialler, names, now=loop.time, passages=None)  # type: ignore[arg-type]
    monkeypatch.setattr(socket, "socket", none)
    with pytest.raises(DialError, match="no connection is idle"):
        await wire.send(Message(ORIGIN, b"GET", b"/", [], None, None, {}), Progress(loop.time, loop.time()))
    monkeypatch.undo()
    assert names.disproved == []


async def test_cancelled_dial_disproves_nothing():
    """Nor does it mark anybody: the caller had no more patience."""
    network().hosts = dict.fromkeys((A.ip, B.ip), NEVER)
    names = Names(A, B)
    sending = asyncio.create_task(send(names))
    await asyncio.sleep(1.0)
    sending.cancel()
    await asyncio.wait([sending])
    assert sending.cancelled()
    assert names.disproved == []
    assert network().open == 0


async def test_mark_is_over_after_its_time():
    """A black hole that lives again has its turn."""
    network().hosts = {A.ip: NEVER, B.ip: 0.01}
    client = Client(A, B)
    await client.dial()
    network().hosts[A.ip] = 0.01
    await asyncio.sleep(BAD_FOR)
    assert {(await client.dial())[0] for _ in range(2)} == {A.ip, B.ip}


@pytest.mark.parametrize(
    ("codes", "is_refused", "is_shortage", "advice"),
    [
        (("ECONNREFUSED",), True, False, "connection refused (tried"),
        (("EADDRNOTAVAIL",), False, True, "ip_local_port_range"),
        (("EADDRNOTAVAIL", "ECONNREFUSED"), True, False, "connection refused (tried"),
        (("EADDRNOTAVAIL", "EMFILE"), False, True, "RLIMIT_NOFILE"),
        (("ECONNREFUSED", "ETIMEDOUT"), False, False, "(tried"),
    ],
)
def test_whose_fault_it_is(codes, is_refused, is_shortage, advice):
    """Where this machine lacks IPv6, the error of the IPv4 address decides."""
    errors = [OSError(getattr(errno, code), "") for code in codes]
    error = dial_error(Origin("http", "a.test", 80), errors, [Address("127.0.0.1")])
    assert (error.is_refused, error.is_shortage) == (is_refused, is_shortage)
    assert advice in str(error)
