"""Leaks are found and named, what is none is not, and cancellation strikes everywhere."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio.to_thread
import httpx
import pytest

import seawall
from seawall.testing import Request, ScriptedWire, Server, run
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.leaks import Leaked, held, no_leaks

pytestmark = pytest.mark.anyio

LINUX = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


async def ok(request: Request) -> None:
    await request.reply(body=b"hello")


async def forever() -> None:
    await asyncio.Event().wait()


# async


async def test_nothing_left_is_fast():
    """A client, its server, tasks, threads that are kept and threads that end; none of the grace is waited for."""
    began_at = time.monotonic()
    async with no_leaks(grace=600) as check:
        async with Server(ok) as server, check.watch(seawall.AsyncClient()) as client:
            assert (await client.get(server.url)).content == b"hello"
        await asyncio.create_task(asyncio.sleep(0))
        await asyncio.to_thread(time.sleep, 0)
        await anyio.to_thread.run_sync(time.sleep, 0)
        threading.Thread(target=time.sleep, args=(0.05,)).start()
        asyncio.create_task(asyncio.sleep(0.03))  # noqa: RUF006
    assert time.monotonic() - began_at < 300


async def test_task_is_named_with_its_line():
    """The line of the test's own code, not of a lock's; and the current task is no leak."""
    task = None
    with pytest.raises(Leaked, match="left behind:") as caught:
        async with no_leaks(grace=0.05):
            task = asyncio.create_task(forever(), name="poller")
    (thing,) = caught.value.things
    assert thing == f"task poller at test_leaks.py:{forever.__code__.co_firstlineno + 1} in forever"
    task.cancel()


async def test_what_ends_in_the_next_rounds_is_none():
    """Even without any grace."""
    async with no_leaks(grace=0):
        asyncio.create_task(asyncio.sleep(0))  # noqa: RUF006


async def test_block_may_end_in_another_task():
    """As fixtures do, where each step is a task of its own: that one is no leak."""
    check = no_leaks(grace=0)
    await check.__aenter__()
    await asyncio.create_task(check.__aexit__())


async def test_what_was_there_before_is_none():
    """Tasks, sockets, threads of others."""
    other, (one, two), go_on = asyncio.create_task(forever()), socket.socketpair(), threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    async with no_leaks(grace=0):
        pass
    other.cancel()
    one.close()
    two.close()
    go_on.set()
    thread.join()


@LINUX
async def test_connection_is_named_with_both_ends():
    """A socket is told by its addresses; one that took the number of a closed one is found too."""
    async with Server(ok) as server:
        before = socket.create_connection((server.host, server.port))
        with pytest.raises(Leaked) as caught:  # noqa: PT012
            async with no_leaks(grace=0.05):
                fd = before.fileno()
                before.close()
                after = socket.create_connection((server.host, server.port))
                await asyncio.sleep(0.1)
        assert after.fileno() == fd
        host, port = after.getsockname()
        mine = f"fd {fd}: SOCK_STREAM socket at {host}:{port}, to {server.host}:{server.port}"
        assert mine in caught.value.things
        after.close()


async def test_permits_of_a_client():
    """A streamed response that nobody closed: a call, a permit, a connection; then all is given back."""
    async with Server(ok) as server, seawall.AsyncClient() as client:
        await client.get(server.url)
        response = await client.send(client.build_request("GET", server.url), stream=True)
        with pytest.raises(Leaked) as caught:
            async with no_leaks(client, grace=0):
                pass
        assert f"client: 1 permits of {server.url}" in caught.value.things
        assert "client: 1 of 1 connections neither idle nor closed" in caught.value.things
        assert "1 permits" in held(client.stats())[0] + held(client.stats())[1]
        await response.aclose()
        assert held(client.stats()) == []


async def test_waiters_are_held():
    """Who queues for a permit when the block ends."""
    async with seawall.AsyncClient(
        transport=ScriptedWire(60.0), bulkhead=seawall.Bulkhead(max_concurrent=1), deadline=None
    ) as c:
        calls = [asyncio.create_task(c.get("http://a.test")) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert held(c.stats()) == [
            "3 calls in flight",
            "1 permits of http://a.test:80",
            "2 waiters for http://a.test:80",
        ]
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert held(c.stats()) == []


async def test_block_that_raised_is_not_checked():
    """Its own error is the news."""
    with pytest.raises(KeyError):  # noqa: PT012
        async with no_leaks(grace=0):
            task = asyncio.create_task(forever())
            raise KeyError
    task.cancel()


async def test_with_in_a_loop_is_refused():
    """It could not let the loop run."""
    with pytest.raises(RuntimeError, match="async with no_leaks"), no_leaks():
        pass


# without a loop


@LINUX
def test_descriptors_are_named():
    """Files by path, listening sockets by address, pipes; closed, they are no leak."""
    with pytest.raises(Leaked) as caught, no_leaks(grace=0):  # noqa: PT012
        file, listener = open("/dev/null"), socket.create_server(("127.0.0.1", 0))  # noqa: SIM115
        pipe = os.pipe()
    port = listener.getsockname()[1]
    assert f"fd {file.fileno()}: /dev/null" in caught.value.things
    assert f"fd {listener.fileno()}: SOCK_STREAM socket at 127.0.0.1:{port}, listening" in caught.value.things
    assert len([thing for thing in caught.value.things if re.search(r"fd \d+: pipe:", thing)]) == 2
    with no_leaks(grace=0):
        file.close()
        listener.close()
        for fd in pipe:
            os.close(fd)


def test_threads_are_named():
    """But not those that end within the grace."""
    go_on = threading.Event()
    with pytest.raises(Leaked, match="thread worker_0"), no_leaks(grace=0.05):  # noqa: PT012
        pool = ThreadPoolExecutor(1, thread_name_prefix="worker")
        pool.submit(go_on.wait)
    go_on.set()
    pool.shutdown()
    with no_leaks(grace=20):
        threading.Thread(target=time.sleep, args=(0.05,)).start()


def test_server_in_a_thread_and_loops_of_its_own_leave_nothing():
    """As a blocking client's test has them."""
    with no_leaks(grace=20):
        with Server(ok) as server:
            assert httpx.get(server.url).text == "hello"
        asyncio.run(asyncio.to_thread(time.sleep, 0))


def test_sockets_are_seen_without_proc(monkeypatch):
    """Those that Python knows of."""
    monkeypatch.setattr("seawall.testing.leaks.DESCRIPTORS", "/no/such/folder")
    with no_leaks(grace=0):
        pass
    with pytest.raises(Leaked, match="listening"), no_leaks(grace=0):
        listener = socket.create_server(("127.0.0.1", 0))
    listener.close()


def test_arguments_that_are_none():
    """Named, with what they may be."""
    with pytest.raises(TypeError, match=r"clients must be seawall's"):
        no_leaks(httpx.Client)
    with pytest.raises(ValueError, match=r"no_leaks.grace must be .*>= 0"):
        no_leaks(grace=-1)


# cancel


async def test_every_point_is_struck_once():
    """Three awaits have a point before each and one before the end; hooks may be async, and run round each."""
    log: list[str] = []

    async def start() -> None:
        for number in range(3):
            log.append(str(number))
            await asyncio.sleep(0)

    async def after() -> None:
        log.append("after")

    assert await cancel_everywhere(start, before=lambda: log.append("before"), after=after) == 4
    assert "".join(log) == "beforeafter" + "before0after" + "before01after" + "before012after" + "before012"


async def test_swallowed_cancellation_is_told():
    """With the point, the line, and what came of it."""

    async def swallow() -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass

    async def turn() -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise KeyError("other") from None

    with pytest.raises(AssertionError, match=r"cancelled at point 1, \S+ at test_leaks.py:\d+ in swallow, it returned"):
        await cancel_everywhere(swallow)
    with pytest.raises(AssertionError, match=r"in turn, it raised KeyError\('other'\)"):
        await cancel_everywhere(turn)


def test_cancellation_that_is_waited_out_is_told():
    """A run that swallows it and waits on would hold up the test for ever."""

    async def swallow() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            await forever()

    with pytest.raises(AssertionError, match=r"cancelled at point 1, .* in forever, it went on for 60 s: Task-\d+ at"):
        run(cancel_everywhere(swallow))


async def test_leak_at_one_point_is_found():
    """A permit that a cancellation between two awaits loses."""
    permits = asyncio.Semaphore(1)

    async def careless() -> None:
        await permits.acquire()
        await asyncio.sleep(0)
        permits.release()

    def after() -> None:
        assert not permits.locked()

    with pytest.raises(AssertionError):
        await cancel_everywhere(careless, after=after)


async def test_what_start_raises_comes_out():
    """It is a bug of the test's."""

    async def broken() -> None:
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await cancel_everywhere(broken)


async def test_endless_start_is_told():
    """Within max_points, which is checked."""
    with pytest.raises(AssertionError, match="did not end within 50 rounds"):
        await cancel_everywhere(forever, max_points=50)
    with pytest.raises(ValueError, match="max_points must be a whole number >= 1"):
        await cancel_everywhere(forever, max_points=0)


async def test_cancelling_the_sweep_ends_what_it_started():
    """No task outlives it."""
    started: list[asyncio.Task] = []

    async def start() -> None:
        started.append(asyncio.current_task())
        await forever()

    sweep = asyncio.create_task(cancel_everywhere(start))
    while len(started) < 20:
        await asyncio.sleep(0)
    sweep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweep
    await asyncio.sleep(0)
    assert all(task.cancelled() for task in started)


def test_thread_of_pycares_is_no_leak():
    """The first channel that a process closes starts it, and it stays for all others."""
    code = """
import asyncio, seawall
from seawall.testing import no_leaks

async def main():
    async with no_leaks():
        dns = seawall.DNS(nameservers=("127.0.0.1:1",), timeout=0.2)
        client = seawall.AsyncClient(dns=dns, resolver="cares", retry=None)
        try:
            await client.get("http://a.test/")
        except seawall.ResolveError:
            pass
        await client.aclose()

asyncio.run(main())
import threading
print([thread.name for thread in threading.enumerate()])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "_run_safe_shutdown_loop" in done.stdout
