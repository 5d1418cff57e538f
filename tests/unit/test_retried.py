"""The demo's and the scoreboard's own retries around aiohttp are what an honest person would write."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from seawall.cli.retried import Answer, retried
from seawall.testing import run


def played(ends, *, may_repeat=True, deadline=10.0, takes=0.0):
    """What comes of attempts that end like that, how many there were, and how long it took."""
    left, made = iter(ends), []

    async def attempt():
        made.append(None)
        await asyncio.sleep(takes)
        end = next(left)
        if isinstance(end, Exception):
            raise end
        return end

    async def main():
        began_at = asyncio.get_running_loop().time()
        try:
            found = (await retried(attempt, may_repeat=may_repeat, deadline=deadline)).status
        except (aiohttp.ClientError, TimeoutError) as error:
            found = type(error)
        return found, len(made), asyncio.get_running_loop().time() - began_at

    return run(main())


def answer(status, retry_after=None):
    return Answer(status, b"", retry_after)


def test_what_may_be_repeated_is_tried_three_times():
    """The third attempt's answer or error is the call's, after at most 0.1 and 0.2 s of pauses."""
    found, attempts, seconds = played([answer(503), aiohttp.ServerDisconnectedError(), answer(500)])
    assert (found, attempts) == (500, 3)
    assert 0 < seconds <= 0.3


@pytest.mark.parametrize("end", [answer(503), aiohttp.ServerDisconnectedError()], ids=["503", "lost"])
def test_what_may_have_been_done_is_not_repeated(end):
    """A POST without a key is sent once."""
    assert played([end, answer(200)], may_repeat=False)[1] == 1


def test_what_was_not_sent_is_repeated():
    """Whatever the method."""
    assert played([aiohttp.ConnectionTimeoutError(), answer(200)], may_repeat=False)[:2] == (200, 2)


def test_retry_after_is_heeded():
    """In seconds; a day is more than the deadline, so the answer is returned at once; garbage counts as none."""
    assert played([answer(503, "2"), answer(200)])[0::2] == (200, 2.0)
    assert played([answer(503, "86400"), answer(200)]) == (503, 1, 0.0)
    assert played([answer(503, "soon"), answer(200)])[2] <= 0.1


def test_the_deadline_holds_over_all_attempts():
    """What is late is cut off, and is not tried again when the time is up."""
    assert played([TimeoutError()] * 3, takes=1.0, deadline=2.5) == (TimeoutError, 3, 2.5)
    assert played([TimeoutError()] * 3, takes=2.5, deadline=2.5)[1:] == (1, 2.5)
