"""Ghosts, trouble, and the bulkhead that heeds both: exact instants, no loop where none is needed."""

from __future__ import annotations

import asyncio
import math

import pytest

from seawall.errors import BulkheadFull, DialError
from seawall.events import Phase
from seawall.policy.adaptive import AdaptiveState
from seawall.policy.gate import Result, Unanswered
from seawall.policy.ghosts import LASTS, Ghosts
from seawall.policy.outcome import Outcome
from seawall.policy.trouble import Trouble
from seawall.testing.clock import VIRTUAL
from tests.entrants import ANY

OK = Outcome(Phase.HEADERS, status=200)


# Ghosts


def test_an_answer_frees_what_was_sent_before():
    """What was sent at the same instant or later stays, because it may be behind it in the server's queue."""
    ghosts = Ghosts(64)
    for sent_at in (3.0, 1.0, 2.0):
        ghosts.add(sent_at, 10.0, is_fault=True)
    ghosts.overtaken(2.0)
    assert ghosts.held == 2
    ghosts.overtaken(3.5)
    assert ghosts.held == 0


def test_what_was_overtaken_leaves_no_ghost():
    """Something that was sent later is answered already: it hangs by itself."""
    ghosts = Ghosts(64)
    ghosts.overtaken(5.0)
    assert ghosts.add(4.9, 6.0, is_fault=True) == 0
    assert ghosts.held == 0
    assert ghosts.add(5.0, 6.0, is_fault=True) == 1
    assert ghosts.newest == 5.0


def test_an_older_answer_changes_nothing():
    """Answers come in any order; the newest one counts."""
    ghosts = Ghosts(64)
    ghosts.overtaken(5.0)
    ghosts.overtaken(1.0)
    assert ghosts.newest == 5.0
    assert ghosts.add(3.0, 6.0, is_fault=True) == 0


def test_impatient_callers_hold_half_of_the_permits():
    """However many they leave, and however small the limit is; a limit of 1 they can't hold at all."""
    ghosts = Ghosts(10)
    for sent_at in range(100):
        ghosts.add(float(sent_at), 100.0, is_fault=False)
    assert ghosts.held == 5
    assert [ghosts.holding(permits) for permits in (10, 4, 1)] == [5, 2, 0]
    ghosts.add(50.0, 100.0, is_fault=True)
    assert ghosts.holding(4) == 3


def test_there_are_no_more_than_permits():
    """A new one takes the place of the oldest, of whichever kind that is."""
    ghosts = Ghosts(4)
    ghosts.add(0.0, 10.0, is_fault=False)
    for sent_at in (1.0, 2.0, 3.0, 4.0, 5.0):
        ghosts.add(sent_at, 10.0, is_fault=True)
    assert (ghosts.held, ghosts.holding(4)) == (4, 4)
    ghosts.overtaken(3.0)
    assert ghosts.held == 3  # of 2.0, 3.0, 4.0 and 5.0


def test_a_ghost_lasts_for_a_minute():
    """Since it was given up, to the instant."""
    ghosts = Ghosts(4)
    ghosts.add(1.0, 10.0, is_fault=True)
    ghosts.add(0.0, 20.0, is_fault=False)
    assert (ghosts.lasting(10.0 + LASTS - 0.01), ghosts.lasting(10.0 + LASTS)) == (2, 1)
    ghosts.expire(10.0 + LASTS)
    assert ghosts.held == 1
    ghosts.expire(20.0 + LASTS)
    assert ghosts.held == 0


def test_none_after_the_end():
    """A closed client's attempts end late, and leave nothing."""
    ghosts = Ghosts(4)
    ghosts.add(1.0, 10.0, is_fault=True)
    ghosts.close()
    assert ghosts.add(11.0, 12.0, is_fault=True) == 0
    assert ghosts.held == 0


# Trouble


class Observed:
    """Trouble of an origin that answers *rate* attempts in each second, and then none. Attributes: now, reasons."""

    def __init__(self, rate: int, ceiling: int = 64, *, seconds: int = 5) -> None:
        self.reasons: list[str] = []
        self.trouble = Trouble(ceiling, self.reasons.append)
        self.now = 0.0
        for _ in range(seconds):
            self.second(rate)

    def second(self, answers: int, ghosts: int = 0, timeout: float | None = 1.0) -> None:
        """A second that begins with so many answers, and ends with so many ghosts that last."""
        self.trouble.pass_time(self.now)
        self.trouble.outcomes += answers
        for number in range(ghosts):
            self.trouble.unanswered(self.now, timeout, ghosts=number + 1, out=64)
        self.now += 1.0


@pytest.mark.parametrize(("rate", "timeout", "limit"), [(30, 1.0, 10), (30, 0.2, 4), (300, 0.2, 20), (300, 1.0, 64)])
def test_limit_in_trouble(rate, timeout, limit):
    """Little's bound, a third of throughput x timeout; 4 at least, and `max_concurrent` at most."""
    seen = Observed(rate)
    seen.second(rate, 3, timeout)
    assert seen.trouble.limit == limit
    assert len(seen.reasons) == 1


def test_two_of_ten_are_no_trouble():
    """Nor are three of eleven."""
    seen = Observed(30)
    seen.second(0, 2)
    assert seen.trouble.since is None
    for answers in (8, 7):
        seen = Observed(30)
        seen.trouble.unanswered(5.0, 1.0, ghosts=1, out=64)
        seen.trouble.outcomes += answers
        seen.trouble.unanswered(5.0, 1.0, ghosts=2, out=64)
        seen.trouble.unanswered(5.0, 1.0, ghosts=3, out=64)
        assert (seen.trouble.since is not None) == (answers == 7)


def test_ghosts_that_were_freed_are_no_trouble():
    """Each of them was overtaken before the next came, so there is no queue."""
    seen = Observed(30)
    for _ in range(20):
        seen.second(0, 1)
    assert seen.trouble.since is None


def test_what_was_overtaken_is_no_trouble():
    """A share of failures, however large, is not a queue."""
    seen = Observed(30)
    for _ in range(50):
        seen.trouble.unanswered(seen.now, 1.0, ghosts=0, out=64)
    assert (seen.trouble.since, seen.trouble.limit) == (None, 64)


def test_few_probes_are_no_trouble():
    """While no more is out than the limit would let out: nothing could overtake them, and the limit would not help."""
    for out in (9, 10):
        seen = Observed(30)
        for number in range(3):
            seen.trouble.unanswered(seen.now, 1.0, ghosts=number + 1, out=out)
        assert (seen.trouble.since is not None) == (out == 10)


def test_no_read_timeout_no_bound():
    """T is the median read timeout of the last ten ghosts: where that is None, rule 2 is off."""
    seen = Observed(30)
    seen.second(0, 6, None)
    assert (seen.trouble.since, seen.trouble.limit) == (None, 64)
    seen.second(0, 10, 1.0)
    assert seen.trouble.limit == 10


def test_median_of_the_timeouts():
    """One odd timeout among ten moves nothing."""
    seen = Observed(30)
    seen.second(0, 10, 1.0)
    seen.second(0, 1, 60.0)
    seen.second(0)
    assert seen.trouble.limit == 10


def test_an_unknown_throughput_bounds_nothing():
    """An origin that has answered nothing yet may be slow and parallel; its ghosts hold permits all the same."""
    seen = Observed(0)
    seen.second(0, 10)
    assert seen.trouble.limit == 64


def test_throughput_is_the_best_good_second_of_the_last_ten():
    """Those in which more than a tenth became ghosts don't count, nor does a second that is longer ago."""
    seen = Observed(90, seconds=1)
    for _ in range(10):
        seen.second(30)
    seen.second(60, 0)
    seen.second(70, 8)
    seen.second(0, 3)
    assert seen.trouble.limit == 20


def test_throughput_falls_in_bad_seconds():
    """By a fifth in each that answers some while 30 % become ghosts; it is kept while nothing is answered at all."""
    seen = Observed(90)
    seen.second(0, 3)
    assert seen.trouble.limit == 30
    seen.second(7, 3)
    seen.second(0, 3)
    seen.second(0, 3)
    assert seen.trouble.limit == 24
    for _ in range(20):
        seen.second(7, 3)
    assert seen.trouble.limit == 4
    seen.second(45)
    seen.second(45)
    assert seen.trouble.limit == 15


def test_trouble_ends_after_ten_good_seconds():
    """Not while anything more than 5 % becomes a ghost, and not while nothing is answered; then the limit is back."""
    seen = Observed(30)
    seen.second(0, 3)
    for _ in range(30):
        seen.second(0)
    assert seen.trouble.since is not None
    for _ in range(20):
        seen.second(15, 1)
    assert seen.trouble.since is not None
    for _ in range(11):
        seen.second(19, 1)
    assert (seen.trouble.since, seen.trouble.limit) == (None, 64)
    assert len(seen.reasons) == 2


def test_limit_stays_between_floor_and_ceiling():
    """The floor of 4 is no more than the ceiling."""
    seen = Observed(30, ceiling=2)
    seen.second(0, 3)
    assert seen.trouble.limit == 2


# The bulkhead of both


def make(permits: int, moved=lambda *_: None, **more) -> AdaptiveState:
    return AdaptiveState("https://a:443", permits, moved=moved, setting="Bulkhead.max_concurrent", **more)


class Attempts:
    """Attempts through a bulkhead, which are sent the moment that they are let in."""

    def __init__(self, bulkhead: AdaptiveState) -> None:
        self.bulkhead = bulkhead
        self.now = 0.0

    def sent(self) -> tuple[float, object]:
        ticket = self.bulkhead.try_enter(ANY, self.now)
        assert ticket is not None
        return self.now, ticket

    def answered(self, attempt, outcome: Outcome = OK) -> None:
        sent_at, ticket = attempt
        is_failure = outcome.error is not None or outcome.status >= 500
        ticket.end(Result(outcome, is_failure, self.now - sent_at, sent_at), self.now)

    def given_up(self, attempt, *, timeout: float | None = 1.0, is_fault: bool = True) -> None:
        sent_at, ticket = attempt
        ticket.unanswered(Unanswered(sent_at, timeout, is_fault), self.now)
        ticket.end(Result(Outcome(Phase.SENT), True, 1.0, sent_at) if is_fault else None, self.now)

    @property
    def free(self) -> int:
        bulkhead = self.bulkhead
        return max(0, bulkhead._max - bulkhead.statistics().in_flight)


@pytest.fixture
def anyio_backend():
    return VIRTUAL


async def test_a_ghost_holds_its_permit_until_something_later_is_answered():
    """It isn't in flight; what was sent before it frees nothing."""
    calls = Attempts(make(4))
    first, lost = calls.sent(), calls.sent()
    calls.now = 1.0
    calls.given_up(lost)
    assert calls.bulkhead.statistics() == (4, 1, 0, 1, 4)
    assert calls.free == 2
    calls.answered(first)
    assert calls.bulkhead.statistics() == (4, 0, 0, 1, 4)
    later = calls.sent()
    calls.answered(later)
    assert calls.bulkhead.statistics() == (4, 0, 0, 0, 4)
    assert calls.free == 4


async def test_one_permit_is_left():
    """Else nobody finds out whether the server answers again: a permit beside the four ghosts."""
    calls = Attempts(make(4))
    lost = [calls.sent() for _ in range(4)]
    calls.now = 1.0
    for attempt in lost:
        calls.given_up(attempt)
    for _ in range(20):
        assert calls.free == 1
        probe = calls.sent()
        assert calls.bulkhead.try_enter(ANY, calls.now) is None
        calls.now += 1.0
        calls.given_up(probe)
        assert calls.bulkhead.statistics().ghosts == 4


async def test_a_single_permit():
    """max_concurrent=1 works as if it didn't adapt."""
    calls = Attempts(make(1))
    for _ in range(3):
        attempt = calls.sent()
        calls.now += 1.0
        calls.given_up(attempt)
    calls.answered(calls.sent())
    assert calls.bulkhead.statistics() == (1, 0, 0, 0, 1)


async def test_a_freed_permit_goes_to_waiters():
    """All that an answer frees, at once and in order."""
    calls = Attempts(make(3))
    lost = [calls.sent() for _ in range(3)]
    calls.now = 1.0
    for attempt in lost:
        calls.given_up(attempt)
    probe = calls.sent()
    waiting = [asyncio.create_task(calls.bulkhead.enter(ANY, None)) for _ in range(4)]
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [False] * 4
    calls.answered(probe)
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True, True, True, False]
    calls.answered((2.0, await waiting[0]))
    await waiting[3]


async def test_next_probe_waits_for_its_second():
    """Callers that give it little time don't empty the queue into a server that is stuck: one in min(T, 1 s)."""
    bulkhead, loop = make(3), asyncio.get_running_loop()
    entered: list[float] = []

    async def hasty() -> None:
        ticket = await bulkhead.enter(ANY, None)
        entered.append(sent_at := loop.time())
        await asyncio.sleep(0.1)
        ticket.unanswered(Unanswered(sent_at, 5.0, is_fault=len(entered) <= 3), loop.time())
        ticket.end(None, loop.time())

    await asyncio.gather(*(hasty() for _ in range(7)))
    assert [round(at, 6) for at in entered] == [0, 0, 0, 1, 2, 3, 4]
    bulkhead.forget()
    assert bulkhead._timer is None


@pytest.mark.parametrize("status", [429, 503])
async def test_a_rejection_answers_nothing(status):
    """It comes before the server's queue, so it frees no ghost, and is no throughput."""
    calls = Attempts(make(4))
    lost = calls.sent()
    calls.now = 1.0
    calls.given_up(lost)
    calls.answered(calls.sent(), Outcome(Phase.HEADERS, status=status))
    assert calls.bulkhead.statistics().ghosts == 1
    calls.answered(calls.sent(), Outcome(Phase.HEADERS, status=500))
    assert calls.bulkhead.statistics().ghosts == 0


@pytest.mark.parametrize(
    ("causes", "left"),
    [
        ([ConnectionRefusedError()], 0),
        ([ConnectionRefusedError(), ConnectionRefusedError()], 0),
        ([ConnectionRefusedError(), TimeoutError()], 1),
        ([OSError()], 1),
    ],
)
async def test_a_refused_connection_frees_all(causes, left):
    """The process has ended, and its queue with it; unless one of several addresses may still be there."""
    calls = Attempts(make(4))
    lost = calls.sent()
    calls.now = 1.0
    calls.given_up(lost)
    error = DialError("no")
    error.__cause__ = causes[0] if len(causes) == 1 else ExceptionGroup("all", causes)
    _, ticket = calls.sent()
    ticket.end(Result(Outcome(Phase.CONNECTING, error=error), True, 0.0), 1.0)
    assert calls.bulkhead.statistics().ghosts == left


async def test_headers_of_a_stream_are_an_answer():
    """Its permit comes back with the body, the ghosts' do now."""
    calls = Attempts(make(4))
    lost = calls.sent()
    calls.now = 1.0
    calls.given_up(lost)
    sent_at, ticket = calls.sent()
    ticket.answered(Result(OK, False, 0.0, sent_at), 1.1)
    assert calls.bulkhead.statistics() == (4, 1, 0, 0, 4)


async def test_a_ghost_ends_after_a_minute():
    """Though nothing is answered: the next attempt gets its permit, in statistics it is gone to the instant."""
    calls = Attempts(make(2))
    lost = [calls.sent(), calls.sent()]
    calls.now = 1.0
    for attempt in lost:
        calls.given_up(attempt)
    await asyncio.sleep(61.0)
    assert calls.bulkhead.statistics(60.9).ghosts == 2
    assert calls.bulkhead.statistics(61.0).ghosts == 0
    await asyncio.sleep(1.0)  # they are looked at once a second
    held = await calls.bulkhead.enter(ANY, 0.0), await calls.bulkhead.enter(ANY, 0.0)
    assert len(held) == 2
    assert not calls.bulkhead.remembers(62.0)


async def test_full_says_what_holds_the_permits():
    """How many are in use, how many are held, and from which limit it was lowered."""
    moves = []
    calls = Attempts(make(64, moved=lambda *what: moves.append(what)))
    for _ in range(60):
        calls.answered(calls.sent())
        calls.now += 0.05
    lost = [calls.sent() for _ in range(7)]
    calls.now += 1.0
    for attempt in lost:
        calls.given_up(attempt)
    ((limit, ghosts, reason),) = moves
    assert (limit, ghosts) == (6, 3)
    assert "3 of the last 10" in reason
    calls.sent()
    with pytest.raises(BulkheadFull) as caught:
        await calls.bulkhead.enter(ANY, 0.5)
    assert "1 of 6 permits (lowered from 64, because requests get no answer) in use, 7 held by requests" in str(
        caught.value
    )
    assert caught.value.max_concurrent == 6


async def test_remembered_while_it_knows_something():
    """Else a scraper of many origins forgets the ghosts of the one that is stuck."""
    calls = Attempts(make(4))
    assert not calls.bulkhead.remembers(0.0)
    lost = calls.sent()
    calls.given_up(lost)
    assert calls.bulkhead.is_idle
    assert calls.bulkhead.remembers(0.5)
    assert math.isinf(make(4)._ghosts.newest)
