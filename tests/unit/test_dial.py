"""Whom a dial asks, and when (RFC 8305), on the virtual clock: what an address does is scripted."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from seawall.dns.gai_conf import GLIBC
from seawall.dns.precedence import Precedence, Source
from seawall.dns.resolver import Answer
from seawall.errors import DialError
from seawall.origin import Address, Origin
from seawall.policy.ejection import Ejections
from seawall.testing import FixedRandom
from seawall.testing.clock import VIRTUAL
from seawall.wire.addresses import Addresses
from seawall.wire.alpn import Versions
from seawall.wire.dial import Dialler
from seawall.wire.http1.connection import Connection
from seawall.wire.progress import Progress
from seawall.wire.race import ATTEMPT_DELAY, LATE_GRACE
from seawall.wire.trace import Trace

from .noted import now, turns

pytestmark = pytest.mark.anyio

ORIGIN = Origin("http", "many.test", 80)
IPS = [f"192.0.2.{number}" for number in range(1, 21)]
HANGS = object()


@pytest.fixture
def anyio_backend():
    return VIRTUAL


class Race:
    """Dials of one name; *script* has what each address does: connects after so many s, fails so, or hangs."""

    def __init__(self, script: dict[str, object]) -> None:
        self.script = script
        self.sockets: list[socket.socket] = []
        clock, rng = asyncio.get_running_loop().time, FixedRandom(0.0)
        precedence = Precedence(GLIBC, lambda address: Source(1))  # there is a route to each
        ejections = Ejections(now=clock, rng=rng)
        self.addresses = Addresses(now=clock, rng=rng, ejections=ejections, precedence=precedence)
        self._dialler = Dialler(
            tls=lambda **_: pytest.fail("no TLS is wanted"),
            addresses=self.addresses,
            versions=Versions(http1=True, http2=False),
            spare=bool,
        )
        self.progress = Progress(clock, now())

    async def connect(self, sock: socket.socket, target: tuple[str, int]) -> None:
        self.sockets.append(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # else a small write may wait for an ACK
        match self.script[target[0]]:
            case Exception() as error:
                raise error
            case float() as delay:
                await asyncio.sleep(delay)
            case _:
                await asyncio.Event().wait()

    async def dial(self, *ips: str, late=None, trace=None) -> str:
        """The address that it is connected to."""
        answer = Answer(tuple(Address(ip) for ip in ips), None, "dns")
        connection = await self._dialler.dial(ORIGIN, answer, self.progress, late=late, trace=trace)
        assert isinstance(connection, Connection)
        return self.progress.address.ip

    @property
    def dials(self) -> list[tuple[str, float, str]]:
        return [(dial.address.ip, round(dial.at, 6), dial.outcome) for dial in self.progress.dials]

    def is_bad(self, ip: str) -> bool:
        return self.addresses.is_bad(ORIGIN, Address(ip))


@pytest.fixture
async def race(monkeypatch):
    """Makes a race of a script; no socket is open after it but the winner's."""
    made: list[Race] = []

    def race(script: dict[str, object]) -> Race:
        made.append(Race(script))
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", made[-1].connect, raising=False)
        return made[-1]

    won: list[socket.socket] = []

    async def take(self: Connection, sock: socket.socket) -> None:
        won.append(sock)

    monkeypatch.setattr(Connection, "connect", take)
    yield race
    open_ones = [sock for each in made for sock in each.sockets if sock.fileno() >= 0]
    assert open_ones == won
    for sock in won:
        sock.close()


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("ips", [IPS[:1], IPS[:2]])
async def test_trace_that_fails_leaves_no_socket(race, ips, is_cancelled):
    """Its callback is the caller's, and hears of a connection when it is there."""

    class Heard(Trace):
        def __init__(self) -> None:
            self._callback = self.hear

        async def hear(self, name: str, facts: dict[str, object]) -> None:
            if name.endswith("complete"):
                raise asyncio.CancelledError if is_cancelled else RuntimeError("in the callback")

    dialled = race(dict.fromkeys(ips, 0.1))
    with pytest.raises(asyncio.CancelledError if is_cancelled else RuntimeError):
        await dialled.dial(*ips, trace=Heard())
    assert len(dialled.sockets) == 1


async def test_next_address_is_dialled_every_250_ms(race):
    """While those before it hang; the first to connect wins, and those that it outran by far are tried last then."""
    dialled = race({IPS[0]: HANGS, IPS[1]: HANGS, IPS[2]: 0.1, IPS[3]: 0.0})
    assert await dialled.dial(*IPS[:4]) == IPS[2]
    assert now() == 2 * ATTEMPT_DELAY + 0.1
    assert sorted(dialled.dials) == [
        (IPS[0], 0.0, "abandoned"),
        (IPS[1], ATTEMPT_DELAY, "abandoned"),
        (IPS[2], 2 * ATTEMPT_DELAY, "connected"),
    ]
    assert [dialled.is_bad(ip) for ip in IPS[:4]] == [True, True, False, False]


async def test_next_address_is_dialled_at_once_where_one_fails(race):
    """And no sooner: one that is just slow has its 250 ms."""
    refused, unreachable = OSError(errno.ECONNREFUSED, "no"), OSError(errno.EHOSTUNREACH, "no")
    dialled = race({IPS[0]: refused, IPS[1]: unreachable, IPS[2]: 0.2, IPS[3]: 0.0})
    assert await dialled.dial(*IPS[:4]) == IPS[2]
    assert now() == 0.2
    assert [dial[1:] for dial in dialled.dials] == [
        (0.0, "connection refused"),
        (0.0, "no route to host"),
        (0.0, "connected"),
    ]
    assert [dialled.is_bad(ip) for ip in IPS[:4]] == [True, True, False, False]


async def test_slow_address_may_win_over_those_after_it(race):
    """It goes on while others are dialled."""
    dialled = race({IPS[0]: 0.6, IPS[1]: HANGS, IPS[2]: HANGS})
    assert await dialled.dial(*IPS[:3]) == IPS[0]
    assert now() == 0.6


async def test_error_names_all_that_was_tried(race):
    """Up to eight, and how many more; those that failed are tried last."""
    refused = OSError(errno.ECONNREFUSED, "no")
    dialled = race(dict.fromkeys(IPS, refused))
    for count, shown in ((8, IPS[:8]), (10, [*IPS[8:10], *IPS[1:7]])):
        with pytest.raises(DialError) as caught:
            await dialled.dial(*IPS[:count])
        tried = ", ".join(shown) + " and 2 others" * (count > 8)
        assert str(caught.value) == f"{ORIGIN}: can't connect: connection refused (tried {tried})"
    assert now() == 0
    dialled.script = dict.fromkeys(IPS, 0.0)
    assert await dialled.dial(*IPS) in IPS[10:]


@pytest.mark.parametrize(("after", "is_found"), [(0.0, True), (LATE_GRACE - 0.001, True), (LATE_GRACE + 0.001, False)])
async def test_addresses_that_are_still_to_come_have_a_moment(race, after, is_found):
    """Once all others have failed: RFC 8305's resolution delay, and no more."""
    dialled, before = race({IPS[0]: OSError(errno.ECONNREFUSED, "no"), IPS[1]: 0.0}), asyncio.all_tasks()

    async def late() -> list[Address]:
        await asyncio.sleep(after)
        return [Address(IPS[1])]

    if is_found:
        assert await dialled.dial(IPS[0], late=late) == IPS[1]
        assert now() == after
    else:
        with pytest.raises(DialError):
            await dialled.dial(IPS[0], late=late)
        assert now() == LATE_GRACE
    await turns()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
@pytest.mark.parametrize("comes", [True, False])
async def test_machine_without_ipv6_waits_for_ipv4_addresses(race, code, comes):
    """As long as the lookup takes, because the IPv6 addresses that it has are none for this machine."""
    dialled = race({"2001:db8::1": OSError(code, "no"), "2001:db8::2": OSError(code, "no"), IPS[0]: 0.0})

    async def late() -> list[Address]:
        await asyncio.sleep(1.5)
        return [Address("2001:db8::1"), Address("2001:db8::2"), *[Address(IPS[0])] * comes]

    if comes:
        assert await dialled.dial("2001:db8::1", "2001:db8::2", late=late) == IPS[0]
    else:
        with pytest.raises(DialError):
            await dialled.dial("2001:db8::1", "2001:db8::2", late=late)
    assert now() == 1.5


@pytest.mark.parametrize(
    "script",
    [
        {"2001:db8::1": errno.ENETUNREACH, IPS[0]: errno.ENETUNREACH},
        {"2001:db8::1": errno.ENETUNREACH, "2001:db8::2": errno.ECONNREFUSED},
        {IPS[0]: errno.EADDRNOTAVAIL},
    ],
)
async def test_machine_without_a_network_or_a_port_waits_for_no_addresses(race, script):
    """No more than a moment: both families are known, one refused, or it is the ports that are used up."""
    dialled = race({ip: OSError(code, "no") for ip, code in script.items()})
    with pytest.raises(DialError):
        await dialled.dial(*script, late=asyncio.Event().wait)
    assert now() == LATE_GRACE


async def test_addresses_that_come_late_join_the_race(race):
    """In their turn, and those that were dialled already not again."""
    first, second = IPS[:2]
    dialled = race({first: HANGS, second: 0.0})

    async def late() -> list[Address]:
        await asyncio.sleep(0.1)
        return [Address(ip) for ip in (first, second)]

    assert await dialled.dial(first, late=late) == second
    assert now() == ATTEMPT_DELAY
    assert len(dialled.dials) == 2


async def test_dial_that_is_cancelled_leaves_nothing(race):
    """No socket, no task, no load, whenever it is."""
    dialled, before = race({IPS[0]: HANGS, IPS[1]: HANGS}), asyncio.all_tasks()
    for after in (0.0, 0.1, 0.3):
        task = asyncio.create_task(dialled.dial(*IPS[:2]))
        await asyncio.sleep(after)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert asyncio.all_tasks() == before
        assert [dialled.addresses.load(ORIGIN, Address(ip)).in_flight for ip in IPS[:2]] == [0, 0]
