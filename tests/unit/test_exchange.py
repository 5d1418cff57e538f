"""One attempt's way over our wire, on the virtual clock: names, dials and servers are scripted."""

from __future__ import annotations

import asyncio

import pytest

from seawall.dns.gai_conf import GLIBC
from seawall.dns.precedence import Precedence, Source
from seawall.dns.resolver import Answer
from seawall.errors import BulkheadFull, DialTimeout, HandshakeTimeout, ReadTimeout, ResolveTimeout, SeawallError
from seawall.events import Phase
from seawall.origin import Address, Origin
from seawall.policy.cap import Slots
from seawall.policy.ejection import Ejections
from seawall.testing import FixedRandom
from seawall.testing.clock import VIRTUAL
from seawall.wire.addresses import Addresses
from seawall.wire.alpn import Versions
from seawall.wire.connector import Answered, Wire
from seawall.wire.http1.connection import Connection
from seawall.wire.message import Message
from seawall.wire.pool import Pool
from seawall.wire.progress import Progress

from .noted import Noted, now, turns

pytestmark = pytest.mark.anyio

A = Origin("http", "a.test", 80)
ADDRESS = Address("192.0.2.1")


@pytest.fixture
def anyio_backend():
    return VIRTUAL


class Names:
    """Resolves after *delay* s; *still* is what it says of an address later on; counts how often it was asked."""

    delay = 0.0
    addresses = (ADDRESS,)
    still: bool | None = True
    asked = disproved = 0

    async def resolve(self, origin: Origin) -> Answer:
        await asyncio.sleep(self.delay)
        return Answer(self.addresses, None, "dns")

    def late(self, origin: Origin) -> None:
        return None

    def recheck_in(self, origin: Origin, address: Address) -> float:
        return 60.0

    async def is_still(self, origin: Origin, address: Address) -> bool | None:
        self.asked += 1
        return self.still

    def disprove(self, origin: Origin) -> None:
        self.disproved += 1


class Dials:
    """Connects after *connecting* s, and makes TLS in *handshake* s more."""

    connecting = handshake = 0.0

    def __init__(self) -> None:
        rng, clock = FixedRandom(0.0), asyncio.get_running_loop().time
        precedence = Precedence(GLIBC, lambda address: Source(1))  # there is a route to each
        ejections = Ejections(now=clock, rng=rng)
        self.addresses = Addresses(now=clock, rng=rng, ejections=ejections, precedence=precedence)
        self.versions = Versions(http1=True, http2=False)
        self.made: list[Connection] = []
        self.late = 0

    async def dial(self, origin: Origin, answer: Answer, progress: Progress, **_) -> Connection:
        self.addresses.order(origin, answer, progress.avoid)
        progress.reached(Phase.CONNECTING)
        await asyncio.sleep(self.connecting)
        progress.address = answer.addresses[0]
        progress.reached(Phase.TLS)
        await asyncio.sleep(self.handshake)
        connection = Connection(origin, memoryview(bytearray(1)))
        connection.connection_made(Noted())
        self.made.append(connection)
        return connection

    def mark_late(self, origin: Origin, progress: Progress, limit: float) -> None:
        assert limit == 2.0
        self.late += 1


class Sent:
    """The wire, and what it is used with."""

    def __init__(self, slots: int | None = None, **arguments) -> None:
        self.slots, self.names, self.dials = Slots(slots), Names(), Dials()
        clock = asyncio.get_running_loop().time
        self.pool = Pool(self.slots, max_idle=None, expiry=None, now=clock)
        self.wire = Wire(self.pool, self.dials, self.names, now=clock, passages=None, **arguments)

    async def send(self, *, waited: float = 0.0, origin: Origin = A, **timeouts: float | None) -> Answered:
        """Up to the head; *waited* s of its pool timeout were spent in the queue of a bulkhead."""
        self.progress = Progress(asyncio.get_running_loop().time, now())
        self.progress.waited = waited
        message = Message(origin, b"GET", b"/", [(b"Host", b"host", b"a")], b"", None, {"timeout": timeouts})  # type: ignore[arg-type]
        return await self.wire.send(message, self.progress)

    async def answered(self, status: int = 200, **timeouts: float | None) -> Answered:
        """By the connection that was made last."""
        task = asyncio.create_task(self.send(**timeouts))
        await turns()
        self.dials.made[-1].data_received(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\nok" % status)
        return await task


@pytest.mark.parametrize(
    ("resolving", "connecting", "handshake", "kind"),
    [(9.0, 0.0, 0.0, ResolveTimeout), (1.0, 9.0, 0.0, DialTimeout), (1.0, 0.5, 9.0, HandshakeTimeout)],
)
async def test_connect_timeout_covers_all_of_connecting(resolving, connecting, handshake, kind):
    """Resolving, dialling and TLS together; the error says which took the time."""
    sent = Sent(1)
    sent.names.delay, sent.dials.connecting, sent.dials.handshake = resolving, connecting, handshake
    with pytest.raises(SeawallError, match="longer than the connect timeout of 2 s") as caught:
        await sent.send(connect=2.0)
    assert (type(caught.value), now(), caught.value.elapsed) == (kind, 2.0, 2.0)
    assert (sent.slots.in_use, sent.dials.late) == (0, kind is not ResolveTimeout)
    assert sent.names.disproved == sent.dials.late


async def test_connect_timeout_stands_still_in_the_queue():
    """A slot is waited for under the pool timeout; resolving and dialling share what connecting has."""
    sent = Sent(1)
    first = await sent.answered()
    sent.names.delay, sent.dials.connecting = 1.0, 0.9
    task = asyncio.create_task(sent.send(connect=2.0, pool=60.0, read=5.0))
    await asyncio.sleep(30)
    first.abandon()
    with pytest.raises(ReadTimeout):
        await task
    assert now() == 30 + 0.9 + 5.0


@pytest.mark.parametrize(("waited", "left"), [(0.0, 3.0), (2.0, 1.0), (3.0, 0.0), (9.0, 0.0)])
async def test_pool_timeout_is_what_a_bulkhead_left_of_it(waited, left):
    """One limit for all queues."""
    sent = Sent(1)
    first = await sent.answered()
    with pytest.raises(BulkheadFull):
        await sent.send(waited=waited, pool=3.0)
    assert now() == left
    first.close()
    assert sent.pool.idle(A) == 1


async def test_pool_timeout_goes_on_after_a_connection_that_died_on_the_way():
    """It was handed over, and is over before who waited has its turn; the wait goes on for as long as is left."""
    sent = Sent(1)
    first = await sent.answered()
    task = asyncio.create_task(sent.send(pool=3.0))
    other = Origin("http", "b.test", 80)
    await asyncio.sleep(1)
    behind = asyncio.create_task(sent.send(origin=other, pool=None))
    await turns()
    first.close()
    sent.dials.made[0].close()
    await turns()
    assert len(sent.dials.made) == 2
    with pytest.raises(BulkheadFull):
        await task
    assert now() == 3.0
    behind.cancel()
    await asyncio.wait([behind])
    assert sent.slots.in_use == 0


async def test_connection_is_used_again():
    """Its address and its age are noted when it is made."""
    sent = Sent(max_age=10.0)
    for after in (0.0, 9.0):
        await asyncio.sleep(after)
        answer = await sent.answered()
        assert sent.progress.is_reused == bool(after)
        assert sent.progress.address == ADDRESS
        assert answer.take() == b"ok"
        assert answer.take() is None
        assert sent.pool.idle(A) == 1
    await asyncio.sleep(2.0)
    await sent.answered()
    assert (len(sent.dials.made), sent.dials.made[0].is_closed) == (2, True)


@pytest.mark.parametrize(("still", "asked", "made"), [(True, 3, 1), (None, 9, 1), (False, 3, 4)])
async def test_address_of_a_connection_is_looked_up_again(still, asked, made):
    """Each 60 s, as the name says: it is used on if it is in the record still; where nobody knows, each call asks."""
    sent = Sent()
    for _ in range(3):
        (await sent.answered()).close()
        await asyncio.sleep(10.0)
    assert sent.names.asked == 0
    sent.names.still = still
    for _ in range(10):
        await asyncio.sleep(20.0)
        (await sent.answered()).close()
    assert (sent.names.asked, len(sent.dials.made)) == (asked, made)


@pytest.mark.parametrize(("still", "asked", "made"), [(True, 1, 1), (None, 4, 1), (False, 1, 2)])
async def test_address_of_a_connection_that_is_handed_over_is_looked_up_again(still, asked, made):
    """Where the cap binds, connections go from call to call, and a name that moves must be noticed all the same."""
    sent = Sent(1)
    first = await sent.answered()
    await asyncio.sleep(70.0)
    sent.names.still = still
    for _ in range(4):
        task = asyncio.create_task(sent.send(pool=60.0))
        await turns()
        assert first.take() == b"ok"
        await turns()
        sent.dials.made[-1].data_received(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok")
        first = await task
    assert (sent.names.asked, len(sent.dials.made)) == (asked, made)
    assert sum(not connection.is_closed for connection in sent.dials.made) == 1
    first.close()


@pytest.mark.parametrize(
    ("status", "is_left_out"), [(200, False), (404, False), (501, False), (500, True), (503, True)]
)
async def test_address_that_is_blamed_is_left_out(status, is_left_out):
    """After five failures with no good answer between, where the name has others; its connections end with it."""
    sent = Sent()
    sent.names.addresses = (ADDRESS, Address("192.0.2.2"))
    for _ in range(4):
        (await sent.answered()).abandon()
        sent.wire.blame(A, {}, None, sent.progress)
    (await sent.answered(status)).close()
    for _ in range(4):
        sent.wire.blame(A, {}, None, sent.progress)
    usable = sent.dials.addresses._ejections.usable(A, sent.names.addresses)
    assert (ADDRESS not in usable) == is_left_out
    assert sent.pool.idle(A) == (0 if is_left_out else 1)


@pytest.mark.parametrize(
    ("phase", "is_reused", "is_last"),
    [
        (Phase.CONNECTING, False, False),
        (Phase.SENT, False, True),
        (Phase.SENT, True, False),
        (Phase.BODY, False, False),
    ],
)
async def test_address_that_is_blamed_is_tried_last(phase, is_reused, is_last):
    """One that took a new connection and gave no answer; a dial that fails marks its address by itself."""
    sent = Sent()
    sent.names.addresses = (ADDRESS, Address("192.0.2.2"))
    (await sent.answered()).abandon()
    sent.progress.phase, sent.progress.is_reused = phase, is_reused
    sent.wire.blame(A, {}, None, sent.progress)
    assert sent.dials.addresses.is_bad(A, ADDRESS) == is_last


async def test_wait_for_a_slot_is_noted():
    """Where the cap made an attempt wait, in seconds; an attempt that found a slot or a connection says nothing."""
    sent = Sent(1)
    first = await sent.answered()
    assert sent.progress.queued == ()
    task = asyncio.create_task(sent.send(pool=60.0))
    await asyncio.sleep(3)
    first.abandon()
    await turns()
    sent.dials.made[-1].data_received(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok")
    answered = await task
    assert (sent.progress.queued, sent.progress.waited) == ((("cap", 3.0),), 3.0)
    assert sent.progress.protocol == "HTTP/1.1"
    answered.close()
    await sent.answered()
    assert sent.progress.queued == ()
    with pytest.raises(BulkheadFull):
        await sent.send(pool=2.0)
    assert (sent.progress.queued, sent.progress.protocol) == ((("cap", 2.0),), "")
