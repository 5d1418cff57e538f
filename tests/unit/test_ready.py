"""An origin that is away: who waits, who dials, who passes, and when. On virtual time."""

from __future__ import annotations

import asyncio
import errno
from contextvars import ContextVar

import pytest

import seawall
from seawall.policy.gate import Result
from seawall.policy.outcome import Outcome
from seawall.policy.ready import ReadyState
from seawall.testing import FixedRandom, cancel_everywhere
from seawall.testing.clock import VIRTUAL
from seawall.wire.race import dial_error
from seawall.wire.ready import Probers

pytestmark = pytest.mark.anyio

ORIGIN = seawall.Origin("http", "api.test", 80)
ANSWERED = Result(Outcome(seawall.events.Phase.BODY, status=503), True, 0.1)
BROKEN = Result(Outcome(seawall.events.Phase.SENT, seawall.WireError("reset")), True, 0.1)
WHOSE = ContextVar("whose", default="nobody's")


@pytest.fixture
def anyio_backend():
    return VIRTUAL


def now() -> float:
    return asyncio.get_running_loop().time()


class Away:
    """
    An origin that went away at 0 s, with its gate and its prober.

    Args:
        back_at: From then on it takes connections.
        hangs: A dial before that takes as many seconds.
        is_probed: It has a prober.
    """

    def __init__(
        self,
        back_at: float = 1e9,
        *,
        limit: int = 4,
        max_wait: float | None = 5.0,
        share: float = 1.0,
        hangs: float = 0.0,
        has_room: bool = False,
        is_probed: bool = True,
    ) -> None:
        self.back_at = back_at
        self.hangs = hangs
        self.room = has_room
        self.dials: list[float] = []
        self.contexts: list[str] = []
        self.passed: list[str] = []
        self.told: list[tuple[str, float]] = []
        self.over: list[float] = []
        self.probers = Probers(self, self.dial, now=now)
        self.gate = ReadyState(
            ORIGIN,
            seawall.Ready(max_wait=max_wait),
            limit=limit,
            now=now,
            rng=FixedRandom(share),
            prober=self.probers if is_probed else self,
            reason="connection refused",
            over=lambda: self.over.append(now()),
        )
        self.tasks: list[asyncio.Task[seawall.Ticket | seawall.DialError]] = []

    def has_room(self, origin: seawall.Origin) -> bool:
        return self.room

    def start(self, origin: seawall.Origin, away: ReadyState) -> None:
        """In place of the prober."""

    async def dial(self, origin: seawall.Origin) -> seawall.DialError | None:
        self.dials.append(round(now(), 6))
        self.contexts.append(WHOSE.get())
        await asyncio.sleep(self.hangs)
        return None if now() >= self.back_at else seawall.DialError("refused", is_refused=not self.hangs)

    async def wait(self, name: str, timeout: float | None = None) -> seawall.Ticket | seawall.DialError:
        try:
            ticket = await self.gate.enter(None, timeout)
        except seawall.DialError as error:
            self.told.append((name, round(now(), 6)))
            return error
        self.passed.append(name)
        return ticket

    async def begin(self, names: str, timeout: float | None = None) -> list[asyncio.Task]:
        tasks = [asyncio.create_task(self.wait(name, timeout)) for name in names]
        self.tasks += tasks
        await asyncio.sleep(0)
        return tasks

    async def run_until(self, instant: float) -> None:
        await asyncio.sleep(instant - now())


async def test_prober_dials_at_doubling_intervals():
    """After 20 ms, doubling to 0.25 s as long as calls wait; a last time when their wait ends, and they are told."""
    away = Away()
    (task,) = await away.begin("a")
    error = await task
    assert away.dials[:6] == [0.02, 0.06, 0.14, 0.3, 0.55, 0.8]
    assert (away.dials[-1], away.told) == (5.0, [("a", 5.0)])
    assert (error.is_away, error.elapsed, error.retry_at) == (True, 5.0, 5.5)
    assert "http://api.test:80: away for 5 s, and dialled again in 0.5 s (connection refused); raise Ready" in str(
        error
    )


async def test_intervals_are_jittered():
    """By a quarter, so that clients don't dial together."""
    away = Away(share=0.0)
    (task,) = await away.begin("a", 0.2)
    await task
    assert away.dials == [0.015, 0.045, 0.105]


async def test_waiters_pass_in_their_order():
    """Half of the limit at the first connection, another for each that gets no response, the rest at the first."""
    away = Away(back_at=0.05)
    tasks = await away.begin("abcdef")
    await away.run_until(0.07)
    assert (away.passed, away.gate.waiting) == (["a", "b"], 4)
    tasks[0].result().end(None, now())
    await asyncio.sleep(0)
    tasks[1].result().end(BROKEN, now())
    await asyncio.sleep(0)
    assert (away.passed, away.over) == (["a", "b", "c", "d"], [])
    tasks[2].result().end(ANSWERED, now())
    await asyncio.sleep(0)
    assert (away.passed, away.over) == (["a", "b", "c", "d", "e", "f"], [0.07])
    for task in tasks[3:]:
        task.result().end(ANSWERED, now())
    assert away.gate.is_idle
    assert away.over == [0.07]  # once


async def test_newcomer_doesn_t_overtake():
    """Once there is a connection, calls pass at once as far as the half allows, and none before those that wait."""
    away = Away(back_at=0.0, limit=4)
    assert away.gate.try_enter(None, now()) is None
    await away.begin("a")
    await away.run_until(0.03)
    assert away.gate.try_enter(None, now()) is not None
    assert away.gate.try_enter(None, now()) is None
    await away.begin("b")
    away.tasks[0].result().end(None, now())
    assert away.gate.try_enter(None, now()) is None
    await asyncio.sleep(0)
    assert away.passed == ["a", "b"]


async def test_rest_passes_without_a_response_after_a_second():
    """A response may be slow by nature, and others must not wait for it."""
    away = Away(back_at=0.0, limit=2)
    await away.begin("abc")
    await away.run_until(1.01)
    assert away.passed == ["a"]
    await away.run_until(1.03)
    assert (away.passed, away.over) == (["a", "b", "c"], [1.02])


async def test_one_prober_however_many_wait():
    """In a context of its own, and with one task."""
    WHOSE.set("a caller's")
    away = Away()
    await away.begin("abcdefgh", 0.1)
    await asyncio.wait(away.tasks)
    assert (away.dials, set(away.contexts)) == ([0.02, 0.06], {"nobody's"})


async def test_prober_goes_when_nobody_waits():
    """It doesn't dial for those that have left, and the next call's prober dials at once, where the wait is over."""
    away = Away()
    (task,) = await away.begin("a")
    await away.run_until(0.1)
    task.cancel()
    await away.run_until(1.0)
    assert (away.dials, len(away.probers), away.gate.next_at) == ([0.02, 0.06], 0, None)
    await away.run_until(60.0)
    (task,) = await away.begin("b")
    await task
    assert (away.dials[2:], away.told) == ([60.0], [("b", 60.0)])
    assert task.result().retry_at > 60.0


async def test_calls_fail_at_once_after_the_longest_wait():
    """The prober goes on at up to 1 s as long as somebody asks, so each call hears when it dials next."""
    away = Away(back_at=7.0)
    await away.begin("a")
    for instant in (5.1, 5.4, 5.6, 6.2, 6.7, 7.2):
        await away.run_until(instant)
        (task,) = await away.begin("b")
        await asyncio.sleep(0)
        assert task.done()
        assert task.result().retry_at >= now()
    assert away.dials[-3:] == [5.0, 5.5, 6.5]
    await away.run_until(7.6)
    assert away.dials[-1] == 7.5
    assert away.gate.try_enter(None, now()) is not None  # it is back


@pytest.mark.parametrize("timeout", [0.0, 0.05, 3.0])
async def test_connect_timeout_ends_a_wait(timeout):
    """At its instant, whatever the prober does."""
    away = Away(hangs=1.0)
    await away.begin("a", timeout)
    await asyncio.wait(away.tasks)
    assert away.told == [("a", timeout)]
    assert away.gate.is_idle


async def test_without_a_longest_wait_only_the_timeout_ends_it():
    """`Ready(max_wait=None)`, for callers that have time; the prober goes on at 0.25 s."""
    away = Away(back_at=100.0, max_wait=None)
    await away.begin("a")
    await away.run_until(100.3)
    assert away.passed == ["a"]
    assert max(b - a for a, b in zip(away.dials, away.dials[1:], strict=False)) == pytest.approx(0.25)


async def test_refused_once_more():
    """An origin that took a connection and refuses the next is still away, since the first instant."""
    away = Away(back_at=0.05)
    tasks = await away.begin("abc")
    await away.run_until(0.07)
    away.back_at = 0.2
    for task in tasks[:2]:
        away.gate.refused()
        task.result().end(None, now())  # as it is turned back
    assert (away.gate.waiting, away.gate.try_enter(None, now())) == (1, None)
    await away.begin("a")
    await away.run_until(0.5)
    assert away.passed == ["a", "b", "c", "a"]
    assert away.gate.away_since == 0.0
    assert away.dials == [0.02, 0.06, 0.11, 0.19, 0.35]  # one prober, whose intervals go on to grow


async def test_call_that_needs_no_connection_passes():
    """Where one is open; how it ends doesn't say that new ones are taken."""
    away = Away(has_room=True)
    ticket = away.gate.try_enter(None, now())
    assert ticket is not None
    ticket.end(ANSWERED, now())
    assert (away.over, away.gate.is_idle) == ([], True)


async def test_connection_that_became_free_lets_waiters_pass():
    """The prober looks for one before it dials."""
    away = Away()
    await away.begin("a")
    away.room = True
    await away.run_until(0.03)
    assert (away.passed, away.dials) == (["a"], [])


async def test_waiter_that_leaves_gives_its_pass_on():
    """Cancelled before, or in the turn in which it was let through."""
    away = Away(back_at=0.0, limit=2)
    tasks = await away.begin("abc")
    tasks[0].cancel()
    await away.run_until(0.01)
    asyncio.get_running_loop().call_at(0.02, lambda: asyncio.get_running_loop().call_soon(tasks[1].cancel))
    await away.run_until(0.03)
    assert (tasks[1].cancelled(), away.passed) == (True, ["c"])


async def test_cancelled_at_each_await():
    """Nobody waits, holds a pass, or keeps the prober."""
    away: Away

    def begin() -> None:
        nonlocal away
        away = Away(is_probed=False)

    async def call() -> None:
        asyncio.get_running_loop().call_soon(away.gate.connected)
        ticket = await away.wait("a")
        assert isinstance(ticket, seawall.Ticket)
        ticket.end(ANSWERED, now())

    def assert_clean() -> None:
        assert away.gate.is_idle

    assert await cancel_everywhere(call, before=begin, after=assert_clean) >= 3


async def test_probers_are_ended():
    """`aclose` ends those that sleep and those that dial."""
    away = Away(hangs=3.0)
    await away.begin("a", 0.05)
    await away.run_until(0.04)
    assert len(away.probers) == 1
    await away.probers.aclose()
    await asyncio.sleep(0)
    assert (len(away.probers), now()) == (0, 0.04)


async def test_prober_that_breaks_lets_calls_see_for_themselves(caplog):
    """They would wait for nothing; what happened is in the log."""
    away = Away(back_at="never")  # which no instant can be compared with
    await away.begin("a", 1.0)
    await asyncio.wait(away.tasks)
    assert away.passed == ["a"]
    assert "the prober of http://api.test:80 failed" in caplog.text


@pytest.mark.usefixtures("broken_log")
async def test_prober_that_breaks_outlives_its_log():
    """It lets the calls pass, though a filter of the application's raises at the line that says why."""
    away = Away(back_at="never")
    await away.begin("a", 1.0)
    await asyncio.wait(away.tasks)
    assert away.passed == ["a"]


@pytest.mark.parametrize(
    ("errors", "is_refused"),
    [
        ([errno.ECONNREFUSED], True),
        ([errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNRESET], True),
        ([errno.ECONNREFUSED, errno.ETIMEDOUT], False),
        ([errno.EMFILE], False),
        ([errno.EACCES], False),
    ],
)
def test_what_is_a_refusal(errors, is_refused):
    """All addresses have refused, or can't be reached; an address that said nothing, or a shortage here, isn't one."""
    address = seawall.origin.Address("127.0.0.1")
    error = dial_error(ORIGIN, [OSError(each, "") for each in errors], [address] * len(errors))
    assert error.is_refused is is_refused


def test_gate_is_remembered():
    """It isn't forgotten before others, because calls would wait for the origin anew."""
    gate = Away.__new__(Away)
    assert ReadyState.remembers(gate, 0.0)
