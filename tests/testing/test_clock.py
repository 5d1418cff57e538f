"""The virtual clock: exact, and an error at once where it would have to wait."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time

import anyio
import httpx
import pytest

import seawall
from seawall.testing import ScriptedWire
from seawall.testing.clock import VIRTUAL, Deadlock, VirtualLoop, VirtualTimeError, run

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL


def now() -> float:
    return asyncio.get_running_loop().time()


async def forever() -> None:
    await asyncio.Event().wait()


async def test_time_starts_at_0_and_jumps():
    """A day is nothing."""
    began_at = time.perf_counter()
    assert now() == 0.0
    await anyio.sleep(80_000.5)
    await asyncio.sleep(3 * 86_400.0)  # more than a selector is ever asked to wait
    assert now() == 80_000.5 + 3 * 86_400.0
    assert time.perf_counter() - began_at < 60.0


async def test_instants_are_those_of_the_timers():
    """To the last bit: not the clock plus a difference."""
    loop = asyncio.get_running_loop()
    seen: list[tuple[float, float]] = []
    await asyncio.sleep(0.7)
    instants = [0.7 + 0.1 * n / 3 for n in range(1, 2000)]
    for at in instants:
        loop.call_at(at, lambda at=at: seen.append((at, loop.time())))
    await asyncio.sleep(100)
    assert [at for at, _ in seen] == instants
    assert all(at == seen_at for at, seen_at in seen)


async def test_no_timer_comes_before_its_instant():
    """Two that the loop takes for due together: the later one is not called early, to wait on for ever."""
    loop = asyncio.get_running_loop()
    early: list[float] = []
    for at in (0.3, 0.1 + 0.2, 0.3 + 5e-10, 0.3 + 12e-10):
        loop.call_at(at, lambda at=at: early.append(at - loop.time()))
    await asyncio.sleep(1)
    assert len(early) == 4
    assert max(early) <= 0.0
    assert now() == 1.0


async def test_cancelled_timers_move_nothing():
    """Nor does one that is due already."""
    loop = asyncio.get_running_loop()
    loop.call_at(0.5, forever).cancel()
    loop.call_at(2.0, forever).cancel()
    done = asyncio.Event()
    loop.call_later(1.0, done.set)
    await done.wait()
    assert now() == 1.0
    await asyncio.wait_for(asyncio.sleep(0), 5)
    await asyncio.sleep(-1)
    assert now() == 1.0


async def test_timeouts_of_asyncio_and_anyio():
    """They end at their instant."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await forever()
    assert now() == 0.1
    with pytest.raises(TimeoutError), anyio.fail_after(0.2):
        await anyio.sleep_forever()
    assert now() == 0.1 + 0.2
    with anyio.move_on_after(1) as scope:
        await asyncio.sleep(2)
    assert scope.cancelled_caught


async def test_order_of_timers():
    """By instant; where that is the same, as the event loop likes."""
    order: list[int] = []

    async def note(number: int, delay: float) -> None:
        await asyncio.sleep(delay)
        order.append(number)

    await asyncio.gather(note(0, 2.0), note(1, 1.0), note(2, 1.5), note(3, 0.5))
    assert order == [3, 1, 2, 0]


async def test_another_thread_may_wake_the_loop():
    """call_soon_threadsafe goes through the loop's own pipe; time stands still."""
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(woken.set,))
    thread.start()
    thread.join()
    await woken.wait()
    assert now() == 0.0


async def test_client_over_a_scripted_wire():
    """A whole client needs no socket and no thread, its resolver and its DNS channels included."""
    async with seawall.AsyncClient(transport=ScriptedWire(500, 200)) as client:
        assert (await client.get("http://api.test")).status_code == 200
    async with seawall.AsyncClient():
        pass
    assert 0.0 <= now() <= 0.1


async def test_client_without_one_says_so():
    """Neither a hang nor a jump over what the network would have done."""
    async with seawall.AsyncClient(retry=None) as client:
        with pytest.raises((httpx.ConnectError, VirtualTimeError)) as caught:
            await client.get("http://127.0.0.1:9")
    chain = [caught.value]
    while chain[-1] is not None:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    assert any(isinstance(error, VirtualTimeError) for error in chain), chain


async def test_threads_are_refused():
    """With what was to run, and why; names are looked up in a thread too."""
    loop = asyncio.get_running_loop()
    with pytest.raises(VirtualTimeError, match=r"takes_long in a thread takes real time"):
        await asyncio.to_thread(takes_long)
    with pytest.raises(VirtualTimeError, match="getaddrinfo in a thread"):
        await loop.getaddrinfo("localhost", 80)
    with pytest.raises(VirtualTimeError, match="getnameinfo in a thread"):
        await loop.getnameinfo(("127.0.0.1", 80))


def takes_long() -> None:
    raise AssertionError("it ran")


async def test_sockets_are_refused():
    """Whoever waits for one is told."""
    loop = asyncio.get_running_loop()
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        with pytest.raises(VirtualTimeError, match=r"socket or pipe .* takes real time"):
            loop.add_reader(one, takes_long)
        with pytest.raises(VirtualTimeError):
            await loop.sock_recv(one, 1)


def test_run_returns_what_main_does():
    """And closes the loop: async generators and the executor included."""

    async def numbers():
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)
            closed.append(now())

    async def main() -> int:
        nonlocal generator
        asyncio.create_task(forever())  # noqa: RUF006
        generator = numbers()
        number = await anext(generator)
        await asyncio.sleep(3600)
        return number

    generator, closed = None, []
    assert run(main()) == 1
    assert closed == [3660.0]


def test_loop_can_be_run_again():
    """As anyio's runner does, between fixtures and tests: the time goes on."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(asyncio.sleep(5))
        runner.get_loop().run_until_complete(asyncio.sleep(5))
        assert runner.get_loop().time() == 10.0


def test_deadlock_is_told_at_once():
    """With who waits, and at which line; after it the loop can be closed as ever."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(forever(), name="reader")
            group.create_task(asyncio.sleep(7), name="sleeper")

    with pytest.raises(Deadlock, match=r"no timer is set, at 7 s; waiting:") as caught:
        run(main())
    assert [line.split(" in ")[-1] for line in str(caught.value).splitlines()[1:]] == ["main", "forever"]
    assert f"reader at {__name__.rpartition('.')[2]}.py:{forever.__code__.co_firstlineno + 1} in forever" in str(
        caught.value
    )


def test_what_never_ends_ends_at_max_time():
    """A keep-alive that re-arms for ever; the default is a week."""

    async def keep_alive() -> None:
        while True:
            await asyncio.sleep(3600)

    with pytest.raises(
        VirtualTimeError, match=r"604800 s of virtual time \(max_time\) have passed .*\n  \S+ at \S+ in keep_alive"
    ):
        run(keep_alive())
    with pytest.raises(VirtualTimeError, match=r"86400 s of virtual time"):
        run(keep_alive(), max_time=86_400)
    with pytest.raises(VirtualTimeError, match="have passed"):
        run(asyncio.sleep(float("inf")))
    run(asyncio.sleep(86_400), max_time=86_400)
    run(asyncio.sleep(40 * 86_400), max_time=40 * 86_400)


@pytest.mark.parametrize(
    ("max_time", "error"), [(0, ValueError), (3456001, ValueError), (float("inf"), ValueError), ("1", TypeError)]
)
def test_max_time_that_is_none(max_time, error):
    """Named, with what it may be."""
    with pytest.raises(error, match=r"VirtualLoop\.max_time must be .*> 0 and <= 3\.456e\+06"):
        VirtualLoop(max_time=max_time)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows")
def test_signals_reach_the_loop():
    """Through its own pipe, which is no socket of the test's."""

    async def main() -> float:
        got = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got.set)
        signal.raise_signal(signal.SIGUSR1)
        await got.wait()
        return now()

    assert run(main()) == 0.0
