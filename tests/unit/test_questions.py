"""One question to several name servers, over channels that answer as they are told, on the virtual clock."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pycares
import pytest

from seawall.dns.cares import CaresResolver
from seawall.dns.questions import EREFUSED
from seawall.dns.resolver import Dangling
from seawall.dns.tries import Standing
from seawall.errors import NoAddress, ResolverFailure, ResolveTimeout
from seawall.origin import Address
from seawall.testing.clock import VIRTUAL

pytestmark = pytest.mark.anyio

TEXT = pycares.DNSRecord("a.test", 16, 1, 60, pycares.TXTRecordData(b"text"))
ALIAS = pycares.DNSRecord("a.test", 5, 1, 60, pycares.CNAMERecordData("b.test"))


@pytest.fixture
def anyio_backend():
    return VIRTUAL


def record(ip: str, ttl: int = 60) -> pycares.DNSRecord:
    return pycares.DNSRecord("a.test", 1, 1, ttl, pycares.ARecordData(ip))


class Channels:
    """In place of c-ares: each server answers with records or the code of an error, or never."""

    def __init__(self, **said: list[pycares.DNSRecord] | int | None) -> None:
        self.said = said
        self.sent: list[tuple[float, str]] = []
        self.taken = 0
        self._standings: dict[str, Standing] = {}

    def standing(self, server: str) -> Standing:
        return self._standings.setdefault(server, Standing())

    def take(self, server: str, question: tuple[str, str], *, use_tcp: bool) -> Channel:
        self.taken += 1
        self.sent.append((asyncio.get_running_loop().time(), server))
        return Channel(self.said[server])

    def give_back(self, channel: Channel) -> None:
        self.taken -= 1

    def close(self) -> None:
        assert self.taken == 0


class Channel:
    has_stream = is_shared = False

    def __init__(self, said: list[pycares.DNSRecord] | int | None) -> None:
        self._said = said

    def ask(self, question: tuple[str, str], heard: Callable[..., None]) -> bool:
        if isinstance(self._said, int):
            asyncio.get_running_loop().call_soon(heard, None, self._said)
        elif self._said is not None:
            asyncio.get_running_loop().call_soon(heard, pycares.DNSResult(self._said, [], []), None)
        return True


def over(channels: Channels) -> CaresResolver:
    resolver = CaresResolver()
    resolver._channels = channels
    return resolver


async def test_silence_ends_after_five_seconds():
    """Three tries at their instants; the error says how long it took and who was asked."""
    channels = Channels(a=None, b=None)
    names = over(channels)
    with pytest.raises(ResolveTimeout, match=r"^a\.test: DNS: a, b: no answer within 5\.0 s$"):
        await names.ask("a.test", socket.AF_INET, servers=["a", "b"])
    assert channels.sent == [(0.0, "a"), (0.5, "b"), (1.5, "a")]
    assert (asyncio.get_running_loop().time(), channels.taken) == (5.0, 0)
    await names.aclose()


async def test_failure_asks_the_next_server_at_once():
    """The first one isn't asked again, and the channel of each is given back."""
    channels = Channels(a=EREFUSED, b=[record("192.0.2.1", 30), record("192.0.2.2", 20)])
    names = over(channels)
    answer = await names.ask("a.test", socket.AF_INET, servers=["a", "b"])
    assert answer == ((Address("192.0.2.1"), Address("192.0.2.2")), 20.0, "dns", ())
    assert (channels.sent, channels.taken) == ([(0.0, "a"), (0.0, "b")], 0)
    await names.aclose()


@pytest.mark.parametrize(
    ("records", "error", "why"),
    [([TEXT], NoAddress, "has no address"), ([ALIAS], Dangling, "an alias of a name without")],
)
async def test_answer_without_addresses(records, error, why):
    """An error of its own for an alias, because a search ends with it; for services there is no record then."""
    names = over(Channels(a=records))
    with pytest.raises(error, match=why):
        await names.ask("a.test", socket.AF_INET, servers=["a"])
    with pytest.raises(NoAddress, match="no SRV record"):
        await names.services("a.test", servers=["a"])
    await names.aclose()


async def test_error_that_is_unknown_is_a_failure():
    """NOTAUTH, for one: c-ares has no code for it and says that the answer is empty. It denies nothing."""
    names = over(channels := Channels(a=[], b=[record("192.0.2.1", 30)]))
    assert (await names.ask("a.test", socket.AF_INET, servers=["a", "b"])).addresses == (Address("192.0.2.1"),)
    assert channels.sent == [(0.0, "a"), (0.0, "b")]
    with pytest.raises(ResolverFailure, match="none of the usual ones"):
        await names.ask("a.test", socket.AF_INET, servers=["a"])
    await names.aclose()


async def test_no_server_to_ask():
    """It fails at once."""
    names = over(Channels())
    with pytest.raises(ResolverFailure, match="no name server to ask"):
        await names.ask("a.test", socket.AF_INET, servers=[])
    await names.aclose()
