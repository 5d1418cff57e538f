"""The system's resolver, with a getaddrinfo that does as it is told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading

import pytest

from seawall.dns import system
from seawall.dns.system import SystemResolver
from seawall.errors import NameNotFound, NoAddress, ResolverFailure
from seawall.origin import Address

pytestmark = pytest.mark.anyio


@pytest.fixture
async def resolver():
    resolver = SystemResolver()
    yield resolver
    await resolver.aclose()


def finds(monkeypatch, found) -> None:
    def getaddrinfo(*arguments):
        if isinstance(found, Exception):
            raise found
        return found(*arguments) if callable(found) else found

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), NameNotFound),
        (socket.gaierror(socket.EAI_NODATA, "No address associated with hostname"), NoAddress),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), ResolverFailure),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure in name resolution"), ResolverFailure),
        (socket.gaierror(socket.EAI_SERVICE, "Servname not supported"), ResolverFailure),
        (OSError(errno.EIO, os.strerror(errno.EIO)), ResolverFailure),
        (UnicodeError("label empty or too long"), ResolverFailure),
    ],
)
async def test_errors_of_getaddrinfo_are_ours(resolver, monkeypatch, error, kind):
    """Each says that there is no such name, that it has no address, or that nobody knows; and what getaddrinfo said."""
    finds(monkeypatch, error)
    with pytest.raises(kind) as caught:
        await resolver.resolve("a.test", 80)
    assert type(caught.value) is kind
    said = error.strerror if isinstance(error, socket.gaierror) else str(error)
    assert str(caught.value) == f"a.test: system resolver: {said}"
    assert caught.value.__cause__ is error


async def test_addresses_are_those_of_getaddrinfo(resolver, monkeypatch):
    """In its order, each once, with the zone where there is one; none at all is NoAddress."""
    stream = (socket.SOCK_STREAM, 6, "")
    found = [
        (socket.AF_INET6, *stream, ("fe80::1%lo", 80, 0, 1)),
        (socket.AF_INET, *stream, ("192.0.2.1", 80)),
        (socket.AF_INET, *stream, ("192.0.2.1", 80)),
    ]
    finds(monkeypatch, found)
    answer = await resolver.resolve("a.test", 80)
    assert (answer.addresses, answer.ttl, answer.source) == (
        (Address("fe80::1%lo"), Address("192.0.2.1")),
        None,
        "system",
    )
    finds(monkeypatch, [])
    with pytest.raises(NoAddress):
        await resolver.resolve("a.test", 80)


async def test_getaddrinfo_is_asked_for_streams_of_one_family(resolver, monkeypatch):
    """Else each address would come three times."""
    asked = []

    def getaddrinfo(*arguments):
        asked.append(arguments)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

    finds(monkeypatch, getaddrinfo)
    await resolver.resolve("a.test", 80, family=socket.AF_INET)
    assert asked == [("a.test", 80, socket.AF_INET, socket.SOCK_STREAM)]


async def test_threads_and_those_who_wait_for_one_are_bounded(resolver, monkeypatch):
    """Four names that block are all that block; the 69th lookup fails at once; afterwards none counts."""
    go_on, running = threading.Event(), threading.Semaphore(0)

    def getaddrinfo(*arguments):
        running.release()
        go_on.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

    finds(monkeypatch, getaddrinfo)
    lookups = []
    try:
        for number in range(system.THREADS + system.MAX_WAITING):
            assert resolver.takes("another.test") == (number < system.THREADS)
            lookups.append(asyncio.create_task(resolver.resolve(f"{number}.test", 80)))
            await asyncio.sleep(0)
            assert not resolver.takes("0.test")
        with pytest.raises(ResolverFailure, match="68 lookups are in flight or waiting"):
            await resolver.resolve("more.test", 80)
        for _ in range(system.THREADS):
            assert running.acquire(timeout=20)
        assert not running.acquire(blocking=False)
    finally:
        go_on.set()
    assert {answer.addresses for answer in await asyncio.gather(*lookups)} == {(Address("192.0.2.1"),)}
    async with asyncio.timeout(20):
        while resolver._running:
            await asyncio.sleep(0)
    assert resolver.takes("0.test")


async def test_thread_that_cannot_be_started(resolver, monkeypatch):
    """It is a failure like any other, and isn't counted as a lookup in flight, which would end the fallback."""
    finds(monkeypatch, [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))])

    def fails(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        for _ in range(system.THREADS):
            with pytest.raises(ResolverFailure, match="can't start new thread"):
                await resolver.resolve("a.test", 80)
    assert resolver.takes("a.test")
    assert (await resolver.resolve("a.test", 80)).addresses == (Address("192.0.2.1"),)


async def test_lookup_that_is_cancelled_gives_up_its_place(resolver, monkeypatch):
    """It waits for a thread no longer, so names that block gather nothing; nor does closing leave a waiter."""
    go_on = threading.Event()

    def getaddrinfo(*arguments):
        go_on.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

    finds(monkeypatch, getaddrinfo)
    lookups = [asyncio.create_task(resolver.resolve(f"{number}.test", 80)) for number in range(2 * system.THREADS)]
    await asyncio.sleep(0)
    try:
        for lookup in lookups[system.THREADS + 1 :]:
            lookup.cancel()
        await asyncio.wait(lookups[system.THREADS + 1 :])
        await asyncio.sleep(0)
        assert (resolver._running, len(resolver._waiting)) == (system.THREADS + 1, 1)
        await resolver.aclose()
        with pytest.raises(asyncio.CancelledError):
            await lookups[system.THREADS]
    finally:
        go_on.set()
    assert len(await asyncio.gather(*lookups[: system.THREADS])) == system.THREADS


HANGS = """
import asyncio, socket, threading
from seawall.dns.system import SystemResolver

socket.getaddrinfo = lambda *_: threading.Event().wait()

async def main():
    resolver = SystemResolver()
    for _ in range(6):
        asyncio.create_task(resolver.resolve("a.test", 80))
    await asyncio.sleep(0)
    await resolver.aclose()

asyncio.run(main())
"""


def test_process_ends_though_a_lookup_hangs():
    """As it does in an outage of DNS, for up to half a minute, which is longer than a container has to end."""
    subprocess.run([sys.executable, "-c", HANGS], check=True, timeout=20)
