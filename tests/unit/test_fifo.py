"""The one queue of waiters."""

from __future__ import annotations

import asyncio

import pytest

from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT, Criticality
from seawall.policy.fifo import Fifo
from seawall.testing.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL


class Late(Exception):
    """The wait was over."""


class Waiting:
    """A queue, and what came of it."""

    def __init__(self) -> None:
        self.left = 0
        self.undone: list[str] = []
        self.got: list[tuple[str, str]] = []
        self.fifo: Fifo[str] = Fifo(self._left)

    def _left(self) -> None:
        self.left += 1

    async def wait(self, name: str, timeout: float | None = None, joined=lambda: None) -> None:
        thing = await self.fifo.wait(timeout, expired=Late, undo=self.undone.append, joined=joined)
        self.got.append((name, thing))

    async def started(self, *names: str, timeout: float | None = None) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.wait(name, timeout)) for name in names]
        await asyncio.sleep(0)
        return tasks


async def test_first_in_first_out():
    """Things go to waiters in the order in which they came; with nobody waiting, a thing stays with its giver."""
    made = Waiting()
    tasks = await made.started("a", "b", "c")
    assert len(made.fifo) == 3
    assert [made.fifo.give(thing) for thing in ("1", "2", "3", "4")] == [DEFAULT, DEFAULT, DEFAULT, None]
    await asyncio.gather(*tasks)
    assert made.got == [("a", "1"), ("b", "2"), ("c", "3")]
    assert (made.left, len(made.fifo), made.undone) == (3, 0, [])


async def test_wait_ends_at_its_instant():
    """With the error that is made then; the waiter has left by that time."""
    made = Waiting()
    (task,) = await made.started("a", timeout=5.0)
    with pytest.raises(Late):
        await task
    assert (asyncio.get_running_loop().time(), len(made.fifo), made.left) == (5.0, 0, 1)
    assert not made.fifo.give("1")


@pytest.mark.parametrize("index", [0, 1, 2])
async def test_cancelled_waiter_is_passed_over(index):
    """Whichever it is, and though it has not run since: the next one gets the thing, and each leaves once."""
    made = Waiting()
    tasks = await made.started("a", "b", "c")
    tasks[index].cancel()
    names = [name for name in "abc" if name != "abc"[index]]
    assert [made.fifo.give(thing) for thing in ("1", "2")] == [DEFAULT, DEFAULT]
    assert not made.fifo.give("3")
    await asyncio.gather(*tasks, return_exceptions=True)
    assert made.got == list(zip(names, ("1", "2"), strict=True))
    assert (made.left, made.undone) == (3, [])


async def test_thing_that_was_handed_to_the_cancelled_is_given_back():
    """Granted and cancelled in one turn: `undo` gets it, once."""
    made = Waiting()
    (task,) = await made.started("a")
    assert made.fifo.give("1")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (made.got, made.undone, made.left) == ([], ["1"], 1)


async def test_joining_may_free_the_thing():
    """`joined` runs with the caller in the queue, so what it frees can be the caller's, before any time passes."""
    made = Waiting()
    await made.wait("a", 0.0, joined=lambda: made.fifo.give("mine"))
    assert made.got == [("a", "mine")]


async def test_waiter_that_expired_and_is_cancelled_at_once():
    """It left once, and nothing is undone."""
    made = Waiting()
    (task,) = await made.started("a", timeout=1.0)
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (made.left, made.undone, len(made.fifo)) == (1, [], 0)


async def test_class_that_matters_most_is_first():
    """A class below *lowest* gets nothing; the last that came of what matters least is refused."""
    made = Waiting()

    async def wait(name: str, criticality: Criticality) -> None:
        thing = await made.fifo.wait(None, expired=Late, undo=made.undone.append, criticality=criticality)
        made.got.append((name, thing))

    classes = {"b1": BACKGROUND, "d": DEFAULT, "c": CRITICAL, "b2": BACKGROUND}
    tasks = {name: asyncio.create_task(wait(name, criticality)) for name, criticality in classes.items()}
    await asyncio.sleep(0)
    assert [made.fifo.give("1"), made.fifo.give("2", DEFAULT), made.fifo.give("3", DEFAULT)] == [
        CRITICAL,
        DEFAULT,
        None,
    ]
    made.fifo.refuse(Late())
    with pytest.raises(Late):
        await tasks["b2"]
    tasks["b1"].cancel()  # and has not run yet
    assert made.fifo.give("3") is None
    await asyncio.wait(tasks.values())
    assert made.got == [("c", "1"), ("d", "2")]
    assert (made.left, len(made.fifo), made.undone) == (4, 0, [])
