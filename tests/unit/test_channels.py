"""Which of c-ares' channels a question gets, and which are kept for the next, without c-ares."""

from __future__ import annotations

import asyncio
import os

import pytest

from seawall.dns import channels
from seawall.dns.channels import MAX_ASKED, MAX_CHANNELS, Channels

pytestmark = pytest.mark.anyio

A, B = ("a.test", "A"), ("b.test", "A")


class Channel:
    """In place of c-ares' own."""

    def __init__(self, *, use_tcp: bool) -> None:
        self.use_tcp = use_tcp
        self.server = ""
        self.owed = 0
        self.asked: set[tuple[str, str]] = set()
        self.is_closed = False

    def open(self, server: str) -> None:
        assert not self.is_closed
        self.server = server

    def empty(self) -> None:
        assert self.owed == 0
        self.asked.clear()

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(channels, "Channel", Channel)


def take(some: Channels, question: tuple[str, str] = A, *, server: str = "s", use_tcp: bool = False) -> Channel:
    channel = some.take(server, question, use_tcp=use_tcp)
    channel.asked.add(question)
    return channel


async def test_channel_is_used_again():
    """By the next question to any server, the last one first; those of TCP apart."""
    some = Channels()
    first, second = take(some), take(some, B)
    assert first is not second
    some.give_back(first)
    some.give_back(second)
    again = take(some, server="other")
    assert (again is second, again.server, again.owed) == (True, "other", 1)
    over_tcp = take(some, use_tcp=True)
    assert (over_tcp.use_tcp, over_tcp is first) == (True, False)
    some.give_back(over_tcp)
    assert take(some) is first
    assert take(some, use_tcp=True) is over_tcp


async def test_channels_of_a_server_are_bounded_and_then_shared():
    """Each question has its own; past that the one that owes the fewest answers, but none that was asked the same."""
    some = Channels()
    own = [take(some, (f"{number}.test", "A")) for number in range(MAX_CHANNELS)]
    assert len(set(map(id, own))) == MAX_CHANNELS
    shared = [take(some) for _ in range(MAX_CHANNELS)]
    assert {id(channel) for channel in shared} == {id(channel) for channel in own}
    assert {channel.owed for channel in own} == {2}
    extra = take(some)
    assert extra not in own  # all have been asked that
    assert take(some, server="other") not in own
    assert take(some, use_tcp=True) not in own
    some.give_back(own[5])
    assert {take(some, B), take(some, ("c.test", "A"))} == {own[5], extra}


async def test_channel_that_was_asked_much_takes_no_more(monkeypatch):
    """Because c-ares keeps all its answers."""
    monkeypatch.setattr(channels, "MAX_CHANNELS", 1)
    some = Channels()
    first = take(some)
    for number in range(MAX_ASKED - 1):
        assert take(some, (f"{number}.test", "A")) is first
    assert take(some, B) is not first


async def test_channel_is_kept_once_it_owes_nothing():
    """Not before; of more than `MAX_CHANNELS` the rest are closed."""
    some = Channels()
    all_of_them = [take(some, server=server) for server in "ab" for _ in range(MAX_CHANNELS)]
    extra = take(some, B, server="a")
    assert (extra in all_of_them, extra.owed) == (True, 2)
    some.give_back(extra)
    assert (extra.owed, extra.asked) == (1, {A, B})
    for channel in all_of_them:
        some.give_back(channel)
    assert [channel.is_closed for channel in all_of_them] == [False] * MAX_CHANNELS + [True] * MAX_CHANNELS
    assert extra.asked == set()
    some.close()
    assert all(channel.is_closed for channel in all_of_them)


def test_channel_of_another_loop_is_not_used_again():
    """Nor are those that were idle; one that is given back later is closed."""
    some = Channels()

    async def begins() -> tuple[Channel, Channel]:
        idle, busy = take(some), take(some)
        some.give_back(idle)
        return idle, busy

    async def goes_on(idle: Channel, busy: Channel) -> None:
        assert take(some) not in (idle, busy)
        some.give_back(busy)
        assert busy.is_closed
        assert take(some) not in (idle, busy)

    asyncio.run(goes_on(*asyncio.run(begins())))


async def test_channel_of_another_process_is_not_used_again(monkeypatch):
    """After a fork both would send the same random ids."""
    some = Channels()
    first = take(some)
    some.give_back(first)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert take(some) is not first


async def test_standing_is_a_servers():
    """It is kept until the resolver is closed."""
    some = Channels()
    assert some.standing("a") is some.standing("a")
    assert some.standing("a") is not some.standing("b")
    before = some.standing("a")
    some.close()
    assert some.standing("a") is not before
